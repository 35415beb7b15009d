//! Checkpoints: a saved run, which resumes bit for bit.
//!
//! A checkpoint of step 500 is the folder `checkpoint-500`:
//! - `model.safetensors`: the parameters under Hugging Face's names; it loads like any model
//! - `config.json`: Hugging Face's description of the model
//! - `moments.safetensors`: AdamW's two moments
//! - `average.safetensors`: the moving average of the parameters, if there is one; it loads like
//!   any model, too
//! - `state.json`: the step, the settings, the loss scale (f16 only), and the caller's data
//!
//! The folder is written under a temporary name, synced, and renamed, so it is either complete or
//! absent. Older checkpoints are removed after that. A run has no other state: dropout masks and
//! random data are functions of seeds and the step.

use std::fs;
use std::path::{Path, PathBuf};

use gpt_plan::{Format, Plan, TensorId};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::loss_scale::LossScale;
use super::{Trainer, TrainerSettings};
use crate::device::Device;
use crate::engine::TensorState;
use crate::vtable::{Gpt, ModelVtable, Untyped};
use crate::weights::{self, LazyTensor, Mapped};
use crate::{Error, files};

const PREFIX: &str = "checkpoint-";
const MODEL: &str = "model.safetensors";
const MOMENTS: &str = "moments.safetensors";
const AVERAGE: &str = "average.safetensors";
const STATE: &str = "state.json";

/// The newest version. It was incremented whenever an older program could misread a newer file:
/// version 2 has an objective other than the next token, or an average of the parameters. Files
/// that version 1 can express have version 1.
const VERSION: u32 = 2;

/// The contents of `state.json`.
#[derive(Serialize, Deserialize)]
struct State {
    version: u32,
    model: String,
    step: u64,
    settings: TrainerSettings,
    /// None unless the precision is f16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loss_scale: Option<LossScale>,
    /// The caller's data.
    caller: Value,
}

/// A checkpoint on disk.
pub struct SavedRun {
    folder: PathBuf,
    state: State,
}

impl SavedRun {
    /// The newest checkpoint in `folder`; none if the folder has none or does not exist.
    ///
    /// # Errors
    /// Fails if the folder or the checkpoint cannot be read.
    pub fn latest(folder: impl AsRef<Path>) -> Result<Option<SavedRun>, Error> {
        let steps = steps(folder.as_ref())?;
        let newest = steps.into_iter().max();
        newest
            .map(|step| SavedRun::open(&folder.as_ref().join(format!("{PREFIX}{step}")), step))
            .transpose()
    }

