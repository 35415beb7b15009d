//! The forward pass of the embedding.

use crate::cpu::device::CpuDevice;
use crate::cpu::ops::RowsOut;
use crate::cpu::ops::dropout::DropoutMask;
use crate::cpu::pack::Lookup;

/// `out[row] = drop(scale * table[tokens[row]] + positions[position(row)] + types[0])`.
#[allow(clippy::too_many_arguments)]
pub fn forward(
    device: &CpuDevice,
    tokens: &[u32],
    table: &impl Lookup,
    scale: f32,
    [positions, types]: [Option<&[f32]>; 2],
    position: impl Fn(usize) -> usize + Sync,
    mask: Option<DropoutMask>,
    out: &RowsOut<'_>,
) {
    device.each_row(tokens.len(), |row| {
        // SAFETY: each row is written by one task.
        let to = unsafe { out.row(row) };
        table.row(tokens[row] as usize, to);
        if scale != 1.0 {
            device.kernels.scale(to, scale);
        }
        // Every token is of type 0.
        for (table, at) in [(positions, position(row)), (types, 0)] {
            let Some(table) = table else { continue };
            for (x, p) in to.iter_mut().zip(&table[at * out.width..]) {
                *x += p;
            }
        }
        if let Some(mask) = mask {
            mask.apply(device.kernels, to, row * out.width);
        }
    });
}
