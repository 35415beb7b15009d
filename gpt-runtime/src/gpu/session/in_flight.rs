//! Submissions of generation that the host has not read, and the number of tokens in each.

use std::collections::VecDeque;
use std::time::Duration;

use wgpu::SubmissionIndex;

use super::buffers::{MOST_TOKENS, SamplingUniform};
use crate::clock::Instant;
use crate::gpu::mapping::Mapping;

/// The time that the tokens of one submission should take. Text that arrives at this interval looks
/// as if it arrived token by token, and submitting takes the host a small part of the interval.
const SUBMIT_TIME: Duration = Duration::from_millis(25);

/// State of a sequence that the device continues by itself.
#[derive(Default)]
pub struct InFlight {
    /// The request that the pending submissions serve; `None` if the next request starts anew.
    pub next: Option<Continuation>,
    /// Submissions whose tokens have not been read, oldest first.
    pub pending: VecDeque<Pending>,
    /// The number of submissions so far. They alternate between the download buffers.
    pub submissions: usize,
    /// The position after everything that was submitted.
    pub end: u32,
    pub pace: Pace,
}

/// A request that continues the sequence after the last token that the host has read.
#[derive(Clone, Copy, PartialEq)]
pub struct Continuation {
    pub token: u32,
    pub position: u32,
    pub sampling: SamplingUniform,
}

/// A submission whose tokens have not been read.
pub struct Pending {
    pub submission: SubmissionIndex,
    /// The mapping of the download buffer.
    pub mapping: Mapping,
    pub tokens: u32,
    /// The index of the download buffer that it writes.
    pub download: usize,
    /// When it was submitted.
    pub since: Instant,
}

/// The number of tokens of the next submission. The first has one, so that it arrives early.
pub struct Pace {
    pub tokens: u32,
    /// When the previous submission was seen to be finished.
    finished: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { tokens: 1, finished: None }
    }
}

impl Pace {
    /// Takes into account that `tokens` tokens, submitted at `since`, were finished at `now`. The
    /// device began with them at `since`, or later, when the previous submission was finished.
    pub fn measured(&mut self, tokens: u32, since: Instant, now: Instant) {
        let begin = self.finished.map_or(since, |finished| finished.max(since));
        self.finished = Some(now);
        self.tokens = Pace::next(tokens, now.saturating_duration_since(begin));
    }

    /// The number of tokens that take [`SUBMIT_TIME`] if `tokens` took `time`; at most twice as
    /// many as before.
    fn next(tokens: u32, time: Duration) -> u32 {
        let fit = SUBMIT_TIME.as_secs_f64() / time.as_secs_f64().max(1e-9) * f64::from(tokens);
        (fit as u32).clamp(1, (2 * tokens).min(MOST_TOKENS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submissions_grow_with_the_pace_and_shrink_at_once() {
        let ms = Duration::from_millis;
        assert_eq!(Pace::next(1, ms(1)), 2);
        assert_eq!(Pace::next(2, ms(2)), 4);
        assert_eq!(Pace::next(16, ms(16)), 25);
        assert_eq!(Pace::next(32, ms(1)), 32);
        assert_eq!(Pace::next(32, ms(3200)), 1);
        assert_eq!(Pace::next(1, Duration::ZERO), 2);
    }

    #[test]
    fn waiting_for_an_earlier_submission_does_not_count() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::default();
        pace.measured(1, start, at(10));
        assert_eq!(pace.tokens, 2);
        pace.measured(2, at(1), at(30));
        assert_eq!(pace.tokens, 2);
        pace.measured(2, at(1000), at(1004));
        assert_eq!(pace.tokens, 4);
    }
}
