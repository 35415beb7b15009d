//! A model on a GPU: its uploaded weights, the pipelines of its steps, and the bind group through
//! which each step reads its weights.

use std::collections::HashMap;
use std::sync::Arc;

use bytemuck::cast_slice;
use gpt_plan::{
    Binding, Epilogue, Feature, Format, MatrixLayout, NO_KERNEL, Op, Operand, Phase, Place, Plan,
    Role, STRIP, Step, TensorId, TensorKind, vector_block, vector_offset, with_texture,
};
use wgpu::{
    BindGroup, BindGroupEntry, BindingResource, Buffer, BufferBinding, BufferUsages, TextureView,
};

use super::device::GpuDevice;
use super::pipelines::{Groups, Pipelines, Strips};
use super::staging::Sender;
use super::{layout, tables, texture};
use crate::weights::Weights;
use crate::{Error, threads};

/// A model's weights and pipelines on a GPU.
pub struct GpuModel {
    pub(super) shared: Arc<SharedModel>,
}

/// The part of a model that its sessions share.
pub(super) struct SharedModel {
    pub device: Arc<GpuDevice>,
    pub plan: &'static Plan,
    pub pipelines: Pipelines,
    /// The steps of a forward pass, in order, layer by layer.
    pub steps: Vec<ModelStep>,
}

/// A step, for one layer.
pub(super) struct ModelStep {
    pub layer: u32,
    pub step: &'static Step,
    /// The format of its matrix, or of the matrix's first part; f32 if it has no matrix.
    pub format: Format,
    /// The index, in the plan, of its kernel for one row. Its other kernels have the same bindings
    /// in group 0.
    pub kernel: u16,
    /// One dispatch, or one for each part of a matrix that has several formats.
    pub dispatches: Vec<StepDispatch>,
}

/// A dispatch of a step.
pub(super) struct StepDispatch {
    /// Indices of its pipelines.
    decode: u16,
    prefill: u16,
    /// Bind group 1, through which it reads weights; `None` if it reads none.
    pub weights: Option<BindGroup>,
}

impl StepDispatch {
    /// The pipeline for `rows` rows.
    pub fn pipeline(&self, rows: u32) -> u16 {
        if rows == 1 { self.decode } else { self.prefill }
    }
}

impl GpuModel {
    /// Uploads every tensor of `plan`. Meanwhile, another thread builds pipelines for the formats
    /// that occur.
    ///
    /// # Errors
    /// Fails if the weights cannot be read, if a matrix needs more bindings than a kernel has, or
    /// if the device is out of memory.
    pub fn new(
        device: Arc<GpuDevice>,
        plan: &'static Plan,
        weights: &dyn Weights,
    ) -> Result<GpuModel, Error> {
        let shared = device.clone();
        shared.scoped(|| GpuModel::load(device, plan, weights))
    }

    fn load(
        device: Arc<GpuDevice>,
        plan: &'static Plan,
        weights: &dyn Weights,
    ) -> Result<GpuModel, Error> {
        let mut matrices = Vec::new();
        let mut used = Vec::new();
        let without = Groups::Session { texel_bytes: None, strips: None };
        for (layer, step) in plan.steps() {
            let parts = StepMatrix::of(&device, plan, step, layer, weights)?;
            match &parts[..] {
                [] => used.extend(kernels_of(step, Format::F32).map(|k| (k, without))),
                [whole] => used.extend(kernels_of(step, whole.format).map(|k| (k, whole.groups()))),
                _ => {}
            }
            matrices.push(parts);
        }
        let split = plan.split_attention.map(|kernels| [kernels.split, kernels.merge]);
        let others = split.into_iter().flatten().chain(plan.sampling);
        used.extend(others.map(|kernel| (kernel, without)));
        let mut pipelines = Pipelines::new(device.clone(), &plan.kernels, used);
        // The pipelines of each step.
        let dispatches: Vec<Vec<[u16; 2]>> = plan
            .steps()
            .zip(&matrices)
            .map(|((_, step), parts)| match &parts[..] {
                [] => vec![kernels_of(step, Format::F32)],
                [whole] => vec![kernels_of(step, whole.format)],
                parts => parts
                    .iter()
                    .map(|part| {
                        let kernels = kernels_of(step, part.format);
                        kernels.map(|kernel| pipelines.of_part(kernel, part.groups()))
                    })
                    .collect(),
            })
            .collect();
        let of_a_token = dispatches.iter().flatten().map(|[decode, _]| *decode);
        let (built, steps) = std::thread::scope(|scope| {
            let built = threads::spawn(scope, || pipelines.start(of_a_token));
            let steps = upload(&device, plan, weights, &matrices, &dispatches);
            (built.join(), steps)
        });
        built.map_err(|_| Error::device(format!("{} could not build a kernel", device.name())))?;
        let steps = steps?;
        device.check()?;
        Ok(GpuModel { shared: Arc::new(SharedModel { device, plan, pipelines, steps }) })
    }
}

