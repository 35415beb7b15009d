//! The norms of queries and keys, which normalise groups of elements of a row.
//!
//! A row holds queries, keys and values side by side. [`QkGroups`] says which elements of queries
//! and keys are normalised together and which parameters they have. Values are not changed.

use gpt_plan::QkGroups;

use super::forward::NormOperands;
use crate::cpu::device::CpuDevice;
use crate::cpu::ops::RowsOut;
use crate::cpu::ops::rotary::Rotary;
use crate::cpu::pool::Disjoint;
use gpt_simd::{PANEL, Strided};

/// Normalises and rotates the queries and keys of each row, and calls `sink(row, first, elements)`
/// with all elements of the row (queries, keys and values), at most 32 at a time, from `first` on.
/// `statistics`, if any, receives the statistics of each group, `[rows][groups][2]`.
#[allow(clippy::too_many_arguments)]
pub fn forward(
    device: &CpuDevice,
    rows: usize,
    groups: &QkGroups,
    norm: NormOperands<'_>,
    x: Strided<'_>,
    width: usize,
    rotary: &Rotary,
    position: impl Fn(usize) -> usize + Sync,
    statistics: Option<&Disjoint<'_>>,
    sink: impl Fn(usize, usize, &[f32]) + Sync,
) {
    let kernels = device.kernels;
    device.each_row(rows, |row| {
        let x = &x.data[row * x.stride..][..width];
        let mut end = 0;
        for group in 0..groups.count() {
            let [start, width, parameter] = groups.group(group).map(|n| n as usize);
            end = start + width;
            let values = kernels.statistics(norm.kind, &x[start..end]);
            if let Some(statistics) = statistics {
                let at = 2 * (row * groups.count() as usize + group as usize);
                // SAFETY: each group of each row is written once.
                unsafe { statistics.part(at, 2) }.copy_from_slice(&values);
            }
            for first in (0..width).step_by(PANEL) {
                let len = PANEL.min(width - first);
                let gamma = &norm.gamma[parameter + first..][..len];
                let beta = match norm.beta {
                    [] => norm.beta,
                    beta => &beta[parameter + first..][..len],
                };
                let mut part = [0.0; PANEL];
                let part = &mut part[..len];
                kernels.normalise(&x[start + first..][..len], values, gamma, beta, part);
                rotary.forward(position(row), start + first, part);
                sink(row, start + first, part);
            }
        }
        for (i, values) in x[end..].chunks(PANEL).enumerate() {
            sink(row, end + i * PANEL, values);
        }
    });
}

/// Computes the gradient of the rows before the norm. `statistics` come from [`forward`].
pub fn input(
    device: &CpuDevice,
    rows: usize,
    groups: &QkGroups,
    norm: NormOperands<'_>,
    [x, dy]: [Strided<'_>; 2],
    statistics: &[f32],
    out: &RowsOut<'_>,
) {
    device.each_row(rows, |row| {
        // SAFETY: each row is written by one task.
        let out = unsafe { out.row(row) };
        let [x, dy] = [x, dy].map(|of| &of.data[row * of.stride..][..out.len()]);
        let count = groups.count() as usize;
        let statistics = statistics[2 * row * count..].as_chunks::<2>().0;
        let mut end = 0;
        for (group, statistics) in (0..groups.count()).zip(statistics) {
            let [start, width, parameter] = groups.group(group).map(|n| n as usize);
            end = start + width;
            let (x, dy, gamma) =
                (&x[start..end], &dy[start..end], &norm.gamma[parameter..][..width]);
            let to = &mut out[start..end];
            device.kernels.norm_backward(norm.kind, x, dy, gamma, *statistics, to, false);
        }
        out[end..].copy_from_slice(&dy[end..]);
    });
}

/// `d(gamma) = Σ dy x'`, where `x'` is `x` normalised, and `d(beta) = Σ dy`, over the rows and over
/// the groups that share a parameter; with `add`, the sums are added to the gradients. `gamma` and
/// `beta` are offsets in `gradients`.
#[allow(clippy::too_many_arguments)]
pub fn weight(
    device: &CpuDevice,
    rows: usize,
    groups: &QkGroups,
    [x, dy]: [Strided<'_>; 2],
    statistics: &[f32],
    [gamma, beta]: [Option<usize>; 2],
    gradients: &mut [f32],
    add: bool,
) {
    let out = Disjoint::new(gradients);
    let parameters = groups.parameters as usize;
    let count = groups.count() as usize;
    device.pool.run(parameters.div_ceil(PANEL), &|task, _| {
        let own = task * PANEL..parameters.min((task + 1) * PANEL);
        let (mut g, mut b) = ([0.0; PANEL], [0.0; PANEL]);
        for row in 0..rows {
            for group in 0..count {
                let [start, width, parameter] = groups.group(group as u32).map(|n| n as usize);
                let [mean, scale] = [0, 1].map(|i| statistics[2 * (row * count + group) + i]);
                let shared = own.start.max(parameter)..own.end.min(parameter + width);
                for at in shared {
                    let column = start + at - parameter;
                    let d = dy.data[row * dy.stride + column];
                    g[at - own.start] += d * (x.data[row * x.stride + column] - mean) * scale;
                    b[at - own.start] += d;
                }
            }
        }
        for (start, sums) in [(gamma, g), (beta, b)] {
            let Some(start) = start else { continue };
            // SAFETY: each task writes its own parameters.
            let out = unsafe { out.part(start + own.start, own.len()) };
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = if add { *out + sum } else { sum };
            }
        }
    });
}
