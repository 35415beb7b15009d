//! What a step costs at least: the arithmetic it cannot avoid, and the memory that has to be read or written once.
//!
//! Together with what a device reads and computes in a second, that is the roofline a measured step is held against. Norms' scales, biases and activations
//! are left out: next to the matrices they are nothing.

use crate::{Format, Mask, Op, Plan, Step};

/// The work of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Floating-point operations, two for a multiplication with its addition.
    pub flops: u64,
    /// Bytes of weights, inputs and outputs, each counted once.
    pub bytes: u64,
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, other: Work) {
        self.flops += other.flops;
        self.bytes += other.bytes;
    }
}

impl Plan {
    /// The work of `step` for `rows` rows that begin at `position` of their sequence, where its matrix is stored as `format`.
    pub fn work(&self, step: &Step, format: Format, position: u64, rows: u64) -> Work {
        let spec = &self.spec;
        let (embed, q) = (u64::from(spec.embed), u64::from(spec.q_width()));
        let (kv, hidden) = (u64::from(spec.kv_width()), u64::from(spec.mlp.hidden));
        // Floats that the step reads and writes for each of its rows, besides a matrix.
        let each = match &step.op {
            Op::Embed { table, positions } => {
                let row = format.row_bytes(self.tensor(*table).columns as usize) as u64;
                let positions = if positions.is_some() { embed } else { 0 };
                return Work {
                    flops: rows * positions,
                    bytes: rows * (row + 4 * (positions + embed)),
                };
            }
            Op::Attention => {
                let end = position + rows;
                let pairs = match spec.mask {
                    // Row r sees position + r + 1 keys.
                    Mask::Causal => rows * position + rows * (rows + 1) / 2,
                    Mask::Bidirectional => rows * end,
                };
                return Work {
                    flops: 4 * pairs * q,
                    bytes: 4 * (2 * end * kv + 2 * rows * q),
                };
            }
            Op::Qkv { .. } => embed + q + 2 * kv,
            Op::AttentionOut { .. } => q + 2 * embed,
            Op::MlpUp { .. } => embed + hidden,
            Op::MlpDown { .. } => hidden + 2 * embed,
            Op::Head { .. } => embed + u64::from(spec.vocab),
        };
        let matrix = step.matrix().map_or(Work::default(), |id| {
            let matrix = self.tensor(id);
            let bytes = u64::from(matrix.rows) * format.row_bytes(matrix.columns as usize) as u64;
            Work {
                flops: 2 * rows * matrix.len(),
                bytes,
            }
        });
        Work {
            bytes: matrix.bytes + 4 * rows * each,
            ..matrix
        }
    }
}
