//! How a model learns: the steps of a training pass as data, forward and backward.
//!
//! A training pass takes a batch of sequences, `[batch, tokens]`, as so many rows. Going forward it keeps what the way back needs; what is
//! cheap to make again (a normalised row, a probability, a dropout mask) is made again. Every step is one [`TrainOp`], which both engines
//! carry out: one dispatch of a GPU kernel, one call on the CPU. Buffers are the same for both, so that what a run will take is known
//! before it starts ([`TrainBytes`]).
//!
//! `op` has the steps, `buffers` what they read and write, `memory` the sums, `dropout` the masks. How the steps come about is the compiler's
//! work, as for inference.

mod buffers;
mod dropout;
mod memory;
mod op;

pub use buffers::{Copies, LOGITS_BYTES, TrainBuffer, TrainRows, train_stride};
pub use dropout::{Dropout, Site, hash};
pub use memory::{Recompute, TrainBytes, TrainShape};
pub use op::{BufferName, Into, Repeat, Slot, TrainOp, TrainSection, TrainStep};

use crate::{Kernel, List};

/// A training pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// In the order of [`BufferName`].
    pub buffers: List<TrainBuffer>,
    /// From tokens to the last layer's stream.
    pub forward: List<TrainSection>,
    /// The loss, and back to the embedding.
    pub backward: List<TrainSection>,
    /// Its shaders.
    pub kernels: List<Kernel>,
    /// Of each of them the one that runs in its place where operands of products are f16: itself, if it is no product.
    pub in_f16: List<u16>,
}

/// Rows and columns of a product that one workgroup makes.
pub const TRAIN_ROWS: u32 = 16;
pub const TRAIN_COLUMNS: u32 = 128;

/// The kernels of [`Training::kernels`] that belong to no step of a pass but end every step of learning: what moves the parameters, and what
/// sums the squares of their gradients.
pub const ADAMW: &str = "adamw";
pub const GRADIENT_NORM: &str = "gradient_norm";

impl Training {
    /// The buffer called `name`.
    pub fn buffer(&self, name: BufferName) -> &TrainBuffer {
        &self.buffers[name as usize]
    }
}
