//! What is learned, on the device: parameters, gradients, moments, laid out alike.
//!
//! Tensors stand one after the other, row by row, in as few buffers as a binding's size allows: first vectors, which do not decay, then all else, so that the
//! optimizer has one run of each in a buffer. A tensor that is larger than a binding is cut
//! between rows into pieces that are multiplied one after the other; the halves of a gated MLP are cut alike, so that a piece of one has its
//! counterpart in the other.

use std::collections::HashMap;

use bytemuck::cast_slice;
use gpt_plan::{Plan, TRAIN_ROWS, TensorId, TensorKind};
use wgpu::{Buffer, BufferBinding, BufferUsages};

use crate::Error;
use crate::engine::State;
use crate::gpu::device::GpuDevice;
use crate::weights::{Weights, format};

/// Rows of a tensor that are bound together.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    buffer: usize,
    offset: u64,
    bytes: u64,
    /// Its first row among those of the tensor, padding included, and how many there are.
    pub first: u32,
    pub rows: u32,
}

/// The layout of all tensors.
struct Layout {
    pieces: HashMap<(TensorId, u32), Vec<Piece>>,
    /// Bytes of each buffer.
    buffers: Vec<u64>,
}

/// Everything that a model has learned.
pub struct Parameters {
    plan: &'static Plan,
    layout: Layout,
    /// By [`State`].
    states: [Vec<Buffer>; 4],
}

/// Rows at whose multiples a tensor is cut: those begin where any adapter may bind.
const CUT: u32 = 64;

/// Most rows of a piece: as many workgroups as a dispatch may have make its gradient.
const MOST: u32 = 65_535 * TRAIN_ROWS / CUT * CUT;

/// Bytes that are read back at once.
const READ: u64 = 16 << 20;

impl Layout {
    fn new(plan: &Plan, most: u64) -> Result<Layout, Error> {
        let mut layout = Layout {
            pieces: HashMap::new(),
            buffers: Vec::new(),
        };
        let vector = |id: TensorId| plan.tensor(id).kind == TensorKind::Vector;
        let vectors = plan.trained().filter(|(id, _)| vector(*id));
        let others = plan.trained().filter(|(id, _)| !vector(*id));
        for (id, layer) in vectors.chain(others) {
            let tensor = plan.tensor(id);
            let gated = plan.is_gated(id);
            let rows = plan.trained_rows(tensor, gated);
            let row = 4 * u64::from(tensor.columns);
            let whole = 4 * plan.trained_len(id);
            let mut pieces = Vec::new();
            if whole <= most && rows <= MOST {
                pieces.push((0, rows));
            } else {
                let most = (most / row).min(u64::from(MOST)) as u32 / CUT * CUT;
                if most == 0 {
                    return Err(Error::Input(format!(
                        "{} of {} has rows so long that {CUT} of them are more than a device binds at once",
                        tensor.name, plan.name
                    )));
                }
                let half = if gated { rows / 2 } else { rows };
                for start in (0..rows).step_by(half as usize) {
                    for first in (start..start + half).step_by(most as usize) {
                        pieces.push((first, most.min(start + half - first)));
                    }
                }
            }
            // What rounds the tensor up belongs to its last piece.
            let mut left = whole;
            let last = pieces.len() - 1;
            for (i, &(first, rows)) in pieces.iter().enumerate() {
                let bytes = if i == last {
                    left
                } else {
                    u64::from(rows) * row
                };
                left -= bytes;
                let piece = layout.place(bytes, most, first, rows);
                layout.pieces.entry((id, layer)).or_default().push(piece);
            }
        }
        Ok(layout)
    }

    fn place(&mut self, bytes: u64, most: u64, first: u32, rows: u32) -> Piece {
        match self.buffers.last() {
            Some(used) if used + bytes <= most => {}
            _ => self.buffers.push(0),
        }
        let buffer = self.buffers.len() - 1;
        let offset = self.buffers[buffer];
        self.buffers[buffer] += bytes;
        Piece {
            buffer,
            offset,
            bytes,
            first,
            rows,
        }
    }
}

