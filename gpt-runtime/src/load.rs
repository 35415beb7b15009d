//! From a file to a model: opening it, its tokenizer, its weights on their way to a device, and how far they are.
//!
//! What a file says and how its tensors are brought into form is `weights`' work, what a device makes of them the engines'. Reading a tokenizer
//! takes a vocabulary's time on one thread, so it is done beside the weights.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gpt_plan::{Format, Plan, TensorId};

use crate::Error;
use crate::device::Device;
use crate::model::{EMBEDDED, Model, Origin, Source};
use crate::text::Tokenizer;
use crate::vtable::{Gpt, ModelVtable};
use crate::weights::{self, Checkpoint, HostTensor, Weights};

/// How to load weights.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Convert every matrix to this format; keep each as the file has it if `None`.
    pub dtype: Option<Format>,
    /// A tokenizer to use in place of the one that comes with the weights.
    pub tokenizer: Option<PathBuf>,
    /// Told how far loading is.
    pub progress: Option<Progress>,
}

/// Somebody who wants to know how far something is: called with the bytes that are done and all there are, once for each tensor.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(u64, u64) + Send + Sync>);

impl Progress {
    /// Tells `watch`.
    pub fn new(watch: impl Fn(u64, u64) + Send + Sync + 'static) -> Progress {
        Progress(Arc::new(watch))
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// What loading a model took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadTimes {
    /// Opening the file, and comparing what it has with what the model wants.
    pub file: Duration,
    /// Bringing the weights to the device, in the order in which it reads them, building its kernels, and meanwhile reading the tokenizer.
    pub engine: Duration,
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
        let start = Instant::now();
        let loaded = weights::open(path, M::plan(), options.dtype)?;
        let file = start.elapsed();
        let tokenizer = || Tokenizer::beside(path, loaded.gguf());
        let origin = Origin::File(path.to_owned());
        loaded_on::<M>(device, (&loaded, file), origin, tokenizer, options)
    }

    /// As [`load_with`](Self::load_with), of a GGUF file that is part of the program (`include_bytes!`).
    pub fn load_embedded(
        gguf: &'static [u8],
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        let start = Instant::now();
        let loaded = weights::open_embedded(EMBEDDED, gguf, M::plan(), options.dtype)?;
        let file = start.elapsed();
        let tokenizer = || loaded.gguf().map_or(Ok(None), Tokenizer::within);
        let origin = Origin::Embedded(gguf);
        loaded_on::<M>(device, (&loaded, file), origin, tokenizer, options)
    }
}

/// A model of what was opened in the time `file`; `tokenizer` reads the tokenizer that comes with it.
fn loaded_on<M: Gpt>(
    device: &Device,
    (loaded, file): (&Checkpoint, Duration),
    origin: Origin,
    tokenizer: impl Fn() -> Result<Option<Tokenizer>, Error> + Sync,
    options: &LoadOptions,
) -> Result<Model<M>, Error> {
    let plan = M::plan();
    let start = Instant::now();
    let read = || {
        let tokenizer = match &options.tokenizer {
            Some(file) => Some(Tokenizer::from_path(file)?),
            None => tokenizer()?,
        };
        if let Some(tokenizer) = &tokenizer {
            tokenizer.check_vocab(plan.spec.vocab)?;
        }
        Ok(tokenizer)
    };
    let watched = options
        .progress
        .as_ref()
        .map(|progress| Watched::new(plan, loaded, progress));
    let weights: &dyn Weights = watched.as_ref().map_or(loaded, |watched| watched);
    let face = ModelVtable::of::<M>();
    let (tokenizer, engine) = std::thread::scope(|scope| {
        let tokenizer = scope.spawn(read);
        let engine = face.model(device, weights);
        (tokenizer.join(), engine)
    });
    let unreadable = || Error::Tokenizer("the tokenizer cannot be read".to_owned());
    let source = Source {
        origin,
        tokenizer: tokenizer.unwrap_or_else(|_| Err(unreadable()))?,
        notes: loaded.notes().to_vec(),
        times: LoadTimes {
            file,
            engine: start.elapsed(),
        },
    };
    Ok(Model::of(face, engine?, loaded, device, source))
}

/// Weights that tell how many of their bytes have been handed out.
struct Watched<'a> {
    weights: &'a dyn Weights,
    plan: &'static Plan,
    progress: &'a Progress,
    total: u64,
    done: AtomicU64,
}

impl<'a> Watched<'a> {
    fn new(plan: &'static Plan, weights: &'a dyn Weights, progress: &'a Progress) -> Watched<'a> {
        let mut watched = Watched {
            weights,
            plan,
            progress,
            total: 0,
            done: AtomicU64::new(0),
        };
        for (id, tensor) in (0..).map(TensorId).zip(plan.tensors.iter()) {
            let layers = tensor.layers(plan.spec.layers);
            watched.total += layers.map(|layer| watched.bytes(id, layer)).sum::<u64>();
        }
        watched
    }

    fn bytes(&self, id: TensorId, layer: u32) -> u64 {
        let tensor = self.plan.tensor(id);
        let row = self.format(id, layer).row_bytes(tensor.columns as usize);
        u64::from(tensor.rows) * row as u64
    }
}

impl Weights for Watched<'_> {
    fn tensor(&self, id: TensorId, layer: u32) -> Result<HostTensor<'_>, Error> {
        let tensor = self.weights.tensor(id, layer)?;
        let bytes = self.bytes(id, layer);
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // An engine may ask twice for what two steps share.
        (self.progress.0)(done.min(self.total), self.total);
        Ok(tensor)
    }

    fn format(&self, id: TensorId, layer: u32) -> Format {
        self.weights.format(id, layer)
    }
}
