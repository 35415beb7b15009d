//! A conversation. Its session is kept, so a turn runs only the tokens that are new.

use std::time::Duration;

use gpt_runtime::text::{Message, Role, TextStream};
use gpt_runtime::{Ended, Error, Model, Sampler, Sampling, Session, Untyped};
use web_time::Instant;

use crate::reader::Reader;

/// A conversation, and the answer in progress.
#[derive(Default)]
pub struct Chat {
    messages: Vec<Message>,
    session: Option<Session>,
    answer: Option<Answer>,
}

/// An answer in progress.
struct Answer {
    reader: Reader,
    sampler: Sampler,
    stream: TextStream,
    text: String,
    tokens: usize,
    most: usize,
}

/// The result of a step.
pub struct Added {
    pub text: String,
    pub tokens: usize,
    pub ended: Option<Ended>,
}

impl Chat {
    /// Begins the answer to `message`, of at most `most` tokens. Returns the number of old messages
    /// that were dropped to make room.
    ///
    /// # Errors
    /// Fails if a setting of `sampling` is invalid, if the chat template refuses the conversation,
    /// or if the message is too long.
    pub fn ask(
        &mut self,
        model: &Model<Untyped>,
        capacity: u32,
        message: String,
        sampling: Sampling,
        most: usize,
    ) -> Result<usize, Error> {
        self.stop();
        let sampler = Sampler::new(sampling, model.plan().spec.vocab as usize)?;
        self.messages.push(Message::new(Role::User, message));
        let begun = self.begin(model, capacity, sampler, most);
        if begun.is_err() {
            self.messages.pop();
        }
        begun
    }

    fn begin(
        &mut self,
        model: &Model<Untyped>,
        capacity: u32,
        sampler: Sampler,
        most: usize,
    ) -> Result<usize, Error> {
        let (prompt, dropped) = self.fitting(model, capacity as usize)?;
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(model.session().capacity(capacity).open()?),
        };
        let known = prompt.iter().zip(session.tokens()).take_while(|(a, b)| a == b).count();
        // If the cache holds the whole prompt, the last token is run again to compute its logits.
        let known = known.min(prompt.len() - 1);
        session.truncate(known);
        self.answer = Some(Answer {
            stream: model.tokenizer()?.stream(&prompt),
            reader: Reader::new(prompt, known),
            sampler,
            text: String::new(),
            tokens: 0,
            most,
        });
        Ok(dropped)
    }

    /// The tokens of the conversation. The oldest turns are dropped until the rest fills at most
    /// three quarters of the session.
    fn fitting(
        &mut self,
        model: &Model<Untyped>,
        capacity: usize,
    ) -> Result<(Vec<u32>, usize), Error> {
        let tokenizer = model.tokenizer()?;
        let mut first = 0;
        loop {
            let prompt = tokenizer.encode_chat(&self.messages[first..])?;
            if prompt.len() <= capacity / 4 * 3 || self.messages.len() - first <= 2 {
                if prompt.len() >= capacity {
                    return Err(Error::Input(format!(
                        "the message takes {} tokens, and there is room for {capacity}; shorten the message",
                        prompt.len()
                    )));
                }
                self.messages.drain(..first);
                return Ok((prompt, first));
            }
            first += 2;
        }
    }

    /// Reads some tokens of the prompt, or writes until `budget` is spent, at least one token.
    ///
    /// # Errors
    /// Fails if no answer was begun, or if the device fails. The message is then dropped.
    pub async fn step(&mut self, budget: Duration) -> Result<Added, Error> {
        let (Some(session), Some(answer)) = (&mut self.session, &mut self.answer) else {
            return Err(Error::Input("no text was started".to_owned()));
        };
        let added = answer.step(session, budget).await;
        match &added {
            Ok(Added { ended: None, .. }) => {}
            Ok(_) => self.end(),
            Err(_) => {
                // The state of the cache is unknown.
                (self.session, self.answer) = (None, None);
                self.messages.pop();
            }
        }
        added
    }

    /// Ends the answer, and returns the characters of it that were held back. The answer so far
    /// stays in the conversation.
    pub fn stop(&mut self) -> String {
        let Some(answer) = &mut self.answer else {
            return String::new();
        };
        let rest = answer.stream.flush();
        answer.text.push_str(&rest);
        self.end();
        rest
    }

    /// Adds the answer to the conversation. If it is empty, the message is dropped.
    fn end(&mut self) {
        if let Some(answer) = self.answer.take() {
            match answer.text.trim() {
                "" => drop(self.messages.pop()),
                text => self.messages.push(Message::new(Role::Assistant, text)),
            }
        }
    }
}

impl Answer {
    async fn step(&mut self, session: &mut Session, budget: Duration) -> Result<Added, Error> {
        let start = Instant::now();
        let mut text = String::new();
        let mut ended = None;
        if self.reader.rest().is_empty() || self.reader.read(session, 0).await? {
            while ended.is_none() {
                ended = self.advance(session, &mut text).await?;
                if start.elapsed() >= budget {
                    break;
                }
            }
        }
        if ended.is_some() {
            text.push_str(&self.stream.flush());
        }
        self.text.push_str(&text);
        Ok(Added { text, tokens: self.tokens, ended })
    }

    /// Chooses a token, appends its text to `text`, and runs the token unless the answer has ended.
    async fn advance(
        &mut self,
        session: &mut Session,
        text: &mut String,
    ) -> Result<Option<Ended>, Error> {
        let id = session.sample(&mut self.sampler)?;
        if session.model().tokenizer()?.stop_ids().contains(&id) {
            return Ok(Some(Ended::EndOfText));
        }
        self.tokens += 1;
        text.push_str(&self.stream.push(id));
        if self.tokens >= self.most {
            return Ok(Some(Ended::Length));
        }
        if session.remaining() == 0 {
            return Ok(Some(Ended::Full));
        }
        session.push_async(&[id]).await?;
        Ok(None)
    }
}
