//! A model on a GPU: weights uploaded, the pipelines of its steps, and for each step what it binds of them.

use std::collections::HashMap;
use std::sync::Arc;

use bytemuck::cast_slice;
use gpt_plan::{
    ChoiceOp, Epilogue, Feature, Format, MatrixLayout, NO_KERNEL, Op, Phase, Place, Plan,
    Projection, STRIP, Step, TensorId, TensorKind, vector_block, vector_offset,
};
use wgpu::{
    BindGroup, BindGroupEntry, BindingResource, Buffer, BufferBinding, BufferUsages, TextureView,
};

use super::device::GpuDevice;
use super::layout::{self, FIRST_PART, MatrixSlots, TABLE, VECTORS, WeightSlots};
use super::pipelines::{Groups, Pipelines};
use super::session::GpuSession;
use super::staging::Sender;
use super::texture;
use crate::Error;
use crate::engine::{EngineModel, EngineSession, SessionOptions};
use crate::weights::{Weights, rotary};

/// A model's weights and pipelines on a GPU.
pub struct GpuModel {
    pub(super) shared: Arc<Shared>,
}

/// What all sessions of a model use.
pub(super) struct Shared {
    pub device: Arc<GpuDevice>,
    pub plan: &'static Plan,
    pub pipelines: Pipelines,
    /// One for each step of the walk.
    pub steps: Vec<ModelStep>,
}

/// A step of a layer.
pub(super) struct ModelStep {
    pub layer: u32,
    pub step: &'static Step,
    /// How its matrix is stored.
    pub format: Format,
    /// Indices of its kernels.
    pub decode: u16,
    pub prefill: u16,
    /// Group 1, where it reads weights.
    pub weights: Option<BindGroup>,
}

impl ModelStep {
    /// The kernel for so many rows.
    pub fn kernel(&self, rows: u32) -> u16 {
        if rows == 1 { self.decode } else { self.prefill }
    }
}

impl GpuModel {
    /// Uploads every tensor of `plan`, and meanwhile builds pipelines, of the formats that occur.
    ///
    /// # Errors
    /// A matrix that needs more bindings than a kernel has; no room on the device.
    pub fn new(
        device: Arc<GpuDevice>,
        plan: &'static Plan,
        weights: &dyn Weights,
    ) -> Result<GpuModel, Error> {
        let mut matrices = Vec::new();
        let mut kernels: HashMap<u16, Groups> = HashMap::new();
        for (layer, step) in plan.steps() {
            let matrix = Matrix::of(&device, plan, step, layer, weights)?;
            let format = matrix.map_or(Format::F32, |matrix| matrix.format);
            for kernel in kernels_of(step, format) {
                let slots = matrix.map(|matrix| matrix.slots);
                kernels.insert(kernel, (layout::session_slots(&step.op), slots));
            }
            matrices.push(matrix);
        }
        if let Some(split) = plan.split {
            kernels.insert(split.part, (layout::ATTENTION_PART, None));
            kernels.insert(split.join, (layout::ATTENTION_JOIN, None));
        }
        for op in ChoiceOp::ALL {
            kernels.insert(plan.choice[op as usize], (layout::choice_slots(op), None));
        }
        let pipelines = Pipelines::new(device.clone(), plan, &kernels);
        let of_a_token = plan.steps().zip(&matrices).map(|((_, step), matrix)| {
            kernels_of(step, matrix.map_or(Format::F32, |matrix| matrix.format))[0]
        });
        let (built, steps) = std::thread::scope(|scope| {
            let built = scope.spawn(|| pipelines.start(of_a_token));
            let steps = upload(&device, plan, weights, &matrices);
            (built.join(), steps)
        });
        built.map_err(|_| Error::Device(format!("{} could not build a kernel", device.name())))?;
        let steps = steps?;
        device.check()?;
        Ok(GpuModel {
            shared: Arc::new(Shared {
                device,
                plan,
                pipelines,
                steps,
            }),
        })
    }
}

/// The steps of `plan` with their weights on the device.
fn upload(
    device: &GpuDevice,
    plan: &'static Plan,
    weights: &dyn Weights,
    matrices: &[Option<Matrix>],
) -> Result<Vec<ModelStep>, Error> {
    let mut upload = Upload::new(device, plan, weights)?;
    let steps = plan.steps().zip(matrices);
    steps
        .map(|((layer, step), matrix)| {
            let format = matrix.map_or(Format::F32, |matrix| matrix.format);
            Ok(ModelStep {
                layer,
                step,
                format,
                decode: kernels_of(step, format)[0],
                prefill: kernels_of(step, format)[1],
                weights: match matrix {
                    Some(matrix) => Some(upload.step(layer, step, matrix)?),
                    None => None,
                },
            })
        })
        .collect()
}

impl EngineModel for GpuModel {
    fn session(&self, options: SessionOptions) -> Result<Box<dyn EngineSession>, Error> {
        Ok(Box::new(GpuSession::new(self.shared.clone(), options)?))
    }
}

/// Tensors on their way to the device.
struct Upload<'a> {
    sender: Sender<'a>,
    plan: &'static Plan,
    weights: &'a dyn Weights,
    model_vectors: Buffer,
    /// One block for each layer.
    layer_vectors: Buffer,
    /// Positions or rotary angles.
    table: Option<Buffer>,
    /// A matrix that two steps share (the tied head) is uploaded once.
    matrices: HashMap<(TensorId, u32), Stored>,
}

/// A matrix on the device.
#[derive(Clone)]
enum Stored {
    /// In as many buffers as it has parts.
    Parts(Vec<Buffer>),
    Texture(TextureView),
}

