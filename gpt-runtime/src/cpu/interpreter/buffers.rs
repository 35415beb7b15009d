//! The buffers of a training pass, allocated as the plan lists them.

use gpt_plan::{Buffer, BufferId, LayerCopy, Plan, Slot, TrainShape};

use crate::Error;
use crate::cpu::memory::{Arena, Floats};

/// All buffers of a training pass. A step takes the buffers that it writes and puts them back.
pub struct TrainBuffers {
    /// By id, then by copy.
    floats: [Vec<Floats>; BufferId::COUNT],
    strides: [usize; BufferId::COUNT],
    widths: [usize; BufferId::COUNT],
    pub tokens: Vec<u32>,
    pub targets: Vec<u32>,
    /// Rows of logits that exist at once.
    pub max_logit_rows: usize,
}

impl TrainBuffers {
    /// Allocates the buffers for batches of `shape`.
    ///
    /// # Errors
    /// Fails if the system has too little memory.
    pub fn new(arena: &Arena, plan: &Plan, shape: &TrainShape) -> Result<TrainBuffers, Error> {
        let training = &plan.training;
        let copies = |buffer: &Buffer| {
            let is_number = matches!(buffer.id, BufferId::Tokens | BufferId::Targets);
            let len = if is_number { 0 } else { buffer.train_len(shape) };
            let count = buffer.train_copies(plan.spec.layers, shape);
            (0..count).map(|_| arena.floats(len as usize)).collect::<Result<Vec<Floats>, Error>>()
        };
        let numbers = |id| vec![0; training.buffer(id).train_len(shape) as usize];
        let mut floats: [Vec<Floats>; BufferId::COUNT] = std::array::from_fn(|_| Vec::new());
        let (mut strides, mut widths) = ([0; BufferId::COUNT], [0; BufferId::COUNT]);
        for buffer in training.buffers.iter() {
            let at = buffer.id as usize;
            floats[at] = copies(buffer)?;
            (strides[at], widths[at]) = (buffer.stride as usize, buffer.width as usize);
        }
        Ok(TrainBuffers {
            floats,
            strides,
            widths,
            tokens: numbers(BufferId::Tokens),
            targets: numbers(BufferId::Targets),
            max_logit_rows: training.buffer(BufferId::Logits).train_rows(shape) as usize,
        })
    }

    /// Bytes of the activations kept for the backward pass, and bytes of all other buffers.
    pub fn bytes(&self, plan: &Plan) -> (u64, u64) {
        let numbers = 4 * (self.tokens.len() + self.targets.len()) as u64;
        let (mut activations, mut scratch) = (0, numbers);
        for buffer in plan.training.buffers.iter() {
            let copies = &self.floats[buffer.id as usize];
            let bytes: usize = copies.iter().map(|copy| 4 * copy.len()).sum();
            if buffer.is_activation() {
                activations += bytes as u64;
            } else {
                scratch += bytes as u64;
            }
        }
        (activations, scratch)
    }

    /// Floats from the start of a row to the start of the next.
    pub fn stride(&self, name: BufferId) -> usize {
        self.strides[name as usize]
    }

    /// Floats of a row, without its padding.
    pub fn width(&self, name: BufferId) -> usize {
        self.widths[name as usize]
    }

    /// The buffer `name`, which all layers share.
    pub fn one(&self, name: BufferId) -> &[f32] {
        &self.floats[name as usize][0]
    }

    /// The buffer that `slot` denotes in a step of `layer`.
    pub fn get(&self, slot: Slot, layer: usize) -> &[f32] {
        let copies = &self.floats[slot.buffer as usize];
        &copies[index(copies.len(), slot, layer)]
    }

    /// Takes the buffer of `slot`, to be written and [put back](Self::put).
    pub fn take(&mut self, slot: Slot, layer: usize) -> Floats {
        let copies = &mut self.floats[slot.buffer as usize];
        let at = index(copies.len(), slot, layer);
        std::mem::take(&mut copies[at])
    }

    /// Puts back a buffer that [`take`](Self::take) returned.
    pub fn put(&mut self, slot: Slot, layer: usize, buffer: Floats) {
        let copies = &mut self.floats[slot.buffer as usize];
        let at = index(copies.len(), slot, layer);
        copies[at] = buffer;
    }

    /// Fills all rows with NaN. The padding between rows stays zero.
    pub fn poison(&mut self) {
        let sizes = self.widths.iter().zip(&self.strides);
        for (copies, (&width, &stride)) in self.floats.iter_mut().zip(sizes) {
            for row in copies.iter_mut().flat_map(|copy| copy.chunks_exact_mut(stride.max(1))) {
                row[..width].fill(f32::NAN);
            }
        }
    }
}

/// The index of the copy that `slot` denotes. With recomputation, all layers share one copy of some
/// buffers.
fn index(copies: usize, slot: Slot, layer: usize) -> usize {
    match slot.copy {
        _ if copies == 1 => 0,
        LayerCopy::Here => layer,
        LayerCopy::Next => layer + 1,
        LayerCopy::End => copies - 1,
    }
}
