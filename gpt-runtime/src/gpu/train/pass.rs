//! The dispatches of a pass: every kernel of every step, for each layer and each piece of a matrix, with what it binds.

use gpt_plan::{ADAMW, Component, GRADIENT_NORM, Plan, Positions, Repeat, Role, TensorKind};
use wgpu::{BindGroup, Buffer, BufferUsages};

use super::bind::Extent;
use super::buffers::Buffers;
use super::build::{Builder, Named, Step, whole};
use super::parameters::Parameters;
use crate::Error;
use crate::engine::{State, TrainerOptions};
use crate::gpu::device::GpuDevice;

/// A kernel to be run.
#[derive(Clone)]
pub struct Dispatch {
    /// Its place among the pipelines.
    pub kernel: usize,
    /// What it binds as group 1.
    pub group: BindGroup,
    /// Where its own numbers begin.
    pub step: u32,
    pub extent: Extent,
}

/// All dispatches, in the order they run.
pub struct Pass {
    /// Of the kernels that are run.
    pub pipelines: Vec<Named>,
    /// Group 0: the numbers of the pass, and of the step.
    pub numbers: BindGroup,
    pub forward: Vec<Dispatch>,
    /// For each chunk of rows: its losses; what these say about the head.
    pub loss: Vec<Dispatch>,
    pub head: Vec<Dispatch>,
    pub backward: Vec<Dispatch>,
    /// Gradients that nobody replaces, so that they are cleared: buffer, first byte, bytes.
    pub cleared: Vec<(Buffer, u64, u64)>,
    /// Sums the squares of all gradients into `sums`.
    pub squares: Vec<Dispatch>,
    pub sums: Buffer,
    /// Moves the parameters.
    pub update: Vec<Dispatch>,
}

impl Pass {
    pub fn new(
        device: &GpuDevice,
        plan: &'static Plan,
        parameters: &Parameters,
        buffers: &Buffers,
        options: &TrainerOptions,
    ) -> Result<Pass, Error> {
        let mut build = Builder::new(device, plan, parameters, buffers, options.precision);
        let training = &plan.training;
        let mut forward = Vec::new();
        for section in training.forward.iter() {
            for layer in section.repeat.layers() {
                for step in section.steps.iter() {
                    build.step(step, layer, &mut forward)?;
                }
            }
        }
        let (mut loss, mut head, mut backward) = (Vec::new(), Vec::new(), Vec::new());
        for step in training
            .loss
            .iter()
            .flat_map(|section| section.steps.iter())
        {
            let backward = step.op.is_backward();
            build.step(step, 0, if backward { &mut head } else { &mut loss })?;
        }
        for section in training.backward.iter() {
            let recomputed = matches!(section.repeat, Repeat::LayersReversed { .. })
                && options.shape.recompute.is_block();
            for layer in section.repeat.layers() {
                if recomputed {
                    build.again(layer, &mut backward)?;
                }
                for step in section.steps.iter() {
                    build.step(step, layer, &mut backward)?;
                }
            }
        }
        let (kernel, groups) = build.kernel(GRADIENT_NORM);
        let gradients = parameters.buffers(State::Gradient);
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
        let sums = device.buffer("sums of squares", sums(plan, parameters), usage)?;
        let mut squares = Vec::new();
        for (i, buffer) in (0..).zip(gradients) {
            let bound = [(0, whole(buffer), false), (1, whole(&sums), true)];
            let numbers = Step {
                first: i * groups,
                rows: (buffer.size() / 16) as u32,
                ..Default::default()
            };
            let extent = Extent::Fixed(groups, 1);
            squares.push(build.dispatch(kernel, "squares", &bound, numbers, extent));
        }
        let update = update(&mut build, plan, parameters);
        let (numbers, pipelines) = build.finish()?;
        device.keep_pipelines();
        Ok(Pass {
            pipelines,
            numbers,
            forward,
            loss,
            head,
            backward,
            cleared: cleared(plan, parameters),
            squares,
            sums,
            update,
        })
    }
}

/// Bytes of the sums of squares: each workgroup makes one, of each buffer.
pub fn sums(plan: &Plan, parameters: &Parameters) -> u64 {
    let mut kernels = plan.training.kernels.iter();
    let kernel = kernels.find(|kernel| kernel.name == GRADIENT_NORM);
    let groups = kernel.map_or(0, |kernel| kernel.groups);
    4 * u64::from(groups) * parameters.buffers(State::Gradient).len() as u64
}

/// AdamW on all parameters, in runs of those that decay (matrices and tables) and of those that do not (vectors).
fn update(build: &mut Builder<'_>, plan: &Plan, parameters: &Parameters) -> Vec<Dispatch> {
    let (kernel, _) = build.kernel(ADAMW);
    let mut pieces: Vec<_> = parameters
        .all()
        .map(|(id, piece)| {
            let (buffer, first, quads) = parameters.quads(piece);
            let decays = plan.tensor(id).kind != TensorKind::Vector;
            (buffer, first, quads, decays)
        })
        .collect();
    pieces.sort();
    pieces.dedup_by(|next, run| {
        let follows = next.0 == run.0 && next.1 == run.1 + run.2 && next.3 == run.3;
        if follows {
            run.2 += next.2;
        }
        follows
    });
    let runs = pieces.into_iter().map(|(buffer, first, quads, decays)| {
        let of = |state| whole(&parameters.buffers(state)[buffer]);
        let bound = [
            (0, of(State::Gradient), false),
            (1, of(State::Parameter), true),
            (2, of(State::FirstMoment), true),
            (3, of(State::SecondMoment), true),
        ];
        let numbers = Step {
            first,
            rows: quads,
            second: u32::from(decays),
            ..Default::default()
        };
        let extent = Extent::Fixed(quads.div_ceil(256), 1);
        build.dispatch(kernel, "adamw", &bound, numbers, extent)
    });
    runs.collect()
}

/// The embedding's gradients are added to row by row. A table that the head shares has been replaced before, by the head.
fn cleared(plan: &Plan, parameters: &Parameters) -> Vec<(Buffer, u64, u64)> {
    let table = (!plan.spec.tie_embeddings).then_some(Role::TokenEmbedding);
    let positions = (plan.spec.positions == Positions::Learned).then_some(Role::Positions);
    let roles = table.into_iter().chain(positions);
    let ids = roles.filter_map(|role| plan.role(role, Component::Weight));
    let pieces = ids.flat_map(|id| parameters.pieces(id, 0));
    let bound = pieces.map(|piece| parameters.binding(State::Gradient, piece));
    bound
        .map(|b| (b.buffer.clone(), b.offset, b.size.map_or(0, u64::from)))
        .collect()
}
