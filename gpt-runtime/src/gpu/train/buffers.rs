//! The buffers of a training pass: those of the plan, the uniforms, and those for transfers to and
//! from the host.
//!
//! [`TrainBytes`](gpt_plan::TrainBytes) counts the plan's buffers. The uniforms, the memory for
//! tokens and losses that the host maps, and the table of computed positions or angles usually take
//! a few hundred KiB more; a table of sinusoidal positions can take several MiB.

use bytemuck::{Pod, Zeroable, cast_slice};
use gpt_plan::{BufferId, Plan, Positions, Slot, TrainShape};
use wgpu::{Buffer, BufferUsages};

use crate::Error;
use crate::gpu::buffer_set::BufferSet;
use crate::gpu::device::GpuDevice;
use crate::gpu::tables;
use crate::gpu::upload::{PassUpload, Upload};
use crate::weights::Weights;

/// `TrainPassUniform` in `shared/train_pass.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct TrainPassUniform {
    pub tokens: u32,
    pub rows: u32,
    pub first: u32,
    pub replace: u32,
    pub scale: f32,
    pub key: u32,
    pub threshold: u32,
    pub keep: f32,
}

/// `Update` in `optimizer/adamw.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct UpdateUniform {
    pub lr: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    pub decay: f32,
    pub correction1: f32,
    pub correction2: f32,
    pub clip: f32,
}

/// Bytes from one uniform to the next: every adapter can bind at multiples of it.
pub const UNIFORM_STRIDE: u32 = 256;

/// Bytes of a uniform.
pub const UNIFORM_BYTES: u64 = size_of::<TrainPassUniform>() as u64;

/// The buffers of a trainer, except those for parameters, gradients, moments, sums of squares and
/// the uniforms of dispatches.
pub struct TrainBuffers {
    /// The plan's buffers.
    plan: BufferSet,
    layers: u32,
    /// A [`TrainPassUniform`] for the whole pass, one for each range of rows whose logits are
    /// computed together, and an [`UpdateUniform`].
    pub pass_uniforms: Buffer,
    /// Number of uniforms.
    uniforms: u32,
    /// Computed positions or rotary angles, if the model has any.
    pub table: Option<Buffer>,
    pub upload: PassUpload,
    /// Losses, or sums of squares, for the host.
    pub download: Buffer,
    /// Bytes of activations, and of the plan's other buffers (scratch).
    pub bytes: (u64, u64),
}

impl TrainBuffers {
    /// Creates the buffers for batches of `shape`. Sums of squares take `square_sum_bytes`.
    ///
    /// # Errors
    /// Fails if a batch has more rows than a dispatch covers, or if the device cannot bind its
    /// buffers or has no memory for them.
    pub fn new(
        device: &GpuDevice,
        plan: &Plan,
        weights: &dyn Weights,
        shape: &TrainShape,
        square_sum_bytes: u64,
    ) -> Result<TrainBuffers, Error> {
        let rows = shape.rows();
        if rows > 65_535 {
            return Err(Error::Input(format!(
                "a batch of {rows} tokens exceeds the 65535 that one dispatch covers; use smaller \
                 batches and accumulate their gradients"
            )));
        }
        let most = device.device.limits().max_storage_buffer_binding_size;
        let mut buffers = BufferSet::default();
        let mut sums = (0, 0);
        for buffer in plan.training.buffers.iter() {
            let bytes = 4 * buffer.train_len(shape);
            if bytes > most {
                return Err(Error::Input(format!(
                    "{} of a batch of {rows} tokens would take {} MiB, but {} can bind at most \
                     {} MiB at once; use smaller batches and accumulate their gradients",
                    buffer.id.name(),
                    bytes >> 20,
                    device.name(),
                    most >> 20
                )));
            }
            let count = buffer.train_copies(plan.spec.layers, shape);
            buffers.add(device, buffer.id, bytes, count)?;
            let sum = if buffer.is_activation() { &mut sums.0 } else { &mut sums.1 };
            *sum += bytes * u64::from(count);
        }
        let logits = plan.training.buffer(BufferId::Logits);
        let ranges = rows.div_ceil(logits.train_rows(shape)) as u32;
        let uniforms = ranges + 2;
        let table = match plan.spec.positions {
            Positions::Learned | Positions::Alibi { .. } => None,
            _ => Some(tables::upload(device, plan, weights, shape.tokens)?),
        };
        let download = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        Ok(TrainBuffers {
            plan: buffers,
            layers: plan.spec.layers,
            pass_uniforms: device.buffer(
                "the uniforms of a pass",
                u64::from(uniforms * UNIFORM_STRIDE),
                BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            )?,
            uniforms,
            table,
            upload: PassUpload::new(device, u64::from(uniforms) * UNIFORM_BYTES + 8 * rows)?,
            download: device.buffer("download", square_sum_bytes.max(4 * rows), download)?,
            bytes: sums,
        })
    }

    /// The copy of a buffer that a step of `layer` uses as `slot`.
    pub fn slot(&self, slot: Slot, layer: u32) -> &Buffer {
        self.get(slot.buffer, slot.index(layer, self.layers))
    }

    /// Copy `copy` of a buffer, or the buffer itself if there is only one copy.
    pub fn get(&self, id: BufferId, copy: u32) -> &Buffer {
        self.plan.get(id, copy)
    }

    /// The index of the optimizer's uniform.
    pub fn update_uniform(&self) -> u32 {
        self.uniforms - 1
    }

    /// The upload of uniform `index`.
    pub fn pass_uniform<'a>(&'a self, index: u32, bytes: &'a [u8]) -> Upload<'a> {
        Upload { bytes, to: &self.pass_uniforms, at: u64::from(index * UNIFORM_STRIDE) }
    }

    /// For tests: writes NaN to every element whose old value a pass must not use, and zeros to
    /// padding.
    pub fn poison(&self, device: &GpuDevice, plan: &Plan, shape: &TrainShape) {
        for buffer in plan.training.buffers.iter() {
            let mut values = vec![0.0; buffer.train_len(shape) as usize];
            let rows = buffer.train_rows(shape) as usize;
            for row in values.chunks_mut(buffer.stride as usize).take(rows) {
                row[..buffer.width as usize].fill(f32::NAN);
            }
            for copy in self.plan.copies(buffer.id) {
                device.queue.write_buffer(copy, 0, cast_slice(&values));
            }
        }
    }

    /// The first buffer whose padding is not zero, for tests.
    pub fn spilled(
        &self,
        device: &GpuDevice,
        plan: &Plan,
        shape: &TrainShape,
    ) -> Result<Option<BufferId>, Error> {
        let is_zero = |values: &[f32]| values.iter().all(|x| *x == 0.0);
        for buffer in plan.training.buffers.iter() {
            let (rows, stride) = (buffer.train_rows(shape) as usize, buffer.stride as usize);
            for copy in self.plan.copies(buffer.id) {
                let mut clean = true;
                device.download(copy, 0, copy.size(), |read| {
                    let (valid, rest) = cast_slice(read).split_at(rows * stride);
                    let mut padding = valid.chunks(stride).map(|r| &r[buffer.width as usize..]);
                    clean = is_zero(rest) && padding.all(is_zero);
                })?;
                if !clean {
                    return Ok(Some(buffer.id));
                }
            }
        }
        Ok(None)
    }
}
