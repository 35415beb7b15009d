//! Trained values on the device: parameters, gradients and moments, all with the same layout.
//!
//! Tensors follow each other, row by row, in as few buffers as the size of a binding allows.
//! Vectors, to which weight decay does not apply, come first, then all other tensors, so that in a
//! buffer the optimizer has at most one range of each kind. A tensor that is larger than a binding
//! is cut between rows into slices that are multiplied one after another. Both halves of a gated
//! matrix are cut at the same rows, so that a slice of one has its counterpart in the other.

use std::collections::HashMap;

use bytemuck::cast_slice;
use gpt_plan::{Plan, TRAIN_ROWS, TensorId, TensorKind};
use wgpu::{Buffer, BufferBinding};

use crate::Error;
use crate::engine::TensorState;
use crate::gpu::buffer_set::STORAGE;
use crate::gpu::device::GpuDevice;
use crate::weights::{Weights, format};

/// Rows of a tensor that are in one buffer and are bound together.
#[derive(Clone, Copy, Debug)]
pub struct MatrixSlice {
    buffer: usize,
    offset: u64,
    bytes: u64,
    /// Its first row in the padded tensor.
    pub first: u32,
    /// Number of rows.
    pub rows: u32,
}

/// The layout of all tensors.
struct ParameterLayout {
    slices: HashMap<(TensorId, u32), Vec<MatrixSlice>>,
    /// Bytes of each buffer.
    buffers: Vec<u64>,
}

/// All trained values of a model.
pub struct DeviceParameters {
    plan: &'static Plan,
    layout: ParameterLayout,
    /// By [`TensorState`].
    states: [Vec<Buffer>; 4],
}

/// A tensor is cut only at multiples of this number of rows, where every adapter can bind.
const CUT: u32 = 64;

/// The largest number of rows in a slice. The slice's gradient takes one dispatch, of at most
/// 65,535 workgroups along y.
const MOST: u32 = 65_535 * TRAIN_ROWS / CUT * CUT;

/// The number of bytes that are read from the device at a time.
const READ: u64 = 16 << 20;

impl ParameterLayout {
    fn new(plan: &Plan, most: u64) -> Result<ParameterLayout, Error> {
        let mut layout = ParameterLayout { slices: HashMap::new(), buffers: Vec::new() };
        let vector = |id: TensorId| plan.tensor(id).kind == TensorKind::Vector;
        let vectors = plan.trained().filter(|(id, _)| vector(*id));
        let others = plan.trained().filter(|(id, _)| !vector(*id));
        for (id, layer) in vectors.chain(others) {
            let tensor = plan.tensor(id);
            let gated = plan.is_gated(id);
            let rows = plan.trained_rows(tensor, gated);
            let row = 4 * u64::from(tensor.columns);
            let whole = 4 * plan.trained_len(id);
            let mut slices = Vec::new();
            if whole <= most && rows <= MOST {
                slices.push((0, rows));
            } else {
                let most = (most / row).min(u64::from(MOST)) as u32 / CUT * CUT;
                if most == 0 {
                    return Err(Error::Input(format!(
                        "{} of {} has rows so long that {CUT} of them are more than a device \
                         binds at once",
                        tensor.name, plan.name
                    )));
                }
                let half = if gated { rows / 2 } else { rows };
                for start in (0..rows).step_by(half as usize) {
                    for first in (start..start + half).step_by(most as usize) {
                        slices.push((first, most.min(start + half - first)));
                    }
                }
            }
            // The last slice includes the padding at the end of the tensor.
            let mut left = whole;
            let last = slices.len() - 1;
            for (i, &(first, rows)) in slices.iter().enumerate() {
                let bytes = if i == last { left } else { u64::from(rows) * row };
                left -= bytes;
                let slice = layout.place(bytes, most, first, rows);
                layout.slices.entry((id, layer)).or_default().push(slice);
            }
        }
        Ok(layout)
    }

    fn place(&mut self, bytes: u64, most: u64, first: u32, rows: u32) -> MatrixSlice {
        match self.buffers.last() {
            Some(used) if used + bytes <= most => {}
            _ => self.buffers.push(0),
        }
        let buffer = self.buffers.len() - 1;
        let offset = self.buffers[buffer];
        self.buffers[buffer] += bytes;
        MatrixSlice { buffer, offset, bytes, first, rows }
    }
}

