//! The backward pass of the embedding.

use crate::cpu::device::CpuDevice;
use crate::cpu::pack::panel_element;
use crate::cpu::pool::Disjoint;
use gpt_simd::{PANEL, Strided};

/// Offsets of the tables' gradients in a flat buffer. `positions` is the offset of a table
/// `[context, width]`, and `types` that of the row of type 0.
pub struct Tables {
    pub table: usize,
    pub positions: Option<usize>,
    pub types: Option<usize>,
    pub width: usize,
    /// The factor of the token embedding.
    pub scale: f32,
}

/// `d(table)[token] += scale * dx`, `d(positions)[t] += dx` and `d(types)[0] += dx`, for sequences
/// of `length` tokens. Each task handles some columns and takes all rows in order.
pub fn weight(
    device: &CpuDevice,
    tokens: &[u32],
    length: usize,
    dx: Strided<'_>,
    tables: &Tables,
    gradients: &mut [f32],
) {
    let out = Disjoint::new(gradients);
    let width = tables.width;
    device.pool.run(width.div_ceil(PANEL), &|task, _| {
        let columns = task * PANEL..((task + 1) * PANEL).min(width);
        for (row, &token) in tokens.iter().enumerate() {
            let start = tables.table + panel_element(token as usize, 0, width);
            let position = tables.positions.map(|p| p + row % length * width);
            for column in columns.clone() {
                let d = dx.data[row * dx.stride + column];
                // SAFETY: each task writes its own columns.
                unsafe {
                    out.part(start + column * PANEL, 1)[0] += tables.scale * d;
                    for added in position.into_iter().chain(tables.types) {
                        out.part(added + column, 1)[0] += d;
                    }
                }
            }
        }
    });
}
