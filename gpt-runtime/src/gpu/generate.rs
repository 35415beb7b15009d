//! Many tokens in a row without a word from the host: passes and choices in one submit, two submits under way.
//!
//! A step of the choice leaves the token, and the numbers of the next pass, where that pass reads them. So passes of several tokens are recorded one after
//! the other, and the device goes from one to the next; their tokens come back together, while the next submit runs. When a token ends the text, what
//! was submitted beyond it finds that it has no rows, and does nothing.
//!
//! The device may be ahead of what was asked for, so whoever does something else with the session first waits for it ([`GpuSession::abandon`]): the
//! cache then holds rows that nobody asked for, behind those that count.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytemuck::cast_slice;
use gpt_plan::ChoiceOp;
use wgpu::{CommandEncoder, MapMode, SubmissionIndex};

use super::buffers::{MOST_TOKENS, SamplingNumbers, runs};
use super::session::GpuSession;
use crate::Error;
use crate::engine::Continue;

/// How long the tokens of a submit should take: a text that comes in pieces of so much looks as if it came token by token, and the host's part
/// of a submit is small against it.
const SUBMIT_TIME: Duration = Duration::from_millis(25);

/// Submits under way: one runs while the one before is read.
const UNDER_WAY: usize = 2;

/// A sequence that the device continues by itself.
#[derive(Default)]
pub(super) struct Ahead {
    /// Where the host is; none if the device would have to be told where to begin.
    place: Option<Place>,
    /// Submits whose tokens were not read, the oldest first.
    pending: VecDeque<Pending>,
    /// Submits so far, which take turns with the buffers that bring tokens back.
    submits: usize,
    /// The position after all that was submitted.
    end: u32,
    pace: Pace,
}

/// What the host asks for next, if it goes on.
#[derive(Clone, Copy, PartialEq)]
struct Place {
    token: u32,
    position: u32,
    sampling: SamplingNumbers,
}

struct Pending {
    submission: SubmissionIndex,
    tokens: u32,
    turn: usize,
    since: Instant,
}

/// How many tokens go into a submit. The first one has a single token, which is to come at once.
struct Pace {
    tokens: u32,
    /// When the last submit was done.
    done: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            tokens: 1,
            done: None,
        }
    }
}

impl Pace {
    /// A submit of `tokens`, submitted at `since`, was done at `now`. It began when the one before was done.
    fn measured(&mut self, tokens: u32, since: Instant, now: Instant) {
        let begin = self.done.map_or(since, |done| done.max(since));
        self.done = Some(now);
        self.tokens = Pace::next(tokens, now.saturating_duration_since(begin));
    }

    /// As many tokens as take [`SUBMIT_TIME`] if `tokens` took `time`, but no more than twice as many.
    fn next(tokens: u32, time: Duration) -> u32 {
        let fit = SUBMIT_TIME.as_secs_f64() / time.as_secs_f64().max(1e-9) * f64::from(tokens);
        (fit as u32).clamp(1, (2 * tokens).min(MOST_TOKENS))
    }
}

impl GpuSession {
    /// [`EngineSession::generate`](crate::engine::EngineSession::generate).
    pub(super) fn run_ahead(
        &mut self,
        ask: &Continue<'_>,
        chosen: &mut VecDeque<u32>,
    ) -> Result<bool, Error> {
        // A penalty depends on the history, which the device does not have.
        if ask.sampling.repetition_penalty != 1.0 {
            return Ok(false);
        }
        let vocab = self.shared.plan.spec.vocab;
        let place = Place {
            token: ask.token,
            position: ask.position,
            sampling: SamplingNumbers::new(
                ask.sampling,
                ask.stops,
                ask.draw.wrapping_sub(ask.position),
                vocab,
            ),
        };
        let steps = if ask.sampling.cuts(vocab) {
            ChoiceOp::CUT
        } else {
            ChoiceOp::WHOLE
        };
        let end = ask.position + ask.most;
        self.prepare(1, 1);
        self.shared
            .pipelines
            .prepare(steps.iter().map(|&op| self.shared.plan.choice[op as usize]));
        if self.ahead.place != Some(place) {
            self.abandon()?;
            let mut encoder = self.encoder();
            let runs = runs(ask.position, 1, 1);
            self.upload(&mut encoder, &[ask.token], runs, Some(&place.sampling))?;
            self.ahead.end = ask.position;
            self.ahead.pace = Pace::default();
            self.submit_tokens(encoder, steps, end, GpuSession::submit);
        }
        while self.ahead.pending.len() < UNDER_WAY && self.ahead.end < end {
            let encoder = self.encoder();
            self.submit_tokens(encoder, steps, end, |session, encoder| {
                session.device().submit(encoder)
            });
        }
        let tokens = self.read_tokens()?;
        let ends = |token: &u32| ask.stops.contains(token);
        let count = tokens
            .iter()
            .position(ends)
            .map_or(tokens.len(), |at| at + 1);
        let stopped = tokens[..count].last().is_some_and(ends);
        chosen.extend(&tokens[..count]);
        // After a token that ends the text nobody goes on from there.
        self.ahead.place = match tokens[..count].last() {
            Some(&token) if !stopped => Some(Place {
                token,
                position: ask.position + count as u32,
                ..place
            }),
            _ => None,
        };
        Ok(true)
    }

