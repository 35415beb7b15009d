//! Converts the steps of a plan to dispatches: one for each kernel of a step and each slice of the
//! step's matrix, with the resources that it binds.

use std::collections::HashMap;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable, bytes_of};
use gpt_plan::{Extent, Kernel, Operand, Place, Plan, Section, Site, Step, TensorId};
use wgpu::{
    BindGroup, BindGroupEntry, BindGroupLayout, BindingResource, Buffer, BufferBinding,
    BufferUsages, ComputePass,
};

use super::buffers::{TrainBuffers, UNIFORM_BYTES, UNIFORM_STRIDE};
use super::operands::{Resource, StepOperands};
use super::parameters::{DeviceParameters, MatrixSlice};
use crate::Error;
use crate::engine::{Precision, TensorState};
use crate::gpu::device::GpuDevice;
use crate::gpu::layout;
use crate::gpu::pipelines::{Groups, Pipelines};

/// A kernel launch of a training pass, ready to be recorded.
pub struct Dispatch {
    /// The index of the kernel among the training kernels.
    pub kernel: u16,
    /// Bind group 1.
    group: BindGroup,
    /// The offset of its [`DispatchUniform`] in the buffer of uniforms, in bytes.
    uniform: u32,
    /// Rows of its matrix slice; for the optimizer, the number of quads (four elements each) that
    /// it works on.
    slice: u32,
}

/// The pipelines of all dispatches, and the group of uniforms that they share.
pub struct Program {
    pub pipelines: Pipelines,
    /// Bind group 0: the uniforms of the pass and of the dispatch.
    uniforms: BindGroup,
}

impl Program {
    /// Records `dispatch` in a pass of `rows` rows, in sequences of `tokens` tokens. The uniform of
    /// the pass is at the offset `pass_uniform`.
    pub fn record(
        &self,
        pass: &mut ComputePass<'_>,
        dispatch: &Dispatch,
        pass_uniform: u32,
        rows: u32,
        tokens: u32,
    ) {
        pass.set_bind_group(0, &self.uniforms, &[pass_uniform, dispatch.uniform]);
        pass.set_bind_group(1, &dispatch.group, &[]);
        let extent = Extent { rows, tokens, slice: dispatch.slice, ..Extent::default() };
        self.pipelines.get(dispatch.kernel).dispatch(pass, &extent);
    }
}

/// `StepUniform` in `shared/train_pass.wgsl`, which documents the fields. The kernels of the
/// optimizer read the first fields as `Region`. In `optimizer/adamw.wgsl` these are the first quad,
/// the number of quads, and whether weight decay applies to them; in
/// `optimizer/gradient_norm.wgsl`, the index of the first sum, and the number of quads.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub struct DispatchUniform {
    pub first: u32,
    pub rows: u32,
    pub binding_row: u32,
    pub site: u32,
    pub adds: u32,
    pub padding: [u32; 3],
}

/// The largest number of rows of a matrix over which one dispatch sums. A sum over a whole
/// vocabulary in one chain would lose too many digits.
const DEPTH: usize = 8192;

/// The share of a step's work that one dispatch computes.
#[derive(Clone, Copy, Default)]
struct Share {
    uniform: DispatchUniform,
    slice: Option<MatrixSlice>,
    /// In a gated matrix, the slice of the other half, whose rows `slice` gates.
    second: Option<MatrixSlice>,
}

/// Creates the dispatches of a trainer.
pub struct DispatchBuilder<'a> {
    device: &'a Arc<GpuDevice>,
    plan: &'static Plan,
    parameters: &'a DeviceParameters,
    buffers: &'a TrainBuffers,
    precision: Precision,
    /// The layout of bind group 1 of each kernel that has been used so far.
    layouts: HashMap<u16, BindGroupLayout>,
    /// The uniforms of all dispatches.
    uniforms: Vec<DispatchUniform>,
}

impl<'a> DispatchBuilder<'a> {
    pub fn new(
        device: &'a Arc<GpuDevice>,
        plan: &'static Plan,
        parameters: &'a DeviceParameters,
        buffers: &'a TrainBuffers,
        precision: Precision,
    ) -> Self {
        DispatchBuilder {
            device,
            plan,
            parameters,
            buffers,
            precision,
            layouts: HashMap::new(),
            uniforms: Vec::new(),
        }
    }

