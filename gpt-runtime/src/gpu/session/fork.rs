//! Opens a second session with a copy of the cache.

use gpt_plan::BufferId;

use super::sequence::GpuSession;
use crate::Error;
use crate::engine::SessionOptions;

impl GpuSession {
    /// Opens a session with a copy of the first `positions` positions of this one's cache.
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
}