    /// Records the passes of the next few tokens, none at `end` or beyond.
    fn submit_tokens(
        &mut self,
        mut encoder: CommandEncoder,
        choice: &[ChoiceOp],
        end: u32,
        submit: impl Fn(&GpuSession, CommandEncoder) -> SubmissionIndex,
    ) {
        let start = self.ahead.end;
        let tokens = self.ahead.pace.tokens.min(end - start);
        let turn = self.ahead.submits % UNDER_WAY;
        let back = &self.buffers.turns[turn];
        let bytes = 4 * u64::from(tokens);
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for position in start..start + tokens {
                for index in 0..self.shared.steps.len() {
                    self.record(&mut pass, index, 1, position);
                }
                for &op in choice {
                    self.record_choice(&mut pass, op);
                }
            }
        }
        let drawn = &self.buffers.choice.drawn;
        encoder.copy_buffer_to_buffer(drawn, 4 * u64::from(start), back, 0, bytes);
        let since = Instant::now();
        let submission = submit(self, encoder);
        back.map_async(MapMode::Read, ..bytes, |_| {});
        self.ahead.pending.push_back(Pending {
            submission,
            tokens,
            turn,
            since,
        });
        self.ahead.submits += 1;
        self.ahead.end = start + tokens;
    }

    /// The tokens of the oldest submit, for which it waits.
    fn read_tokens(&mut self) -> Result<Vec<u32>, Error> {
        let Some(oldest) = self.ahead.pending.pop_front() else {
            return Ok(Vec::new());
        };
        self.device().wait_for(oldest.submission)?;
        self.ahead
            .pace
            .measured(oldest.tokens, oldest.since, Instant::now());
        let mut tokens = vec![0; oldest.tokens as usize];
        let back = &self.buffers.turns[oldest.turn];
        let bytes = 4 * u64::from(oldest.tokens);
        self.device().read_mapped(back, bytes, |read| {
            tokens.copy_from_slice(cast_slice(read));
        })?;
        Ok(tokens)
    }

    /// Waits for what is under way, and forgets it.
    pub(super) fn abandon(&mut self) -> Result<(), Error> {
        self.ahead.place = None;
        while !self.ahead.pending.is_empty() {
            self.read_tokens()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gpt_plan::{Features, Format};
    use wgpu::BufferUsages;

    use super::super::{GpuDevice, GpuModel};
    use super::*;
    use crate::Sampling;
    use crate::engine::{CacheFormat, SessionOptions};
    use crate::weights::lively::Lively;
    use crate::weights::testing;

    /// Passes that were submitted beyond the end of a text choose nothing.
    #[test]
    fn a_text_ends_on_the_device() {
        let device = match GpuDevice::open_with(None, Features::NONE) {
            Ok(device) => Arc::new(device),
            Err(error) => {
                assert!(std::env::var_os("GPT_REQUIRE_GPU").is_none(), "{error}");
                return eprintln!("NOT RUN, as there is no GPU: {error}");
            }
        };
        let plan = testing::llama();
        let capacity = plan.spec.context;
        let model =
            GpuModel::new(device.clone(), plan, &Lively::new(plan, 1, Format::F32)).unwrap();
        let untouched = vec![u32::MAX; capacity as usize];
        let sampling = Sampling {
            temperature: 1.0,
            seed: 3,
            ..Sampling::default()
        };
        // What is written until a token of `stops` comes, what the device chose, and the position after all that was submitted.
        let write = |stops: &[u32], most: u32| {
            let options = SessionOptions {
                capacity,
                chunk: 1,
                all_logits: false,
                cache: CacheFormat::F32,
            };
            let mut session = GpuSession::new(model.shared.clone(), options).unwrap();
            let drawn = session.buffers.choice.drawn.clone();
            device.queue.write_buffer(&drawn, 0, cast_slice(&untouched));
            let mut chosen = VecDeque::new();
            let mut token = 1;
            let ended = |chosen: &VecDeque<u32>| chosen.back().is_some_and(|t| stops.contains(t));
            while (chosen.len() as u32) < most && !ended(&chosen) {
                let position = chosen.len() as u32;
                let ask = Continue {
                    token,
                    position,
                    most: most - position,
                    sampling: &sampling,
                    draw: position,
                    stops,
                };
                assert!(session.run_ahead(&ask, &mut chosen).unwrap());
                token = chosen[chosen.len() - 1];
            }
            let end = session.ahead.end;
            session.abandon().unwrap();
            let usage = BufferUsages::COPY_DST | BufferUsages::MAP_READ;
            let copy = device.buffer("a copy", drawn.size(), usage).unwrap();
            let mut encoder = device.device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(&drawn, 0, &copy, 0, drawn.size());
            device.submit(encoder);
            let mut found: Vec<u32> = Vec::new();
            let read = |bytes: &[u8]| found.extend_from_slice(cast_slice(bytes));
            device.read(&copy, drawn.size(), read).unwrap();
            (Vec::from(chosen), found, end)
        };
        let (whole, ..) = write(&[], capacity);
        // A token that comes late, and for the first time.
        let last = (8..40).find(|&at| !whole[..at].contains(&whole[at]));
        let last = last.expect("a text that does not repeat itself at once");
        let (chosen, drawn, end) = write(&[whole[last]], capacity);
        assert_eq!(chosen, whole[..=last]);
        assert!(
            end as usize > last + 1,
            "nothing was submitted beyond the end"
        );
        assert_eq!(drawn[..=last], whole[..=last]);
        assert_eq!(drawn[last + 1..], untouched[last + 1..]);
    }

    #[test]
    fn submits_grow_with_the_pace_and_shrink_at_once() {
        let ms = Duration::from_millis;
        assert_eq!(Pace::next(1, ms(1)), 2);
        assert_eq!(Pace::next(2, ms(2)), 4);
        assert_eq!(Pace::next(16, ms(16)), 25);
        assert_eq!(Pace::next(32, ms(1)), 32);
        assert_eq!(Pace::next(32, ms(3200)), 1);
        assert_eq!(Pace::next(1, Duration::ZERO), 2);
    }

    #[test]
    fn a_submit_that_waited_for_another_is_not_charged_for_it() {
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
