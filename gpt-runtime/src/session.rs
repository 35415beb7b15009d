//! Sessions: one sequence of tokens on a model's weights.
//!
//! A [`Session`] cuts a prompt into chunks, keeps the history, and refuses what the engine must never see (tokens out of
//! the vocabulary, more positions than the cache holds). It is branded by its model, so that logits of one model
//! cannot be read as another's. Choosing the next token from logits is `sample`'s work; text in and out is
//! [`Generation`](crate::Generation)'s.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ops::Deref;

use gpt_plan::Mask;

use crate::Error;
use crate::engine::{
    CacheFormat, Continue, EngineSession, LogitsRequest, Profile, SessionOptions, Trace,
};
use crate::model::{Model, Untyped};
use crate::sample::Sampler;

/// Most tokens that go through a model together unless a session asks for another number.
const CHUNK: u32 = 512;

/// Bytes of logits that a session keeps at most, where the logits of all rows are wanted.
const LOGITS_BYTES: u64 = 64 << 20;

/// Sizes of a session to be; [`open`](SessionBuilder::open) creates it.
pub struct SessionBuilder<M = Untyped> {
    model: Model<M>,
    capacity: Option<u32>,
    chunk: Option<u32>,
    all_logits: bool,
    cache: CacheFormat,
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

    /// Positions that the cache holds; the model's context if not given.
    pub fn capacity(mut self, positions: u32) -> Self {
        self.capacity = Some(positions);
        self
    }

    /// Most tokens that go through the model together (512 if not given). Larger chunks read the weights less often and
    /// take more memory; results do not depend on it.
    pub fn chunk(mut self, tokens: u32) -> Self {
        self.chunk = Some(tokens);
        self
    }

    /// Makes room for the logits of every token ([`Session::each_logits`]), not only of the last.
    pub fn all_logits(mut self) -> Self {
        self.all_logits = true;
        self
    }

    /// What keys and values are kept in; f32 if not given.
    pub fn cache(mut self, format: CacheFormat) -> Self {
        self.cache = format;
        self
    }

    /// Creates the session, and with it everything it will ever allocate.
    pub fn open(self) -> Result<Session<M>, Error> {
        let spec = &self.model.plan().spec;
        let capacity = self.capacity.unwrap_or(spec.context);
        if capacity == 0 || capacity > spec.context {
            return Err(Error::Input(format!(
                "a session of {capacity} positions was asked for, but {} has a context of {}",
                self.model.plan().name,
                spec.context
            )));
        }
        let chunk = match (self.chunk, spec.mask) {
            (Some(0), _) => {
                return Err(Error::Input(
                    "a chunk of 0 tokens was asked for; it takes at least 1".to_owned(),
                ));
            }
            // Every token looks at every other, so they have to go through together.
            (_, Mask::Bidirectional) => capacity,
            (Some(chunk), Mask::Causal) => chunk.min(capacity),
            (None, Mask::Causal) => {
                let fits = LOGITS_BYTES / (4 * u64::from(spec.vocab));
                let most = if self.all_logits {
                    fits.clamp(1, u64::from(CHUNK)) as u32
                } else {
                    CHUNK
                };
                most.min(capacity)
            }
        };
        let options = SessionOptions {
            capacity,
            chunk,
            all_logits: self.all_logits,
            cache: self.cache,
        };
        let rows = if self.all_logits { chunk as usize } else { 1 };
        Ok(Session {
            engine: self.model.engine().session(options)?,
            logits: vec![0.0; rows * spec.vocab as usize],
            tokens: Vec::with_capacity(capacity as usize),
            follows: false,
            ahead: VecDeque::new(),
            options,
            model: self.model,
        })
    }
}

/// One sequence in progress.
pub struct Session<M = Untyped> {
    model: Model<M>,
    engine: Box<dyn EngineSession>,
    options: SessionOptions,
    tokens: Vec<u32>,
    logits: Vec<f32>,
    /// Whether the first row of `logits` is what follows the last token.
    follows: bool,
    /// Tokens that the engine chose, and that were not asked for yet.
    ahead: VecDeque<u32>,
}

impl<M> Session<M> {
    /// The model it runs on.
    pub fn model(&self) -> &Model<M> {
        &self.model
    }

    /// The tokens that the cache holds.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Positions that are still free.
    pub fn remaining(&self) -> usize {
        self.options.capacity as usize - self.tokens.len()
    }

    /// Its sizes.
    pub fn options(&self) -> SessionOptions {
        self.options
    }