    /// The index of the kernel called `name`, and the kernel.
    pub fn kernel(&self, name: &str) -> (u16, &'static Kernel) {
        let mut kernels = (0..).zip(self.plan.training.kernels.iter());
        let found = kernels.find(|(_, kernel)| kernel.name == name);
        found.expect("every plan has the kernels of the optimizer")
    }

    /// Adds the dispatches of `section` for `layer` to `out`.
    pub fn section(
        &mut self,
        section: &Section,
        layer: u32,
        out: &mut Vec<Dispatch>,
    ) -> Result<(), Error> {
        let mut steps = section.of_layer(layer).iter();
        steps.try_for_each(|step| self.step(step, layer, out))
    }

    /// Adds the dispatches of a step.
    pub fn step(&mut self, step: &Step, layer: u32, out: &mut Vec<Dispatch>) -> Result<(), Error> {
        let operands = StepOperands::of(&step.op);
        // `site` is as in `shared/train_pass.wgsl`; only kernels with dropout read it.
        let site = layer * 4 + step.op.site().unwrap_or(Site::Attention) as u32;
        for &plain in step.train_kernels() {
            let kernel = match self.precision {
                Precision::F16 => self.plan.training.in_f16[usize::from(plain)],
                _ => plain,
            };
            let bindings = &self.plan.training.kernels[usize::from(kernel)].bindings;
            let binds = |operand| bindings.iter().any(|b| b.operand == operand);
            let sliced = binds(Operand::Weight(0)) || binds(Operand::DWeight);
            let matrix = operands.matrix.filter(|_| sliced);
            let gated = binds(Operand::SecondWeight);
            for share in self.shares(matrix, gated, operands.sums_over_slices, layer) {
                let uniform = DispatchUniform { site, ..share.uniform };
                let bound = bindings.iter().filter(|b| b.group == 1);
                let bound = bound
                    .map(|binding| {
                        let resource = operands.resource(binding.operand);
                        Ok((binding.binding, self.bound(resource, layer, &share)?))
                    })
                    .collect::<Result<Vec<_>, Error>>()?;
                out.push(self.dispatch(kernel, &bound, uniform));
            }
        }
        Ok(())
    }

    /// The shares of a step's work: one for each slice of its matrix, or several for a slice if the
    /// step sums over the slice's rows and there are more than [`DEPTH`].
    fn shares(
        &self,
        matrix: Option<TensorId>,
        gated: bool,
        sums_over_slices: bool,
        layer: u32,
    ) -> Vec<Share> {
        let Some(id) = matrix else {
            return vec![Share::default()];
        };
        let share = |slice: &MatrixSlice, second: Option<&MatrixSlice>| Share {
            uniform: DispatchUniform { first: slice.first, rows: slice.rows, ..Default::default() },
            slice: Some(*slice),
            second: second.copied(),
        };
        match self.parameters.slices(id, self.layer_of(id, layer)) {
            [whole] if gated => {
                let mut share = share(whole, Some(whole));
                share.uniform.rows = whole.rows / 2;
                share.uniform.binding_row = whole.rows / 2;
                vec![share]
            }
            slices if gated => {
                let (gate, up) = slices.split_at(slices.len() / 2);
                let pairs = gate.iter().zip(up);
                pairs.map(|(gate, up)| share(gate, Some(up))).collect()
            }
            slices if sums_over_slices => {
                let mut shares = Vec::new();
                for slice in slices {
                    for begin in (0..slice.rows).step_by(DEPTH) {
                        let mut share = share(slice, None);
                        share.uniform.first += begin;
                        share.uniform.rows = (slice.rows - begin).min(DEPTH as u32);
                        share.uniform.binding_row = begin;
                        share.uniform.adds = u32::from(!shares.is_empty());
                        shares.push(share);
                    }
                }
                shares
            }
            slices => slices.iter().map(|slice| share(slice, None)).collect(),
        }
    }

