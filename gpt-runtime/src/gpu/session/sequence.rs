//! One sequence on a GPU: its buffers and bind groups, created once, and the recording of passes.

use std::sync::Arc;

use bytemuck::{bytes_of, cast_slice};
use gpt_plan::{BufferId, Extent, Kernel, Op, SPLIT_FROM, SamplingOp};
use wgpu::{BindGroup, BindGroupEntry, CommandEncoder, ComputePass, SubmissionIndex};

use super::buffers::{PassUniform, SamplingUniform, SessionBuffers};
use super::in_flight::InFlight;
use super::operands::{self, SessionBuffer};
use crate::Error;
use crate::engine::{LogitsRequest, SessionOptions};
use crate::gpu::device::GpuDevice;
use crate::gpu::layout;
use crate::gpu::model::SharedModel;
use crate::gpu::upload::Upload;

/// One sequence.
pub struct GpuSession {
    pub(super) shared: Arc<SharedModel>,
    pub(super) buffers: SessionBuffers,
    /// Group 0 of each step.
    groups: Vec<BindGroup>,
    /// `None` if the plan has no split attention, or if the cache has at most [`SPLIT_FROM`]
    /// positions.
    split_attention: Option<SplitGroups>,
    /// Group 0 of each step of sampling.
    sampling: [BindGroup; SamplingOp::ALL.len()],
    pub(super) in_flight: InFlight,
}

/// Group 0 of the two kernels of split attention.
struct SplitGroups {
    /// By layer.
    split: Vec<BindGroup>,
    merge: BindGroup,
}

/// The index of the stream buffer that holds the residual stream before each step: 0 or 1. A step
/// that writes the stream moves it to the other buffer.
pub(super) fn streams(shared: &SharedModel) -> impl Iterator<Item = usize> {
    shared.steps.iter().scan(1, |stream, step| {
        let before = *stream;
        let kernel = &shared.plan.kernels[usize::from(step.kernel)];
        let mut bindings = kernel.group(0);
        let buffer = |operand| operands::buffer(Some(&step.step.op), operand);
        if bindings.any(|b| buffer(b.operand) == SessionBuffer::StreamOut) {
            *stream = 1 - before;
        }
        Some(before)
    })
}

impl GpuSession {
    pub(super) fn new(
        shared: Arc<SharedModel>,
        options: SessionOptions,
    ) -> Result<GpuSession, Error> {
        let (device, plan) = (&*shared.device, shared.plan);
        let buffers = SessionBuffers::new(device, plan, &options)?;
        let group = |kernel: u16, op: Option<&Op>, layer, stream| {
            let kernel: &Kernel = &plan.kernels[usize::from(kernel)];
            let entry = |binding: &gpt_plan::Binding| BindGroupEntry {
                binding: binding.binding,
                resource: buffers
                    .get(operands::buffer(op, binding.operand), layer, stream)
                    .as_entire_binding(),
            };
            let entries: Vec<BindGroupEntry<'_>> = kernel.group(0).map(entry).collect();
            let layout = layout::group(device, kernel.group(0), 0);
            device.bind_group(&kernel.name, &layout, &entries)
        };
        let groups = shared.steps.iter().zip(streams(&shared));
        let groups = groups.map(|(step, stream)| {
            let op = &step.step.op;
            group(step.kernel, Some(op), step.layer, stream)
        });
        let groups = groups.collect();
        let kernels = plan.split_attention;
        let kernels = kernels.filter(|_| options.capacity > SPLIT_FROM);
        let split_attention = kernels.map(|kernels| SplitGroups {
            split: (0..plan.spec.layers)
                .map(|layer| group(kernels.split, None, layer, 0))
                .collect(),
            merge: group(kernels.merge, None, 0, 0),
        });
        let sampling = plan.sampling.map(|kernel| group(kernel, None, 0, 0));
        Ok(GpuSession {
            buffers,
            groups,
            split_attention,
            sampling,
            in_flight: InFlight::default(),
            shared,
        })
    }

    /// Records the copies of a pass's tokens, of its two uniforms (for all steps but the head, and
    /// for the head) and of the sampling options to the buffers that kernels read.
    pub(super) fn upload(
        &self,
        encoder: &mut CommandEncoder,
        tokens: &[u32],
        uniforms: [PassUniform; 2],
        sampling: Option<&SamplingUniform>,
    ) -> Result<(), Error> {
        let buffers = &self.buffers;
        let mut uploads = vec![
            Upload::new(bytes_of(&uniforms[0]), &buffers.pass_uniforms[0]),
            Upload::new(bytes_of(&uniforms[1]), &buffers.pass_uniforms[1]),
            Upload::new(cast_slice(tokens), &buffers.tokens),
        ];
        uploads.extend(sampling.map(|s| Upload::new(bytes_of(s), &buffers.sampling)));
        buffers.upload.record(self.device(), encoder, &uploads)
    }

    /// Submits a pass that [`upload`](Self::upload) began.
    pub(super) fn submit(&self, encoder: CommandEncoder) -> SubmissionIndex {
        self.buffers.upload.submit(self.device(), encoder)
    }

    pub(super) fn device(&self) -> &GpuDevice {
        &self.shared.device
    }