impl Parameters {
    pub fn new(
        device: &GpuDevice,
        plan: &'static Plan,
        weights: &dyn Weights,
        most: u64,
    ) -> Result<Parameters, Error> {
        let layout = Layout::new(plan, most)?;
        let make = |what: &str| {
            let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
            let buffers = layout.buffers.iter();
            buffers
                .map(|&bytes| device.buffer(what, bytes, usage))
                .collect::<Result<Vec<_>, _>>()
        };
        let states = [
            make("parameters")?,
            make("gradients")?,
            make("first moments")?,
            make("second moments")?,
        ];
        let parameters = Parameters {
            plan,
            layout,
            states,
        };
        for (id, layer) in plan.trained() {
            let tensor = weights.tensor(id, layer)?;
            let mut values = vec![0.0; tensor.rows * tensor.columns];
            let stored = tensor.data.chunks(tensor.format.row_bytes(tensor.columns));
            for (row, out) in stored.zip(values.chunks_mut(tensor.columns)) {
                format::decode(tensor.format, row, out);
            }
            parameters.write(device, State::Parameter, id, layer, &values);
            // What was written waits in memory of the host's until something is submitted.
            device.queue.submit([]);
        }
        device.wait()?;
        Ok(parameters)
    }

    /// The pieces of a tensor.
    pub fn pieces(&self, id: TensorId, layer: u32) -> &[Piece] {
        &self.layout.pieces[&(id, layer)]
    }

    /// Pieces of every tensor, with the tensor.
    pub fn all(&self) -> impl Iterator<Item = (TensorId, &Piece)> {
        let tensors = self.plan.trained();
        tensors.flat_map(|(id, layer)| self.pieces(id, layer).iter().map(move |p| (id, p)))
    }

    /// A piece of what is kept as `state`, to be bound.
    pub fn binding(&self, state: State, piece: &Piece) -> BufferBinding<'_> {
        BufferBinding {
            buffer: &self.states[state as usize][piece.buffer],
            offset: piece.offset,
            size: std::num::NonZero::new(piece.bytes),
        }
    }

    /// The whole buffers of `state`.
    pub fn buffers(&self, state: State) -> &[Buffer] {
        &self.states[state as usize]
    }

    /// The number of the buffer that has `piece`; its first element there, and how many it has, in quads.
    pub fn quads(&self, piece: &Piece) -> (usize, u32, u32) {
        let quads = |bytes: u64| (bytes / 16) as u32;
        (piece.buffer, quads(piece.offset), quads(piece.bytes))
    }

    pub fn bytes(&self, state: State) -> u64 {
        self.states[state as usize].iter().map(Buffer::size).sum()
    }

    /// Where the elements of a tensor stand: for each run of them its buffer, the byte there, and which elements they are.
    fn runs(&self, id: TensorId, layer: u32) -> Vec<(usize, u64, std::ops::Range<usize>)> {
        let tensor = self.plan.tensor(id);
        let gated = self.plan.is_gated(id);
        let padded = self.plan.trained_rows(tensor, gated);
        let halves = if gated { 2 } else { 1 };
        let (half, rows) = (padded / halves, tensor.rows / halves);
        let columns = tensor.columns as usize;
        let mut runs = Vec::new();
        for piece in self.pieces(id, layer) {
            for i in 0..halves {
                // Rows of this half that exist, as far as they are in the piece.
                let from = (i * half).max(piece.first);
                let to = (i * half + rows).min(piece.first + piece.rows);
                if from < to {
                    let at = piece.offset + 4 * u64::from(from - piece.first) * columns as u64;
                    let start = (i * rows + from - i * half) as usize * columns;
                    let len = (to - from) as usize * columns;
                    runs.push((piece.buffer, at, start..start + len));
                }
            }
        }
        runs
    }

    pub fn write(
        &self,
        device: &GpuDevice,
        state: State,
        id: TensorId,
        layer: u32,
        values: &[f32],
    ) {
        for (buffer, at, elements) in self.runs(id, layer) {
            let buffer = &self.states[state as usize][buffer];
            device
                .queue
                .write_buffer(buffer, at, cast_slice(&values[elements]));
        }
    }

    pub fn read(
        &self,
        device: &GpuDevice,
        state: State,
        id: TensorId,
        layer: u32,
        values: &mut [f32],
    ) -> Result<(), Error> {
        let bytes = (4 * values.len() as u64).min(READ);
        let back = device.buffer(
            "a tensor on its way back",
            bytes,
            BufferUsages::MAP_READ | BufferUsages::COPY_DST,
        )?;
        for (buffer, at, elements) in self.runs(id, layer) {
            let buffer = &self.states[state as usize][buffer];
            let parts = values[elements].chunks_mut((READ / 4) as usize);
            for (i, out) in parts.enumerate() {
                let bytes = 4 * out.len() as u64;
                let mut encoder = device.device.create_command_encoder(&Default::default());
                encoder.copy_buffer_to_buffer(buffer, at + i as u64 * READ, &back, 0, bytes);
                device.submit(encoder);
                device.read(&back, bytes, |read| out.copy_from_slice(cast_slice(read)))?;
            }
        }
        Ok(())
    }
}