    /// Adds the forward steps of a layer for recomputation: all but those whose only output is the
    /// residual stream that the next layer reads.
    pub fn recompute(&mut self, layer: u32, out: &mut Vec<Dispatch>) -> Result<(), Error> {
        let forward = self.plan.training.forward.iter();
        for section in forward.filter(|section| section.repeat.has_layer(layer)) {
            let steps = section.of_layer(layer).iter();
            for step in steps.filter(|step| !step.op.is_skipped_by_recompute()) {
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

    /// The buffer, or the range of it, that a dispatch of `share` in `layer` binds for `resource`.
    fn bound(
        &self,
        resource: Resource,
        layer: u32,
        share: &Share,
    ) -> Result<BufferBinding<'a>, Error> {
        let (parameters, buffers) = (self.parameters, self.buffers);
        let of = |slice: Option<MatrixSlice>, state| {
            let slice = slice.expect("a step with a matrix");
            Ok(parameters.binding(state, &slice))
        };
        let tensor = |id, state| match parameters.slices(id, self.layer_of(id, layer)) {
            [slice] => Ok(parameters.binding(state, slice)),
            _ => Err(Error::Input(format!(
                "{} of {} is more than a device binds at once",
                self.plan.tensor(id).name,
                self.plan.name
            ))),
        };
        match resource {
            Resource::Slot(slot) => Ok(whole(buffers.slot(slot, layer))),
            Resource::Tensor(id, state) => tensor(id, state),
            Resource::Slice(state) => of(share.slice, state),
            Resource::SecondSlice => of(share.second, TensorState::Parameter),
            Resource::Positions(id) => match &buffers.table {
                Some(table) => Ok(whole(table)),
                None => tensor(id, TensorState::Parameter),
            },
            Resource::Angles => {
                let table = buffers.table.as_ref();
                Ok(whole(table.expect("a rotary model has angles")))
            }
        }
    }

    /// A dispatch of `kernel` with `bound` in bind group 1, by binding.
    pub fn dispatch(
        &mut self,
        kernel: u16,
        bound: &[(u32, BufferBinding<'_>)],
        uniform: DispatchUniform,
    ) -> Dispatch {
        let device = self.device;
        let known = &self.plan.training.kernels[usize::from(kernel)];
        let layout = self.layouts.entry(kernel);
        let layout = layout.or_insert_with(|| layout::group(device, known.group(1), 0));
        let entries: Vec<_> = bound
            .iter()
            .map(|(binding, buffer)| BindGroupEntry {
                binding: *binding,
                resource: BindingResource::Buffer(buffer.clone()),
            })
            .collect();
        let group = device.bind_group(&known.name, layout, &entries);
        self.uniforms.push(uniform);
        Dispatch {
            kernel,
            group,
            uniform: (self.uniforms.len() as u32 - 1) * UNIFORM_STRIDE,
            slice: uniform.rows,
        }
    }

    /// Uploads the uniforms of all dispatches and builds the pipelines of all used kernels.
    pub fn finish(self) -> Result<Program, Error> {
        let device = self.device;
        let mut content = vec![0; self.uniforms.len() * UNIFORM_STRIDE as usize];
        let entries = content.chunks_mut(UNIFORM_STRIDE as usize);
        for (entry, uniform) in entries.zip(&self.uniforms) {
            entry[..size_of::<DispatchUniform>()].copy_from_slice(bytes_of(uniform));
        }
        let name = "the uniforms of the dispatches";
        let dispatches = device.upload(name, &content, BufferUsages::UNIFORM)?;
        let layout = layout::training_uniforms(device);
        let entry = |binding, buffer| BindGroupEntry {
            binding,
            resource: BindingResource::Buffer(BufferBinding {
                buffer,
                offset: 0,
                size: std::num::NonZero::new(UNIFORM_BYTES),
            }),
        };
        let entries = [entry(0, &self.buffers.pass_uniforms), entry(1, &dispatches)];
        let uniforms = device.bind_group("uniforms", &layout, &entries);
        let used = self.layouts.keys().map(|&kernel| (kernel, Groups::Training));
        let pipelines = Pipelines::new(device.clone(), &self.plan.training.kernels, used);
        pipelines.prepare_all();
        device.check()?;
        Ok(Program { pipelines, uniforms })
    }
}

/// All of a buffer.
pub fn whole(buffer: &Buffer) -> BufferBinding<'_> {
    BufferBinding { buffer, offset: 0, size: None }
}
