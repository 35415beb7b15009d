//! The forward pass of a norm.

use gpt_plan::Norm;

use crate::cpu::device::CpuDevice;
use crate::cpu::ops::RowsOut;
use crate::cpu::pool::Disjoint;
use crate::cpu::simd::Strided;

/// A norm's parameters.
#[derive(Clone, Copy)]
pub struct NormOperands<'a> {
    pub kind: Norm,
    pub gamma: &'a [f32],
    /// Empty if the norm has none.
    pub beta: &'a [f32],
}

/// Mean and inverse deviation of each row, `[rows][2]`.
pub enum Statistics<'a> {
    /// Computed and not stored.
    Discard,
    /// Computed and stored for the backward pass.
    Keep(Disjoint<'a>),
    /// Read from an earlier pass.
    Reuse(&'a [f32]),
}

/// `out = norm(x)`.
pub fn forward(
    device: &CpuDevice,
    rows: usize,
    norm: NormOperands<'_>,
    x: Strided<'_>,
    statistics: Statistics<'_>,
    out: &RowsOut<'_>,
) {
    let kernels = device.kernels;
    device.each_row(rows, |row| {
        let x = &x.data[row * x.stride..][..out.width];
        let values = match &statistics {
            Statistics::Discard => kernels.statistics(norm.kind, x),
            Statistics::Keep(kept) => {
                let values = kernels.statistics(norm.kind, x);
                // SAFETY: each row is written by one task.
                unsafe { kept.part(2 * row, 2) }.copy_from_slice(&values);
                values
            }
            Statistics::Reuse(kept) => [kept[2 * row], kept[2 * row + 1]],
        };
        // SAFETY: each row is written by one task.
        let out = unsafe { out.row(row) };
        kernels.normalise(x, values, norm.gamma, norm.beta, out);
    });
}