    fn open(folder: &Path, step: u64) -> Result<SavedRun, Error> {
        let path = folder.join(STATE);
        let text = files::read(&path)?;
        let damaged = |what: &dyn std::fmt::Display| {
            Error::Input(format!(
                "{} is not the state of a training run that this version can resume: {what}",
                path.display()
            ))
        };
        let value: Value = serde_json::from_slice(&text).map_err(|e| damaged(&e))?;
        let version = value.get("version").and_then(Value::as_u64);
        if version.is_none_or(|version| !(1..=VERSION.into()).contains(&version)) {
            let found = version.map_or("none".to_owned(), |v| v.to_string());
            return Err(damaged(&format!(
                "its version is {found}, and this program reads versions 1 to {VERSION}"
            )));
        }
        let state: State = serde_json::from_value(value).map_err(|e| damaged(&e))?;
        if state.step != step {
            return Err(damaged(&format!(
                "its step is {}, and its folder is named after step {step}",
                state.step
            )));
        }
        if let Some(scale) = state.loss_scale.filter(|scale| !scale.is_valid()) {
            let value = scale.value();
            return Err(damaged(&format!("its loss scale is {value}")));
        }
        Ok(SavedRun { folder: folder.to_owned(), state })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The name of the model.
    pub fn model(&self) -> &str {
        &self.state.model
    }

    /// Completed steps.
    pub fn step(&self) -> u64 {
        self.state.step
    }

    /// The settings of the run.
    pub fn settings(&self) -> &TrainerSettings {
        &self.state.settings
    }

    /// The file with the average of the parameters, if the run keeps one.
    pub fn average(&self) -> Option<PathBuf> {
        self.state.settings.ema.map(|_| self.folder.join(AVERAGE))
    }

    /// The data that the caller of [`Trainer::save`] added.
    pub fn caller(&self) -> &Value {
        &self.state.caller
    }
}

impl<M: Gpt> Trainer<M> {
    /// Continues a saved run. With the saved settings ([`SavedRun::settings`]) on the same device,
    /// every further step equals the uninterrupted run's, bit for bit.
    ///
    /// # Errors
    /// Fails if the checkpoint is damaged, belongs to another model, or has another objective, or
    /// if [`new`](Self::new) fails.
    pub fn resume(
        device: &Device,
        saved: &SavedRun,
        settings: TrainerSettings,
    ) -> Result<Self, Error> {
        Trainer::resume_vtable(ModelVtable::of::<M>(), device, saved, settings)
    }
}

impl Trainer<Untyped> {
    /// Like [`resume`](Trainer::resume), for a model whose plan was made at run time.
    ///
    /// # Errors
    /// See [`resume`](Trainer::resume).
    pub fn resume_plan(
        plan: &'static Plan,
        device: &Device,
        saved: &SavedRun,
        settings: TrainerSettings,
    ) -> Result<Self, Error> {
        Trainer::resume_vtable(ModelVtable::of_plan(plan), device, saved, settings)
    }
}

impl<M> Trainer<M> {
    fn resume_vtable(
        vtable: ModelVtable,
        device: &Device,
        saved: &SavedRun,
        settings: TrainerSettings,
    ) -> Result<Self, Error> {
        let plan = vtable.plan;
        if saved.model() != plan.name {
            return Err(Error::Input(format!(
                "{} is a checkpoint of the model {}, not of {}",
                saved.folder.display(),
                saved.model(),
                plan.name
            )));
        }
        let (begun, given) = (saved.settings().objective, settings.objective);
        if begun != given {
            return Err(Error::Input(format!(
                "{} is a checkpoint of a run that learns {begun}, and cannot continue with {given}",
                saved.folder.display()
            )));
        }
        let weights = weights::open(&saved.folder.join(MODEL), plan, Some(Format::F32))?;
        // Damaged files are refused before the trainer allocates its memory.
        let moments = saved.folder.join(MOMENTS);
        let mapped = Mapped::open(&moments)?;
        let moments = read_moments(mapped.bytes(), plan, &moments)?;
        let average = match saved.average().filter(|_| settings.ema.is_some()) {
            Some(path) => Some(weights::open(&path, plan, Some(Format::F32))?),
            None => None,
        };
        let mut trainer = Trainer::with_vtable(vtable, device, &weights, settings)?;
        // An average that the saved run does not have begins with its parameters.
        if let (Some(average), Some(saved)) = (&mut trainer.average, &average) {
            average.load(plan, saved)?;
        }
        for (state, id, layer, bytes) in moments {
            let bytes = bytes.as_chunks().0.iter();
            let values: Vec<f32> = bytes.map(|b| f32::from_le_bytes(*b)).collect();
            trainer.engine.write(state, id, layer, &values)?;
        }
        trainer.steps = saved.step();
        // A run that switches to f16 starts with the default scale.
        if let (Some(scale), Some(saved)) = (&mut trainer.loss_scale, saved.state.loss_scale) {
            *scale = saved;
        }
        Ok(trainer)
    }

