//! A session runs one sequence of tokens through a model.
//!
//! A [`Session`] splits a prompt into chunks, keeps the history, and rejects tokens outside the
//! vocabulary and positions beyond the cache. The model is its type parameter, so the logits of two
//! models have different types. `builder` sets the options of a session, `logits` holds the scores
//! of the next token, and `observe` records attention and the residual stream and applies the logit
//! lens. Outside this module, `sample` chooses tokens from logits, and `generation` turns prompts
//! into text.

mod builder;
mod logits;
mod observe;

use std::collections::VecDeque;
use std::marker::PhantomData;

pub use builder::{DEFAULT_CHUNK, SessionBuilder};
pub use logits::Logits;
pub(crate) use logits::likeliest;
pub use observe::Observation;

use crate::Error;
use crate::engine::{Continue, EngineSession, LogitsRequest, Profile, SessionOptions, Trace};
use crate::error::counted;
use crate::hidden::Hidden;
use crate::model::Model;
use crate::sample::Sampler;
use crate::vtable::Untyped;
use crate::wait::now;
use crate::weights;

/// One sequence in progress.
pub struct Session<M = Untyped> {
    model: Model<M>,
    engine: Box<dyn EngineSession>,
    options: SessionOptions,
    tokens: Vec<u32>,
    logits: Vec<f32>,
    /// Whether the first row of `logits` scores the successor of the last token.
    has_logits: bool,
    /// Tokens that the engine has sampled and [`advance`](Session::advance) has not returned.
    sampled: VecDeque<u32>,
}

impl<M> Session<M> {
    /// The model of the session.
    pub fn model(&self) -> &Model<M> {
        &self.model
    }

    /// The tokens of the sequence so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The number of free positions.
    pub fn remaining(&self) -> usize {
        self.options.capacity as usize - self.tokens.len()
    }

