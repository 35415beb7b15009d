//! Scratch memory of a thread, and the block sizes that determine it.
//!
//! The sizes fit x86-64 and AArch64 cores with at least 32 KiB of first-level and 512 KiB of
//! second-level data cache. The operations in `ops` cut their work into blocks of these sizes.

use gpt_simd::{PANEL, Running};

/// Block sizes of a GEMM.
pub mod gemm {
    /// The depth of a slice of a panel, which takes 64 KiB in f32. Sums of this length keep
    /// rounding errors small. A multiple of 32.
    pub const DEPTH: usize = 512;
    /// Rows of a block, which is multiplied by all panels of a group before the next block. A
    /// multiple of the height of every register tile.
    pub const ROWS: usize = 96;
    /// The largest number of rows of a task whose panels have more than one slice. Partial sums are
    /// kept until the next slice.
    pub const DEEP_ROWS: usize = 192;
    /// The largest number of panels of a group.
    pub const PANELS: usize = 32;
    /// The largest number of panels of a group whose panels have more than one slice.
    pub const DEEP_PANELS: usize = 8;
    /// Bytes of the slices in a group, which stay in the second-level cache. In each row, the
    /// outputs of a group are neighbours in memory, and the outputs of a block of rows are written
    /// together.
    pub const GROUP: usize = 128 << 10;
    /// Bytes of the slices in a group and of their partial sums, if a panel has more than one
    /// slice.
    pub const DEEP_GROUP: usize = 384 << 10;
}

/// Block sizes of a weight gradient.
pub mod weight_gradient {
    use super::PANEL;

    /// Rows that a gradient accumulates before the next panel. The gradient is read and written
    /// once for each block of rows.
    pub const ROWS: usize = 256;
    /// Columns of a matrix in one task. The inputs in these columns of [`ROWS`] rows stay in the
    /// second-level cache while they are multiplied with panels of output gradients.
    pub const COLUMNS: usize = 256;
    /// Columns of a matrix in one task with pairs of bf16, which take half the memory. Each task
    /// converts the panels again, so fewer tasks convert less.
    pub const PAIRED_COLUMNS: usize = 384;
    /// Floats that the rounded inputs of one task take, plain or in pairs.
    pub const INPUTS: usize = ROWS * COLUMNS;
    /// Floats of a panel of output gradients.
    pub const GRADIENTS: usize = ROWS * PANEL;
}

/// Block sizes of attention in training.
pub mod attention {
    /// The number of queries, and of keys, in a block.
    pub const BLOCK: usize = 64;
    /// The width of the widest head that the compiler accepts.
    pub const HEAD_DIM: usize = 256;
}

/// Scratch memory of one thread.
pub struct ThreadScratch {
    /// Outputs: at most `[DEEP_PANELS][DEEP_ROWS][32]`.
    pub tile: Vec<f32>,
    /// Slices of panels in the form that the kernels multiply.
    pub panels: Vec<f32>,
    /// `[ROWS][DEPTH]`: inputs rounded to bf16. Weight gradients round both operands here.
    pub inputs: Vec<f32>,
    pub attention: AttentionScratch,
}

/// Scratch memory of attention in training.
pub struct AttentionScratch {
    /// `[BLOCK][BLOCK]`: probabilities.
    pub p: Vec<f32>,
    /// `[BLOCK][BLOCK]`: the gradients of the probabilities.
    pub dp: Vec<f32>,
    /// `[BLOCK][BLOCK]`: the derivatives of capped scores.
    pub slopes: Vec<f32>,
    /// `[2][head_dim][32]`: transposed keys of a block, 32 positions side by side.
    pub keys: Vec<f32>,
    /// `[2][head_dim][32]`: transposed values of a block.
    pub values: Vec<f32>,
    /// `[BLOCK][padded head_dim]`: sums over a block.
    pub sums: Vec<f32>,
    /// `[BLOCK][padded head_dim]`: the gradients of the keys of a block.
    pub dk: Vec<f32>,
    /// `[BLOCK][padded head_dim]`: the gradients of the values of a block.
    pub dv: Vec<f32>,
    /// The state of the softmax of each query of a block.
    pub states: [Running; attention::BLOCK],
}

impl ThreadScratch {
    pub fn new() -> ThreadScratch {
        let inputs = weight_gradient::INPUTS + weight_gradient::GRADIENTS;
        ThreadScratch {
            tile: vec![0.0; gemm::DEEP_PANELS * gemm::DEEP_ROWS * PANEL],
            panels: vec![0.0; gemm::DEEP_GROUP / size_of::<f32>()],
            inputs: vec![0.0; inputs.max(gemm::ROWS * gemm::DEPTH)],
            attention: AttentionScratch::new(),
        }
    }

    /// Fills a GEMM's scratch memory with NaN.
    pub fn poison(&mut self) {
        self.tile.fill(f32::NAN);
        self.panels.fill(f32::NAN);
    }
}

impl AttentionScratch {
    fn new() -> AttentionScratch {
        let rows = || vec![0.0; attention::BLOCK * attention::HEAD_DIM];
        let square = || vec![0.0; attention::BLOCK * attention::BLOCK];
        AttentionScratch {
            p: square(),
            dp: square(),
            slopes: square(),
            keys: rows(),
            values: rows(),
            sums: rows(),
            dk: rows(),
            dv: rows(),
            states: [Running::EMPTY; attention::BLOCK],
        }
    }
}
