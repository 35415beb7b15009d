//! A model on a device: its weights, packed, and what came with them.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use gpt_plan::{Format, Plan};

use crate::Error;
use crate::cpu::{CpuModel, Gpt, TypedCpuModel};
use crate::device::{Device, EngineRef};
use crate::engine::EngineModel;
use crate::gpu::GpuModel;
use crate::session::SessionBuilder;
use crate::text::Tokenizer;
use crate::weights::{self, RandomWeights, Weights};

/// The brand of a model known only at run time.
pub enum Any {}

/// A model on a device. Cheap to clone: clones and sessions share the weights.
pub struct Model<M = Any> {
    shared: Arc<Shared>,
    brand: PhantomData<fn() -> M>,
}

struct Shared {
    plan: &'static Plan,
    engine: Box<dyn EngineModel>,
    device: Device,
    tokenizer: Option<Tokenizer>,
    notes: Vec<String>,
}

/// How to load weights.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Convert every matrix to this format; keep each as the file has it if `None`.
    pub dtype: Option<Format>,
    /// A tokenizer to use in place of the one that comes with the weights.
    pub tokenizer: Option<std::path::PathBuf>,
}

impl<M: Gpt> Model<M> {
    /// Loads safetensors (a file, the index of a sharded model, or the folder) or GGUF. The tokenizer comes from the GGUF, or
    /// from the files beside the weights.
    ///
    /// # Errors
    /// One message that lists everything in the file that does not fit the model.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, Error> {
        Self::load_with(path, device, &LoadOptions::default())
    }

    /// As [`load`](Self::load), with options.
    pub fn load_with(
        path: impl AsRef<Path>,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        let path = path.as_ref();
        let loaded = weights::open(path, M::plan(), options.dtype)?;
        let tokenizer = match &options.tokenizer {
            Some(file) => Some(Tokenizer::from_path(file)?),
            None => Tokenizer::beside(path, loaded.gguf())?,
        };
        if let Some(tokenizer) = &tokenizer {
            tokenizer.check_vocab(M::plan().spec.vocab)?;
        }
        let notes = loaded.notes().to_vec();
        Self::new(&loaded, device, tokenizer, notes)
    }

    /// A model that knows nothing: weights drawn as training would start, the same for a seed on every device.
    pub fn init(device: &Device, seed: u64) -> Result<Self, Error> {
        Self::init_as(device, seed, Format::F32)
    }

    /// As [`init`](Self::init), with matrices stored as `format`.
    pub fn init_as(device: &Device, seed: u64, format: Format) -> Result<Self, Error> {
        Self::new(
            &RandomWeights::new(M::plan(), seed, format),
            device,
            None,
            Vec::new(),
        )
    }

    /// A model with weights from anywhere.
    pub fn from_weights(weights: &dyn Weights, device: &Device) -> Result<Self, Error> {
        Self::new(weights, device, None, Vec::new())
    }

    fn new(
        weights: &dyn Weights,
        device: &Device,
        tokenizer: Option<Tokenizer>,
        notes: Vec<String>,
    ) -> Result<Self, Error> {
        let plan = M::plan();
        let engine: Box<dyn EngineModel> = match device.engine() {
            EngineRef::Cpu(cpu) => Box::new(TypedCpuModel::<M>::new(cpu.clone(), weights)?),
            EngineRef::Gpu(gpu) => Box::new(GpuModel::new(gpu.clone(), plan, weights)?),
        };
        Ok(Model::from_engine(plan, engine, device, tokenizer, notes))
    }
}

impl Model<Any> {
    /// A model whose plan was made at run time; the CPU engine then walks the plan as data.
    pub fn from_plan(
        plan: &'static Plan,
        weights: &dyn Weights,
        device: &Device,
    ) -> Result<Self, Error> {
        let engine: Box<dyn EngineModel> = match device.engine() {
            EngineRef::Cpu(cpu) => Box::new(CpuModel::new(cpu.clone(), plan, weights)?),
            EngineRef::Gpu(gpu) => Box::new(GpuModel::new(gpu.clone(), plan, weights)?),
        };
        Ok(Model::from_engine(plan, engine, device, None, Vec::new()))
    }
}

impl<M> Model<M> {
    fn from_engine(
        plan: &'static Plan,
        engine: Box<dyn EngineModel>,
        device: &Device,
        tokenizer: Option<Tokenizer>,
        notes: Vec<String>,
    ) -> Self {
        let shared = Shared {
            plan,
            engine,
            device: device.clone(),
            tokenizer,
            notes,
        };
        Model {
            shared: Arc::new(shared),
            brand: PhantomData,
        }
    }

    /// A new sequence; see [`SessionBuilder`] for its sizes.
    pub fn session(&self) -> SessionBuilder<M> {
        SessionBuilder::new(self.clone())
    }

    /// The same model without its brand, for code that serves many.
    pub fn erase(self) -> Model<Any> {
        Model {
            shared: self.shared,
            brand: PhantomData,
        }
    }

    /// The plan it runs by.
    pub fn plan(&self) -> &'static Plan {
        self.shared.plan
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
        self.shared.tokenizer.as_ref().ok_or_else(|| {
            Error::Tokenizer(format!(
                "{} has no tokenizer: its weights came without one; put tokenizer.json beside them or name one",
                self.shared.plan.name
            ))
        })
    }

    /// What loading had to change, one sentence each: formats without a kernel of their own and what they became.
    pub fn notes(&self) -> &[String] {
        &self.shared.notes
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
