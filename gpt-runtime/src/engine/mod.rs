//! The interface of an engine.
//!
//! An engine packs the weights of a model once ([`EngineModel`]) and opens sessions on them
//! ([`EngineSession`]). A session allocates its cache and buffers when it is created; later only
//! the methods that say so allocate. It runs at most a chunk of tokens; `session` splits prompts.
//! An engine samples on the device if a round trip to the host for each token would cost too much.
//! `train` is the interface of training.

mod profile;
#[cfg(feature = "train")]
mod train;

use std::collections::VecDeque;

use gpt_plan::{RowCount, SPLIT_KEYS};

use crate::wait::Wait;
use crate::{Error, Sampling};

pub use profile::{Clock, KernelTime, Latency, PeakRates, Profile, StepTime, TrainProfile};
#[cfg(feature = "train")]
pub use train::{EngineTrainer, Learn, Precision, Sequences, TensorState, TrainerOptions, Update};

/// The target of a token whose loss does not count: its row has the loss 0 and the gradient 0. It
/// is not the id of a token, because a vocabulary has at most 2^32 - 1 tokens. `IGNORED` in
/// `shaders/wgsl/loss/cross_entropy.wgsl` is equal.
pub const IGNORED: u32 = u32::MAX;

/// Sizes of a session, fixed when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// Positions that the key/value cache holds; at most the model's `context`.
    pub capacity: u32,
    /// The largest number of tokens that one pass runs; at most `capacity`.
    pub chunk: u32,
    /// Whether the logits of all rows of a chunk are kept, not only the last row's.
    pub all_logits: bool,
    /// The format of keys and values.
    pub cache: CacheFormat,
}

/// The format in which a session caches keys and values. Arithmetic is in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheFormat {
    /// Not rounded.
    #[default]
    F32,
    /// Rounded to IEEE half precision: half the memory, and half the time to read the cache, which
    /// dominates in long contexts. Keys and values beyond 65,504 become infinite.
    F16,
    /// Rounded to the upper half of an f32: as small as f16, eight times coarser, with the range of
    /// f32.
    Bf16,
}

impl CacheFormat {
    /// Every format.
    pub const ALL: [CacheFormat; 3] = [CacheFormat::F32, CacheFormat::F16, CacheFormat::Bf16];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            CacheFormat::F32 => "f32",
            CacheFormat::F16 => "f16",
            CacheFormat::Bf16 => "bf16",
        }
    }

    /// Bytes of a number.
    pub const fn bytes(self) -> usize {
        match self {
            CacheFormat::F32 => 4,
            CacheFormat::F16 | CacheFormat::Bf16 => 2,
        }
    }
}

impl SessionOptions {
    /// The number of rows that `rows` stands for in this session.
    pub(crate) fn rows(&self, rows: RowCount) -> u32 {
        match rows {
            RowCount::Requested if !self.all_logits => 1,
            RowCount::Chunk | RowCount::Requested => self.chunk,
            RowCount::Capacity => self.capacity,
            RowCount::Splits => self.capacity.div_ceil(SPLIT_KEYS),
            RowCount::One => 1,
            RowCount::Batch | RowCount::LogitRange => unreachable!("rows of a training batch"),
        }
    }
}

/// The logits that a forward pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogitsRequest {
    /// No logits: the head is skipped. Used for every chunk of a prompt except the last.
    Nothing,
    /// The logits of the last row.
    Last,
    /// The logits of every row; needs [`SessionOptions::all_logits`].
    All,
}

/// A model's weights, packed for one device; shared by its sessions.
pub trait EngineModel: Send + Sync {
    /// Opens a session and allocates its buffers.
    fn session(&self, options: SessionOptions) -> Result<Box<dyn EngineSession>, Error>;
}

/// A sequence that the engine continues by sampling on the device.
#[derive(Clone, Copy, Debug)]
pub struct Continue<'a> {
    /// The last token: chosen, not yet run.
    pub token: u32,
    /// Its position; the cache holds all positions before it.
    pub position: u32,
    /// The largest number of tokens to choose, at least 1; all of them fit in the cache.
    pub most: u32,
    /// The sampling parameters.
    pub sampling: &'a Sampling,
    /// The index of the first draw.
    pub draw: u32,
    /// Tokens that end the text.
    pub stops: &'a [u32],
}

