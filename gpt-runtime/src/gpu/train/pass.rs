//! The dispatches of a training pass and of the optimizer, in the order in which they run.

use std::sync::Arc;

use gpt_plan::{
    ADAMW, BufferId, Component, GRADIENT_NORM, Operand, Plan, Positions, Repeat, Role, TensorKind,
};
use wgpu::{Buffer, BufferUsages};

use super::buffers::TrainBuffers;
use super::dispatch::{Dispatch, DispatchBuilder, DispatchUniform, Program, whole};
use super::parameters::DeviceParameters;
use crate::Error;
use crate::engine::{TensorState, TrainerOptions};
use crate::gpu::device::GpuDevice;

/// All dispatches of a trainer.
pub struct TrainPass {
    pub program: Program,
    pub forward: Vec<Dispatch>,
    /// Computes the losses of a range of rows.
    pub loss: Vec<Dispatch>,
    /// Computes the head's gradients from a range of rows.
    pub head: Vec<Dispatch>,
    pub backward: Vec<Dispatch>,
    /// Gradients to which kernels only add, so they are cleared first: buffer, first byte, bytes.
    pub cleared: Vec<(Buffer, u64, u64)>,
    /// Sums the squares of all gradients into `square_sums`.
    pub squares: Vec<Dispatch>,
    pub square_sums: Buffer,
    /// Updates the parameters by AdamW.
    pub update: Vec<Dispatch>,
}

impl TrainPass {
    pub fn new(
        device: &Arc<GpuDevice>,
        plan: &'static Plan,
        parameters: &DeviceParameters,
        buffers: &TrainBuffers,
        options: &TrainerOptions,
    ) -> Result<TrainPass, Error> {
        let mut build = DispatchBuilder::new(device, plan, parameters, buffers, options.precision);
        let mut forward = Vec::new();
        let training = &plan.training;
        for section in training.forward.iter() {
            for layer in section.repeat.layers() {
                build.section(section, layer, &mut forward)?;
            }
        }
        let recomputes = options.shape.recompute.is_block();
        let (mut loss, mut head, mut backward) = (Vec::new(), Vec::new(), Vec::new());
        for step in training.loss.iter().flat_map(|section| section.steps.iter()) {
            let is_backward = step.op.is_backward();
            build.step(step, 0, if is_backward { &mut head } else { &mut loss })?;
        }
        for section in training.backward.iter() {
            let recomputed = recomputes && matches!(section.repeat, Repeat::LayersReversed { .. });
            for layer in section.repeat.layers() {
                if recomputed {
                    build.recompute(layer, &mut backward)?;
                }
                build.section(section, layer, &mut backward)?;
            }
        }
        let bytes = square_sum_bytes(plan, parameters);
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
        let square_sums = device.buffer("sums of squares", bytes, usage)?;
        let squares = squares(&mut build, parameters, &square_sums);
        let update = update(&mut build, plan, parameters);
        Ok(TrainPass {
            program: build.finish()?,
            forward,
            loss,
            head,
            backward,
            cleared: cleared(plan, parameters),
            squares,
            square_sums,
            update,
        })
    }
}

/// The bytes of the sums of squares: one sum for each workgroup and buffer of gradients.
pub fn square_sum_bytes(plan: &Plan, parameters: &DeviceParameters) -> u64 {
    let mut kernels = plan.training.kernels.iter();
    let kernel = kernels.find(|kernel| kernel.name == GRADIENT_NORM);
    let groups = kernel.map_or(0, |kernel| kernel.groups);
    4 * u64::from(groups) * parameters.buffers(TensorState::Gradient).len() as u64
}

