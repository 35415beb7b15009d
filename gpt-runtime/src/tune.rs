//! Measures which variants of a model's kernels are the fastest on a GPU.
//!
//! `gpt-codegen` chooses tiles from a model's shapes. Only a measurement finds which other variants
//! are faster on an adapter (a GPU with its driver). [`tune`] runs the first layers of the model at
//! their own shapes, on random weights, with each set of features in turn, and times every step
//! with the device's clock. The fastest variant of each kernel is saved on disk for every program
//! that opens the adapter later. Only variants whose results differ by no more than the order of
//! sums are tried, and a variant replaces the default only if it is faster by more than noise. The
//! kernels of training are timed in training steps on a batch.

use std::path::PathBuf;
use std::sync::Arc;

use gpt_plan::{Feature, Features, Format, Kernel, Phase, Plan};

use crate::device::EngineRef;
use crate::engine::Precision;
use crate::gpu::GpuDevice;
use crate::truncated_plan::{has_kernels, some_tokens, truncate};
use crate::vtable::ModelVtable;
use crate::weights::unit_gain::UnitGain;
use crate::{Batch, Device, Error, Model, Session, Trainer, TrainerSettings, Untyped};

/// Tokens of the timed prompt: on a hardware GPU, and on a software adapter (lavapipe).
const PROMPT: [u32; 2] = [256, 64];

/// Sequences of [`PROMPT`] tokens in the timed batch: on a hardware GPU, and on a software adapter.
const SEQUENCES: [u32; 2] = [4, 1];

/// Number of timed runs.
const RUNS: usize = 7;

/// A variant must take less than this share of the default's time.
const GAIN: f64 = 0.97;

/// The seed of the weights.
const SEED: u64 = 0x7e1e;

/// The result of a measurement.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Name of the measured device.
    pub device: String,
    /// Every kernel that has variants. After [`tune`], for each format: the kernels of prefill,
    /// then those of decoding.
    pub choices: Vec<Choice>,
    /// The file with the result.
    pub path: PathBuf,
}

/// A kernel, and the variant that was the fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The kernel's name in the plan.
    pub kernel: String,
    /// Tokens of the pass in which it was timed.
    pub rows: u32,
    /// Features of the fastest variant.
    pub features: Features,
    /// Its time in seconds.
    pub seconds: f64,
    /// The time of the default variant, in seconds.
    pub default: f64,
}

/// Measures the kernels of `plan` with matrices in each of `formats` on `device`, which must be a
/// GPU, and saves the result.
///
/// # Errors
/// Fails if the device is not a GPU, writes no timestamps, has no memory for several copies of the
/// first layers and the head, or is lost, or if the result cannot be saved.
pub fn tune(plan: &'static Plan, device: &Device, formats: &[Format]) -> Result<Tuning, Error> {
    let gpu = measurable(device)?;
    let plan = truncate(plan);
    let kernels = &plan.kernels;
    let mut results = Results::default();
    for &format in formats.iter().filter(|format| has_kernels(plan, **format)) {
        let mut runs = Vec::new();
        for features in feature_sets(gpu, kernels) {
            runs.push(InferenceRun::new(plan, format, &with(gpu, features)?, features)?);
        }
        for phase in [Phase::Prefill, Phase::Decode] {
            let rows = match phase {
                Phase::Decode => 1,
                Phase::Prefill => PROMPT[usize::from(gpu.is_software())].min(plan.spec.context),
            };
            for _ in 0..=RUNS {
                for run in &mut runs {
                    run.run(phase, rows)?;
                }
            }
            let mut candidates: Vec<&mut Candidate> =
                runs.iter_mut().map(|r| &mut r.candidate).collect();
            results.take(&mut candidates, kernels, rows);
        }
    }
    results.save(gpu)
}

/// Like [`tune`], for the kernels of training, in f32 and, if `device` supports it, in f16.
///
/// # Errors
/// See [`tune`]. A trainer needs more memory than a session.
pub fn tune_training(plan: &'static Plan, device: &Device) -> Result<Tuning, Error> {
    let gpu = measurable(device)?;
    let plan = truncate(plan);
    let kernels = &plan.training.kernels;
    let mut results = Results::default();
    let software = usize::from(gpu.is_software());
    let shape = (SEQUENCES[software], PROMPT[software].min(plan.spec.context));
    let precisions: &[Precision] = match gpu.has_f16() {
        true => &[Precision::F32, Precision::F16],
        false => &[Precision::F32],
    };
    for &precision in precisions {
        let mut runs = Vec::new();
        for features in feature_sets(gpu, kernels) {
            let device = with(gpu, features)?;
            runs.push(TrainingRun::new(plan, shape, precision, &device, features)?);
        }
        for _ in 0..=RUNS {
            for run in &mut runs {
                run.run()?;
            }
        }
        let mut candidates: Vec<&mut Candidate> =
            runs.iter_mut().map(|l| &mut l.candidate).collect();
        results.take(&mut candidates, kernels, shape.0 * shape.1);
    }
    results.save(gpu)
}

