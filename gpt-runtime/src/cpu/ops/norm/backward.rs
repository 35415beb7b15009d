//! The backward pass of a norm.

use super::forward::NormOperands;
use crate::cpu::device::CpuDevice;
use crate::cpu::ops::RowsOut;
use crate::cpu::pool::Disjoint;
use gpt_simd::{PANEL, Strided};

/// `out = d(norm)/dx · dy`; with `add`, `out += d(norm)/dx · dy`. `statistics` come from the
/// forward pass.
pub fn input(
    device: &CpuDevice,
    rows: usize,
    norm: NormOperands<'_>,
    [x, dy]: [Strided<'_>; 2],
    statistics: &[f32],
    out: &RowsOut<'_>,
    add: bool,
) {
    device.each_row(rows, |row| {
        // SAFETY: each row is written by one task.
        let out = unsafe { out.row(row) };
        let [x, dy] = [x, dy].map(|of| &of.data[row * of.stride..][..out.len()]);
        let statistics = [statistics[2 * row], statistics[2 * row + 1]];
        device.kernels.norm_backward(norm.kind, x, dy, norm.gamma, statistics, out, add);
    });
}

/// `d(gamma) = Σ dy x'`, where `x'` is `x` normalised, and `d(beta) = Σ dy`; with `add`, the sums
/// are added to the gradients. `gamma` and `beta` are offsets in `gradients`; `statistics` are
/// those of all rows.
#[allow(clippy::too_many_arguments)]
pub fn weight(
    device: &CpuDevice,
    width: usize,
    x: Strided<'_>,
    dy: &[f32],
    statistics: &[f32],
    [gamma, beta]: [Option<usize>; 2],
    gradients: &mut [f32],
    add: bool,
) {
    let out = Disjoint::new(gradients);
    device.pool.run(width.div_ceil(PANEL), &|task, _| {
        let first = task * PANEL;
        let len = PANEL.min(width - first);
        let (mut g, mut b) = ([0.0; PANEL], [0.0; PANEL]);
        let (x, dy, stride) = (&x.data[first..], &dy[first..], x.stride);
        device.kernels.norm_sums(x, dy, stride, statistics, &mut g, &mut b);
        for (start, sums) in [(gamma, g), (beta, b)] {
            let Some(start) = start else { continue };
            // SAFETY: each task writes its own features.
            let out = unsafe { out.part(start + first, len) };
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = if add { *out + sum } else { sum };
            }
        }
    });
}
