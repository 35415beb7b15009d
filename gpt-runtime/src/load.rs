//! Loading: opens a file, reads its tokenizer, copies its weights to a device, and reports
//! progress.
//!
//! `weights` parses and converts files; the engines pack tensors. The tokenizer is read on a
//! separate thread while the weights are copied.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gpt_plan::{Format, Plan, TensorId};

use crate::Error;
use crate::clock::Instant;
use crate::device::Device;
use crate::model::{EMBEDDED, LoadTimes, Loaded, Model, Origin};
use crate::text::Tokenizer;
use crate::threads;
use crate::vtable::{Gpt, ModelVtable, Untyped};
use crate::weights::{self, Checkpoint, HostTensor, Weights};

/// Options for loading weights.
///
/// Fields may be added: build it with [`LoadOptions::default`] and the `with_` methods, or by
/// struct update.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The format that every matrix is converted to. If `None`, each keeps the format of the file;
    /// a format without kernels is converted.
    pub dtype: Option<Format>,
    /// A tokenizer file to use in place of the one beside or in the weights.
    pub tokenizer: Option<PathBuf>,
    /// Receives the progress of loading.
    pub progress: Option<Progress>,
}

impl LoadOptions {
    /// Converts every matrix to `dtype`.
    pub fn with_dtype(mut self, dtype: Format) -> LoadOptions {
        self.dtype = Some(dtype);
        self
    }

    /// Reads the tokenizer from `path` in place of the one beside or in the weights.
    pub fn with_tokenizer(mut self, path: impl Into<PathBuf>) -> LoadOptions {
        self.tokenizer = Some(path.into());
        self
    }

    /// Reports the progress of loading.
    pub fn with_progress(mut self, progress: Progress) -> LoadOptions {
        self.progress = Some(progress);
        self
    }
}

/// A progress callback. It is called after each tensor with the bytes done and the total.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(u64, u64) + Send + Sync>);

impl Progress {
    /// A callback that calls `watch(done, total)`, both in bytes.
    pub fn new(watch: impl Fn(u64, u64) + Send + Sync + 'static) -> Progress {
        Progress(Arc::new(watch))
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

impl<M: Gpt> Model<M> {
    /// Loads safetensors (a file, the index of a sharded model, or a folder) or GGUF. The tokenizer
    /// is read from the GGUF, or from the files beside the weights.
    ///
    /// # Errors
    /// Fails if a file cannot be read or does not fit the model (one message lists every mismatch),
    /// if the tokenizer has ids outside the vocabulary, or if the device has too little memory. If
    /// the tokenizer that comes with the weights cannot be read, only
    /// [`tokenizer`](Self::tokenizer) fails.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, Error> {
        Self::load_with(path, device, &LoadOptions::default())
    }

    /// Like [`load`](Self::load), with options.
    ///
    /// # Errors
    /// See [`load`](Self::load).
    pub fn load_with(
        path: impl AsRef<Path>,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        load_file(ModelVtable::of::<M>(), path.as_ref(), device, options)
    }

    /// Like [`load_with`](Self::load_with), for a GGUF file embedded in the program
    /// (`include_bytes!`).
    ///
    /// # Errors
    /// See [`load_with`](Self::load_with).
    pub fn load_embedded(
        gguf: &'static [u8],
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        let start = Instant::now();
        let vtable = ModelVtable::of::<M>();
        let loaded = weights::open_embedded(EMBEDDED, gguf, vtable.plan, options.dtype)?;
        model_in_memory(vtable, &loaded, start.elapsed(), Origin::Embedded(gguf), device, options)
    }

    /// Like [`load_with`](Self::load_with), for a GGUF file that the program has read into memory,
    /// as in a browser, where no file can be mapped. The bytes are freed when the model is loaded.
    /// Messages call the file `name`.
    ///
    /// # Errors
    /// See [`load_with`](Self::load_with).
    pub fn load_bytes(
        name: &str,
        gguf: Vec<u8>,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        load_bytes(ModelVtable::of::<M>(), name, gguf, device, options)
    }
}

impl Model<Untyped> {
    /// Like [`load_with`](Model::load_with), for a model whose plan was made at run time.
    ///
    /// # Errors
    /// See [`load_with`](Model::load_with).
    pub fn load_plan(
        plan: &'static Plan,
        path: impl AsRef<Path>,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        load_file(ModelVtable::of_plan(plan), path.as_ref(), device, options)
    }