/// The GPU of `device`, if it writes timestamps and results can be saved. This is checked first,
/// because the measurement takes minutes.
fn measurable(device: &Device) -> Result<&Arc<GpuDevice>, Error> {
    let EngineRef::Gpu(gpu) = device.engine() else {
        return Err(Error::Input(format!(
            "{} has no kernel variants to choose from; use a GPU (`gpu`)",
            device.name()
        )));
    };
    if !gpu.has_timestamps() {
        return Err(Error::device(format!(
            "{} has no timestamps, which are needed to time kernels",
            gpu.name()
        )));
    }
    gpu.tuned().path()?;
    Ok(gpu)
}

/// Opens `gpu` again, with kernels that use `features`.
fn with(gpu: &GpuDevice, features: Features) -> Result<Device, Error> {
    Ok(Device::of_gpu(Arc::new(gpu.again(features)?), "measured"))
}

/// The results so far.
#[derive(Default)]
struct Results {
    choices: Vec<Choice>,
    variants: Vec<(&'static Kernel, Features)>,
}

impl Results {
    /// Adds the fastest variant of each kernel that ran, and clears the times of `candidates`.
    fn take(&mut self, candidates: &mut [&mut Candidate], kernels: &'static [Kernel], rows: u32) {
        for (index, kernel) in kernels.iter().enumerate() {
            // Training in f16 shares norms and attention with f32.
            let known = self.choices.iter().any(|c| c.kernel == *kernel.name);
            if known {
                continue;
            }
            if let Some((features, seconds, default)) = fastest(candidates, kernel, index) {
                self.choices.push(Choice {
                    kernel: kernel.name.to_string(),
                    rows,
                    features,
                    seconds,
                    default,
                });
                self.variants.push((kernel, features));
            }
        }
        for candidate in candidates {
            candidate.seconds.iter_mut().for_each(Vec::clear);
        }
    }

    fn save(self, gpu: &GpuDevice) -> Result<Tuning, Error> {
        Ok(Tuning {
            device: gpu.name().to_owned(),
            choices: self.choices,
            path: gpu.tuned().save(&self.variants)?,
        })
    }
}

/// The sets of features that are tried, the default first: with and without subgroups, broadcasts,
/// small workgroups in attention, and tiles of all sizes with single and double buffering. Textures
/// are not tried, because all kernels that read a matrix have to find it in the same place.
fn feature_sets(gpu: &GpuDevice, kernels: &[Kernel]) -> Vec<Features> {
    let usual = Features::usual(gpu.is_software());
    let sizes = [Feature::SmallTiles, Feature::LargeTiles, Feature::HugeTiles];
    let bare = sizes.into_iter().fold(usual, Features::without);
    let other = |feature| match usual.has(feature) {
        true => usual.without(feature),
        false => usual.with(feature),
    };
    let mut sets = vec![
        usual,
        usual.without(Feature::Subgroups),
        other(Feature::Broadcasts),
        other(Feature::SmallGroups),
    ];
    for size in std::iter::once(None).chain(sizes.map(Some)) {
        let set = size.map_or(bare, |size| bare.with(size));
        sets.extend([set, set.with(Feature::DoubleBuffers)]);
    }
    // Keeps the first of the sets that select the same variant of every kernel.
    let mut seen = Vec::new();
    sets.retain(|set| {
        let names: Vec<_> = kernels.iter().map(|kernel| name(kernel, *set)).collect();
        !seen.contains(&names) && {
            seen.push(names);
            true
        }
    });
    sets
}

/// The name of `kernel`'s variant for `features`.
fn name(kernel: &Kernel, features: Features) -> gpt_plan::Str {
    let variant = gpt_shaders::variant(kernel, features);
    variant.map_or(kernel.name.clone(), |variant| variant.name)
}

/// A set of features, and the times of kernels with it.
struct Candidate {
    features: Features,
    /// For each kernel, the time of each run: that of all steps with the kernel. The first run does
    /// not count.
    seconds: Vec<Vec<f64>>,
}

impl Candidate {
    fn new(features: Features, kernels: &[Kernel]) -> Candidate {
        Candidate { features, seconds: vec![Vec::new(); kernels.len()] }
    }

