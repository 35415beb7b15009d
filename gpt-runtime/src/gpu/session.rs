//! One sequence on a GPU: its buffers and bind groups, made once, and the recording of its passes.
//!
//! What changes from pass to pass (tokens, position, rows) is written into a mapped buffer and copied on the device; the wanted logits
//! come back the same way. Both are mapped again and again, never made again.

mod profile;

use std::collections::VecDeque;
use std::sync::Arc;

use bytemuck::{bytes_of, cast_slice};
use gpt_plan::{ATTENTION_PART, ChoiceOp, Op, SPLIT_FROM};
use wgpu::{BindGroup, BindGroupEntry, CommandEncoder, ComputePass, MapMode, SubmissionIndex};

use super::buffers::{Buffers, RUN_BYTES, Run, SAMPLING_AT, SamplingNumbers, TOKENS_AT, runs};
use super::device::GpuDevice;
use super::generate::Ahead;
use super::layout::{self, Slot, SlotEntry};
use super::model::{ModelStep, Shared};
use crate::Error;
use crate::engine::{Continue, EngineSession, LogitsRequest, Profile, SessionOptions, Trace};

/// One sequence.
pub struct GpuSession {
    pub(super) shared: Arc<Shared>,
    pub(super) buffers: Buffers,
    /// Group 0 of each step.
    groups: Vec<BindGroup>,
    /// And of what takes attention's place where a token sees many keys, if there is room for so many: of each layer's parts, and of what puts them together.
    parts: Vec<BindGroup>,
    join: Option<BindGroup>,
    /// And of the choice of a token.
    choice: [BindGroup; ChoiceOp::ALL.len()],
    pub(super) ahead: Ahead,
}

/// Which of the stream's buffers holds it before each step; the step that writes the stream moves it to the other.
pub(super) fn currents(steps: &[ModelStep]) -> impl Iterator<Item = usize> {
    steps.iter().scan(1, |current, step| {
        let before = *current;
        let slots = layout::session_slots(&step.step.op);
        if slots.iter().any(|(_, slot, _)| *slot == Slot::StreamOut) {
            *current = 1 - before;
        }
        Some(before)
    })
}

impl GpuSession {
    pub(super) fn new(shared: Arc<Shared>, options: SessionOptions) -> Result<GpuSession, Error> {
        let buffers = Buffers::new(&shared, &options)?;
        let device = &shared.device;
        let group = |name: &str, slots: &[SlotEntry], layer, current| {
            let entries: Vec<BindGroupEntry<'_>> = slots
                .iter()
                .map(|&(binding, slot, _)| BindGroupEntry {
                    binding,
                    resource: buffers.slot(slot, layer, current).as_entire_binding(),
                })
                .collect();
            let layout = layout::session_layout(device, slots);
            device.bind_group(name, &layout, &entries)
        };
        let steps = shared.steps.iter().zip(currents(&shared.steps));
        let groups = steps
            .map(|(step, current)| {
                let slots = layout::session_slots(&step.step.op);
                group(&step.step.name, slots, step.layer, current)
            })
            .collect();
        let split = shared.plan.split.is_some() && options.capacity > SPLIT_FROM;
        let layers = if split { shared.plan.spec.layers } else { 0 };
        let parts = (0..layers)
            .map(|layer| group("attention_part", layout::ATTENTION_PART, layer, 0))
            .collect();
        let join = split.then(|| group("attention_join", layout::ATTENTION_JOIN, 0, 0));
        let choice = ChoiceOp::ALL.map(|op| group(op.name(), layout::choice_slots(op), 0, 0));
        buffers.upload.map_async(MapMode::Write, .., |_| {});
        device.wait()?;
        Ok(GpuSession {
            buffers,
            groups,
            parts,
            join,
            choice,
            ahead: Ahead::default(),
            shared,
        })
    }

    /// Records that the pass's numbers and tokens go where the kernels read them.
    pub(super) fn upload(
        &self,
        encoder: &mut CommandEncoder,
        tokens: &[u32],
        runs: [Run; 2],
        sampling: Option<&SamplingNumbers>,
    ) -> Result<(), Error> {
        let upload = &self.buffers.upload;
        // It was asked for when the last pass was submitted.
        self.device().wait()?;
        let mut view = upload.get_mapped_range_mut(..).map_err(|error| {
            Error::Device(format!(
                "{} takes no more input: {error}",
                self.device().name()
            ))
        })?;
        let mut put = |at: u64, bytes: &[u8]| {
            let at = at as usize;
            view.slice(at..at + bytes.len()).copy_from_slice(bytes);
        };
        put(0, cast_slice(&runs));
        put(TOKENS_AT, cast_slice(tokens));
        if let Some(sampling) = sampling {
            put(SAMPLING_AT, bytes_of(sampling));
        }
        drop(view);
        upload.unmap();
        for (i, run) in self.buffers.run.iter().enumerate() {
            encoder.copy_buffer_to_buffer(upload, i as u64 * RUN_BYTES, run, 0, RUN_BYTES);
        }
        let bytes = 4 * tokens.len() as u64;
        encoder.copy_buffer_to_buffer(upload, TOKENS_AT, &self.buffers.tokens, 0, bytes);
        if sampling.is_some() {
            let to = &self.buffers.sampling;
            encoder.copy_buffer_to_buffer(upload, SAMPLING_AT, to, 0, to.size());
        }
        Ok(())
    }

