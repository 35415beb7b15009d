//! What the rest of the runtime asks of an engine.
//!
//! An engine packs a model's weights once ([`EngineModel`]), and opens sessions on them ([`EngineSession`]). A session
//! owns its cache and buffers, allocates nothing after it is created, and knows nothing of tokens' meaning or of
//! chunking: the facade in `session.rs` never hands it more rows than it asked for. An engine may choose tokens by itself, where going back to the host
//! for each would cost too much. `train` is the same for training.

mod profile;
mod train;

use std::collections::VecDeque;

use gpt_plan::{ATTENTION_PART, RowCount};

use crate::{Error, Sampling};

pub use profile::{Clock, Limits, PartTime, Profile, StepTime, TrainProfile};
pub use train::{EngineTrainer, Learn, Precision, Sequences, State, TrainerOptions, Update};

/// Sizes of a session, fixed when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// Positions that the key/value cache holds; at most the model's `context`.
    pub capacity: u32,
    /// Most tokens that go through the model together; at most `capacity`.
    pub chunk: u32,
    /// Whether logits of all rows of a chunk can be asked for, not only of the last.
    pub all_logits: bool,
    /// What keys and values are kept in.
    pub cache: CacheFormat,
}

/// How a session keeps keys and values. Arithmetic is in f32 whatever they are kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheFormat {
    /// As they come.
    #[default]
    F32,
    /// Rounded to IEEE half precision: half the memory, and half the time to read it, which is what long contexts take. Keys and values beyond
    /// 65,504 would become infinite.
    F16,
    /// Rounded to the upper half of an f32: as small, coarser by eight times, without the limit.
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
    /// Rows of a buffer.
    pub(crate) fn rows(&self, rows: RowCount) -> u32 {
        match rows {
            RowCount::Requested if !self.all_logits => 1,
            RowCount::Chunk | RowCount::Requested => self.chunk,
            RowCount::Capacity => self.capacity,
            RowCount::Splits => self.capacity.div_ceil(ATTENTION_PART),
            RowCount::One => 1,
            RowCount::Batch | RowCount::LogitsChunk => unreachable!("rows of a training batch"),
        }
    }
}

/// Which logits a forward pass should produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogitsRequest {
    /// None: an inner chunk of a prompt. The head is skipped.
    Nothing,
    /// Those of the last row.
    Last,
    /// Those of every row; needs [`SessionOptions::all_logits`].
    All,
}

/// A model's weights, packed for one device; shared by its sessions.
pub trait EngineModel: Send + Sync {
    /// Opens a session. Everything it will ever need is allocated here.
    fn session(&self, options: SessionOptions) -> Result<Box<dyn EngineSession>, Error>;
}

/// A sequence to be continued by an engine that chooses tokens itself.
#[derive(Clone, Copy, Debug)]
pub struct Continue<'a> {
    /// The last token, which was chosen but not run.
    pub token: u32,
    /// Its position; the cache holds what is before.
    pub position: u32,
    /// Most tokens that are wanted, at least 1: there is room for the pass of each.
    pub most: u32,
    /// How they are chosen.
    pub sampling: &'a Sampling,
    /// The number of the first draw.
    pub draw: u32,
    /// Tokens that end the text.
    pub stops: &'a [u32],
}

/// What a step left in its output buffer, for tests and `self_test`.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The step's name in the plan.
    pub step: &'static str,
    /// The layer it ran for; 0 for steps outside of layers.
    pub layer: u32,
    /// `[rows, width]` of the step's output: `x`, `h`, `a` or `logits`; for `qkv`, each row's q, then k, then v.
    pub values: Vec<f32>,
}

/// One sequence in progress.
pub trait EngineSession: Send {
    /// Runs `tokens` (1..=chunk of them, all in the vocabulary) at positions `position..`, which the cache holds up to
    /// but not including `position`. Writes the wanted logits, `[1 or tokens.len(), vocab]`, to the front of `logits`.
    fn forward(
        &mut self,
        tokens: &[u32],
        position: u32,
        want: LogitsRequest,
        logits: &mut [f32],
    ) -> Result<(), Error>;

    /// Runs a token, chooses the one that follows as a [`Sampler`](crate::Sampler) would (up to rounding), runs that, and so on. Adds what was chosen to
    /// `chosen`: at least one token, at most `ask.most`, none after one of `ask.stops`. The last one has not been run, as far as anybody can see: an engine
    /// may be ahead of what it returns. Whoever wants more asks with the last token, its position and its draw, all else unchanged.
    ///
    /// Returns false, and has done nothing, if the engine leaves the choice to its caller.
    fn generate(&mut self, ask: &Continue<'_>, chosen: &mut VecDeque<u32>) -> Result<bool, Error> {
        let _ = (ask, chosen);
        Ok(false)
    }

    /// As [`forward`](Self::forward) with all logits, but every scratch buffer is filled with NaN first and each
    /// step's output is read back. Slow, and may allocate.
    fn trace(&mut self, tokens: &[u32], position: u32) -> Result<Vec<Trace>, Error>;

    /// As [`forward`](Self::forward) with the last row's logits, which are dropped, and with a look at the clock before and after each step. May
    /// allocate.
    fn profile(&mut self, tokens: &[u32], position: u32) -> Result<Profile, Error>;
}