    /// Forgets everything after the first `len` tokens. The next push continues from there.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.moved();
    }

    /// Appends `tokens` and returns the logits `[vocab]` that follow the last one.
    pub fn push(&mut self, tokens: &[u32]) -> Result<Logits<'_, M>, Error> {
        self.check(tokens)?;
        let chunk = self.options.chunk as usize;
        let last = (tokens.len() - 1) / chunk;
        for (i, part) in tokens.chunks(chunk).enumerate() {
            let want = if i == last {
                LogitsRequest::Last
            } else {
                LogitsRequest::Nothing
            };
            self.run(part, want)?;
        }
        self.follows = true;
        let vocab = self.model.plan().spec.vocab as usize;
        Ok(Logits {
            values: &self.logits[..vocab],
            brand: PhantomData,
        })
    }

    /// Chooses the token that follows the last one. The token is not appended.
    ///
    /// # Errors
    /// If there is no token yet, or if the last one has to be run again (after a truncation or a generation) and that fails.
    pub fn sample(&mut self, sampler: &mut Sampler) -> Result<u32, Error> {
        if !self.follows {
            let Some(last) = self.tokens.pop() else {
                return Err(Error::Input(
                    "no token can be chosen to follow an empty session; push some first".to_owned(),
                ));
            };
            self.run(&[last], LogitsRequest::Last)?;
            self.follows = true;
        }
        let vocab = self.model.plan().spec.vocab as usize;
        Ok(sampler.sample(&self.logits[..vocab], &self.tokens))
    }

    /// Appends `token`, which was chosen, and chooses the one that follows. An engine that chooses by itself may run ahead, to a token of `stops` and by
    /// `most` tokens; the only way to what it has chosen is to go on with the same sampler.
    pub(crate) fn follow(
        &mut self,
        token: u32,
        sampler: &mut Sampler,
        stops: &[u32],
        most: usize,
    ) -> Result<u32, Error> {
        if self.ahead.is_empty() {
            self.check(&[token])?;
            let ask = Continue {
                token,
                position: self.tokens.len() as u32,
                most: most.clamp(1, self.remaining()) as u32,
                sampling: sampler.sampling(),
                draw: sampler.draws(),
                stops,
            };
            if !self.engine.generate(&ask, &mut self.ahead)? {
                self.push(&[token])?;
                return self.sample(sampler);
            }
        }
        let next = self.ahead.pop_front().ok_or_else(|| {
            Error::Device(format!("{} chose no token", self.model.device().name()))
        })?;
        self.tokens.push(token);
        self.follows = false;
        sampler.skip(1);
        Ok(next)
    }

    /// What was known of the tokens that follow holds no more.
    fn moved(&mut self) {
        self.follows = false;
        self.ahead.clear();
    }

    /// Appends `tokens` and hands the logits `[vocab]` that follow each of them to `sink`, with the token's position.
    ///
    /// # Errors
    /// As [`push`](Self::push), and if the session was not opened with [`SessionBuilder::all_logits`].
    pub fn each_logits(
        &mut self,
        tokens: &[u32],
        mut sink: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        if !self.options.all_logits {
            return Err(Error::Input(
                "logits of every token were asked for; open the session with `all_logits()`"
                    .to_owned(),
            ));
        }
        self.check(tokens)?;
        let vocab = self.model.plan().spec.vocab as usize;
        for part in tokens.chunks(self.options.chunk as usize) {
            let position = self.tokens.len();
            self.run(part, LogitsRequest::All)?;
            for (i, row) in self.logits.chunks(vocab).take(part.len()).enumerate() {
                sink(position + i, row);
            }
        }
        Ok(())
    }

    /// Runs `tokens` (at most a chunk) and returns what every step left behind; for tests and self-tests.
    pub fn trace(&mut self, tokens: &[u32]) -> Result<Vec<Trace>, Error> {
        self.check(tokens)?;
        if tokens.len() > self.options.chunk as usize || !self.options.all_logits {
            return Err(Error::Input(
                "a trace takes one chunk, in a session with all logits".to_owned(),
            ));
        }
        self.moved();
        let traces = self.engine.trace(tokens, self.tokens.len() as u32)?;
        self.tokens.extend_from_slice(tokens);
        Ok(traces)
    }

    /// Appends `tokens` (at most a chunk) and says how long each step took.
    ///
    /// # Errors
    /// As [`push`](Self::push), and for more tokens than a chunk has.
    pub fn profile(&mut self, tokens: &[u32]) -> Result<Profile, Error> {
        self.check(tokens)?;
        let chunk = self.options.chunk as usize;
        if tokens.len() > chunk {
            return Err(Error::Input(format!(
                "a profile takes one chunk: {} tokens were given, and the session's chunk is {chunk}",
                tokens.len()
            )));
        }
        let profile = self.engine.profile(tokens, self.tokens.len() as u32)?;
        self.tokens.extend_from_slice(tokens);
        Ok(profile)
    }

    fn run(&mut self, tokens: &[u32], want: LogitsRequest) -> Result<(), Error> {
        self.moved();
        self.engine
            .forward(tokens, self.tokens.len() as u32, want, &mut self.logits)?;
        self.tokens.extend_from_slice(tokens);
        Ok(())
    }

    fn check(&self, tokens: &[u32]) -> Result<(), Error> {
        let spec = &self.model.plan().spec;
        if tokens.is_empty() {
            return Err(Error::Input(
                "there is nothing to run: the list of tokens is empty".to_owned(),
            ));
        }
        if let Some(bad) = tokens.iter().find(|t| **t >= spec.vocab) {
            return Err(Error::Input(format!(
                "token {bad} is not in the vocabulary of {}, which has {} tokens (0..={})",
                self.model.plan().name,
                spec.vocab,
                spec.vocab - 1
            )));
        }
        if tokens.len() > self.remaining() {
            return Err(Error::Input(format!(
                "{} tokens do not fit: {} of the session's {} positions are taken (the model's context is {})",
                tokens.len(),
                self.tokens.len(),
                self.options.capacity,
                spec.context
            )));
        }
        if spec.mask == Mask::Bidirectional && !self.tokens.is_empty() {
            return Err(Error::Input(format!(
                "{} is bidirectional: it reads a text whole and cannot continue one; truncate the session to 0 first",
                self.model.plan().name
            )));
        }
        Ok(())
    }
}

/// Scores of the next token, `[vocab]`; reads as a slice.
pub struct Logits<'s, M = Untyped> {
    values: &'s [f32],
    brand: PhantomData<fn() -> M>,
}

impl<M> Deref for Logits<'_, M> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.values
    }
}

impl<M> Logits<'_, M> {
    /// The most likely token; the smallest of equals.
    pub fn argmax(&self) -> u32 {
        let start = (0, f32::NEG_INFINITY);
        let best = self
            .values
            .iter()
            .enumerate()
            .fold(
                start,
                |best, (i, &value)| {
                    if value > best.1 { (i, value) } else { best }
                },
            );
        best.0 as u32
    }
}
