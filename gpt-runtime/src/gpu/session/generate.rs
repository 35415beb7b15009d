//! Generates many tokens in a row without the host: a submission has the passes and the sampling of
//! several tokens, and two submissions are in flight.
//!
//! The last step of sampling writes the token, and the uniforms of the next pass, to where that
//! pass reads them. So the passes of several tokens are recorded one after another, and their
//! tokens are read together while the next submission runs. After a token that ends the text, the
//! passes that were submitted beyond it have no rows and compute nothing.
//!
//! The device may have run ahead of the requests, so every other use of the session first waits for
//! the device ([`GpuSession::cancel`]). The cache then holds rows beyond the valid ones, which are
//! never read.

use std::collections::VecDeque;

use bytemuck::cast_slice;
use gpt_plan::{BufferId, SamplingOp};
use wgpu::{CommandEncoder, MapMode, SubmissionIndex};

use super::buffers::{PassUniform, SamplingUniform};
use super::in_flight::{Continuation, Pace, Pending};
use super::sequence::GpuSession;
use crate::Error;
use crate::clock::Instant;
use crate::engine::Continue;

/// The number of submissions in flight: one runs while the one before it is read.
const MAX_SUBMISSIONS: usize = 2;

impl GpuSession {
    /// See [`EngineSession::generate`](crate::engine::EngineSession::generate).
    pub(super) async fn generate_on_device(
        &mut self,
        request: &Continue<'_>,
        chosen: &mut VecDeque<u32>,
    ) -> Result<bool, Error> {
        // A penalty depends on the history, which the device does not have.
        if request.sampling.repetition_penalty != 1.0 {
            return Ok(false);
        }
        let vocab = self.shared.plan.spec.vocab;
        let next = Continuation {
            token: request.token,
            position: request.position,
            sampling: SamplingUniform::new(
                request.sampling,
                request.stops,
                request.draw.wrapping_sub(request.position),
                vocab,
            ),
        };
        let steps = if request.sampling.cuts(vocab) {
            SamplingOp::TRUNCATED
        } else {
            SamplingOp::FULL_VOCABULARY
        };
        let end = request.position + request.most;
        self.prepare(1, 1);
        self.prepare_sampling(steps);
        if self.in_flight.next != Some(next) {
            self.cancel().await?;
            let mut encoder = self.device().encoder();
            let uniforms = PassUniform::body_and_head(request.position, 1, 1);
            self.upload(&mut encoder, &[request.token], uniforms, Some(&next.sampling))?;
            self.in_flight.end = request.position;
            self.in_flight.pace = Pace::default();
            self.submit_tokens(encoder, steps, end, GpuSession::submit);
        }
        while self.in_flight.pending.len() < MAX_SUBMISSIONS && self.in_flight.end < end {
            let encoder = self.device().encoder();
            self.submit_tokens(encoder, steps, end, |session, encoder| {
                session.device().submit(encoder)
            });
        }
        let tokens = self.read_tokens().await?;
        let ends = |token: &u32| request.stops.contains(token);
        let count = tokens.iter().position(ends).map_or(tokens.len(), |at| at + 1);
        let stopped = tokens[..count].last().is_some_and(ends);
        chosen.extend(&tokens[..count]);
        // Nothing continues after a token that ends the text.
        self.in_flight.next = match tokens[..count].last() {
            Some(&token) if !stopped => {
                Some(Continuation { token, position: request.position + count as u32, ..next })
            }
            _ => None,
        };
        Ok(true)
    }

