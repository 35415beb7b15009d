//! A model on a device: its packed weights, its tokenizer and their origin. `load` reads files.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gpt_plan::{Format, Plan, TensorId};

use crate::Error;
use crate::device::Device;
use crate::engine::EngineModel;
use crate::hidden::FinalNorm;
use crate::text::Tokenizer;
#[cfg(feature = "train")]
use crate::train::{Trainer, TrainerSettings};
use crate::vtable::{Gpt, ModelVtable, Untyped};
use crate::weights::{self, RandomWeights, Weights};

/// A model on a device. Cheap to clone: clones and sessions share the weights.
pub struct Model<M = Untyped> {
    shared: Arc<ModelInner>,
    brand: PhantomData<fn() -> M>,
}

struct ModelInner {
    vtable: ModelVtable,
    engine: Box<dyn EngineModel>,
    device: Device,
    source: Loaded,
    weight_bytes_per_token: u64,
    format: Format,
    final_norm: Option<FinalNorm>,
}

/// The time that loading a model took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadTimes {
    /// Opening the file and comparing its tensors with those of the model.
    pub file: Duration,
    /// Copying the weights to the device and compiling kernels, while the tokenizer is read.
    pub engine: Duration,
}

/// The name of an embedded file in messages.
pub(crate) const EMBEDDED: &str = "the file in the program";

/// The origin of the weights, and what was loaded with them.
pub(crate) struct Loaded {
    pub origin: Origin,
    /// The tokenizer, if there is one, or the reason why it cannot be read.
    pub tokenizer: Result<Option<Tokenizer>, String>,
    pub notes: Vec<String>,
    pub times: LoadTimes,
}

impl From<Origin> for Loaded {
    fn from(origin: Origin) -> Self {
        Loaded { origin, tokenizer: Ok(None), notes: Vec::new(), times: LoadTimes::default() }
    }
}

/// The origin of a model's weights. Packed weights may be rounded, so a trainer reads the
/// originals.
pub(crate) enum Origin {
    /// Drawn from this seed.
    Seed(u64),
    File(PathBuf),
    /// A GGUF file that is embedded in the program.
    Embedded(&'static [u8]),
    /// Passed by a caller, as [`Weights`] or as the bytes of a file, or copied from a trainer.
    Elsewhere,
}

impl<M: Gpt> Model<M> {
    /// An untrained model with random initial weights. A seed gives the same weights on every
    /// device.
    ///
    /// # Errors
    /// Fails if the device has too little memory or is lost.
    pub fn init(device: &Device, seed: u64) -> Result<Self, Error> {
        Self::init_as(device, seed, Format::F32)
    }

    /// Like [`init`](Self::init), with matrices stored as `format`.
    ///
    /// # Errors
    /// Fails if the device has too little memory or is lost.
    pub fn init_as(device: &Device, seed: u64, format: Format) -> Result<Self, Error> {
        let weights = RandomWeights::new(M::plan(), seed, format);
        Model::build(ModelVtable::of::<M>(), &weights, device, Origin::Seed(seed).into())
    }

    /// A model with the given weights.
    ///
    /// # Errors
    /// Fails if `weights` cannot be read, or if the device has too little memory or is lost.
    pub fn from_weights(weights: &dyn Weights, device: &Device) -> Result<Self, Error> {
        Model::build(ModelVtable::of::<M>(), weights, device, Origin::Elsewhere.into())
    }
}

impl Model<Untyped> {
    /// A model whose plan was made at run time. If its activation is a closure, the CPU engine
    /// interprets it.
    ///
    /// # Errors
    /// See [`from_weights`](Model::from_weights).
    pub fn from_plan(
        plan: &'static Plan,
        weights: &dyn Weights,
        device: &Device,
    ) -> Result<Self, Error> {
        let vtable = ModelVtable::of_plan(plan);
        Model::build(vtable, weights, device, Origin::Elsewhere.into())
    }

    /// Like [`init_as`](Model::init_as), for a model whose plan was made at run time.
    ///
    /// # Errors
    /// See [`init_as`](Model::init_as).
    pub fn init_plan(
        plan: &'static Plan,
        device: &Device,
        seed: u64,
        format: Format,
    ) -> Result<Self, Error> {
        let weights = RandomWeights::new(plan, seed, format);
        Model::build(ModelVtable::of_plan(plan), &weights, device, Origin::Seed(seed).into())
    }
}

impl<M> Model<M> {
    /// A model with the weights of a trainer.
    #[cfg(feature = "train")]
    pub(crate) fn from_vtable(
        vtable: ModelVtable,
        weights: &dyn Weights,
        device: &Device,
        tokenizer: Option<Tokenizer>,
    ) -> Result<Self, Error> {
        let source = Loaded { tokenizer: Ok(tokenizer), ..Origin::Elsewhere.into() };
        Model::build(vtable, weights, device, source)
    }

    fn build(
        vtable: ModelVtable,
        weights: &dyn Weights,
        device: &Device,
        source: Loaded,
    ) -> Result<Self, Error> {
        let engine = vtable.model(device, weights)?;
        Model::of(vtable, engine, weights, device, source)
    }

    /// A model on an `engine` that has packed `weights`.
    pub(crate) fn of(
        vtable: ModelVtable,
        engine: Box<dyn EngineModel>,
        weights: &dyn Weights,
        device: &Device,
        source: Loaded,
    ) -> Result<Self, Error> {
        let format = |id, layer| weights.format(id, layer);
        let shared = ModelInner {
            weight_bytes_per_token: bytes_per_token(vtable.plan, weights),
            format: vtable.plan.main_format(format),
            final_norm: FinalNorm::read(vtable.plan, weights)?,
            engine,
            vtable,
            device: device.clone(),
            source,
        };
        Ok(Model { shared: Arc::new(shared), brand: PhantomData })
    }

