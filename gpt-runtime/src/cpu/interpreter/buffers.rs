//! The buffers of a training pass, as its plan lists them.

use gpt_plan::{BufferName, Plan, Slot, TrainShape};

use crate::Error;
use crate::cpu::memory::{Arena, Floats};

/// All buffers. A step takes out the ones that it writes and puts them back.
pub struct TrainBuffers {
    /// By name, then by copy.
    floats: Vec<Vec<Floats>>,
    strides: Vec<usize>,
    widths: Vec<usize>,
    pub tokens: Vec<u32>,
    pub targets: Vec<u32>,
    /// Rows of logits that exist at once.
    pub chunk_rows: usize,
}

impl TrainBuffers {
    /// # Errors
    /// The system has no memory for them.
    pub fn new(arena: &Arena, plan: &Plan, shape: &TrainShape) -> Result<TrainBuffers, Error> {
        let training = &plan.training;
        let copies = |buffer: &gpt_plan::TrainBuffer| {
            let is_number = matches!(buffer.name, BufferName::Tokens | BufferName::Targets);
            let len = if is_number { 0 } else { buffer.len(shape) };
            let count = buffer.count(plan.spec.layers, shape);
            (0..count)
                .map(|_| arena.floats(len as usize))
                .collect::<Result<Vec<Floats>, Error>>()
        };
        let numbers = |name| vec![0; training.buffer(name).len(shape) as usize];
        Ok(TrainBuffers {
            floats: training
                .buffers
                .iter()
                .map(copies)
                .collect::<Result<_, _>>()?,
            strides: training.buffers.iter().map(|b| b.stride as usize).collect(),
            widths: training.buffers.iter().map(|b| b.width as usize).collect(),
            tokens: numbers(BufferName::Tokens),
            targets: numbers(BufferName::Targets),
            chunk_rows: training.buffer(BufferName::Logits).row_count(shape) as usize,
        })
    }

    /// Bytes of the activations that the backward pass reads, and of the rest.
    pub fn bytes(&self, plan: &Plan) -> (u64, u64) {
        let numbers = 4 * (self.tokens.len() + self.targets.len()) as u64;
        let (mut activations, mut scratch) = (0, numbers);
        for (buffer, copies) in plan.training.buffers.iter().zip(&self.floats) {
            let bytes: usize = copies.iter().map(|copy| 4 * copy.len()).sum();
            if buffer.is_activation() {
                activations += bytes as u64;
            } else {
                scratch += bytes as u64;
            }
        }
        (activations, scratch)
    }

    /// Floats between the starts of two rows.
    pub fn stride(&self, name: BufferName) -> usize {
        self.strides[name as usize]
    }

    /// Floats of a row without padding.
    pub fn width(&self, name: BufferName) -> usize {
        self.widths[name as usize]
    }

    /// A buffer that all layers share.
    pub fn one(&self, name: BufferName) -> &[f32] {
        &self.floats[name as usize][0]
    }

    /// The buffer in `slot` for a step of `layer`.
    pub fn get(&self, slot: Slot, layer: usize) -> &[f32] {
        let copies = &self.floats[slot.name as usize];
        &copies[index(copies.len(), slot, layer)]
    }

    /// Takes a buffer out, to be written and [put back](Self::put).
    pub fn take(&mut self, slot: Slot, layer: usize) -> Floats {
        let copies = &mut self.floats[slot.name as usize];
        let at = index(copies.len(), slot, layer);
        std::mem::take(&mut copies[at])
    }

    /// Puts a buffer back.
    pub fn put(&mut self, slot: Slot, layer: usize, buffer: Floats) {
        let copies = &mut self.floats[slot.name as usize];
        let at = index(copies.len(), slot, layer);
        copies[at] = buffer;
    }

    /// Fills the rows with NaN. Padding between them stays zero.
    pub fn poison(&mut self) {
        let sizes = self.widths.iter().zip(&self.strides);
        for (copies, (&width, &stride)) in self.floats.iter_mut().zip(sizes) {
            for row in copies
                .iter_mut()
                .flat_map(|copy| copy.chunks_exact_mut(stride))
            {
                row[..width].fill(f32::NAN);
            }
        }
    }
}

/// Which copy: with recomputation there is one for all layers.
fn index(copies: usize, slot: Slot, layer: usize) -> usize {
    if copies == 1 {
        0
    } else {
        layer + slot.shift as usize
    }
}
