//! The minimum work of a step: its arithmetic, and the memory that it must read or write once.
//!
//! With a device's bandwidth and peak rate, the work gives the roofline of a measured step. The
//! arithmetic and the parameters of norms, biases and activations are not counted; they are
//! negligible compared with the matrices.

use crate::{Epilogue, Format, Op, Plan, Step};

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
    /// The work of an inference step for `rows` rows that begin at `position` of their sequence,
    /// with its matrix stored as `format`.
    pub fn work(&self, step: &Step, format: Format, position: u64, rows: u64) -> Work {
        let spec = &self.spec;
        let (embed, q) = (u64::from(spec.embed), u64::from(spec.q_width()));
        let (kv, hidden) = (u64::from(spec.kv_width()), u64::from(spec.mlp.hidden));
        // Floats that the step reads and writes for each of its rows, in addition to a matrix.
        let each = match &step.op {
            Op::Embed { table, positions, types, .. } => {
                let row = format.row_bytes(self.tensor(*table).columns as usize) as u64;
                let positions = if positions.is_some() { embed } else { 0 };
                let types = if types.is_some() { embed } else { 0 };
                return Work {
                    flops: rows * (positions + types),
                    bytes: rows * (row + 4 * (positions + embed)) + 4 * types,
                };
            }
            Op::Attention { scores, .. } => {
                let end = position + rows;
                let pairs = scores.pairs(position, rows);
                let keys = end - scores.keys(position, end).start;
                return Work { flops: 4 * pairs * q, bytes: 4 * (2 * keys * kv + 2 * rows * q) };
            }
            Op::Project(projection) => {
                let input = u64::from(self.tensor(projection.weight).columns);
                input
                    + match projection.epilogue {
                        Epilogue::Store { .. } => u64::from(self.tensor(projection.weight).rows),
                        Epilogue::Heads { .. } => q + 2 * kv,
                        Epilogue::Activation { .. } => hidden,
                        Epilogue::Residual { .. } => 2 * embed,
                    }
            }
            Op::Norm { sum, .. } => (2 + u64::from(sum.is_some())) * embed,
            Op::NormHeads { .. } => 2 * (q + 2 * kv),
            _ => 0,
        };
        let matrix = step.matrix().map_or(Work::default(), |id| {
            let matrix = self.tensor(id);
            let bytes = u64::from(matrix.rows) * format.row_bytes(matrix.columns as usize) as u64;
            Work { flops: 2 * rows * matrix.len(), bytes }
        });
        Work { bytes: matrix.bytes + 4 * rows * each, ..matrix }
    }
}