    /// A trainer that starts from this model's weights in f32. Weights that were converted during
    /// loading are read again from their origin, without rounding. `settings` is an
    /// [`AdamW`](crate::train::AdamW) or a [`TrainerSettings`].
    ///
    /// # Errors
    /// Fails if a setting is out of range, the device has too little memory, or the file of the
    /// weights cannot be read; also if the weights came from a trainer, from a caller's [`Weights`]
    /// or from [`load_bytes`](Self::load_bytes). Pass such weights to [`Trainer::new`].
    #[cfg(feature = "train")]
    pub fn trainer(self, settings: impl Into<TrainerSettings>) -> Result<Trainer<M>, Error> {
        let ModelInner { vtable, device, .. } = &*self.shared;
        let trainer =
            |weights: &dyn Weights| Trainer::with_vtable(*vtable, device, weights, settings.into());
        let trainer = match &self.shared.source.origin {
            Origin::Seed(seed) => trainer(&RandomWeights::new(vtable.plan, *seed, Format::F32)),
            Origin::File(path) => trainer(&weights::open(path, vtable.plan, Some(Format::F32))?),
            Origin::Embedded(gguf) => {
                let format = Some(Format::F32);
                trainer(&weights::open_embedded(EMBEDDED, gguf, vtable.plan, format)?)
            }
            Origin::Elsewhere => Err(Error::Input(format!(
                "the weights of {} are not from a file or a seed; pass them to `Trainer::new`",
                vtable.plan.name
            ))),
        };
        Ok(trainer?.tokenizer(self.tokenizer().ok().cloned()))
    }

    /// Drops the type parameter, for code that serves many models.
    pub fn erase(self) -> Model<Untyped> {
        Model { shared: self.shared, brand: PhantomData }
    }

    /// The plan of the model.
    pub fn plan(&self) -> &'static Plan {
        self.shared.vtable.plan
    }

    /// Bytes of weights that decoding a token reads, in the formats of the matrices.
    pub fn weight_bytes_per_token(&self) -> u64 {
        self.shared.weight_bytes_per_token
    }

    /// The format that most of the model's weights have.
    pub fn format(&self) -> Format {
        self.shared.format
    }

    /// The device that the model runs on.
    pub fn device(&self) -> &Device {
        &self.shared.device
    }

    /// The tokenizer that was loaded with the weights.
    ///
    /// # Errors
    /// Fails if no tokenizer was found, or if it cannot be read.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        let found = self.shared.source.tokenizer.as_ref().map_err(Error::tokenizer)?;
        found.as_ref().ok_or_else(|| {
            Error::tokenizer(format!(
                "{} has no tokenizer: none was loaded with its weights; put tokenizer.json beside them or name one",
                self.shared.vtable.plan.name
            ))
        })
    }

    /// Conversions of matrices during loading, one sentence for each pair of types. Lossless
    /// replacements of types without kernels are left out.
    pub fn notes(&self) -> &[String] {
        &self.shared.source.notes
    }

    /// The time that loading took; zero if the model was not loaded from a file or from its bytes.
    pub fn load_times(&self) -> LoadTimes {
        self.shared.source.times
    }

    /// The error for values that are not finite; `text` says which values. If the weights come from
    /// a file and a tensor has a NaN or an infinity, the message names the tensor.
    pub(crate) fn not_finite(&self, text: &str) -> Error {
        let plan = self.plan();
        let found = match &self.shared.source.origin {
            Origin::File(path) => weights::open(path, plan, None),
            Origin::Embedded(gguf) => weights::open_embedded(EMBEDDED, gguf, plan, None),
            Origin::Seed(_) | Origin::Elsewhere => return Error::Diverged(text.to_owned()),
        };
        let found = found.and_then(|weights| weights::first_not_finite(plan, &weights));
        Error::Diverged(match found {
            Ok(Some(tensor)) => format!("{text}: {tensor}"),
            Ok(None) => format!("{text}, although its weights are finite: a value overflows"),
            Err(_) => text.to_owned(),
        })
    }

    pub(crate) fn final_norm(&self) -> Option<&FinalNorm> {
        self.shared.final_norm.as_ref()
    }

    pub(crate) fn engine(&self) -> &dyn EngineModel {
        &*self.shared.engine
    }
}

impl<M> Clone for Model<M> {
    fn clone(&self) -> Self {
        Model { shared: self.shared.clone(), brand: PhantomData }
    }
}

/// Bytes of weights that decoding a token reads. Each part of a mixed matrix counts in its own
/// format.
fn bytes_per_token(plan: &Plan, weights: &dyn Weights) -> u64 {
    let whole = plan.weight_bytes_per_token(|id, layer| weights.format(id, layer));
    let mut saved = 0;
    for (id, tensor) in (0..).map(TensorId).zip(plan.tensors.iter()) {
        let bytes = |format: Format| format.row_bytes(tensor.columns as usize);
        for layer in tensor.layers(plan.spec.layers) {
            for (format, rows) in weights.part_formats(id, layer) {
                saved += rows * bytes(weights.format(id, layer)).saturating_sub(bytes(format));
            }
        }
    }
    whole - saved as u64
}
