//! The buffers of a training pass.

use super::{BufferName, TrainShape};

/// A buffer, row-major, rows `stride` elements apart.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainBuffer {
    pub name: BufferName,
    /// Elements that mean something.
    pub width: u32,
    /// Elements from one row to the next; what lies between stays zero.
    pub stride: u32,
    /// What its rows are.
    pub rows: TrainRows,
    /// How many there are of it.
    pub copies: Copies,
}

/// What the rows of a buffer stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainRows {
    /// Every token of every sequence.
    All,
    /// As many as [`LOGITS_BYTES`] have room for.
    Chunk,
}

/// How often a buffer is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// Once: what it holds is used up before it is made again.
    One,
    /// For each layer.
    PerLayer,
    /// For each layer and what follows the last, recomputed or not.
    PerLayerAndOne,
}

/// Bytes that logits may take: those of a whole batch never exist at once.
pub const LOGITS_BYTES: u64 = 64 << 20;

/// From a row of `width` to the next: whole panels of 32 and half a panel more, so that rows of a power of two do not all fall into the same
/// few lines of a cache. Rows begin at multiples of 64 bytes. Narrow rows stand side by side.
pub const fn train_stride(width: u32) -> u32 {
    width.next_multiple_of(32) + 16
}

/// Elements after the last row.
pub const SLACK: u64 = 64;

impl TrainBuffer {
    /// Rows of one copy.
    pub const fn row_count(&self, shape: &TrainShape) -> u64 {
        let all = shape.rows();
        match self.rows {
            TrainRows::All => all,
            TrainRows::Chunk => {
                // Chunks of one size, a multiple of eight but for the last.
                let most = LOGITS_BYTES / (4 * self.stride as u64);
                let most = if most < 8 { 8 } else { most };
                let chunks = all.div_ceil(most);
                let rows = all.div_ceil(chunks).next_multiple_of(8);
                if rows < all { rows } else { all }
            }
        }
    }

    /// Elements of one copy. A wide buffer has 64 elements more than its rows: whoever reads a panel of a narrow head at the end of the last
    /// row reads past it.
    pub const fn len(&self, shape: &TrainShape) -> u64 {
        let slack = if self.stride > self.width { SLACK } else { 0 };
        self.row_count(shape) * self.stride as u64 + slack
    }

    /// Whether there is nothing in it; never.
    pub const fn is_empty(&self, shape: &TrainShape) -> bool {
        self.len(shape) == 0
    }

    /// How many copies a model of `layers` layers has.
    pub const fn count(&self, layers: u32, shape: &TrainShape) -> u32 {
        match self.copies {
            Copies::One => 1,
            Copies::PerLayerAndOne => layers + 1,
            Copies::PerLayer => {
                if shape.recompute.is_block() {
                    1
                } else {
                    layers
                }
            }
        }
    }

    /// Whether it is kept from the forward pass for the way back.
    pub const fn is_activation(&self) -> bool {
        !matches!(self.copies, Copies::One)
    }
}
