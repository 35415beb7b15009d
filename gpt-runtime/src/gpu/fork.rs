//! Reading and copying what a session holds: the residual stream, and the cache for a second session.

use gpt_plan::BufferId;

use super::layout::Slot;
use super::session::{GpuSession, currents};
use crate::Error;
use crate::engine::{EngineSession, LogitsRequest, SessionOptions};

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
            let mut encoder = self.encoder();
            let to = fork.buffers.cache.as_flattened();
            for (from, to) in self.buffers.cache.as_flattened().iter().zip(to) {
                encoder.copy_buffer_to_buffer(from, 0, to, 0, bytes);
            }
            self.device().submit(encoder);
            self.device().check()?;
        }
        Ok(fork)
    }

    /// [`EngineSession::stream`].
    pub(super) fn read_stream(
        &mut self,
        tokens: &[u32],
        position: u32,
        out: &mut Vec<f32>,
    ) -> Result<(), Error> {
        self.forward(tokens, position, LogitsRequest::Nothing, &mut [])?;
        // The head is the last step, and reads the stream where the last block left it.
        let current = currents(&self.shared.steps).last().unwrap_or(0);
        let stream = self.buffers.slot(Slot::StreamIn, 0, current);
        let len = tokens.len() as u32 * self.shared.plan.spec.embed;
        out.extend(self.copy(stream, 0, len)?);
        Ok(())
    }
}
