//! Text in, text out: a prompt, a sampler and a stop, around a session.
//!
//! This is the one loop that generates; the command line and `for piece in session.generate(..)?` both use it. A piece
//! is whole UTF-8, and text that may turn out to begin a stop string is held back until that is settled.

use std::ops::{Deref, DerefMut};

use crate::Error;
use crate::model::Untyped;
use crate::sample::{Sampler, Sampling};
use crate::session::{Session, SessionBuilder};
use crate::text::{StopStrings, TextStream};

/// When a generation ends, besides at the model's own end-of-text token.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Most new tokens; as many as the session holds if `None`.
    pub tokens: Option<usize>,
    /// Texts that end it; they are not part of the output.
    pub strings: Vec<String>,
    /// Tokens that end it, besides the tokenizer's end-of-text.
    pub ids: Vec<u32>,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The model ended the text, or a stop token came.
    EndOfText,
    /// A stop string came.
    StopString,
    /// As many tokens as were asked for.
    Length,
    /// The session holds no more.
    Full,
    /// An error, which [`Generation::error`] has.
    Failed,
}

/// A text in the making: an iterator over its pieces. Afterwards the session holds the prompt and the text's tokens, but for the last one, unless the model
/// ended the text there.
pub struct Generation<'s, M = Untyped> {
    session: Held<'s, M>,
    sampler: Sampler,
    stream: TextStream,
    stops: StopStrings,
    stop_ids: Vec<u32>,
    left: usize,
    /// What comes next.
    state: State,
    count: usize,
    ended: Option<Ended>,
    error: Option<Error>,
}

/// Where a text is.
#[derive(Clone, Copy)]
enum State {
    /// The next token was chosen.
    Chosen(u32),
    /// It has to be chosen; the one before it has not been run.
    After(u32),
}

/// A session lent, or one made for this text only.
enum Held<'s, M> {
    Lent(&'s mut Session<M>),
    Owned(Box<Session<M>>),
}

impl<M> Deref for Held<'_, M> {
    type Target = Session<M>;

    fn deref(&self) -> &Session<M> {
        match self {
            Held::Lent(session) => session,
            Held::Owned(session) => session,
        }
    }
}

impl<M> DerefMut for Held<'_, M> {
    fn deref_mut(&mut self) -> &mut Session<M> {
        match self {
            Held::Lent(session) => session,
            Held::Owned(session) => session,
        }
    }
}

impl<M> SessionBuilder<M> {
    /// Opens the session and continues `prompt` in it until the model ends the text or the context is full.
    pub fn generate(
        self,
        prompt: &str,
        sampling: Sampling,
    ) -> Result<Generation<'static, M>, Error> {
        let session = self.open()?;
        let ids = session.model().tokenizer()?.encode_prompt(prompt)?;
        Generation::new(
            Held::Owned(Box::new(session)),
            &ids,
            sampling,
            Stop::default(),
        )
    }
}

impl<M> Session<M> {
    /// Appends `prompt` and continues it.
    pub fn generate(
        &mut self,
        prompt: &str,
        sampling: Sampling,
        stop: Stop,
    ) -> Result<Generation<'_, M>, Error> {
        let ids = self.model().tokenizer()?.encode_prompt(prompt)?;
        self.generate_ids(&ids, sampling, stop)
    }

    /// Appends the tokens `prompt` and continues them.
    pub fn generate_ids(
        &mut self,
        prompt: &[u32],
        sampling: Sampling,
        stop: Stop,
    ) -> Result<Generation<'_, M>, Error> {
        Generation::new(Held::Lent(self), prompt, sampling, stop)
    }
}

impl<'s, M> Generation<'s, M> {
    fn new(
        mut session: Held<'s, M>,
        prompt: &[u32],
        sampling: Sampling,
        stop: Stop,
    ) -> Result<Self, Error> {
        let model = session.model().clone();
        let tokenizer = model.tokenizer()?;
        let mut sampler = Sampler::new(sampling, model.plan().spec.vocab as usize)?;
        let mut stop_ids = stop.ids;
        stop_ids.extend_from_slice(tokenizer.stop_ids());
        session.push(prompt)?;
        let first = session.sample(&mut sampler)?;
        Ok(Generation {
            stream: tokenizer.stream(prompt),
            stops: StopStrings::new(stop.strings),
            left: stop.tokens.unwrap_or(usize::MAX),
            state: State::Chosen(first),
            count: 0,
            ended: None,
            error: None,
            sampler,
            stop_ids,
            session,
        })
    }

    /// New tokens so far.
    pub fn generated(&self) -> usize {
        self.count
    }

    /// Why it ended, once it has.
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// What went wrong, if it ended by an error. An iterator of text has no other place for it.
    pub fn error(&mut self) -> Option<Error> {
        self.error.take()
    }

    /// Ends it here and returns text that was held back.
    pub fn finish(&mut self) -> String {
        self.end(Ended::Length)
    }

    fn end(&mut self, why: Ended) -> String {
        self.ended.get_or_insert(why);
        let mut rest = self.stops.push(&self.stream.flush()).text;
        if why != Ended::StopString {
            rest.push_str(&self.stops.flush());
        }
        rest
    }

    /// One more token; text that became certain with it.
    fn advance(&mut self) -> Result<String, Error> {
        let id = match self.state {
            State::Chosen(id) => id,
            State::After(_) if self.session.remaining() == 0 => return Ok(self.end(Ended::Full)),
            State::After(last) => {
                let (stops, left) = (&self.stop_ids, self.left);
                self.session.follow(last, &mut self.sampler, stops, left)?
            }
        };
        if self.stop_ids.contains(&id) {
            return Ok(self.end(Ended::EndOfText));
        }
        if self.left == 0 {
            return Ok(self.end(Ended::Length));
        }
        self.left -= 1;
        self.count += 1;
        let piece = self.stops.push(&self.stream.push(id));
        if piece.stopped {
            self.ended = Some(Ended::StopString);
            return Ok(piece.text);
        }
        // The last token's successor is not asked for: it would cost a pass whose result nobody reads.
        if self.left == 0 {
            return Ok(piece.text + &self.end(Ended::Length));
        }
        self.state = State::After(id);
        Ok(piece.text)
    }
}

impl<M> Iterator for Generation<'_, M> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        while self.ended.is_none() {
            match self.advance() {
                Ok(text) if text.is_empty() => {}
                Ok(text) => return Some(text),
                Err(error) => {
                    self.ended = Some(Ended::Failed);
                    self.error = Some(error);
                }
            }
        }
        None
    }
}
