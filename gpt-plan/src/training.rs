//! A training pass: its buffers, its sections and its kernels.
//!
//! A pass takes a batch of sequences `[batch, tokens]` as rows. The forward pass stores the
//! activations that the backward pass needs. Cheap ones (normed rows, probabilities, dropout masks)
//! are recomputed. Both engines run the same ops on the same buffers, so the memory of a run is
//! known before it starts ([`TrainBytes`](crate::TrainBytes)).

use serde::Serialize;

use crate::{Buffer, BufferId, Kernel, List, Section};

/// A training pass.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Training {
    /// The buffers of the pass.
    pub buffers: List<Buffer>,
    /// From tokens to the output of the final norm.
    pub forward: List<Section>,
    /// The head, the loss, and their gradients, for one range of rows after the other.
    pub loss: List<Section>,
    /// From the gradient of the final norm's output to the gradients of all parameters.
    pub backward: List<Section>,
    /// All kernels of the pass and of the optimizer.
    pub kernels: List<Kernel>,
    /// For each kernel, its replacement in f16 training. A product's replacement rounds its
    /// operands to f16; any other kernel is its own replacement.
    pub in_f16: List<u16>,
}

/// Rows of a product that one workgroup computes.
pub const TRAIN_ROWS: u32 = 16;
/// Columns of a product that one workgroup computes.
pub const TRAIN_COLUMNS: u32 = 128;

/// The kernel of [`Training::kernels`] that updates parameters after a pass.
pub const ADAMW: &str = "adamw";
/// The kernel of [`Training::kernels`] that computes the squared norm of all gradients.
pub const GRADIENT_NORM: &str = "gradient_norm";

impl Training {
    /// The buffer `id`.
    ///
    /// # Panics
    /// Panics if training has no such buffer.
    pub fn buffer(&self, id: BufferId) -> &Buffer {
        let found = self.buffers.iter().find(|buffer| buffer.id == id);
        found.unwrap_or_else(|| panic!("training has no buffer {}", id.name()))
    }

    /// The sections of a whole pass, in order.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        let (forward, loss) = (self.forward.iter(), self.loss.iter());
        forward.chain(loss).chain(self.backward.iter())
    }
}
