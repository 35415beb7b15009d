//! Copies of what a session holds: the residual stream, and the cache for a second session.

use bytemuck::cast_slice;
use gpt_plan::BufferId;

use super::sequence::{GpuSession, streams};
use crate::Error;
use crate::engine::{LogitsRequest, SessionOptions};

impl GpuSession {
    /// A session with the first `positions` rows of this one's cache.
    pub(super) fn forked(
        &self,
        options: SessionOptions,
        positions: u32,
    ) -> Result<GpuSession, Error> {
        let fork = GpuSession::new(self.shared.clone(), options)?;
        let width = self.shared.plan.buffer(BufferId::K).width;
        let bytes = 4 * u64::from(positions) * u64::from(width);
        if bytes > 0 {
            let mut encoder = self.device().encoder();
            for id in [BufferId::K, BufferId::V] {
                let layers = self.buffers.copies(id).iter().zip(fork.buffers.copies(id));
                for (from, to) in layers {
                    encoder.copy_buffer_to_buffer(from, 0, to, 0, bytes);
                }
            }
            self.device().submit(encoder);
            self.device().check()?;
        }
        Ok(fork)
    }

    /// [`EngineSession::stream`](crate::engine::EngineSession::stream).
    pub(super) fn read_stream(
        &mut self,
        tokens: &[u32],
        position: u32,
        out: &mut Vec<f32>,
    ) -> Result<(), Error> {
        self.run(tokens, position, LogitsRequest::Nothing, &mut [])?;
        // The head is the last step, and reads the stream where the last block left it.
        let current = streams(&self.shared).last().unwrap_or(0);
        let stream = &self.buffers.copies(BufferId::X)[current];
        let bytes = 4 * tokens.len() as u64 * u64::from(self.shared.plan.spec.embed);
        self.device().download(stream, 0, bytes, |read| {
            out.extend_from_slice(cast_slice(read));
        })
    }
}
