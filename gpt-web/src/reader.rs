//! Reads a prompt in parts, so that Stop does not wait for a long one.

use std::time::Duration;

use gpt_runtime::{Error, Session};
use web_time::Instant;

/// Tokens of the first part. The next ones follow the time that it takes.
const FIRST: usize = 4;
/// A part takes about this time at most. Larger ones read the weights less often.
const PART: Duration = Duration::from_millis(60);

/// Tokens of a prompt, of which some are in a session already.
pub struct Reader {
    ids: Vec<u32>,
    at: usize,
    part: usize,
}

impl Reader {
    /// The tokens `ids`, of which the session has `known`.
    pub fn new(ids: Vec<u32>, known: usize) -> Reader {
        Reader { ids, at: known, part: FIRST }
    }

    /// The tokens that the session does not have yet.
    pub fn rest(&self) -> &[u32] {
        &self.ids[self.at..]
    }

    /// Appends a part to `session`, unless at most `keep` tokens are left. Returns whether that is
    /// so then.
    ///
    /// # Errors
    /// As [`Session::push_async`].
    pub async fn read(&mut self, session: &mut Session, keep: usize) -> Result<bool, Error> {
        let left = self.rest().len().saturating_sub(keep);
        if left == 0 {
            return Ok(true);
        }
        let start = Instant::now();
        let count = self.part.min(left);
        session.push_async(&self.rest()[..count]).await?;
        self.at += count;
        let took = start.elapsed();
        if 2 * took < PART {
            self.part *= 2;
        } else if took > PART {
            self.part = (self.part / 2).max(1);
        }
        Ok(count == left)
    }
}
