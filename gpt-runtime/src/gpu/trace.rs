//! A pass step by step, for tests: everything that it must not need is filled with NaN first, and each step's output is read back.

use bytemuck::cast_slice;
use gpt_plan::BufferId;
use wgpu::{Buffer, BufferUsages};

use super::buffers::{Buffers, runs};
use super::layout::{self, Slot};
use super::model::ModelStep;
use super::session::{GpuSession, currents};
use crate::Error;
use crate::engine::Trace;

impl GpuSession {
    pub(super) fn run_traced(
        &mut self,
        tokens: &[u32],
        position: u32,
    ) -> Result<Vec<Trace>, Error> {
        let rows = tokens.len() as u32;
        self.abandon()?;
        self.poison(position);
        let mut encoder = self.encoder();
        self.upload(&mut encoder, tokens, runs(position, rows, rows), None)?;
        self.submit(encoder);
        let steps = self.shared.clone();
        let mut traces = Vec::new();
        for ((i, step), current) in steps.steps.iter().enumerate().zip(currents(&steps.steps)) {
            let mut encoder = self.encoder();
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                self.record(&mut pass, i, rows, position);
            }
            self.device().submit(encoder);
            traces.push(Trace {
                step: &step.step.name,
                layer: step.layer,
                values: self.output(step, current, rows, position)?,
            });
        }
        Ok(traces)
    }

    fn poison(&self, position: u32) {
        let fill = |buffer: &Buffer, from: u64| {
            let floats = (buffer.size() - from) / 4;
            let nan = vec![f32::NAN; floats as usize];
            self.device()
                .queue
                .write_buffer(buffer, from, cast_slice(&nan));
        };
        let Buffers {
            stream: [x, y],
            q,
            a,
            h,
            logits,
            parts,
            ..
        } = &self.buffers;
        for buffer in [x, y, q, a, h, logits, parts] {
            fill(buffer, 0);
        }
        let row = 4 * u64::from(self.shared.plan.spec.kv_width());
        for buffer in self.buffers.cache.as_flattened() {
            fill(buffer, u64::from(position) * row);
        }
    }

    /// What `step` wrote: `[rows, width]`; for q, k and v row by row.
    fn output(
        &self,
        step: &ModelStep,
        current: usize,
        rows: u32,
        position: u32,
    ) -> Result<Vec<f32>, Error> {
        let op = &step.step.op;
        let mut columns = Vec::new();
        for &(_, slot, written) in layout::session_slots(op) {
            if !written {
                continue;
            }
            let id = match slot {
                Slot::Buffer(id) => id,
                _ => BufferId::X,
            };
            let width = self.shared.plan.buffer(id).width;
            let first = if matches!(id, BufferId::K | BufferId::V) {
                position
            } else {
                0
            };
            let buffer = self.buffers.slot(slot, step.layer, current);
            columns.push((width, self.copy(buffer, first * width, rows * width)?));
        }
        let mut values = Vec::new();
        for row in 0..rows as usize {
            for (width, column) in &columns {
                let width = *width as usize;
                values.extend_from_slice(&column[row * width..(row + 1) * width]);
            }
        }
        Ok(values)
    }

    /// `len` floats of `buffer` from float `start` on.
    fn copy(&self, buffer: &Buffer, start: u32, len: u32) -> Result<Vec<f32>, Error> {
        let bytes = 4 * u64::from(len);
        let back = self.device().buffer(
            "a trace",
            bytes,
            BufferUsages::MAP_READ | BufferUsages::COPY_DST,
        )?;
        let mut encoder = self.encoder();
        encoder.copy_buffer_to_buffer(buffer, 4 * u64::from(start), &back, 0, bytes);
        self.device().submit(encoder);
        let mut values = vec![0.0; len as usize];
        self.device().read(&back, bytes, |read| {
            values.copy_from_slice(cast_slice(read))
        })?;
        Ok(values)
    }
}
