//! The forward pass of a norm.

use gpt_plan::Norm;

use crate::cpu::device::CpuDevice;
use crate::cpu::ops::RowsOut;
use crate::cpu::ops::dropout::DropoutMask;
use crate::cpu::pool::Disjoint;
use gpt_simd::{PANEL, Strided};

/// A norm's parameters.
#[derive(Clone, Copy)]
pub struct NormOperands<'a> {
    pub kind: Norm,
    pub gamma: &'a [f32],
    /// Empty if the norm has no beta.
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

/// The sum of a residual and the norm of a branch.
#[derive(Clone, Copy)]
pub struct Sum<'a> {
    /// The residual; without it, the norm is added to the rows of the output.
    pub residual: Option<Strided<'a>>,
    pub scale: f32,
    pub mask: Option<DropoutMask>,
}

/// `out = norm(x)`; with a sum, `out = residual + scale * drop(norm(x))`.
pub fn forward(
    device: &CpuDevice,
    rows: usize,
    norm: NormOperands<'_>,
    x: Strided<'_>,
    statistics: RowStatistics<'_>,
    sum: Option<Sum<'_>>,
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
        let Some(sum) = &sum else {
            return kernels.normalise(x, values, norm.gamma, norm.beta, out);
        };
        let width = out.len();
        for first in (0..width).step_by(PANEL) {
            let part = first..width.min(first + PANEL);
            let beta = if norm.beta.is_empty() { norm.beta } else { &norm.beta[part.clone()] };
            let mut normal = [0.0; PANEL];
            let normal = &mut normal[..part.len()];
            kernels.normalise(&x[part.clone()], values, &norm.gamma[part.clone()], beta, normal);
            if let Some(mask) = &sum.mask {
                mask.apply(kernels, normal, row * width + first);
            }
            let to = &mut out[part];
            if let Some(residual) = sum.residual {
                let at = row * residual.stride + first;
                to.copy_from_slice(&residual.data[at..][..to.len()]);
            }
            for (to, normal) in to.iter_mut().zip(normal) {
                *to += sum.scale * *normal;
            }
        }
    });
}