    /// Submits the passes of the next few tokens, but none at position `end` or beyond.
    fn submit_tokens(
        &mut self,
        mut encoder: CommandEncoder,
        sampling: &[SamplingOp],
        end: u32,
        submit: impl Fn(&GpuSession, CommandEncoder) -> SubmissionIndex,
    ) {
        let start = self.in_flight.end;
        let tokens = self.in_flight.pace.tokens.min(end - start);
        let download = self.in_flight.submissions % MAX_SUBMISSIONS;
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
        let sampled_tokens = &self.buffers.copies(BufferId::Sampled)[0];
        encoder.copy_buffer_to_buffer(sampled_tokens, 4 * u64::from(start), sampled, 0, bytes);
        let since = Instant::now();
        let submission = submit(self, encoder);
        let mapping = self.device().map(sampled, MapMode::Read, bytes);
        self.in_flight.pending.push_back(Pending { submission, mapping, tokens, download, since });
        self.in_flight.submissions += 1;
        self.in_flight.end = start + tokens;
    }

    /// Waits for the oldest submission and returns its tokens.
    async fn read_tokens(&mut self) -> Result<Vec<u32>, Error> {
        let Some(oldest) = self.in_flight.pending.pop_front() else {
            return Ok(Vec::new());
        };
        self.device().mapped(oldest.mapping, Some(oldest.submission)).await?;
        self.in_flight.pace.measured(oldest.tokens, oldest.since, Instant::now());
        let mut tokens = vec![0; oldest.tokens as usize];
        let sampled = &self.buffers.sampled[oldest.download];
        let bytes = 4 * u64::from(oldest.tokens);
        self.device().read_mapped(sampled, bytes, |read| {
            tokens.copy_from_slice(cast_slice(read));
        })?;
        Ok(tokens)
    }

    /// Waits for the submissions in flight and drops their tokens.
    pub(super) async fn cancel(&mut self) -> Result<(), Error> {
        self.in_flight.next = None;
        while !self.in_flight.pending.is_empty() {
            self.read_tokens().await?;
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
    use crate::wait::now;
    use crate::weights::testing;
    use crate::weights::unit_gain::UnitGain;

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
            GpuModel::new(device.clone(), plan, &UnitGain::new(plan, 1, Format::F32)).unwrap();
        let untouched = vec![u32::MAX; capacity as usize];
        let sampling = Sampling { temperature: 1.0, seed: 3, ..Sampling::default() };
        // Returns the text up to a token of `stops`, all tokens that the device sampled, and the
        // position after everything that was submitted.
        let write = |stops: &[u32], most: u32| {
            let options =
                SessionOptions { capacity, chunk: 1, all_logits: false, cache: CacheFormat::F32 };
            let mut session = GpuSession::new(model.shared.clone(), options).unwrap();
            let sampled_tokens = session.buffers.copies(BufferId::Sampled)[0].clone();
            device.queue.write_buffer(&sampled_tokens, 0, cast_slice(&untouched));
            let mut chosen = VecDeque::new();
            let mut token = 1;
            let ended = |chosen: &VecDeque<u32>| chosen.back().is_some_and(|t| stops.contains(t));
            while (chosen.len() as u32) < most && !ended(&chosen) {
                let position = chosen.len() as u32;
                let request = Continue {
                    token,
                    position,
                    most: most - position,
                    sampling: &sampling,
                    draw: position,
                    stops,
                };
                assert!(now(session.generate_on_device(&request, &mut chosen)).unwrap());
                token = chosen[chosen.len() - 1];
            }
            let end = session.in_flight.end;
            now(session.cancel()).unwrap();
            let mut found: Vec<u32> = Vec::new();
            let read = |bytes: &[u8]| found.extend_from_slice(cast_slice(bytes));
            device.download(&sampled_tokens, 0, sampled_tokens.size(), read).unwrap();
            (Vec::from(chosen), found, end)
        };
        let (whole, ..) = write(&[], capacity);
        // A token that occurs late, and for the first time.
        let last = (8..40).find(|&at| !whole[..at].contains(&whole[at]));
        let last = last.expect("a text that does not repeat itself at once");
        let (chosen, sampled_tokens, end) = write(&[whole[last]], capacity);
        assert_eq!(chosen, whole[..=last]);
        assert!(end as usize > last + 1, "nothing was submitted beyond the end");
        assert_eq!(sampled_tokens[..=last], whole[..=last]);
        assert_eq!(sampled_tokens[last + 1..], untouched[last + 1..]);
    }
}