    /// Adds the times of a run, for each kernel that ran.
    fn add(&mut self, taken: Vec<Option<f64>>) {
        for (all, taken) in self.seconds.iter_mut().zip(taken) {
            all.extend(taken);
        }
    }
}

/// A session that runs prompts and tokens.
struct InferenceRun {
    candidate: Candidate,
    plan: &'static Plan,
    session: Session<Untyped>,
    format: Format,
}

impl InferenceRun {
    fn new(
        plan: &'static Plan,
        format: Format,
        device: &Device,
        features: Features,
    ) -> Result<InferenceRun, Error> {
        let weights = UnitGain::new(plan, SEED, format);
        let model: Model<Untyped> = Model::from_plan(plan, &weights, device)?;
        let capacity = (PROMPT[0] + 1).min(plan.spec.context);
        let session = model.session().capacity(capacity).chunk(capacity);
        Ok(InferenceRun {
            candidate: Candidate::new(features, &plan.kernels),
            plan,
            session: session.open()?,
            format,
        })
    }

    fn run(&mut self, phase: Phase, rows: u32) -> Result<(), Error> {
        let plan = self.plan;
        self.session.truncate(0);
        let profile = self.session.profile(&some_tokens(&plan.spec, rows))?;
        let mut taken = vec![None; plan.kernels.len()];
        for ((_, step), time) in plan.steps().zip(&profile.steps) {
            let format = if step.matrix().is_some() { self.format } else { Format::F32 };
            let kernel = usize::from(step.kernel(phase, format));
            *taken[kernel].get_or_insert(0.0) += time.seconds;
        }
        self.candidate.add(taken);
        Ok(())
    }
}

/// A trainer that runs steps on a batch.
struct TrainingRun {
    candidate: Candidate,
    plan: &'static Plan,
    trainer: Trainer<Untyped>,
    batch: Batch,
}

impl TrainingRun {
    fn new(
        plan: &'static Plan,
        (sequences, tokens): (u32, u32),
        precision: Precision,
        device: &Device,
        features: Features,
    ) -> Result<TrainingRun, Error> {
        let settings = TrainerSettings {
            batch: sequences,
            tokens: Some(tokens),
            precision,
            ..TrainerSettings::default()
        };
        let weights = UnitGain::new(plan, SEED, Format::F32);
        let texts = some_tokens(&plan.spec, sequences * (tokens + 1));
        Ok(TrainingRun {
            candidate: Candidate::new(features, &plan.training.kernels),
            plan,
            trainer: Trainer::with_vtable(ModelVtable::of_plan(plan), device, &weights, settings)?,
            batch: Batch::next_tokens(&texts, tokens as usize)?,
        })
    }

    fn run(&mut self) -> Result<(), Error> {
        let profile = self.trainer.profile(&self.batch)?;
        let kernels = self.plan.training.kernels.iter();
        let taken = kernels.map(|kernel| {
            let mut times = profile.times.iter();
            let time = times.find(|time| time.name == kernel.name)?;
            Some(time.seconds)
        });
        self.candidate.add(taken.collect());
        Ok(())
    }
}

/// The features of the fastest variant of kernel `index`, its time, and the time of the default;
/// none if it did not run or has no variants.
fn fastest(
    candidates: &[&mut Candidate],
    kernel: &Kernel,
    index: usize,
) -> Option<(Features, f64, f64)> {
    let mut variants: Vec<(Features, gpt_plan::Str, Vec<f64>)> = Vec::new();
    for candidate in candidates {
        let times = candidate.seconds[index].iter().skip(1).copied();
        let own = name(kernel, candidate.features);
        // Several sets may give the same variant.
        match variants.iter_mut().find(|(_, known, _)| *known == own) {
            Some((_, _, all)) => all.extend(times),
            None => variants.push((candidate.features, own, times.collect())),
        }
    }
    let mut times = variants.iter_mut().map(|(features, _, times)| (*features, median(times)));
    let (plain, default) = times.next()?;
    let others: Vec<_> = times.collect();
    if others.is_empty() || default.is_nan() {
        return None;
    }
    let best = others
        .into_iter()
        .filter(|(_, seconds)| *seconds < GAIN * default)
        .min_by(|a, b| a.1.total_cmp(&b.1));
    let (features, seconds) = best.unwrap_or((plain, default));
    Some((features, seconds, default))
}

/// The median, NaN if there are no times.
fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
