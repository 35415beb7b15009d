//! From a plan's steps to dispatches: every kernel of a step, for each piece of its matrix, with all that it binds.

use std::collections::HashMap;

use bytemuck::{Pod, Zeroable, bytes_of};
use gpt_plan::{Component, Place, Plan, Role, Site, Step as PlanStep, TensorId};
use wgpu::{
    BindGroup, BindGroupEntry, BindGroupLayout, BindGroupLayoutDescriptor, BindGroupLayoutEntry,
    BindingResource, BindingType, Buffer, BufferBinding, BufferBindingType, BufferUsages,
    ComputePipeline, ShaderStages,
};

use super::bind::{self, Bound, Extent, Work};
use super::buffers::{Buffers, NUMBERS, SLOT};
use super::parameters::{Parameters, Piece};
use super::pass::Dispatch;
use crate::Error;
use crate::engine::{Precision, State};
use crate::gpu::device::GpuDevice;

/// The struct `Step` of `train/run.wgsl`; where a step ends, `Piece` of `train/adamw.wgsl` and `train/gradient_norm.wgsl`: first quad, quads, whether
/// they decay.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Step {
    pub first: u32,
    pub rows: u32,
    pub second: u32,
    pub site: u32,
    pub adds: u32,
    pub padding: [u32; 3],
}

/// Rows of a matrix that are summed over at once. A sum over a vocabulary loses more digits than the next step can do without, if it is made from its first term
/// to its last; so it is made in pieces.
const DEPTH: usize = 8192;

/// The part of a step's work that one dispatch does.
#[derive(Clone, Copy, Default)]
struct Share {
    numbers: Step,
    piece: Option<Piece>,
    /// The counterpart in the half that a gate lets through.
    second: Option<Piece>,
}

/// A pipeline and what the plan calls its kernel.
pub type Named = (&'static str, ComputePipeline);

pub struct Builder<'a> {
    device: &'a GpuDevice,
    plan: &'static Plan,
    parameters: &'a Parameters,
    buffers: &'a Buffers,
    /// By binding and whether it is written.
    layouts: HashMap<Vec<(u32, bool)>, BindGroupLayout>,
    precision: Precision,
    /// The kernels that occurred, with group 1 of each; a dispatch has its place among them.
    kernels: Vec<(u16, BindGroupLayout)>,
    /// The numbers of all dispatches.
    steps: Vec<Step>,
}

