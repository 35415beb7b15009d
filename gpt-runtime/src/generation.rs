//! Generation: a prompt, a sampler and a stop condition around a session.
//!
//! [`TokenGeneration`] chooses token after token; [`Generation`] decodes them to text. The command
//! line and `for piece in session.generate(..)?` run the same loop. A piece is valid UTF-8. Text
//! that may begin a stop string is held back until later tokens decide.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::Error;
use crate::clock::Instant;
use crate::sample::{Sampler, Sampling};
use crate::session::{Session, SessionBuilder};
use crate::text::{StopStrings, TextStream};
use crate::vtable::Untyped;
use crate::wait::now;

/// Stop conditions of a generation, in addition to the model's end-of-text token.
///
/// Fields may be added: build it with [`Stop::default`] and the `with_` methods, or by struct
/// update.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// The largest number of new tokens; as many as the session holds if `None`.
    pub tokens: Option<usize>,
    /// Strings that end the generation; they are not part of the output.
    pub strings: Vec<String>,
    /// Tokens that end the generation, in addition to the tokenizer's end-of-text tokens.
    pub ids: Vec<u32>,
}

impl Stop {
    /// Ends after `tokens` new tokens.
    pub fn with_tokens(mut self, tokens: usize) -> Stop {
        self.tokens = Some(tokens);
        self
    }

    /// Also ends before `string`.
    pub fn with_string(mut self, string: impl Into<String>) -> Stop {
        self.strings.push(string.into());
        self
    }

    /// Also ends before the token `id`.
    pub fn with_id(mut self, id: u32) -> Stop {
        self.ids.push(id);
        self
    }
}

/// The reason a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The model chose its end-of-text token or a stop token.
    EndOfText,
    /// The text contains a stop string.
    StopString,
    /// The requested number of tokens was generated, or [`Generation::finish`] was called.
    Length,
    /// The session is full.
    Full,
    /// The engine failed; the iterator or [`Generation::poll`] returned the error.
    Failed,
}

/// Generates text: an iterator over its pieces.
///
/// Each item is a piece of text or the error that ended the generation. Afterwards the session
/// holds the prompt and the generated tokens, without the end-of-text or stop token. If the
/// generation ended for another reason, the session lacks the last generated token, because no pass
/// has run on it.
pub struct Generation<'s, M = Untyped> {
    tokens: TokenGeneration<'s, M>,
    stream: TextStream,
    stops: StopStrings,
    /// An error that [`poll`](Self::poll) returns in its next call, because it had text to return.
    error: Option<Error>,
}

/// Generates tokens: an iterator over their ids. Needs no tokenizer.
///
/// Each item is a token or the error that ended the generation. A token that ends the text is not
/// returned.
pub struct TokenGeneration<'s, M = Untyped> {
    session: SessionRef<'s, M>,
    sampler: Sampler,
    stop_ids: Vec<u32>,
    left: usize,
    next: NextToken,
    count: usize,
    ended: Option<Ended>,
}

/// The next token of a generation.
#[derive(Clone, Copy)]
enum NextToken {
    /// It is chosen.
    Chosen(u32),
    /// It follows this token, on which no pass has run.
    After(u32),
}

/// A session that the generation borrows or owns.
enum SessionRef<'s, M> {
    Borrowed(&'s mut Session<M>),
    Owned(Box<Session<M>>),
}

impl<M> Deref for SessionRef<'_, M> {
    type Target = Session<M>;

    fn deref(&self) -> &Session<M> {
        match self {
            SessionRef::Borrowed(session) => session,
            SessionRef::Owned(session) => session,
        }
    }
}

impl<M> DerefMut for SessionRef<'_, M> {
    fn deref_mut(&mut self) -> &mut Session<M> {
        match self {
            SessionRef::Borrowed(session) => session,
            SessionRef::Owned(session) => session,
        }
    }
}

impl<M> SessionBuilder<M> {
    /// Opens the session and continues `prompt` until the model ends the text or the session is
    /// full.
    ///
    /// # Errors
    /// Fails if [`open`](Self::open) or [`Session::generate`] fails.
    pub fn generate(
        self,
        prompt: &str,
        sampling: Sampling,
    ) -> Result<Generation<'static, M>, Error> {
        let session = self.open()?;
        let ids = session.model().tokenizer()?.encode_prompt(prompt)?;
        session.into_generation(&ids, sampling, Stop::default())
    }
}

