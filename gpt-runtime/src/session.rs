//! Sessions: one sequence of tokens on a model's weights.
//!
//! A [`Session`] splits a prompt into chunks, keeps the history, and rejects tokens outside the
//! vocabulary and positions beyond the cache. The model is its type parameter, so the logits of two
//! models have different types. `sample` chooses tokens from logits;
//! [`Generation`](crate::Generation) handles text.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ops::Deref;

use crate::Error;
use crate::engine::{
    CacheFormat, Continue, EngineSession, LogitsRequest, Profile, SessionOptions, Trace,
};
use crate::hidden::Hidden;
use crate::model::Model;
use crate::parameter::sealed;
use crate::sample::Sampler;
use crate::vtable::{Gpt, Untyped};

/// The default chunk: the largest number of tokens that one pass runs.
const CHUNK: u32 = 512;

/// The default limit, in bytes, on the logits of a session that keeps those of all rows.
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
    /// Configures a new sequence; see [`SessionBuilder`].
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

    /// The largest number of tokens that one pass runs; 512 by default. Larger chunks read the
    /// weights less often and take more memory. Results do not depend on it.
    pub fn chunk(mut self, tokens: u32) -> Self {
        self.chunk = Some(tokens);
        self
    }

    /// Allocates the logits of every token, for [`Session::each_logits`].
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
    /// A capacity or chunk out of range, or too little memory.
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
            has_logits: false,
            sampled: VecDeque::new(),
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
    /// Whether the first row of `logits` follows the last token.
    has_logits: bool,
    /// Tokens that the engine has sampled and [`advance`](Session::advance) has not returned.
    sampled: VecDeque<u32>,
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

    /// Its sizes and cache format.
    pub fn options(&self) -> SessionOptions {
        self.options
    }

    /// Keeps the first `len` tokens and drops the rest. The next push continues after them.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.invalidate_logits();
    }

    /// Appends `tokens` and returns the logits `[vocab]` that follow the last one.
    ///
    /// # Errors
    /// `tokens` is empty, has a token outside the vocabulary, or exceeds the remaining positions;
    /// the model is bidirectional and the session is not empty; or the device fails.
    pub fn push(&mut self, tokens: &[u32]) -> Result<Logits<'_, M>, Error> {
        self.check(tokens)?;
        let chunk = self.options.chunk as usize;
        let last = (tokens.len() - 1) / chunk;
        for (i, part) in tokens.chunks(chunk).enumerate() {
            let request = if i == last {
                LogitsRequest::Last
            } else {
                LogitsRequest::Nothing
            };
            self.run(part, request)?;
        }
        self.has_logits = true;
        let vocab = self.model.plan().spec.vocab as usize;
        Ok(Logits {
            values: &self.logits[..vocab],
            brand: PhantomData,
        })
    }

    /// Chooses the token that follows the last one. The token is not appended.
    ///
    /// # Errors
    /// The session is empty, or the engine fails. After a truncation or a generation the last token
    /// is run again.
    pub fn sample(&mut self, sampler: &mut Sampler) -> Result<u32, Error> {
        if !self.has_logits {
            let Some(last) = self.tokens.pop() else {
                return Err(Error::Input(
                    "no token can be chosen to follow an empty session; push some first".to_owned(),
                ));
            };
            self.run(&[last], LogitsRequest::Last)?;
            self.has_logits = true;
        }
        let vocab = self.model.plan().spec.vocab as usize;
        Ok(sampler.sample(&self.logits[..vocab], &self.tokens))
    }

    /// Appends the chosen `token` and chooses its successor. An engine that samples on the device
    /// may sample up to `most` tokens at once, the last of them one of `stops`. Those tokens are
    /// valid only for the same sampler.
    pub(crate) fn advance(
        &mut self,
        token: u32,
        sampler: &mut Sampler,
        stops: &[u32],
        most: usize,
    ) -> Result<u32, Error> {
        if self.sampled.is_empty() {
            self.check(&[token])?;
            let request = Continue {
                token,
                position: self.tokens.len() as u32,
                most: most.clamp(1, self.remaining()) as u32,
                sampling: sampler.sampling(),
                draw: sampler.draws(),
                stops,
            };
            if !self.engine.generate(&request, &mut self.sampled)? {
                self.push(&[token])?;
                return self.sample(sampler);
            }
        }
        let next = self.sampled.pop_front().ok_or_else(|| {
            Error::device(format!("{} chose no token", self.model.device().name()))
        })?;
        self.tokens.push(token);
        self.has_logits = false;
        sampler.skip(1);
        Ok(next)
    }

    /// Invalidates the logits and the tokens that were sampled in advance.
    fn invalidate_logits(&mut self) {
        self.has_logits = false;
        self.sampled.clear();
    }

    /// Appends `tokens` and calls `sink` with the position of each and the logits `[vocab]` that
    /// follow it.
    ///
    /// # Errors
    /// As [`push`](Self::push), and if the session was not opened with
    /// [`SessionBuilder::all_logits`].
    pub fn each_logits(
        &mut self,
        tokens: &[u32],
        mut sink: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        if !self.options.all_logits {
            return Err(Error::Input(
                "logits of every token were requested; open the session with `all_logits()`"
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

    /// Appends `tokens` and returns their hidden states `[tokens, embed]`: the residual stream
    /// after the last block and the final norm, which the head reads.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn hidden(&mut self, tokens: &[u32]) -> Result<Hidden<M>, Error> {
        self.check(tokens)?;
        let width = self.model.plan().spec.embed as usize;
        let mut values = Vec::with_capacity(tokens.len() * width);
        for chunk in tokens.chunks(self.options.chunk as usize) {
            self.invalidate_logits();
            let position = self.tokens.len() as u32;
            self.engine.stream(chunk, position, &mut values)?;
            self.tokens.extend_from_slice(chunk);
        }
        if let Some(norm) = self.model.final_norm() {
            for row in values.chunks_mut(width) {
                norm.apply(row);
            }
        }
        Ok(Hidden::new(values, width))
    }

    /// A second session that holds the same tokens, with a copy of the cache. Both continue
    /// independently; no token is run again.
    ///
    /// # Errors
    /// The device has no memory for another session, or fails.
    pub fn fork(&self) -> Result<Session<M>, Error> {
        let mut tokens = Vec::with_capacity(self.options.capacity as usize);
        tokens.extend_from_slice(&self.tokens);
        let positions = self.tokens.len() as u32;
        Ok(Session {
            engine: self.engine.fork(self.options, positions)?,
            logits: self.logits.clone(),
            tokens,
            has_logits: self.has_logits,
            sampled: VecDeque::new(),
            options: self.options,
            model: self.model.clone(),
        })
    }

    /// Runs `tokens` (at most a chunk) and returns the output of every step, for tests and
    /// self-tests.
    pub fn trace(&mut self, tokens: &[u32]) -> Result<Vec<Trace>, Error> {
        self.check(tokens)?;
        if tokens.len() > self.options.chunk as usize || !self.options.all_logits {
            return Err(Error::Input(
                "a trace takes one chunk, in a session with all logits".to_owned(),
            ));
        }
        self.invalidate_logits();
        let traces = self.engine.trace(tokens, self.tokens.len() as u32)?;
        self.tokens.extend_from_slice(tokens);
        Ok(traces)
    }

    /// Appends `tokens` (at most a chunk) and returns the time of each step.
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
        self.invalidate_logits();
        let profile = self.engine.profile(tokens, self.tokens.len() as u32)?;
        self.tokens.extend_from_slice(tokens);
        Ok(profile)
    }

    fn run(&mut self, tokens: &[u32], request: LogitsRequest) -> Result<(), Error> {
        self.invalidate_logits();
        self.engine
            .forward(tokens, self.tokens.len() as u32, request, &mut self.logits)?;
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
        if !spec.is_causal() && !self.tokens.is_empty() {
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

impl<M: Gpt> Logits<'_, M> {
    /// The scores as an array: `&[f32; VOCAB]`.
    pub fn as_array(&self) -> &M::Logits {
        &sealed::Row::rows(self.values)[0]
    }
}

impl<M> Logits<'_, M> {
    /// The natural logarithm of each token's probability, `[vocab]`: `logits - logsumexp(logits)`.
    pub fn log_probs(&self) -> Vec<f32> {
        let normalizer = self.log_sum_exp();
        let log_prob = |logit: &f32| (f64::from(*logit) - normalizer) as f32;
        self.values.iter().map(log_prob).collect()
    }

    /// The natural logarithm of the probability of `token`; none if it is not in the vocabulary.
    pub fn log_prob(&self, token: u32) -> Option<f32> {
        let logit = self.values.get(token as usize)?;
        Some((f64::from(*logit) - self.log_sum_exp()) as f32)
    }

    /// `ln(sum(exp(logits)))` in f64. Subtracts the maximum, so that no exponential overflows.
    fn log_sum_exp(&self) -> f64 {
        let max = self
            .values
            .iter()
            .copied()
            .fold(f32::NEG_INFINITY, f32::max);
        let max = f64::from(max);
        let terms = self.values.iter().map(|x| (f64::from(*x) - max).exp());
        max + terms.sum::<f64>().ln()
    }

    /// The most likely token; of equals, the smallest id.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_are_those_of_the_plain_formula() {
        let of = |values: &[f32]| -> Vec<f32> {
            let logits: Logits<'_> = Logits {
                values,
                brand: PhantomData,
            };
            let all = logits.log_probs();
            for (token, log_prob) in (0..).zip(&all) {
                assert_eq!(logits.log_prob(token), Some(*log_prob));
            }
            assert_eq!(logits.log_prob(values.len() as u32), None);
            all
        };
        let values = [0.5, -1.25, 3.0, 0.0, -7.5];
        let sum: f64 = values.iter().map(|x| f64::from(*x).exp()).sum();
        for (found, logit) in of(&values).iter().zip(values) {
            let expected = (f64::from(logit).exp() / sum).ln();
            assert!((f64::from(*found) - expected).abs() < 1e-6);
        }
        // Exponentials of these logits overflow or underflow.
        for shift in [1e4, -1e4] {
            let found = of(&[shift, shift + 1.0]);
            let expected = [-(1.0 + 1f32.exp()).ln(), -(1.0 + (-1f32).exp()).ln()];
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
            }
        }
    }
}
