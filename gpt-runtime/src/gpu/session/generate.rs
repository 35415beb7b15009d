//! Many tokens in a row without the host: passes and sampling in one submission, two submissions
//! in flight.
//!
//! The last step of sampling writes the token, and the uniforms of the next pass, to where that
//! pass reads them. So the passes of several tokens are recorded one after another, and their
//! tokens are read together while the next submission runs. After a token that ends the text, the
//! passes that were submitted beyond it find that they have no rows and do nothing.
//!
//! The device may be ahead of what was requested, so every other use of the session first waits
//! for it ([`GpuSession::abandon`]). The cache then holds rows beyond the valid ones, which are
//! never read.

use std::collections::VecDeque;
use std::time::Instant;

use bytemuck::cast_slice;
use gpt_plan::{BufferId, SamplingOp};
use wgpu::{CommandEncoder, MapMode, SubmissionIndex};

use super::ahead::{Next, Pace, Pending};
use super::buffers::{PassUniform, SamplingUniform};
use super::sequence::GpuSession;
use crate::Error;
use crate::engine::Continue;

/// Submissions in flight: one runs while the one before is read.
const IN_FLIGHT: usize = 2;

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
        let next = Next {
            token: ask.token,
            position: ask.position,
            sampling: SamplingUniform::new(
                ask.sampling,
                ask.stops,
                ask.draw.wrapping_sub(ask.position),
                vocab,
            ),
        };
        let steps = if ask.sampling.cuts(vocab) {
            SamplingOp::TRUNCATED
        } else {
            SamplingOp::FULL_VOCABULARY
        };
        let end = ask.position + ask.most;
        self.prepare(1, 1);
        self.prepare_sampling(steps);
        if self.ahead.next != Some(next) {
            self.abandon()?;
            let mut encoder = self.device().encoder();
            let runs = PassUniform::body_and_head(ask.position, 1, 1);
            self.upload(&mut encoder, &[ask.token], runs, Some(&next.sampling))?;
            self.ahead.end = ask.position;
            self.ahead.pace = Pace::default();
            self.submit_tokens(encoder, steps, end, GpuSession::submit);
        }
        while self.ahead.pending.len() < IN_FLIGHT && self.ahead.end < end {
            let encoder = self.device().encoder();
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
        // Nothing continues after a token that ends the text.
        self.ahead.next = match tokens[..count].last() {
            Some(&token) if !stopped => Some(Next {
                token,
                position: ask.position + count as u32,
                ..next
            }),
            _ => None,
        };
        Ok(true)
    }

    /// Submits the passes of the next few tokens, none at `end` or beyond.
    fn submit_tokens(
        &mut self,
        mut encoder: CommandEncoder,
        sampling: &[SamplingOp],
        end: u32,
        submit: impl Fn(&GpuSession, CommandEncoder) -> SubmissionIndex,
    ) {
        let start = self.ahead.end;
        let tokens = self.ahead.pace.tokens.min(end - start);
        let download = self.ahead.submissions % IN_FLIGHT;
        let sampled = &self.buffers.sampled[download];
        let bytes = 4 * u64::from(tokens);
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for position in start..start + tokens {
                for index in 0..self.shared.steps.len() {
                    self.record(&mut pass, index, 1, position);
                }
                for &op in sampling {
                    self.record_sampling(&mut pass, op);
                }
            }
        }
        let drawn = &self.buffers.copies(BufferId::Sampled)[0];
        encoder.copy_buffer_to_buffer(drawn, 4 * u64::from(start), sampled, 0, bytes);
        let since = Instant::now();
        let submission = submit(self, encoder);
        sampled.map_async(MapMode::Read, ..bytes, |_| {});
        self.ahead.pending.push_back(Pending {
            submission,
            tokens,
            download,
            since,
        });
        self.ahead.submissions += 1;
        self.ahead.end = start + tokens;
    }

    /// Waits for the oldest submission and returns its tokens.
    fn read_tokens(&mut self) -> Result<Vec<u32>, Error> {
        let Some(oldest) = self.ahead.pending.pop_front() else {
            return Ok(Vec::new());
        };
        self.device().wait_for(oldest.submission)?;
        self.ahead
            .pace
            .measured(oldest.tokens, oldest.since, Instant::now());
        let mut tokens = vec![0; oldest.tokens as usize];
        let sampled = &self.buffers.sampled[oldest.download];
        let bytes = 4 * u64::from(oldest.tokens);
        self.device().read_mapped(sampled, bytes, |read| {
            tokens.copy_from_slice(cast_slice(read));
        })?;
        Ok(tokens)
    }

    /// Waits for the submissions in flight and drops their tokens.
    pub(super) fn abandon(&mut self) -> Result<(), Error> {
        self.ahead.next = None;
        while !self.ahead.pending.is_empty() {
            self.read_tokens()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gpt_plan::Format;

    use super::*;
    use crate::Sampling;
    use crate::engine::{CacheFormat, SessionOptions};
    use crate::gpu::{self, GpuModel};
    use crate::weights::lively::Lively;
    use crate::weights::testing;

    /// Passes that were submitted beyond the end of a text sample nothing.
    #[test]
    fn a_text_ends_on_the_device() {
        let Some(device) = gpu::testing::device() else {
            return;
        };
        let device = Arc::new(device);
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
        // The text up to a token of `stops`, all tokens that the device sampled, and the position
        // after everything that was submitted.
        let write = |stops: &[u32], most: u32| {
            let options = SessionOptions {
                capacity,
                chunk: 1,
                all_logits: false,
                cache: CacheFormat::F32,
            };
            let mut session = GpuSession::new(model.shared.clone(), options).unwrap();
            let drawn = session.buffers.copies(BufferId::Sampled)[0].clone();
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
            let mut found: Vec<u32> = Vec::new();
            let read = |bytes: &[u8]| found.extend_from_slice(cast_slice(bytes));
            device.download(&drawn, 0, drawn.size(), read).unwrap();
            (Vec::from(chosen), found, end)
        };
        let (whole, ..) = write(&[], capacity);
        // A token that occurs late, and for the first time.
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
}