/// Uploads the weights and creates the steps of `plan`.
fn upload(
    device: &GpuDevice,
    plan: &'static Plan,
    weights: &dyn Weights,
    matrices: &[Vec<StepMatrix>],
    dispatches: &[Vec<[u16; 2]>],
) -> Result<Vec<ModelStep>, Error> {
    let mut upload = ModelUpload::new(device, plan, weights)?;
    let steps = plan.steps().zip(matrices).zip(dispatches);
    steps
        .map(|(((layer, step), parts), pipelines)| {
            let format = parts.first().map_or(Format::F32, |part| part.format);
            let mut groups = Vec::new();
            for part in parts {
                groups.push(Some(upload.step(layer, step, part)?));
            }
            if parts.is_empty() {
                groups.push(upload.without_matrix(layer, step));
            }
            let dispatches = pipelines.iter().zip(groups);
            Ok(ModelStep {
                layer,
                step,
                format,
                kernel: kernels_of(step, format)[0],
                dispatches: dispatches
                    .map(|(&[decode, prefill], weights)| StepDispatch { decode, prefill, weights })
                    .collect(),
            })
        })
        .collect()
}

/// Uploads the tensors of a model.
struct ModelUpload<'a> {
    sender: Sender<'a>,
    plan: &'static Plan,
    weights: &'a dyn Weights,
    model_vectors: Buffer,
    /// One block for each layer.
    layer_vectors: Buffer,
    /// Positions or rotary angles; for a model without either, a small buffer that no kernel binds.
    table: Buffer,
    /// Token types, if the model has any.
    token_types: Option<Buffer>,
    /// Matrices by tensor, layer and part, so that a matrix that two steps share (a tied head) is
    /// uploaded once.
    matrices: HashMap<(TensorId, u32, usize), DeviceMatrix>,
}

/// A matrix on the device.
#[derive(Clone)]
enum DeviceMatrix {
    /// One buffer for each part.
    Parts(Vec<Buffer>),
    Texture(TextureView),
}

/// The matrix of a step, or a part of it with its own format, before its elements are read.
#[derive(Clone, Copy)]
struct StepMatrix {
    id: TensorId,
    /// Its layer; 0 if it belongs to no layer.
    layer: u32,
    format: Format,
    /// 2 for the first matrix of a gated MLP, which holds the gate and the up projection in
    /// alternating strips of [`STRIP`] rows; otherwise 1.
    halves: u32,
    layout: MatrixLayout,
    /// Whether it is kept as a texture.
    texture: bool,
    /// The number of the part and its rows; `None` for the whole matrix.
    part: Option<(usize, Strips)>,
}

impl StepMatrix {
    fn groups(&self) -> Groups {
        Groups::Session {
            texel_bytes: self.texture.then_some(self.layout.element_bytes),
            strips: self.part.map(|(_, strips)| strips),
        }
    }

    /// The matrix of `step`, or its parts; empty if it has none.
    fn of(
        device: &GpuDevice,
        plan: &Plan,
        step: &Step,
        layer: u32,
        weights: &dyn Weights,
    ) -> Result<Vec<StepMatrix>, Error> {
        let Some(id) = step.matrix() else {
            return Ok(Vec::new());
        };
        let declared = plan.tensor(id);
        let layer = match declared.place {
            Place::Model => 0,
            Place::Layers { .. } => layer,
        };
        let parts = weights.part_formats(id, layer);
        if let Some(parts) = StepMatrix::parts(device, plan, step, (id, layer), &parts) {
            return Ok(parts);
        }
        let format = weights.format(id, layer);
        let halves = if step.op.is_gated() { 2 } else { 1 };
        let rows = (declared.rows / halves).next_multiple_of(STRIP) * halves;
        let layout = MatrixLayout::new(format, u64::from(rows), u64::from(declared.columns));
        let layout = layout.filter(|_| kernels_of(step, format)[0] != NO_KERNEL);
        let layout = layout.ok_or_else(|| {
            Error::device(format!(
                "{} of {} in {} takes more than the {} bindings of {} MiB that a kernel has for \
                 it; load it in a smaller format",
                declared.name,
                plan.name,
                format.name(),
                step.op.max_parts(),
                gpt_plan::MAX_BINDING >> 20
            ))
        })?;
        let texture = device.features().has(Feature::Textures) && layout.texture_rows().is_some();
        Ok(vec![StepMatrix { id, layer, format, halves, layout, texture, part: None }])
    }