    /// Like [`load_bytes`](Model::load_bytes), for a model whose plan was made at run time.
    ///
    /// # Errors
    /// See [`load_with`](Model::load_with).
    pub fn load_plan_bytes(
        plan: &'static Plan,
        name: &str,
        gguf: Vec<u8>,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        load_bytes(ModelVtable::of_plan(plan), name, gguf, device, options)
    }
}

fn load_bytes<M>(
    vtable: ModelVtable,
    name: &str,
    gguf: Vec<u8>,
    device: &Device,
    options: &LoadOptions,
) -> Result<Model<M>, Error> {
    let start = Instant::now();
    let loaded = weights::open_bytes(name, gguf, vtable.plan, options.dtype)?;
    model_in_memory(vtable, &loaded, start.elapsed(), Origin::Elsewhere, device, options)
}

/// Builds a model from a GGUF in memory, with the tokenizer in it. Opening the GGUF took the time
/// `file`.
fn model_in_memory<M>(
    vtable: ModelVtable,
    loaded: &Checkpoint,
    file: Duration,
    origin: Origin,
    device: &Device,
    options: &LoadOptions,
) -> Result<Model<M>, Error> {
    let tokenizer = || loaded.gguf().map_or(Ok(None), Tokenizer::from_gguf_metadata);
    model_of_checkpoint(vtable, device, (loaded, file), origin, tokenizer, options)
}

fn load_file<M>(
    vtable: ModelVtable,
    path: &Path,
    device: &Device,
    options: &LoadOptions,
) -> Result<Model<M>, Error> {
    let start = Instant::now();
    let loaded = weights::open(path, vtable.plan, options.dtype)?;
    let file = start.elapsed();
    let tokenizer = || Tokenizer::of_weights(path, loaded.gguf());
    let origin = Origin::File(path.to_owned());
    model_of_checkpoint(vtable, device, (&loaded, file), origin, tokenizer, options)
}

/// Builds a model from a checkpoint. Opening the checkpoint took the time `file`; `tokenizer` reads
/// its tokenizer.
fn model_of_checkpoint<M>(
    vtable: ModelVtable,
    device: &Device,
    (loaded, file): (&Checkpoint, Duration),
    origin: Origin,
    tokenizer: impl Fn() -> Result<Option<Tokenizer>, Error> + Sync,
    options: &LoadOptions,
) -> Result<Model<M>, Error> {
    let plan = vtable.plan;
    let start = Instant::now();
    let read = || {
        let tokenizer = match &options.tokenizer {
            Some(file) => Ok(Some(Tokenizer::from_path(file)?)),
            // A tokenizer that was found but cannot be read is an error only where it is used: the
            // weights work without it.
            None => tokenizer().map_err(|error| error.to_string()),
        };
        if let Ok(Some(tokenizer)) = &tokenizer {
            tokenizer.check_vocab(plan.spec.vocab)?;
        }
        Ok(tokenizer)
    };
    let watched = options.progress.as_ref().map(|progress| Watched::new(plan, loaded, progress));
    let weights: &dyn Weights = watched.as_ref().map_or(loaded, |watched| watched);
    let (tokenizer, engine) = std::thread::scope(|scope| {
        let tokenizer = threads::spawn(scope, read);
        let engine = vtable.model(device, weights);
        (tokenizer.join(), engine)
    });
    let unreadable = || Error::tokenizer("the tokenizer cannot be read".to_owned());
    let source = Loaded {
        origin,
        tokenizer: tokenizer.unwrap_or_else(|_| Err(unreadable()))?,
        notes: loaded.notes().to_vec(),
        times: LoadTimes { file, engine: start.elapsed() },
    };
    Model::of(vtable, engine?, loaded, device, source)
}

/// Weights that report how many of their bytes were read.
struct Watched<'a> {
    weights: &'a dyn Weights,
    plan: &'static Plan,
    progress: &'a Progress,
    total: u64,
    done: AtomicU64,
}

impl<'a> Watched<'a> {
    fn new(plan: &'static Plan, weights: &'a dyn Weights, progress: &'a Progress) -> Watched<'a> {
        let mut watched = Watched { weights, plan, progress, total: 0, done: AtomicU64::new(0) };
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

    /// Reports that a tensor was read.
    fn advance(&self, id: TensorId, layer: u32) {
        let bytes = self.bytes(id, layer);
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // An engine may read a tensor twice, if two steps share it.
        (self.progress.0)(done.min(self.total), self.total);
    }
}

impl Weights for Watched<'_> {
    fn tensor(&self, id: TensorId, layer: u32) -> Result<HostTensor<'_>, Error> {
        let tensor = self.weights.tensor(id, layer)?;
        self.advance(id, layer);
        Ok(tensor)
    }

    fn parts(&self, id: TensorId, layer: u32) -> Result<Vec<HostTensor<'_>>, Error> {
        let parts = self.weights.parts(id, layer)?;
        self.advance(id, layer);
        Ok(parts)
    }

    fn part_formats(&self, id: TensorId, layer: u32) -> Vec<(Format, usize)> {
        self.weights.part_formats(id, layer)
    }

    fn format(&self, id: TensorId, layer: u32) -> Format {
        self.weights.format(id, layer)
    }
}
