//! Runs a pass step by step, for `Session::observe`, tests and the self-test. Everything that the
//! pass must not depend on is filled with NaN first, and the output of each step is read back.

use bytemuck::cast_slice;
use gpt_plan::BufferId;
use wgpu::Buffer;

use super::buffers::PassUniform;
use super::operands::{self, SessionBuffer};
use super::sequence::{GpuSession, streams};
use crate::Error;
use crate::engine::Trace;
use crate::gpu::model::ModelStep;

impl GpuSession {
    pub(super) async fn run_traced(
        &mut self,
        tokens: &[u32],
        position: u32,
    ) -> Result<Vec<Trace>, Error> {
        let rows = tokens.len() as u32;
        self.poison(position);
        let mut encoder = self.device().encoder();
        let uniforms = PassUniform::body_and_head(position, rows, rows);
        self.upload(&mut encoder, tokens, uniforms, None)?;
        self.submit(encoder);
        let shared = self.shared.clone();
        let mut traces = Vec::new();
        for ((index, step), stream) in shared.steps.iter().enumerate().zip(streams(&shared)) {
            let mut encoder = self.device().encoder();
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                self.record(&mut pass, index, rows, position);
            }
            self.device().submit(encoder);
            traces.push(Trace {
                step: &step.step.name,
                layer: step.layer,
                values: self.output(step, stream, rows, position).await?,
            });
        }
        Ok(traces)
    }

    /// Fills every activation, and the cache from `position` on, with NaN.
    fn poison(&self, position: u32) {
        let fill = |buffer: &Buffer, from: u64| {
            let floats = (buffer.size() - from) / 4;
            let nan = vec![f32::NAN; floats as usize];
            let queue = &self.device().queue;
            queue.write_buffer(buffer, from, cast_slice(&nan));
        };
        for id in [
            BufferId::X,
            BufferId::Q,
            BufferId::A,
            BufferId::H,
            BufferId::Embedded,
            BufferId::QkvRaw,
            BufferId::AttnBranch,
            BufferId::MlpBranch,
            BufferId::HeadHidden,
            BufferId::Logits,
            BufferId::SplitSums,
        ] {
            for buffer in self.buffers.copies(id) {
                fill(buffer, 0);
            }
        }
        let row = 4 * u64::from(self.shared.plan.spec.kv_width());
        for id in [BufferId::K, BufferId::V] {
            for buffer in self.buffers.copies(id) {
                fill(buffer, u64::from(position) * row);
            }
        }
    }

    /// The output of `step`, `[rows, width]`. If the step has several outputs, each row holds q,
    /// then k, then v.
    async fn output(
        &self,
        step: &ModelStep,
        stream: usize,
        rows: u32,
        position: u32,
    ) -> Result<Vec<f32>, Error> {
        let kernel = &self.shared.plan.kernels[usize::from(step.kernel)];
        let mut columns = Vec::new();
        for binding in kernel.group(0).filter(|b| b.is_written()) {
            let buffer = operands::buffer(Some(&step.step.op), binding.operand);
            let id = match buffer {
                SessionBuffer::Plan(id) => id,
                _ => BufferId::X,
            };
            let width = self.shared.plan.buffer(id).width;
            let first = match id {
                BufferId::K | BufferId::V => position,
                _ => 0,
            };
            let buffer = self.buffers.get(buffer, step.layer, stream);
            let (start, len) = (4 * u64::from(first * width), 4 * u64::from(rows * width));
            let mut values: Vec<f32> = Vec::new();
            let append = |read: &[u8]| values.extend_from_slice(cast_slice(read));
            self.device().download_async(buffer, start, len, append).await?;
            columns.push((width as usize, values));
        }
        let mut values = Vec::new();
        for row in 0..rows as usize {
            for (width, column) in &columns {
                values.extend_from_slice(&column[row * width..(row + 1) * width]);
            }
        }
        Ok(values)
    }
}