    /// The parts of a matrix that mixes formats, for one dispatch each. `None` if the matrix has
    /// one format, or if the step cannot run in parts: it has to be the projection to queries, keys
    /// and values, each part has to fit in one binding, and every part but the last has to consist
    /// of whole strips.
    fn parts(
        device: &GpuDevice,
        plan: &Plan,
        step: &Step,
        (id, layer): (TensorId, u32),
        parts: &[(Format, usize)],
    ) -> Option<Vec<StepMatrix>> {
        let projection = step.op.projection()?;
        let (_, before) = parts.split_last()?;
        let whole = before.iter().all(|(_, rows)| rows.is_multiple_of(STRIP as usize));
        if !whole || !matches!(projection.epilogue, Epilogue::Heads { .. }) {
            return None;
        }
        let columns = u64::from(plan.tensor(id).columns);
        let mut first_row = 0;
        let part = |(number, &(format, rows)): (usize, &(Format, usize))| {
            let strips = Strips { first_row, rows: rows as u32 };
            first_row += strips.rows;
            let padded = strips.rows.next_multiple_of(STRIP);
            let layout = MatrixLayout::new(format, padded.into(), columns)?;
            let kernel = kernels_of(step, format)[0];
            let kernel = plan.kernels.get(usize::from(kernel))?;
            let is_weight = |binding: &&Binding| matches!(binding.operand, Operand::Weight(_));
            if kernel.group(1).filter(is_weight).count() != 1 {
                return None;
            }
            let texture =
                device.features().has(Feature::Textures) && layout.texture_rows().is_some();
            let part = Some((number, strips));
            Some(StepMatrix { id, layer, format, halves: 1, layout, texture, part })
        };
        parts.iter().enumerate().map(part).collect()
    }
}

impl<'a> ModelUpload<'a> {
    fn new(
        device: &'a GpuDevice,
        plan: &'static Plan,
        weights: &'a dyn Weights,
    ) -> Result<Self, Error> {
        let model = vectors(plan, weights, false, 0)?;
        let mut layers = Vec::new();
        for layer in 0..plan.spec.layers {
            layers.extend(vectors(plan, weights, true, layer)?);
        }
        let upload = |what: &str, bytes: &[u8]| device.upload(what, bytes, BufferUsages::STORAGE);
        Ok(ModelUpload {
            sender: Sender::new(device),
            plan,
            weights,
            model_vectors: upload("the model's vectors", cast_slice(&model))?,
            layer_vectors: upload("the layers' vectors", cast_slice(&layers))?,
            table: tables::upload(device, plan, weights, plan.spec.context)?,
            token_types: tables::upload_token_types(device, plan, weights)?,
            matrices: HashMap::new(),
        })
    }

    /// Bind group 1 of a step without a matrix; `None` if its kernels read no weights.
    fn without_matrix(&self, layer: u32, step: &Step) -> Option<BindGroup> {
        let [decode, _] = kernels_of(step, Format::F32);
        let kernel = &self.plan.kernels[usize::from(decode)];
        let entries: Vec<_> = kernel
            .group(1)
            .map(|binding| BindGroupEntry {
                binding: binding.binding,
                resource: match binding.operand {
                    Operand::Vectors => self.vectors(layer, step),
                    Operand::Positions | Operand::Angles => self.table.as_entire_binding(),
                    operand => {
                        unreachable!("{operand:?} is not an operand of a step without a matrix")
                    }
                },
            })
            .collect();
        if entries.is_empty() {
            return None;
        }
        let device = self.sender.device;
        let layout = layout::group(device, kernel.group(1), 0);
        Some(device.bind_group(&step.name, &layout, &entries))
    }