impl<'a> Builder<'a> {
    pub fn new(
        device: &'a GpuDevice,
        plan: &'static Plan,
        parameters: &'a Parameters,
        buffers: &'a Buffers,
        precision: Precision,
    ) -> Self {
        Builder {
            device,
            plan,
            parameters,
            buffers,
            layouts: HashMap::new(),
            precision,
            kernels: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// The kernel called `name`, and its workgroups.
    pub fn kernel(&self, name: &str) -> (u16, u32) {
        let kernels = self.plan.training.kernels.iter();
        let found = (0..).zip(kernels).find(|(_, kernel)| kernel.name == name);
        let (index, kernel) = found.expect("every plan has the kernels that end a step");
        (index, kernel.groups)
    }

    /// Adds the dispatches of a step.
    pub fn step(
        &mut self,
        step: &PlanStep,
        layer: u32,
        out: &mut Vec<Dispatch>,
    ) -> Result<(), Error> {
        let works = bind::works(&step.op);
        let kernels = step.train_kernels();
        assert_eq!(works.len(), kernels.len(), "kernels of {}", step.name);
        let site = step.op.site().unwrap_or(Site::Attention);
        let site = layer * 4 + site as u32;
        for (work, &kernel) in works.iter().zip(kernels) {
            for share in self.shares(work, layer) {
                let bound: Vec<_> = work
                    .bindings
                    .iter()
                    .map(|&(binding, what, written)| {
                        Ok((binding, self.resource(what, layer, &share)?, written))
                    })
                    .collect::<Result<_, Error>>()?;
                let numbers = Step {
                    site,
                    ..share.numbers
                };
                let kernel = match self.precision {
                    Precision::F16 => self.plan.training.in_f16[usize::from(kernel)],
                    _ => kernel,
                };
                let known = &self.plan.training.kernels[usize::from(kernel)];
                let extent = (work.extent)(known, numbers.rows);
                out.push(self.dispatch(kernel, &step.name, &bound, numbers, extent));
            }
        }
        Ok(())
    }

    /// How a step's matrix is worked on: whole, or piece by piece.
    fn shares(&self, work: &Work, layer: u32) -> Vec<Share> {
        let Some(id) = work.matrix else {
            return vec![Share::default()];
        };
        let share = |piece: &Piece, second: Option<&Piece>| Share {
            numbers: Step {
                first: piece.first,
                rows: piece.rows,
                ..Default::default()
            },
            piece: Some(*piece),
            second: second.copied(),
        };
        let gates = work.bindings.iter().any(|b| b.1 == Bound::SecondPiece);
        match self.parameters.pieces(id, self.layer_of(id, layer)) {
            [whole] if gates => {
                let mut share = share(whole, Some(whole));
                share.numbers.rows = whole.rows / 2;
                share.numbers.second = whole.rows / 2;
                vec![share]
            }
            pieces if gates => {
                let (gate, up) = pieces.split_at(pieces.len() / 2);
                let pairs = gate.iter().zip(up);
                pairs.map(|(gate, up)| share(gate, Some(up))).collect()
            }
            pieces if work.adds => {
                let mut shares = Vec::new();
                for piece in pieces {
                    for begin in (0..piece.rows).step_by(DEPTH) {
                        let mut share = share(piece, None);
                        share.numbers.first += begin;
                        share.numbers.rows = (piece.rows - begin).min(DEPTH as u32);
                        share.numbers.second = begin;
                        share.numbers.adds = u32::from(!shares.is_empty());
                        shares.push(share);
                    }
                }
                shares
            }
            pieces => pieces.iter().map(|p| share(p, None)).collect(),
        }
    }

    /// A layer's forward steps once more, but for the one that would write what the layer left.
    pub fn again(&mut self, layer: u32, out: &mut Vec<Dispatch>) -> Result<(), Error> {
        let forward = self.plan.training.forward.iter();
        for section in forward.filter(|section| section.repeat.has_layer(layer)) {
            for step in section.steps.iter().filter(|step| !step.op.ends_layer()) {
                self.step(step, layer, out)?;
            }
        }
        Ok(())
    }

    fn layer_of(&self, id: TensorId, layer: u32) -> u32 {
        match self.plan.tensor(id).place {
            Place::Model => 0,
            Place::Layers { .. } => layer,
        }
    }

    fn resource(
        &self,
        bound: Bound,
        layer: u32,
        share: &Share,
    ) -> Result<BufferBinding<'a>, Error> {
        let (parameters, buffers) = (self.parameters, self.buffers);
        let of = |piece: Option<Piece>, state| {
            let piece = piece.expect("a step with a matrix");
            Ok(parameters.binding(state, &piece))
        };
        let vector = |id, state| match parameters.pieces(id, self.layer_of(id, layer)) {
            [piece] => Ok(parameters.binding(state, piece)),
            _ => Err(Error::Input(format!(
                "{} of {} is more than a device binds at once",
                self.plan.tensor(id).name,
                self.plan.name
            ))),
        };
        match bound {
            Bound::Slot(slot) => Ok(whole(buffers.slot(slot, layer))),
            Bound::Vector(id) => vector(id, State::Parameter),
            Bound::VectorGradient(id) => vector(id, State::Gradient),
            Bound::Piece => of(share.piece, State::Parameter),
            Bound::PieceGradient => of(share.piece, State::Gradient),
            Bound::SecondPiece => of(share.second, State::Parameter),
            Bound::Table => match (
                &buffers.table,
                self.plan.role(Role::Positions, Component::Weight),
            ) {
                (Some(table), _) => Ok(whole(table)),
                (None, Some(positions)) => vector(positions, State::Parameter),
                (None, None) => unreachable!("a model with a table computes or learns it"),
            },
        }
    }

    pub fn dispatch(
        &mut self,
        kernel: u16,
        name: &str,
        bound: &[(u32, BufferBinding<'_>, bool)],
        numbers: Step,
        extent: Extent,
    ) -> Dispatch {
        let device = self.device;
        let key: Vec<_> = bound.iter().map(|b| (b.0, b.2)).collect();
        let layout = self.layouts.entry(key).or_insert_with_key(|key| {
            let entries = key.iter().map(|&(binding, written)| {
                let read_only = !written;
                entry(binding, BufferBindingType::Storage { read_only }, false)
            });
            layout(device, &entries.collect::<Vec<_>>())
        });
        let entries: Vec<_> = bound
            .iter()
            .map(|(binding, buffer, _)| BindGroupEntry {
                binding: *binding,
                resource: BindingResource::Buffer(buffer.clone()),
            })
            .collect();
        let group = device.bind_group(name, layout, &entries);
        let known = self.kernels.iter().position(|(k, _)| *k == kernel);
        let kernel = known.unwrap_or_else(|| {
            self.kernels.push((kernel, layout.clone()));
            self.kernels.len() - 1
        });
        self.steps.push(numbers);
        Dispatch {
            kernel,
            group,
            step: (self.steps.len() as u32 - 1) * SLOT,
            extent,
        }
    }

    /// Group 0, and a pipeline for every kernel that occurred, with the kernel's name, built on all cores: a driver compiles one at a time on each.
    pub fn finish(self) -> Result<(BindGroup, Vec<Named>), Error> {
        let device = self.device;
        let mut numbers = vec![0; self.steps.len() * SLOT as usize];
        for (slot, step) in numbers.chunks_mut(SLOT as usize).zip(&self.steps) {
            slot[..size_of::<Step>()].copy_from_slice(bytes_of(step));
        }
        let steps = device.upload("the numbers of the steps", &numbers, BufferUsages::UNIFORM)?;
        let entries = [0, 1].map(|binding| entry(binding, BufferBindingType::Uniform, true));
        let first = layout(device, &entries);
        let bind = |binding, buffer| BindGroupEntry {
            binding,
            resource: BindingResource::Buffer(BufferBinding {
                buffer,
                offset: 0,
                size: std::num::NonZero::new(NUMBERS),
            }),
        };
        let entries = [bind(0, &self.buffers.run), bind(1, &steps)];
        let group = device.bind_group("numbers", &first, &entries);

        let kernels = &self.plan.training.kernels;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = self.kernels.len().div_ceil(threads);
        let first = &first;
        let pipelines = std::thread::scope(|scope| {
            let shares: Vec<_> = self
                .kernels
                .chunks(share)
                .map(|occurred| {
                    scope.spawn(move || {
                        let built = occurred.iter().map(|(kernel, second)| {
                            let kernel = &kernels[usize::from(*kernel)];
                            device.pipeline(kernel, &[Some(first), Some(second)], false)
                        });
                        built.collect::<Vec<_>>()
                    })
                })
                .collect();
            let joined = shares.into_iter().map(|share| share.join());
            joined.collect::<Result<Vec<_>, _>>()
        });
        let pipelines = pipelines
            .map_err(|_| Error::Device(format!("{} could not build a kernel", device.name())))?;
        device.check()?;
        let names = self.kernels.iter();
        let names = names.map(|(kernel, _)| &*kernels[usize::from(*kernel)].name);
        let pipelines = pipelines.into_iter().flatten().map(|p| p.inner);
        Ok((group, names.zip(pipelines).collect()))
    }
}

/// All of a buffer.
pub fn whole(buffer: &Buffer) -> BufferBinding<'_> {
    BufferBinding {
        buffer,
        offset: 0,
        size: None,
    }
}

fn layout(device: &GpuDevice, entries: &[BindGroupLayoutEntry]) -> BindGroupLayout {
    device.count();
    device
        .device
        .create_bind_group_layout(&BindGroupLayoutDescriptor {
            label: None,
            entries,
        })
}

fn entry(binding: u32, ty: BufferBindingType, has_dynamic_offset: bool) -> BindGroupLayoutEntry {
    BindGroupLayoutEntry {
        binding,
        visibility: ShaderStages::COMPUTE,
        ty: BindingType::Buffer {
            ty,
            has_dynamic_offset,
            min_binding_size: None,
        },
        count: None,
    }
}
