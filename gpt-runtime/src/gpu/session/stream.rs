//! The residual stream at the head: read back after a pass, or written to run the head alone.

use bytemuck::cast_slice;
use gpt_plan::BufferId;
use wgpu::Buffer;

use super::buffers::PassUniform;
use super::sequence::{GpuSession, streams};
use crate::Error;
use crate::engine::LogitsRequest;

impl GpuSession {
    /// See [`EngineSession::stream`](crate::engine::EngineSession::stream).
    pub(super) async fn read_stream(
        &mut self,
        tokens: &[u32],
        position: u32,
        out: &mut Vec<f32>,
    ) -> Result<(), Error> {
        self.run(tokens, position, LogitsRequest::Nothing, &mut []).await?;
        let stream = self.head_input();
        let bytes = 4 * tokens.len() as u64 * u64::from(self.shared.plan.spec.embed);
        let append = |read: &[u8]| out.extend_from_slice(cast_slice(read));
        self.device().download_async(stream, 0, bytes, append).await
    }

    /// See [`EngineSession::head`](crate::engine::EngineSession::head).
    pub(super) async fn run_head(
        &mut self,
        stream: &[f32],
        logits: &mut [f32],
    ) -> Result<(), Error> {
        let rows = (stream.len() / self.shared.plan.spec.embed as usize) as u32;
        let queue = &self.device().queue;
        queue.write_buffer(self.head_input(), 0, cast_slice(stream));
        let mut encoder = self.device().encoder();
        let uniforms = PassUniform::body_and_head(0, rows, rows);
        self.upload(&mut encoder, &[], uniforms, None)?;
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for (index, step) in self.shared.steps.iter().enumerate() {
                if step.step.op.is_head() {
                    self.record(&mut pass, index, rows, 0);
                }
            }
        }
        self.submit_and_read(encoder, rows, logits).await
    }

    /// The stream buffer that the head reads. The steps of the head are the last ones, so this is
    /// where the last block leaves the stream.
    fn head_input(&self) -> &Buffer {
        let current = streams(&self.shared).last().unwrap_or(0);
        &self.buffers.copies(BufferId::X)[current]
    }
}
