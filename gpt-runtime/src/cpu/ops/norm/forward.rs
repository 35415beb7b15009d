//! The forward pass of a norm.

use gpt_plan::Norm;

use crate::cpu::device::CpuDevice;
use crate::cpu::ops::RowsOut;
use crate::cpu::pool::Disjoint;
use gpt_simd::Strided;

/// A norm's parameters.
#[derive(Clone, Copy)]
pub struct NormOperands<'a> {
    pub kind: Norm,
    pub gamma: &'a [f32],
    /// Empty if the norm has none.
    pub beta: &'a [f32],
}

/// Mean and inverse deviation of each row, `[rows][2]`.
pub enum RowStatistics<'a> {
    /// Computed and not stored.
    Discard,
    /// Computed and stored for the backward pass.
    Compute(Disjoint<'a>),
    /// Read from an earlier pass.
    Stored(&'a [f32]),
}

/// `out = norm(x)`.
pub fn forward(
    device: &CpuDevice,
    rows: usize,
    norm: NormOperands<'_>,
    x: Strided<'_>,
    statistics: RowStatistics<'_>,
    out: &RowsOut<'_>,
) {
    let kernels = device.kernels;
    device.each_row(rows, |row| {
        let x = &x.data[row * x.stride..][..out.width];
        let values = match &statistics {
            RowStatistics::Discard => kernels.statistics(norm.kind, x),
            RowStatistics::Compute(stats) => {
                let values = kernels.statistics(norm.kind, x);
                // SAFETY: each row is written by one task.
                unsafe { stats.part(2 * row, 2) }.copy_from_slice(&values);
                values
            }
            RowStatistics::Stored(stats) => [stats[2 * row], stats[2 * row + 1]],
        };
        // SAFETY: each row is written by one task.
        let out = unsafe { out.row(row) };
        kernels.normalise(x, values, norm.gamma, norm.beta, out);
    });
}