impl<M> Session<M> {
    /// Appends `prompt` and continues it. The special tokens that begin a text (BOS) are added only
    /// if the session is empty.
    ///
    /// # Errors
    /// Fails if the model has no tokenizer, the sampling is invalid, or [`push`](Self::push) fails.
    pub fn generate(
        &mut self,
        prompt: &str,
        sampling: Sampling,
        stop: Stop,
    ) -> Result<Generation<'_, M>, Error> {
        let tokenizer = self.model().tokenizer()?;
        let ids = match self.tokens().is_empty() {
            true => tokenizer.encode_prompt(prompt)?,
            false => tokenizer.encode_continuation(prompt)?,
        };
        self.generate_from_tokens(&ids, sampling, stop)
    }

    /// Appends the tokens `prompt` and continues them with text.
    ///
    /// # Errors
    /// See [`generate`](Self::generate).
    pub fn generate_from_tokens(
        &mut self,
        prompt: &[u32],
        sampling: Sampling,
        stop: Stop,
    ) -> Result<Generation<'_, M>, Error> {
        now(Generation::new(SessionRef::Borrowed(self), prompt, sampling, stop))
    }

    /// Like [`generate_from_tokens`](Self::generate_from_tokens), but the generation owns the
    /// session, so a program can keep it between events.
    ///
    /// # Errors
    /// See [`generate`](Self::generate).
    pub fn into_generation(
        self,
        prompt: &[u32],
        sampling: Sampling,
        stop: Stop,
    ) -> Result<Generation<'static, M>, Error> {
        now(Generation::new(SessionRef::Owned(Box::new(self)), prompt, sampling, stop))
    }

    /// Like [`into_generation`](Self::into_generation), for browsers, where a program cannot block
    /// and awaits the GPU. Continue with [`Generation::poll_async`]. On other systems the call
    /// blocks.
    ///
    /// # Errors
    /// See [`generate`](Self::generate).
    pub async fn into_generation_async(
        self,
        prompt: &[u32],
        sampling: Sampling,
        stop: Stop,
    ) -> Result<Generation<'static, M>, Error>
    where
        M: 'static,
    {
        Generation::new(SessionRef::Owned(Box::new(self)), prompt, sampling, stop).await
    }

    /// Appends the tokens `prompt` and continues them with tokens. The tokens that end a text are
    /// those of `stop` and, if the model has a tokenizer, its end-of-text tokens.
    ///
    /// # Errors
    /// Fails if `stop` has strings, which only text can contain, if the sampling is invalid, or if
    /// [`push`](Self::push) fails.
    pub fn generate_tokens(
        &mut self,
        prompt: &[u32],
        sampling: Sampling,
        stop: Stop,
    ) -> Result<TokenGeneration<'_, M>, Error> {
        if !stop.strings.is_empty() {
            return Err(Error::Input(
                "stop strings apply to text, but tokens were requested; use `Session::generate_from_tokens` or stop tokens"
                    .to_owned(),
            ));
        }
        now(TokenGeneration::new(SessionRef::Borrowed(self), prompt, sampling, stop))
    }
}

impl<'s, M> TokenGeneration<'s, M> {
    async fn new(
        mut session: SessionRef<'s, M>,
        prompt: &[u32],
        sampling: Sampling,
        stop: Stop,
    ) -> Result<Self, Error> {
        let vocab = session.model().plan().spec.vocab as usize;
        let mut sampler = Sampler::new(sampling, vocab)?;
        let mut stop_ids = stop.ids;
        if let Ok(tokenizer) = session.model().tokenizer() {
            stop_ids.extend_from_slice(tokenizer.stop_ids());
        }
        session.push_async(prompt).await?;
        Ok(TokenGeneration {
            left: stop.tokens.unwrap_or(usize::MAX),
            next: NextToken::Chosen(session.sample(&mut sampler)?),
            count: 0,
            ended: None,
            sampler,
            stop_ids,
            session,
        })
    }

    /// New tokens so far.
    pub fn generated(&self) -> usize {
        self.count
    }

    /// Why the generation ended, once it has.
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Returns the next token, or none if the generation ended. The engine may sample up to `most`
    /// tokens at once.
    async fn advance(&mut self, most: usize) -> Result<Option<u32>, Error> {
        if self.ended.is_some() {
            return Ok(None);
        }
        let id = match self.next {
            NextToken::Chosen(id) => id,
            NextToken::After(_) if self.session.remaining() == 0 => {
                return Ok(self.end(Ended::Full));
            }
            NextToken::After(last) => {
                let most = most.min(self.left);
                let stops = &self.stop_ids;
                let next = self.session.advance(last, &mut self.sampler, stops, most).await;
                next.inspect_err(|_| self.ended = Some(Ended::Failed))?
            }
        };
        Ok(self.take(id))
    }

    /// Returns the chosen token `id`, unless the generation ends before it.
    fn take(&mut self, id: u32) -> Option<u32> {
        if self.stop_ids.contains(&id) {
            return self.end(Ended::EndOfText);
        }
        if self.left == 0 {
            return self.end(Ended::Length);
        }
        self.left -= 1;
        self.count += 1;
        self.next = NextToken::After(id);
        // The successor of the last token is not sampled, which saves a pass.
        if self.left == 0 {
            self.ended = Some(Ended::Length);
        }
        Some(id)
    }