    /// Bind group 1 of a step that reads `matrix`.
    fn step(&mut self, layer: u32, step: &Step, matrix: &StepMatrix) -> Result<BindGroup, Error> {
        let stored = self.stored(matrix)?;
        let [decode, _] = kernels_of(step, matrix.format);
        let kernel = &self.plan.kernels[usize::from(decode)];
        let bindings = match matrix.texture {
            true => with_texture(&kernel.bindings),
            false => kernel.bindings.to_vec(),
        };
        let group = || bindings.iter().filter(|b| b.group == 1);
        let resource = |binding: &Binding| match (binding.operand, &stored) {
            (Operand::Vectors, _) => self.vectors(layer, step),
            (Operand::Weight(part), DeviceMatrix::Parts(parts)) => {
                parts[part as usize].as_entire_binding()
            }
            (Operand::Weight(_), DeviceMatrix::Texture(view)) => BindingResource::TextureView(view),
            (Operand::Positions | Operand::Angles, _) => self.table.as_entire_binding(),
            (Operand::TokenTypes, _) => {
                self.token_types.as_ref().expect("a table of types").as_entire_binding()
            }
            (operand, _) => unreachable!("{operand:?} is not an operand of the weights' group"),
        };
        let entries = group().map(|binding| BindGroupEntry {
            binding: binding.binding,
            resource: resource(binding),
        });
        let device = self.sender.device;
        let layout = layout::group(device, group(), matrix.layout.element_bytes);
        Ok(device.bind_group(&step.name, &layout, &entries.collect::<Vec<_>>()))
    }

    /// The block of vectors (biases, and the parameters of norms) that a step reads: the model's
    /// for the head and the norm of the embedding, otherwise its layer's.
    fn vectors(&self, layer: u32, step: &Step) -> BindingResource<'_> {
        let is_of_model =
            matches!(&step.op, Op::Norm { norm, .. } if norm.role == Role::EmbeddingNorm);
        if step.op.is_head() || is_of_model {
            return self.model_vectors.as_entire_binding();
        }
        let block = u64::from(vector_block(&self.plan.tensors, true)) * 4;
        BindingResource::Buffer(BufferBinding {
            buffer: &self.layer_vectors,
            offset: u64::from(layer) * block,
            size: std::num::NonZero::new(block),
        })
    }

    /// Returns the matrix on the device. Uploads it, unless an earlier step did.
    fn stored(&mut self, matrix: &StepMatrix) -> Result<DeviceMatrix, Error> {
        let number = matrix.part.map_or(0, |(number, _)| number);
        let known = (matrix.id, matrix.layer, number);
        if let Some(stored) = self.matrices.get(&known) {
            return Ok(stored.clone());
        }
        let name = &self.plan.tensor(matrix.id).name;
        let tensor = match matrix.part {
            None => self.weights.tensor(matrix.id, matrix.layer)?,
            Some(_) => self.weights.parts(matrix.id, matrix.layer)?.swap_remove(number),
        };
        let packing = (&matrix.layout, matrix.halves);
        let stored = if matrix.texture {
            let bytes = texture::UPLOAD_BYTES;
            let texture = texture::upload(&mut self.sender, name, &tensor, packing, bytes)?;
            DeviceMatrix::Texture(texture.create_view(&Default::default()))
        } else {
            let upload = |part| self.sender.buffer(name, &tensor, packing, part);
            DeviceMatrix::Parts((0..matrix.layout.parts).map(upload).collect::<Result<_, _>>()?)
        };
        self.matrices.insert(known, stored.clone());
        Ok(stored)
    }
}

/// The kernels of a step for one row and for many.
fn kernels_of(step: &Step, format: Format) -> [u16; 2] {
    [Phase::Decode, Phase::Prefill].map(|phase| step.kernel(phase, format))
}

/// The block of vectors of `layer` if `layered`, otherwise that of the model.
fn vectors(
    plan: &Plan,
    weights: &dyn Weights,
    layered: bool,
    layer: u32,
) -> Result<Vec<f32>, Error> {
    let mut block = vec![0.0; vector_block(&plan.tensors, layered) as usize];
    for (i, tensor) in plan.tensors.iter().enumerate() {
        let is_layered = matches!(tensor.place, Place::Layers { .. });
        let exists = tensor.layers(plan.spec.layers).contains(&layer);
        if tensor.kind != TensorKind::Vector || is_layered != layered || !exists {
            continue;
        }
        let id = TensorId(i as u16);
        let start = vector_offset(&plan.tensors, id) as usize;
        let values = weights.tensor(id, layer)?;
        let out = &mut block[start..start + tensor.rows as usize];
        crate::weights::format::decode(Format::F32, &values.data, out);
    }
    Ok(block)
}