/// The dispatches that sum the squares of all gradients.
fn squares(
    build: &mut DispatchBuilder<'_>,
    parameters: &DeviceParameters,
    sums: &Buffer,
) -> Vec<Dispatch> {
    let (index, kernel) = build.kernel(GRADIENT_NORM);
    let mut dispatches = Vec::new();
    for (i, buffer) in (0..).zip(parameters.buffers(TensorState::Gradient)) {
        let bound = kernel.group(1).map(|binding| match binding.operand {
            Operand::Gradients => (binding.binding, whole(buffer)),
            Operand::SquareSums => (binding.binding, whole(sums)),
            other => unreachable!("{other:?} is not an operand of the gradients' norm"),
        });
        let uniform = DispatchUniform {
            first: i * kernel.groups,
            rows: (buffer.size() / 16) as u32,
            ..Default::default()
        };
        dispatches.push(build.dispatch(index, &bound.collect::<Vec<_>>(), uniform));
    }
    dispatches
}

/// The dispatches that update all parameters by AdamW. Each takes a range of parameters to which
/// weight decay applies (matrices and tables), or a range of those to which it does not (vectors).
fn update(
    build: &mut DispatchBuilder<'_>,
    plan: &Plan,
    parameters: &DeviceParameters,
) -> Vec<Dispatch> {
    let (index, kernel) = build.kernel(ADAMW);
    let mut ranges: Vec<_> = parameters
        .all()
        .map(|(id, slice)| {
            let (buffer, first, quads) = parameters.quads(slice);
            let decays = plan.tensor(id).kind != TensorKind::Vector;
            (buffer, first, quads, decays)
        })
        .collect();
    ranges.sort();
    ranges.dedup_by(|next, range| {
        let follows = next.0 == range.0 && next.1 == range.1 + range.2 && next.3 == range.3;
        if follows {
            range.2 += next.2;
        }
        follows
    });
    let dispatches = ranges.into_iter().map(|(buffer, first, quads, decays)| {
        let of = |state| whole(&parameters.buffers(state)[buffer]);
        let bound = kernel.group(1).map(|binding| {
            let state = match binding.operand {
                Operand::Gradients => TensorState::Gradient,
                Operand::Parameters => TensorState::Parameter,
                Operand::FirstMoments => TensorState::FirstMoment,
                Operand::SecondMoments => TensorState::SecondMoment,
                other => unreachable!("{other:?} is not an operand of AdamW"),
            };
            (binding.binding, of(state))
        });
        let uniform = DispatchUniform {
            first,
            rows: quads,
            binding_row: u32::from(decays),
            ..Default::default()
        };
        build.dispatch(index, &bound.collect::<Vec<_>>(), uniform)
    });
    dispatches.collect()
}

/// The ranges of the gradient buffers that are set to zero before a step: the gradients of the
/// embedding, to which its backward op adds rows. If the head shares the table, the head's backward
/// op comes first and replaces the gradient.
fn cleared(plan: &Plan, parameters: &DeviceParameters) -> Vec<(Buffer, u64, u64)> {
    let table = (!plan.spec.tie_embeddings).then_some(Role::TokenEmbedding);
    let positions = (plan.spec.positions == Positions::Learned).then_some(Role::Positions);
    let roles = table.into_iter().chain(positions);
    let ids = roles.filter_map(|role| plan.role(role, Component::Weight));
    let slices = ids.flat_map(|id| parameters.slices(id, 0));
    let bound = slices.map(|slice| parameters.binding(TensorState::Gradient, slice));
    bound.map(|b| (b.buffer.clone(), b.offset, b.size.map_or(0, u64::from))).collect()
}

/// Divides `rows` rows into ranges whose logits fit in the buffer of logits. Returns the first row
/// and the number of rows of each range.
pub fn logit_ranges(plan: &Plan, options: &TrainerOptions, rows: u32) -> Vec<(u32, u32)> {
    let most = plan.training.buffer(BufferId::Logits);
    let most = most.train_rows(&options.shape) as u32;
    let starts = (0..rows).step_by(most as usize);
    starts.map(|first| (first, most.min(rows - first))).collect()
}
