//! The options of a session.

use std::collections::VecDeque;

use super::Session;
use crate::Error;
use crate::engine::{CacheFormat, SessionOptions};
use crate::model::Model;
use crate::vtable::Untyped;

/// The default chunk, which is the largest number of tokens that one pass runs.
pub const DEFAULT_CHUNK: u32 = 512;

/// The most bytes that the logits of all rows take. This limits the default chunk of a session that
/// keeps them.
const LOGITS_BYTES: u64 = 64 << 20;

/// Configures a session; [`open`](SessionBuilder::open) creates it.
pub struct SessionBuilder<M = Untyped> {
    model: Model<M>,
    capacity: Option<u32>,
    chunk: Option<u32>,
    all_logits: bool,
    cache: CacheFormat,
}

impl<M> Model<M> {
    /// Configures a new session; see [`SessionBuilder`].
    pub fn session(&self) -> SessionBuilder<M> {
        SessionBuilder::new(self.clone())
    }
}

impl<M> SessionBuilder<M> {
    pub(crate) fn new(model: Model<M>) -> Self {
        SessionBuilder {
            model,
            capacity: None,
            chunk: None,
            all_logits: false,
            cache: CacheFormat::F32,
        }
    }

    /// Positions that the cache holds; the model's context by default.
    pub fn capacity(mut self, positions: u32) -> Self {
        self.capacity = Some(positions);
        self
    }

    /// The largest number of tokens that one pass runs; 512 by default, or fewer with
    /// [`all_logits`](Self::all_logits) if the logits would take more than 64 MiB. With a larger
    /// chunk, passes read the weights less often and take more memory. The chunk does not change
    /// results. A bidirectional model runs a text in one pass, whatever the chunk.
    pub fn chunk(mut self, tokens: u32) -> Self {
        self.chunk = Some(tokens);
        self
    }

    /// Allocates memory for the logits of every token of a chunk, for [`Session::each_logits`] and
    /// [`Session::observe`].
    pub fn all_logits(mut self) -> Self {
        self.all_logits = true;
        self
    }

    /// The format of cached keys and values; f32 by default.
    pub fn cache(mut self, format: CacheFormat) -> Self {
        self.cache = format;
        self
    }

    /// Creates the session and allocates its buffers.
    ///
    /// # Errors
    /// Fails if the capacity or the chunk is out of range, or if there is too little memory.
    pub fn open(self) -> Result<Session<M>, Error> {
        let spec = &self.model.plan().spec;
        let capacity = self.capacity.unwrap_or(spec.context);
        if capacity == 0 || capacity > spec.context {
            return Err(Error::Input(format!(
                "a session of {capacity} positions was requested, but {} has a context of {}",
                self.model.plan().name,
                spec.context
            )));
        }
        let chunk = match (self.chunk, spec.is_causal()) {
            (Some(0), _) => {
                return Err(Error::Input(
                    "a chunk of 0 tokens was requested; a chunk has at least 1".to_owned(),
                ));
            }
            // Every token attends to every other, so one pass must run all of them.
            (_, false) => capacity,
            (Some(chunk), true) => chunk.min(capacity),
            (None, true) => {
                let fits = LOGITS_BYTES / (4 * u64::from(spec.vocab));
                let most = if self.all_logits {
                    fits.clamp(1, u64::from(DEFAULT_CHUNK)) as u32
                } else {
                    DEFAULT_CHUNK
                };
                most.min(capacity)
            }
        };
        let options =
            SessionOptions { capacity, chunk, all_logits: self.all_logits, cache: self.cache };
        let rows = if self.all_logits { chunk as usize } else { 1 };
        Ok(Session {
            engine: self.model.engine().session(options)?,
            logits: vec![0.0; rows * spec.vocab as usize],
            tokens: Vec::with_capacity(capacity as usize),
            has_logits: false,
            sampled: VecDeque::new(),
            options,
            model: self.model,
        })
    }
}