    fn end(&mut self, why: Ended) -> Option<u32> {
        self.ended = Some(why);
        None
    }
}

impl<M> Iterator for TokenGeneration<'_, M> {
    type Item = Result<u32, Error>;

    fn next(&mut self) -> Option<Result<u32, Error>> {
        now(self.advance(usize::MAX)).transpose()
    }
}

impl<'s, M> Generation<'s, M> {
    async fn new(
        session: SessionRef<'s, M>,
        prompt: &[u32],
        sampling: Sampling,
        mut stop: Stop,
    ) -> Result<Self, Error> {
        let stream = session.model().tokenizer()?.stream(prompt);
        let stops = StopStrings::new(std::mem::take(&mut stop.strings));
        let tokens = TokenGeneration::new(session, prompt, sampling, stop).await?;
        Ok(Generation { stops, stream, tokens, error: None })
    }

    /// New tokens so far.
    pub fn generated(&self) -> usize {
        self.tokens.generated()
    }

    /// Why the generation ended, once it has.
    pub fn ended(&self) -> Option<Ended> {
        match &self.error {
            // The caller has not seen the error yet.
            Some(_) => None,
            None => self.tokens.ended(),
        }
    }

    /// Ends the generation and returns the text that was held back; empty if it has ended already.
    pub fn finish(&mut self) -> String {
        match self.tokens.ended {
            None => {
                self.tokens.ended = Some(Ended::Length);
                self.flush()
            }
            Some(_) => String::new(),
        }
    }

    /// Generates until `budget` is spent, and returns the text generated in this call; for programs
    /// that draw frames.
    ///
    /// Each call runs at least one token and starts none after `budget`, so it exceeds the budget
    /// by at most one token. The text may be empty. The generation is done when
    /// [`ended`](Self::ended) returns a reason. The prompt is not part of the budget: it runs when
    /// the generation is created. To spread a long prompt over frames, [`push`](Session::push) its
    /// tokens in parts, and pass the last part to [`Session::generate_from_tokens`]. A call of
    /// `next` lets a GPU run tokens ahead, and the first `poll` after that call may wait for them.
    ///
    /// # Errors
    /// Fails if the engine fails. Text that was generated before the failure is returned first, and
    /// the error by the next call.
    pub fn poll(&mut self, budget: Duration) -> Result<String, Error> {
        now(self.run(budget, 1))
    }

    /// Like [`poll`](Self::poll), for browsers, where a program cannot block and awaits the GPU. A
    /// GPU runs tokens ahead, as with `next`. On other systems the call blocks. If you drop the
    /// future before it is ready, drop the generation, too.
    ///
    /// # Errors
    /// See [`poll`](Self::poll).
    pub async fn poll_async(&mut self, budget: Duration) -> Result<String, Error> {
        self.run(budget, usize::MAX).await
    }

    /// Generates until `budget` is spent. The engine may sample up to `most` tokens at once.
    async fn run(&mut self, budget: Duration, most: usize) -> Result<String, Error> {
        let start = Instant::now();
        let mut text = String::new();
        while self.error.is_none() && self.tokens.ended.is_none() {
            match self.advance(most).await {
                Ok(piece) => text.push_str(&piece),
                Err(error) => self.error = Some(error),
            }
            if start.elapsed() >= budget {
                break;
            }
        }
        match self.error.take() {
            Some(error) if text.is_empty() => Err(error),
            error => {
                self.error = error;
                Ok(text)
            }
        }
    }

    fn flush(&mut self) -> String {
        let rest = self.stops.push(&self.stream.flush()).text;
        rest + &self.stops.flush()
    }

    /// Generates a token and returns the text that is now complete.
    async fn advance(&mut self, most: usize) -> Result<String, Error> {
        let mut text = String::new();
        if let Some(id) = self.tokens.advance(most).await? {
            let piece = self.stops.push(&self.stream.push(id));
            text = piece.text;
            if piece.stopped {
                self.tokens.ended = Some(Ended::StopString);
                return Ok(text);
            }
        }
        if self.tokens.ended.is_some() {
            text.push_str(&self.flush());
        }
        Ok(text)
    }
}

impl<M> Iterator for Generation<'_, M> {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Result<String, Error>> {
        if let Some(error) = self.error.take() {
            return Some(Err(error));
        }
        while self.tokens.ended.is_none() {
            match now(self.advance(usize::MAX)) {
                Ok(text) if text.is_empty() => {}
                piece => return Some(piece),
            }
        }
        None
    }
}
