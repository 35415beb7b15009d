//! Sums and products of rows, element by element.

use super::RowsOut;
use crate::cpu::device::CpuDevice;
use gpt_simd::Strided;

/// `out += x`.
pub fn add(device: &CpuDevice, rows: usize, x: Strided<'_>, out: &RowsOut<'_>) {
    each(device, rows, x, out, |to, x| *to += x);
}

/// `out *= x`.
pub fn multiply(device: &CpuDevice, rows: usize, x: Strided<'_>, out: &RowsOut<'_>) {
    each(device, rows, x, out, |to, x| *to *= x);
}

fn each(
    device: &CpuDevice,
    rows: usize,
    x: Strided<'_>,
    out: &RowsOut<'_>,
    f: impl Fn(&mut f32, f32) + Sync,
) {
    device.each_row(rows, |row| {
        // SAFETY: each row is written by one task.
        let to = unsafe { out.row(row) };
        for (to, x) in to.iter_mut().zip(&x.data[row * x.stride..]) {
            f(to, *x);
        }
    });
}