    /// Runs `tokens` from `position` on and writes the wanted logits to the front of `logits`.
    pub(super) async fn run(
        &mut self,
        tokens: &[u32],
        position: u32,
        want: LogitsRequest,
        logits: &mut [f32],
    ) -> Result<(), Error> {
        let rows = tokens.len() as u32;
        let wanted = match want {
            LogitsRequest::Nothing => 0,
            LogitsRequest::Last => 1,
            LogitsRequest::All => rows,
        };
        self.prepare(rows, wanted);
        let mut encoder = self.device().encoder();
        let uniforms = PassUniform::body_and_head(position, rows, wanted);
        self.upload(&mut encoder, tokens, uniforms, None)?;
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for index in 0..self.shared.steps.len() {
                let rows = self.rows_of(index, rows, wanted);
                if rows > 0 {
                    self.record(&mut pass, index, rows, position);
                }
            }
        }
        if wanted > 0 {
            return self.submit_and_read(encoder, wanted, logits).await;
        }
        self.submit(encoder);
        Ok(())
    }

    /// Submits a pass that [`upload`](Self::upload) began, and reads the logits of its `rows` rows
    /// to the front of `logits`.
    pub(super) async fn submit_and_read(
        &self,
        mut encoder: CommandEncoder,
        rows: u32,
        logits: &mut [f32],
    ) -> Result<(), Error> {
        let bytes = u64::from(rows) * u64::from(self.shared.plan.spec.vocab) * 4;
        let download = &self.buffers.download;
        let [source] = self.buffers.copies(BufferId::Logits) else {
            unreachable!("logits have one buffer");
        };
        encoder.copy_buffer_to_buffer(source, 0, download, 0, bytes);
        self.submit(encoder);
        let copy = |read: &[u8]| logits[..read.len() / 4].copy_from_slice(cast_slice(read));
        self.device().read_async(download, bytes, copy).await
    }

    /// The number of rows on which step `index` runs, in a pass over `rows` rows that computes
    /// logits for the last `wanted` of them.
    pub(super) fn rows_of(&self, index: usize, rows: u32, wanted: u32) -> u32 {
        match self.shared.steps[index].step.op.is_head() {
            true => wanted,
            false => rows,
        }
    }

    /// Records step `index` for `rows` rows, the first of them at `position`.
    pub(super) fn record(
        &self,
        pass: &mut ComputePass<'_>,
        index: usize,
        rows: u32,
        position: u32,
    ) {
        let step = &self.shared.steps[index];
        let extent = Extent { rows, keys: position + rows, ..Extent::default() };
        let kernels = self.shared.plan.split_attention;
        match (&step.step.op, kernels, &self.split_attention) {
            (Op::Attention { .. }, Some(kernels), Some(groups))
                if rows == 1 && extent.keys > SPLIT_FROM =>
            {
                let split = &groups.split[step.layer as usize];
                self.dispatch(pass, kernels.split, split, &extent);
                self.dispatch(pass, kernels.merge, &groups.merge, &extent);
            }
            _ => {
                for dispatch in &step.dispatches {
                    if let Some(weights) = &dispatch.weights {
                        pass.set_bind_group(1, weights, &[]);
                    }
                    let group = &self.groups[index];
                    self.dispatch(pass, dispatch.pipeline(rows), group, &extent);
                }
            }
        }
    }

    /// Builds the pipelines that a pass over `rows` rows with logits for the last `wanted` rows
    /// needs at any position, including those of split attention. Then no later pass of this kind
    /// waits for a compiler.
    pub(super) fn prepare(&self, rows: u32, wanted: u32) {
        let steps = self.shared.steps.iter().enumerate();
        let kernels = steps.flat_map(|(index, step)| {
            let rows = self.rows_of(index, rows, wanted);
            let dispatches = step.dispatches.iter().filter(move |_| rows > 0);
            dispatches.map(move |dispatch| dispatch.pipeline(rows))
        });
        let split = self.shared.plan.split_attention;
        let split = split.filter(|_| self.split_attention.is_some() && rows == 1);
        let split = split.map(|kernels| [kernels.split, kernels.merge]);
        let pipelines = &self.shared.pipelines;
        pipelines.prepare(kernels.chain(split.into_iter().flatten()));
    }

    /// Builds the pipelines of these steps of sampling.
    pub(super) fn prepare_sampling(&self, steps: &[SamplingOp]) {
        let kernels = steps.iter().map(|&op| self.shared.plan.sampling[op as usize]);
        self.shared.pipelines.prepare(kernels);
    }

    /// Records a step of sampling.
    pub(super) fn record_sampling(&self, pass: &mut ComputePass<'_>, op: SamplingOp) {
        let kernel = self.shared.plan.sampling[op as usize];
        let extent = Extent { rows: 1, ..Extent::default() };
        self.dispatch(pass, kernel, &self.sampling[op as usize], &extent);
    }

    fn dispatch(
        &self,
        pass: &mut ComputePass<'_>,
        kernel: u16,
        group: &BindGroup,
        extent: &Extent,
    ) {
        pass.set_bind_group(0, group, &[]);
        self.shared.pipelines.get(kernel).dispatch(pass, extent);
    }
}