impl DeviceParameters {
    pub fn new(
        device: &GpuDevice,
        plan: &'static Plan,
        weights: &dyn Weights,
        most: u64,
    ) -> Result<DeviceParameters, Error> {
        let layout = ParameterLayout::new(plan, most)?;
        let make = |what: &str| {
            let buffers = layout.buffers.iter();
            buffers.map(|&bytes| device.buffer(what, bytes, STORAGE)).collect::<Result<Vec<_>, _>>()
        };
        let states = [
            make("parameters")?,
            make("gradients")?,
            make("first moments")?,
            make("second moments")?,
        ];
        let parameters = DeviceParameters { plan, layout, states };
        for (id, layer) in plan.trained() {
            let tensor = weights.tensor(id, layer)?;
            let mut values = vec![0.0; tensor.rows * tensor.columns];
            let stored = tensor.data.chunks(tensor.format.row_bytes(tensor.columns));
            for (row, out) in stored.zip(values.chunks_mut(tensor.columns)) {
                format::decode(tensor.format, row, out);
            }
            parameters.write(device, TensorState::Parameter, id, layer, &values);
            // Written data stays in host memory until something is submitted.
            device.queue.submit([]);
        }
        device.wait()?;
        Ok(parameters)
    }

    /// The slices of a tensor of `layer`.
    pub fn slices(&self, id: TensorId, layer: u32) -> &[MatrixSlice] {
        &self.layout.slices[&(id, layer)]
    }

    /// The slices of all tensors.
    pub fn all(&self) -> impl Iterator<Item = (TensorId, &MatrixSlice)> {
        let tensors = self.plan.trained();
        tensors.flat_map(|(id, layer)| self.slices(id, layer).iter().map(move |p| (id, p)))
    }

    /// The binding of a slice of `state`.
    pub fn binding(&self, state: TensorState, slice: &MatrixSlice) -> BufferBinding<'_> {
        BufferBinding {
            buffer: &self.states[state as usize][slice.buffer],
            offset: slice.offset,
            size: std::num::NonZero::new(slice.bytes),
        }
    }

    /// The whole buffers of `state`.
    pub fn buffers(&self, state: TensorState) -> &[Buffer] {
        &self.states[state as usize]
    }

    /// The buffer of `slice`, its first quad of elements there, and its number of quads.
    pub fn quads(&self, slice: &MatrixSlice) -> (usize, u32, u32) {
        let quads = |bytes: u64| (bytes / 16) as u32;
        (slice.buffer, quads(slice.offset), quads(slice.bytes))
    }

    pub fn bytes(&self, state: TensorState) -> u64 {
        self.states[state as usize].iter().map(Buffer::size).sum()
    }

    /// The contiguous ranges in which a tensor is stored, without padding: for each, the index of
    /// the buffer, the first byte there, and the tensor's elements.
    fn ranges(&self, id: TensorId, layer: u32) -> Vec<(usize, u64, std::ops::Range<usize>)> {
        let tensor = self.plan.tensor(id);
        let gated = self.plan.is_gated(id);
        let padded = self.plan.trained_rows(tensor, gated);
        let halves = if gated { 2 } else { 1 };
        let (half, rows) = (padded / halves, tensor.rows / halves);
        let columns = tensor.columns as usize;
        let mut ranges = Vec::new();
        for slice in self.slices(id, layer) {
            for i in 0..halves {
                // Rows of this half in the slice, without padding.
                let from = (i * half).max(slice.first);
                let to = (i * half + rows).min(slice.first + slice.rows);
                if from < to {
                    let at = slice.offset + 4 * u64::from(from - slice.first) * columns as u64;
                    let start = (i * rows + from - i * half) as usize * columns;
                    let len = (to - from) as usize * columns;
                    ranges.push((slice.buffer, at, start..start + len));
                }
            }
        }
        ranges
    }

    pub fn write(
        &self,
        device: &GpuDevice,
        state: TensorState,
        id: TensorId,
        layer: u32,
        values: &[f32],
    ) {
        for (buffer, at, elements) in self.ranges(id, layer) {
            let buffer = &self.states[state as usize][buffer];
            device.queue.write_buffer(buffer, at, cast_slice(&values[elements]));
        }
    }

    pub fn read(
        &self,
        device: &GpuDevice,
        state: TensorState,
        id: TensorId,
        layer: u32,
        values: &mut [f32],
    ) -> Result<(), Error> {
        for (buffer, at, elements) in self.ranges(id, layer) {
            let buffer = &self.states[state as usize][buffer];
            let chunks = values[elements].chunks_mut((READ / 4) as usize);
            for (i, out) in chunks.enumerate() {
                let bytes = 4 * out.len() as u64;
                device.download(buffer, at + i as u64 * READ, bytes, |read| {
                    out.copy_from_slice(cast_slice(read));
                })?;
            }
        }
        Ok(())
    }
}
