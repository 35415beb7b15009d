//! Reads a prompt some tokens at a time, so that Stop does not wait for a long prompt.

use std::time::Duration;

use gpt_runtime::{Error, Session};
use web_time::Instant;

/// Tokens that are read first. How many are read next depends on the time that this takes.
const FIRST: usize = 4;
/// The most time, roughly, to read some tokens before a message is handled. Reading more tokens at
/// a time reads the weights less often.
const LONGEST: Duration = Duration::from_millis(60);

/// A prompt of which a session may have the first tokens already.
pub struct Reader {
    ids: Vec<u32>,
    /// The number of tokens that the session has.
    at: usize,
    /// The number of tokens to read next.
    next: usize,
}

impl Reader {
    /// The prompt `ids`, of which the session has the first `known` tokens.
    pub fn new(ids: Vec<u32>, known: usize) -> Reader {
        Reader { ids, at: known, next: FIRST }
    }

    /// The tokens that the session does not have yet.
    pub fn rest(&self) -> &[u32] {
        &self.ids[self.at..]
    }

    /// Appends the next tokens to `session`, but leaves the last `keep`. Returns whether only these
    /// are left.
    ///
    /// # Errors
    /// See [`Session::push_async`].
    pub async fn read(&mut self, session: &mut Session, keep: usize) -> Result<bool, Error> {
        let left = self.rest().len().saturating_sub(keep);
        if left == 0 {
            return Ok(true);
        }
        let start = Instant::now();
        let count = self.next.min(left);
        session.push_async(&self.rest()[..count]).await?;
        self.at += count;
        let took = start.elapsed();
        if 2 * took < LONGEST {
            self.next *= 2;
        } else if took > LONGEST {
            self.next = (self.next / 2).max(1);
        }
        Ok(count == left)
    }
}