/// The matrix that a step reads: what is known of it before it is read itself.
#[derive(Clone, Copy)]
struct Matrix {
    id: TensorId,
    /// Its layer, 0 for one of the model.
    layer: u32,
    format: Format,
    halves: u32,
    layout: MatrixLayout,
    slots: WeightSlots,
}

impl Matrix {
    /// None if `step` has no matrix.
    fn of(
        device: &GpuDevice,
        plan: &Plan,
        step: &Step,
        layer: u32,
        weights: &dyn Weights,
    ) -> Result<Option<Matrix>, Error> {
        let Some(id) = step.matrix() else {
            return Ok(None);
        };
        let declared = plan.tensor(id);
        let layer = match declared.place {
            Place::Model => 0,
            Place::Layers { .. } => layer,
        };
        let format = weights.format(id, layer);
        let gated = step.op.is_gated();
        let halves = if gated { 2 } else { 1 };
        let rows = (declared.rows / halves).next_multiple_of(STRIP) * halves;
        let layout = MatrixLayout::new(format, u64::from(rows), u64::from(declared.columns));
        let layout = layout.filter(|_| kernels_of(step, format)[0] != NO_KERNEL);
        let layout = layout.ok_or_else(|| {
            Error::Device(format!(
                "{} of {} in {} takes more than the {} bindings of {} MiB that a kernel has for it; load it in a smaller format",
                declared.name,
                plan.name,
                format.name(),
                step.op.max_parts(),
                gpt_plan::MAX_BINDING >> 20
            ))
        })?;
        let texture = device.features().has(Feature::Textures) && layout.texture_rows().is_some();
        let slots = WeightSlots {
            vectors: !matches!(step.op, Op::Embed { .. }),
            matrix: match texture {
                true => MatrixSlots::Texture(layout.element_bytes),
                false => MatrixSlots::Parts(layout.parts),
            },
            table: match step.op {
                Op::Embed { positions, .. } => positions.is_some(),
                Op::Project(Projection {
                    epilogue: Epilogue::Heads { rotary, .. },
                    ..
                }) => rotary,
                _ => false,
            },
        };
        Ok(Some(Matrix {
            id,
            layer,
            format,
            halves,
            layout,
            slots,
        }))
    }
}

impl<'a> Upload<'a> {
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
        let table = plan
            .tensors
            .iter()
            .position(|t| t.kind == TensorKind::Table);
        let table = match table {
            Some(id) => {
                let positions = weights.tensor(TensorId(id as u16), 0)?;
                Some(upload("the table of positions", &positions.data)?)
            }
            None if plan.spec.rotary() => Some(upload(
                "the table of rotary angles",
                cast_slice(&rotary(&plan.spec)),
            )?),
            None => None,
        };
        Ok(Upload {
            sender: Sender::new(device),
            plan,
            weights,
            model_vectors: upload("the model's vectors", cast_slice(&model))?,
            layer_vectors: upload("the layers' vectors", cast_slice(&layers))?,
            table,
            matrices: HashMap::new(),
        })
    }

    /// Group 1 of a step that reads `matrix`.
    fn step(&mut self, layer: u32, step: &Step, matrix: &Matrix) -> Result<BindGroup, Error> {
        let slots = matrix.slots;
        let stored = self.stored(matrix)?;
        let mut entries = Vec::new();
        if slots.vectors {
            let resource = match step.op.is_head() {
                true => self.model_vectors.as_entire_binding(),
                false => {
                    let block = u64::from(vector_block(&self.plan.tensors, true)) * 4;
                    BindingResource::Buffer(BufferBinding {
                        buffer: &self.layer_vectors,
                        offset: u64::from(layer) * block,
                        size: std::num::NonZero::new(block),
                    })
                }
            };
            entries.push(BindGroupEntry {
                binding: VECTORS,
                resource,
            });
        }
        let resources: Vec<_> = match &stored {
            Stored::Parts(parts) => parts.iter().map(Buffer::as_entire_binding).collect(),
            Stored::Texture(view) => vec![BindingResource::TextureView(view)],
        };
        for (binding, resource) in (FIRST_PART..).zip(resources) {
            entries.push(BindGroupEntry { binding, resource });
        }
        if let (true, Some(table)) = (slots.table, &self.table) {
            entries.push(BindGroupEntry {
                binding: TABLE,
                resource: table.as_entire_binding(),
            });
        }
        let device = self.sender.device;
        let layout = layout::weight_layout(device, slots);
        Ok(device.bind_group(&step.name, &layout, &entries))
    }

    /// A matrix on the device.
    fn stored(&mut self, matrix: &Matrix) -> Result<Stored, Error> {
        let known = (matrix.id, matrix.layer);
        if let Some(stored) = self.matrices.get(&known) {
            return Ok(stored.clone());
        }
        let name = &self.plan.tensor(matrix.id).name;
        let tensor = self.weights.tensor(matrix.id, matrix.layer)?;
        let packing = (&matrix.layout, matrix.halves);
        let stored = match matrix.slots.matrix {
            MatrixSlots::Parts(parts) => {
                let upload = |part| self.sender.buffer(name, &tensor, packing, part);
                Stored::Parts((0..parts).map(upload).collect::<Result<_, _>>()?)
            }
            MatrixSlots::Texture(_) => {
                let piece = texture::PIECE;
                let texture = texture::upload(&mut self.sender, name, &tensor, packing, piece)?;
                Stored::Texture(texture.create_view(&Default::default()))
            }
        };
        self.matrices.insert(known, stored.clone());
        Ok(stored)
    }
}

/// The kernels of a step for one row and for many.
fn kernels_of(step: &Step, format: Format) -> [u16; 2] {
    [Phase::Decode, Phase::Prefill].map(|phase| step.kernel(phase, format))
}

/// The block of vectors of `layer`, or of the model.
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