/// The output of a step, for [`Session::observe`](crate::Session::observe), tests and `self_test`.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The step's name in the plan.
    pub step: &'static str,
    /// The layer it ran for; 0 for steps outside of layers.
    pub layer: u32,
    /// The step's output `[rows, width]`: `x`, `h`, `a` or `logits`. A row of `qkv` is q, then k,
    /// then v.
    pub values: Vec<f32>,
}

/// One sequence in progress.
pub trait EngineSession: Send {
    /// Runs `tokens` (1 to chunk of them, all in the vocabulary) at positions `position..`; the
    /// cache holds all positions before `position`. Writes the requested logits, `[1 or
    /// tokens.len(), vocab]`, to the front of `logits`.
    fn forward<'a>(
        &'a mut self,
        tokens: &'a [u32],
        position: u32,
        request: LogitsRequest,
        logits: &'a mut [f32],
    ) -> Wait<'a, ()>;

    /// Runs a token, samples its successor like a [`Sampler`](crate::Sampler) (up to rounding), and
    /// repeats. Appends the sampled tokens to `chosen`: at least one, at most `request.most`, none
    /// after one of `request.stops`. The last one counts as not yet run, even if the engine has run
    /// ahead. To continue, call again with the last token, its position and its draw, and with the
    /// other fields unchanged.
    ///
    /// Returns false and does nothing if the engine does not sample on the device.
    fn generate<'a>(
        &'a mut self,
        request: &'a Continue<'_>,
        chosen: &'a mut VecDeque<u32>,
    ) -> Wait<'a, bool> {
        let _ = (request, chosen);
        Wait::done(Ok(false))
    }

    /// Opens a session of the same `options` with a copy of the first `positions` positions of the
    /// cache.
    fn fork(
        &self,
        options: SessionOptions,
        positions: u32,
    ) -> Result<Box<dyn EngineSession>, Error>;

    /// Runs `tokens` as [`forward`](Self::forward) does, without the head, and appends the residual
    /// stream after the last block to `out`, `[tokens.len(), embed]`. May allocate.
    fn stream(&mut self, tokens: &[u32], position: u32, out: &mut Vec<f32>) -> Result<(), Error>;

    /// Runs each of `texts` as a separate sequence, and calls `sink` with the index of a text and
    /// its residual stream `[tokens, embed]`, in order. A text has 1 to chunk tokens. The streams
    /// equal those of [`stream`](Self::stream) from position 0, bit for bit. The content of the
    /// cache is lost. May allocate.
    fn streams(
        &mut self,
        texts: &[&[u32]],
        sink: &mut dyn FnMut(usize, &mut [f32]),
    ) -> Result<(), Error> {
        let mut rows = Vec::new();
        for (i, text) in texts.iter().enumerate() {
            rows.clear();
            self.stream(text, 0, &mut rows)?;
            sink(i, &mut rows);
        }
        Ok(())
    }

    /// Runs the head alone: writes the logits `[rows, vocab]` that the steps of the head compute
    /// from `stream`, `[rows, embed]`, to the front of `logits`. There are 1 to chunk rows, and no
    /// more than 1 without [`SessionOptions::all_logits`]. The cache keeps its content. May
    /// allocate.
    fn head(&mut self, stream: &[f32], logits: &mut [f32]) -> Result<(), Error>;

    /// Like [`forward`](Self::forward) with all logits, but fills every scratch buffer with NaN
    /// first and returns the output of each step. Slow; may allocate.
    fn trace<'a>(&'a mut self, tokens: &'a [u32], position: u32) -> Wait<'a, Vec<Trace>>;

    /// Like [`forward`](Self::forward) with the logits of the last row, which are discarded; times
    /// each step. May allocate.
    fn profile(&mut self, tokens: &[u32], position: u32) -> Result<Profile, Error>;
}