    /// Writes a checkpoint of the current state into `folder` and removes older ones. `caller` is
    /// saved with it; see [`SavedRun::caller`]. Returns the checkpoint's path. Older checkpoints
    /// are kept until the new one is complete.
    ///
    /// # Errors
    /// Fails if a file cannot be written, if an older checkpoint cannot be removed, or if `folder`
    /// already has a checkpoint of this step.
    pub fn save(&mut self, folder: impl AsRef<Path>, caller: &Value) -> Result<PathBuf, Error> {
        self.check_parameters()?;
        let folder = folder.as_ref();
        let path = folder.join(format!("{PREFIX}{}", self.steps));
        if path.exists() {
            return Err(Error::Input(format!(
                "{} already exists; remove it or save elsewhere",
                path.display()
            )));
        }
        let (plan, step) = (self.vtable.plan, self.steps);
        let state = State {
            version: match self.settings.objective.is_next_token() && self.average.is_none() {
                true => 1,
                false => VERSION,
            },
            model: plan.name.to_string(),
            step,
            settings: self.settings.clone(),
            loss_scale: self.loss_scale,
            caller: caller.clone(),
        };
        let state = serde_json::to_string_pretty(&state).expect("names and numbers are JSON");
        files::create_folder(&path, |new| {
            weights::save(&new.join(MODEL), plan, &self.weights())?;
            weights::save_config(&new.join("config.json"), plan)?;
            self.write_moments(&new.join(MOMENTS))?;
            if self.average.is_some() {
                self.with_average(|trainer| {
                    weights::save(&new.join(AVERAGE), plan, &trainer.weights())
                })?;
            }
            files::write(&new.join(STATE), &state)
        })?;
        for old in steps(folder)?.into_iter().filter(|old| *old < step) {
            let old = folder.join(format!("{PREFIX}{old}"));
            fs::remove_dir_all(&old).map_err(Error::io("remove", &old))?;
        }
        Ok(path)
    }

    fn write_moments(&mut self, path: &Path) -> Result<(), Error> {
        let plan = self.vtable.plan;
        let parameters = &self.parameters();
        let moments = MOMENTS_OF.into_iter().flat_map(|state| {
            plan.trained().map(move |(id, layer)| LazyTensor {
                name: moment_name(plan, state, id, layer),
                shape: moment_shape(plan, id).into(),
                values: Box::new(move || parameters.values(state, id, layer)),
            })
        });
        weights::write_lazy(path, moments.collect(), None)
    }
}

/// A moment of a tensor of a layer, and its bytes in the file.
type StoredMoment<'a> = (TensorState, TensorId, u32, &'a [u8]);

/// The moments of all parameters in the contents of the file at `path`.
///
/// # Errors
/// Fails if a moment is missing, or has another type or shape.
fn read_moments<'a>(
    bytes: &'a [u8],
    plan: &Plan,
    path: &Path,
) -> Result<Vec<StoredMoment<'a>>, Error> {
    let damaged = |what: String| {
        Error::Input(format!(
            "{} does not hold the moments of {}: {what}",
            path.display(),
            plan.name
        ))
    };
    let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(e.to_string()))?;
    let mut moments = Vec::new();
    for state in MOMENTS_OF {
        for (id, layer) in plan.trained() {
            let name = moment_name(plan, state, id, layer);
            let view = file.tensor(&name).map_err(|e| damaged(e.to_string()))?;
            let shape = moment_shape(plan, id);
            if view.dtype() != Dtype::F32 || view.shape() != shape {
                return Err(damaged(format!(
                    "{name} is {:?} {:?} and should be F32 {shape:?}",
                    view.dtype(),
                    view.shape()
                )));
            }
            moments.push((state, id, layer, view.data()));
        }
    }
    Ok(moments)
}

/// Reads the moments in the file at `path`. Returns their number.
pub fn read_all_moments(path: &Path, plan: &Plan) -> Result<usize, Error> {
    read_moments(Mapped::open(path)?.bytes(), plan, path).map(|moments| moments.len())
}

const MOMENTS_OF: [TensorState; 2] = [TensorState::FirstMoment, TensorState::SecondMoment];

fn moment_name(plan: &Plan, state: TensorState, id: TensorId, layer: u32) -> String {
    let which = if state == TensorState::FirstMoment { "first" } else { "second" };
    format!("{which}.{layer}.{}", plan.tensor(id).name)
}

fn moment_shape(plan: &Plan, id: TensorId) -> [usize; 2] {
    let tensor = plan.tensor(id);
    [tensor.rows as usize, tensor.columns as usize]
}

/// The steps of the checkpoints in `folder`.
fn steps(folder: &Path) -> Result<Vec<u64>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::io("read", folder)(source)),
    };
    let mut steps = Vec::new();
    for entry in entries {
        let name = entry.map_err(Error::io("read", folder))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        steps.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    Ok(steps)
}

#[cfg(test)]
mod tests;