    /// Submits what [`upload`](Self::upload) began.
    pub(super) fn submit(&self, encoder: CommandEncoder) -> SubmissionIndex {
        let submission = self.device().submit(encoder);
        self.buffers.upload.map_async(MapMode::Write, .., |_| {});
        submission
    }

    pub(super) fn device(&self) -> &GpuDevice {
        &self.shared.device
    }

    pub(super) fn encoder(&self) -> CommandEncoder {
        self.device()
            .device
            .create_command_encoder(&Default::default())
    }

    /// Records one step for `rows` rows, the first of them at `position`.
    pub(super) fn record(
        &self,
        pass: &mut ComputePass<'_>,
        index: usize,
        rows: u32,
        position: u32,
    ) {
        let step = &self.shared.steps[index];
        let keys = position + rows;
        match (&step.step.op, self.shared.plan.split, &self.join) {
            (Op::Attention { .. }, Some(split), Some(join)) if rows == 1 && keys > SPLIT_FROM => {
                let part = &self.parts[step.layer as usize];
                self.dispatch(pass, split.part, part, [1, keys.div_ceil(ATTENTION_PART)]);
                self.dispatch(pass, split.join, join, [1, 1]);
            }
            _ => {
                if let Some(weights) = &step.weights {
                    pass.set_bind_group(1, weights, &[]);
                }
                self.dispatch(pass, step.kernel(rows), &self.groups[index], [rows, 1]);
            }
        }
    }

    /// Builds the kernels of passes of `rows` rows, whose logits are made of `wanted` rows, wherever they stand: a text does not wait in the middle.
    pub(super) fn prepare(&self, rows: u32, wanted: u32) {
        let kernels = self.shared.steps.iter().filter_map(|step| {
            let rows = if step.step.op.is_head() { wanted } else { rows };
            (rows > 0).then(|| step.kernel(rows))
        });
        let split = match &self.join {
            Some(_) if rows == 1 => self.shared.plan.split,
            _ => None,
        };
        let split = split.map(|split| [split.part, split.join]);
        let pipelines = &self.shared.pipelines;
        pipelines.prepare(kernels.chain(split.into_iter().flatten()));
    }

    /// Records a step of the choice of a token.
    pub(super) fn record_choice(&self, pass: &mut ComputePass<'_>, op: ChoiceOp) {
        let kernel = self.shared.plan.choice[op as usize];
        self.dispatch(pass, kernel, &self.choice[op as usize], [1, 1]);
    }

    fn dispatch(
        &self,
        pass: &mut ComputePass<'_>,
        kernel: u16,
        group: &BindGroup,
        [rows, parts]: [u32; 2],
    ) {
        let pipeline = self.shared.pipelines.get(kernel);
        pass.set_pipeline(&pipeline.inner);
        pass.set_bind_group(0, group, &[]);
        pass.dispatch_workgroups(pipeline.groups, rows.div_ceil(pipeline.tile_rows), parts);
    }
}

impl EngineSession for GpuSession {
    fn forward(
        &mut self,
        tokens: &[u32],
        position: u32,
        want: LogitsRequest,
        logits: &mut [f32],
    ) -> Result<(), Error> {
        self.abandon()?;
        let rows = tokens.len() as u32;
        let wanted = match want {
            LogitsRequest::Nothing => 0,
            LogitsRequest::Last => 1,
            LogitsRequest::All => rows,
        };
        let bytes = u64::from(wanted) * u64::from(self.shared.plan.spec.vocab) * 4;
        self.prepare(rows, wanted);
        let mut encoder = self.encoder();
        self.upload(&mut encoder, tokens, runs(position, rows, wanted), None)?;
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for (i, step) in self.shared.steps.iter().enumerate() {
                match step.step.op.is_head() {
                    true if wanted == 0 => {}
                    true => self.record(&mut pass, i, wanted, position),
                    false => self.record(&mut pass, i, rows, position),
                }
            }
        }
        let Buffers {
            logits: source,
            download,
            ..
        } = &self.buffers;
        if wanted > 0 {
            encoder.copy_buffer_to_buffer(source, 0, download, 0, bytes);
        }
        self.submit(encoder);
        if wanted > 0 {
            self.device().read(download, bytes, |read| {
                logits[..read.len() / 4].copy_from_slice(cast_slice(read));
            })?;
        }
        Ok(())
    }

    fn trace(&mut self, tokens: &[u32], position: u32) -> Result<Vec<Trace>, Error> {
        self.run_traced(tokens, position)
    }

    fn generate(&mut self, ask: &Continue<'_>, chosen: &mut VecDeque<u32>) -> Result<bool, Error> {
        self.run_ahead(ask, chosen)
    }

    fn profile(&mut self, tokens: &[u32], position: u32) -> Result<Profile, Error> {
        self.abandon()?;
        self.time_steps(tokens, position)
    }
}