    /// The sizes and the cache format of the session.
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
    /// Fails if `tokens` is empty, has a token outside the vocabulary, or exceeds the remaining
    /// positions; if the model is bidirectional and the session is not empty; if the device fails;
    /// or if the results are not finite.
    pub fn push(&mut self, tokens: &[u32]) -> Result<Logits<'_, M>, Error> {
        now(self.push_async(tokens))
    }

    /// Like [`push`](Self::push), for browsers, where a program cannot block and awaits the GPU. On
    /// other systems the call blocks. If you drop the future before it is ready, truncate the
    /// session before its next use.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub async fn push_async(&mut self, tokens: &[u32]) -> Result<Logits<'_, M>, Error> {
        self.check(tokens)?;
        let chunk = self.options.chunk as usize;
        let last = (tokens.len() - 1) / chunk;
        for (i, part) in tokens.chunks(chunk).enumerate() {
            let request = if i == last { LogitsRequest::Last } else { LogitsRequest::Nothing };
            self.run(part, request).await?;
        }
        self.has_logits = true;
        let vocab = self.model.plan().spec.vocab as usize;
        Ok(Logits { values: &self.logits[..vocab], brand: PhantomData })
    }

    /// Chooses the token that follows the last one, and does not append it. It uses the logits of
    /// the most recent [`push`](Self::push). If another call has changed the tokens since, it first
    /// runs the last token again, or all tokens if the model is bidirectional.
    ///
    /// # Errors
    /// Fails if the session is empty or the engine fails.
    pub fn sample(&mut self, sampler: &mut Sampler) -> Result<u32, Error> {
        if !self.has_logits {
            self.run_again()?;
        }
        let vocab = self.model.plan().spec.vocab as usize;
        Ok(sampler.sample(&self.logits[..vocab], &self.tokens))
    }

    /// Computes the logits of the last token again. If that fails, the tokens are unchanged.
    fn run_again(&mut self) -> Result<(), Error> {
        let Some(last) = self.tokens.len().checked_sub(1) else {
            return Err(Error::Input(
                "no token can be chosen to follow an empty session; push some first".to_owned(),
            ));
        };
        // A token of a bidirectional model also attends to those after it.
        let first = if self.model.plan().spec.is_causal() { last } else { 0 };
        let again = self.tokens.split_off(first);
        let ran = self.push(&again).map(|_| ());
        if ran.is_err() {
            self.tokens.truncate(first);
            self.tokens.extend_from_slice(&again);
        }
        ran
    }

    /// Appends the chosen `token` and chooses the next one. An engine that samples on the device
    /// may sample up to `most` tokens at once; it stops after one of `stops`. The next calls return
    /// these tokens one by one. Pass the same `sampler` to these calls.
    pub(crate) async fn advance(
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
            if !self.engine.generate(&request, &mut self.sampled).await? {
                self.push_async(&[token]).await?;
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
    /// Fails as [`push`](Self::push) does, or if the session was not opened with
    /// [`SessionBuilder::all_logits`].
    pub fn each_logits(
        &mut self,
        tokens: &[u32],
        mut sink: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        self.check_all_logits()?;
        self.check(tokens)?;
        let vocab = self.model.plan().spec.vocab as usize;
        for part in tokens.chunks(self.options.chunk as usize) {
            let position = self.tokens.len();
            now(self.run(part, LogitsRequest::All))?;
            for (i, row) in self.logits.chunks(vocab).take(part.len()).enumerate() {
                sink(position + i, row);
            }
        }
        Ok(())
    }

    /// Appends `tokens` and returns their hidden states `[tokens, embed]`: the residual stream
    /// after the last block, with the final norm applied. The output head (`lm_head`) reads these.
    ///
    /// # Errors
    /// See [`push`](Self::push).
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
        normalise(&self.model, &mut values);
        let first = self.tokens.len() - tokens.len();
        self.check_finite(first, &values, width, "hidden states")?;
        Ok(Hidden::new(values, width))
    }

    /// Calls `sink` with the index and the hidden states of each text. The states are those that
    /// [`hidden`](Self::hidden) returns for the text in an empty session. The engine may run
    /// several texts together. The session is empty afterwards.
    ///
    /// # Errors
    /// Fails if [`push`](Self::push) would fail for one of the texts.
    pub(crate) fn each_hidden(
        &mut self,
        texts: &[&[u32]],
        mut sink: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        self.truncate(0);
        for text in texts {
            self.check(text)?;
        }
        let chunk = self.options.chunk as usize;
        let mut next = 0;
        while next < texts.len() {
            let short = texts[next..].iter().take_while(|text| text.len() <= chunk).count();
            let model = &self.model;
            let mut finite = Ok(());
            self.engine.streams(&texts[next..][..short], &mut |i, rows| {
                normalise(model, rows);
                if finite.is_ok() && !weights::are_finite(rows) {
                    let (text, name) = (next + i, &model.plan().name);
                    finite = Err(model.not_finite(&format!(
                        "the hidden states of {name} for text {text} are not finite"
                    )));
                }
                sink(next + i, rows);
            })?;
            finite?;
            next += short;
            // This text is longer than a chunk, so it takes several passes.
            if let Some(text) = texts.get(next) {
                sink(next, &self.hidden(text)?);
                self.truncate(0);
                next += 1;
            }
        }
        Ok(())
    }

    /// Returns a second session with the same tokens and a copy of the cache. No token is run
    /// again, and the two sessions continue independently.
    ///
    /// # Errors
    /// Fails if the device has too little memory for another session, or fails.
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

    /// Appends `tokens` (at most a chunk) and returns the output of each step of the plan.
    pub(crate) fn trace(&mut self, tokens: &[u32]) -> Result<Vec<Trace>, Error> {
        now(self.trace_async(tokens))
    }

    /// Like [`trace`](Self::trace), but in a browser it yields where it would wait for the GPU.
    pub(crate) async fn trace_async(&mut self, tokens: &[u32]) -> Result<Vec<Trace>, Error> {
        self.check(tokens)?;
        if tokens.len() > self.options.chunk as usize || !self.options.all_logits {
            return Err(Error::Input(
                "a trace takes at most one chunk, in a session that was opened with `all_logits()`"
                    .to_owned(),
            ));
        }
        self.invalidate_logits();
        let traces = self.engine.trace(tokens, self.tokens.len() as u32).await?;
        self.tokens.extend_from_slice(tokens);
        Ok(traces)
    }

    /// Appends `tokens` (at most a chunk) and returns the time of each step of the plan, such as
    /// `qkv` or `attention`.
    ///
    /// # Errors
    /// Fails as [`push`](Self::push) does, or if there are more tokens than a chunk holds.
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

    /// Runs `tokens` (at most a chunk) and appends them.
    async fn run(&mut self, tokens: &[u32], request: LogitsRequest) -> Result<(), Error> {
        self.invalidate_logits();
        let position = self.tokens.len() as u32;
        self.engine.forward(tokens, position, request, &mut self.logits).await?;
        let vocab = self.model.plan().spec.vocab as usize;
        let rows = match request {
            LogitsRequest::Nothing => 0,
            LogitsRequest::Last => 1,
            LogitsRequest::All => tokens.len(),
        };
        let first = self.tokens.len() + tokens.len() - rows;
        self.check_finite(first, &self.logits[..rows * vocab], vocab, "logits")?;
        self.tokens.extend_from_slice(tokens);
        Ok(())
    }

    /// Fails if `values` has a NaN or an infinity. Row 0 belongs to position `first`.
    fn check_finite(
        &self,
        first: usize,
        values: &[f32],
        width: usize,
        what: &str,
    ) -> Result<(), Error> {
        if weights::are_finite(values) {
            return Ok(());
        }
        let row = values.chunks(width).position(|row| !weights::are_finite(row)).unwrap_or(0);
        let (name, position) = (&self.model.plan().name, first + row);
        Err(self
            .model
            .not_finite(&format!("the {what} of {name} at position {position} are not finite")))
    }

    fn check_all_logits(&self) -> Result<(), Error> {
        if self.options.all_logits {
            return Ok(());
        }
        Err(Error::Input(
            "logits of every token were requested; open the session with `all_logits()`".to_owned(),
        ))
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
                "{} {} not fit: {} of the session's {} positions are taken (the model's context is {})",
                counted(tokens.len(), "token"),
                if tokens.len() == 1 { "does" } else { "do" },
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

/// Applies the final norm to rows of the residual stream.
fn normalise<M>(model: &Model<M>, rows: &mut [f32]) {
    if let Some(norm) = model.final_norm() {
        let width = model.plan().spec.embed as usize;
        rows.chunks_mut(width).for_each(|row| norm.apply(row));
    }
}

#[cfg(test)]
mod tests;
