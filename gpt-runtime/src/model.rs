//! A model on a device: its weights, packed, and what came with them. How it gets there from a file is in `load`.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use gpt_plan::{Format, Plan};

use crate::Error;
use crate::device::Device;
use crate::engine::EngineModel;
use crate::load::LoadTimes;
use crate::session::SessionBuilder;
use crate::text::Tokenizer;
use crate::train::{Trainer, TrainerSettings};
use crate::vtable::{Gpt, ModelVtable};
use crate::weights::{self, RandomWeights, Weights};

/// The brand of a model known only at run time.
pub enum Untyped {}

/// A model on a device. Cheap to clone: clones and sessions share the weights.
pub struct Model<M = Untyped> {
    shared: Arc<Shared>,
    brand: PhantomData<fn() -> M>,
}

struct Shared {
    face: ModelVtable,
    engine: Box<dyn EngineModel>,
    device: Device,
    source: Source,
    weight_bytes_per_token: u64,
    format: Format,
}

/// What messages call a file that is part of the program.
pub(crate) const EMBEDDED: &str = "the file in the program";

/// What came with the weights.
pub(crate) struct Source {
    pub origin: Origin,
    pub tokenizer: Option<Tokenizer>,
    pub notes: Vec<String>,
    pub times: LoadTimes,
}

impl From<Origin> for Source {
    fn from(origin: Origin) -> Self {
        Source {
            origin,
            tokenizer: None,
            notes: Vec::new(),
            times: LoadTimes::default(),
        }
    }
}

/// Where the weights came from: what is packed for inference may be rounded, a trainer asks there again.
pub(crate) enum Origin {
    /// Drawn from this seed.
    Seed(u64),
    File(PathBuf),
    /// A GGUF that is part of the program.
    Embedded(&'static [u8]),
    /// Handed over by a caller, who has them still or has not.
    Elsewhere,
}

impl<M: Gpt> Model<M> {
    /// A model that knows nothing: weights drawn as training would start, the same for a seed on every device.
    pub fn init(device: &Device, seed: u64) -> Result<Self, Error> {
        Self::init_as(device, seed, Format::F32)
    }

    /// As [`init`](Self::init), with matrices stored as `format`.
    pub fn init_as(device: &Device, seed: u64, format: Format) -> Result<Self, Error> {
        let weights = RandomWeights::new(M::plan(), seed, format);
        Model::build(
            ModelVtable::of::<M>(),
            &weights,
            device,
            Origin::Seed(seed).into(),
        )
    }

    /// A model with weights from anywhere.
    pub fn from_weights(weights: &dyn Weights, device: &Device) -> Result<Self, Error> {
        Model::build(
            ModelVtable::of::<M>(),
            weights,
            device,
            Origin::Elsewhere.into(),
        )
    }
}

impl Model<Untyped> {
    /// A model whose plan was made at run time; the CPU engine then walks the plan as data.
    pub fn from_plan(
        plan: &'static Plan,
        weights: &dyn Weights,
        device: &Device,
    ) -> Result<Self, Error> {
        let face = ModelVtable::of_plan(plan);
        Model::build(face, weights, device, Origin::Elsewhere.into())
    }
}

impl<M> Model<M> {
    /// A model whose weights are a trainer's.
    pub(crate) fn from_face(
        face: ModelVtable,
        weights: &dyn Weights,
        device: &Device,
        tokenizer: Option<Tokenizer>,
    ) -> Result<Self, Error> {
        let source = Source {
            tokenizer,
            ..Origin::Elsewhere.into()
        };
        Model::build(face, weights, device, source)
    }

    fn build(
        face: ModelVtable,
        weights: &dyn Weights,
        device: &Device,
        source: Source,
    ) -> Result<Self, Error> {
        let engine = face.model(device, weights)?;
        Ok(Model::of(face, engine, weights, device, source))
    }

    /// A model of an `engine` that has the `weights` already.
    pub(crate) fn of(
        face: ModelVtable,
        engine: Box<dyn EngineModel>,
        weights: &dyn Weights,
        device: &Device,
        source: Source,
    ) -> Self {
        let format = |id, layer| weights.format(id, layer);
        let shared = Shared {
            weight_bytes_per_token: face.plan.weight_bytes_per_token(format),
            format: face.plan.main_format(format),
            engine,
            face,
            device: device.clone(),
            source,
        };
        Model {
            shared: Arc::new(shared),
            brand: PhantomData,
        }
    }

    /// A trainer that starts from this model's weights, in f32 and as they came: what was rounded to load the model is read again. Settings
    /// are an [`AdamW`](crate::train::AdamW), or all of [`TrainerSettings`].
    ///
    /// # Errors
    /// Settings that make no sense, a device without the memory that it takes, or weights that came from a caller's
    /// [`Weights`]: [`Trainer::new`] takes those.
    pub fn trainer(self, settings: impl Into<TrainerSettings>) -> Result<Trainer<M>, Error> {
        let Shared { face, device, .. } = &*self.shared;
        let trainer =
            |weights: &dyn Weights| Trainer::with_face(*face, device, weights, settings.into());
        let trainer = match &self.shared.source.origin {
            Origin::Seed(seed) => trainer(&RandomWeights::new(face.plan, *seed, Format::F32)),
            Origin::File(path) => trainer(&weights::open(path, face.plan, Some(Format::F32))?),
            Origin::Embedded(gguf) => {
                let format = Some(Format::F32);
                trainer(&weights::open_embedded(EMBEDDED, gguf, face.plan, format)?)
            }
            Origin::Elsewhere => Err(Error::Input(format!(
                "the weights of {} were handed over by the program, which has to make its trainer of them, too: `Trainer::new`",
                face.plan.name
            ))),
        };
        Ok(trainer?.tokenizer(self.shared.source.tokenizer.clone()))
    }

    /// A new sequence; see [`SessionBuilder`] for its sizes.
    pub fn session(&self) -> SessionBuilder<M> {
        SessionBuilder::new(self.clone())
    }

    /// The same model without its brand, for code that serves many.
    pub fn erase(self) -> Model<Untyped> {
        Model {
            shared: self.shared,
            brand: PhantomData,
        }
    }

    /// The plan it runs by.
    pub fn plan(&self) -> &'static Plan {
        self.shared.face.plan
    }

    /// Bytes of weights that decoding a token reads, in the formats that the matrices have.
    pub fn weight_bytes_per_token(&self) -> u64 {
        self.shared.weight_bytes_per_token
    }

    /// The format that most of its weights are in.
    pub fn format(&self) -> Format {
        self.shared.format
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.shared.device
    }

    /// The tokenizer that came with the weights.
    ///
    /// # Errors
    /// If none did.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        self.shared.source.tokenizer.as_ref().ok_or_else(|| {
            Error::Tokenizer(format!(
                "{} has no tokenizer: its weights came without one; put tokenizer.json beside them or name one",
                self.shared.face.plan.name
            ))
        })
    }

    /// What loading had to change, one sentence each: formats without a kernel of their own and what they became.
    pub fn notes(&self) -> &[String] {
        &self.shared.source.notes
    }

    /// What loading it took; nothing, if it came from no file.
    pub fn load_times(&self) -> LoadTimes {
        self.shared.source.times
    }

    pub(crate) fn engine(&self) -> &dyn EngineModel {
        &*self.shared.engine
    }
}

impl<M> Clone for Model<M> {
    fn clone(&self) -> Self {
        Model {
            shared: self.shared.clone(),
            brand: PhantomData,
        }
    }
}
