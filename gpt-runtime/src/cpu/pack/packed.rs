//! Matrices for inference, packed in their storage format.
//!
//! A panel has this layout. `depth` is the number of columns, and G the number of columns that one
//! instruction multiplies and adds ([`Kernels::group`]).
//! - f32, f16, bf16: `[depth / G][32][G]`. G is 1, or 2 for bf16 if the instruction set multiplies
//!   pairs of bf16.
//! - Quantised formats: a block for every 32 columns. It has the f16 scales of the 32 outputs, 32
//!   f16 minima if the format has them, and `[bytes / G][32][G]` bytes of quants. Their order and
//!   the number added to them depend on the instruction set ([`Kernels::arrange`],
//!   [`Kernels::shift`]).

use gpt_plan::Format;

use super::{Lookup, Order, PanelLayout, PanelSlice, Panels, element, part_of};
use crate::Error;
use crate::cpu::device::CpuDevice;
use crate::cpu::memory::{Arena, Region};
use crate::cpu::pool::Disjoint;
use crate::weights::HostTensor;
use crate::weights::format::decode;
use gpt_simd::{BLOCK, Kernels, PANEL, Rounding};

/// A packed matrix.
pub struct Packed {
    pub format: Format,
    pub layout: PanelLayout,
    kernels: &'static Kernels,
    /// Bytes of a panel. A token's products ask for it once for each panel, which takes one
    /// microsecond.
    panel_bytes: usize,
    data: Region,
}

impl Packed {
    /// Packs `tensor` on all threads, into memory of `arena`.
    ///
    /// # Errors
    /// The system has too little memory.
    pub fn new(
        device: &CpuDevice,
        arena: &Arena,
        tensor: &HostTensor<'_>,
        order: Order,
    ) -> Result<Packed, Error> {
        let format = tensor.format;
        let layout = PanelLayout { rows: tensor.rows, columns: tensor.columns, order };
        let kernels = device.kernels;
        let panel_bytes = panel_bytes(format, layout.columns, kernels.group(format));
        let row_bytes = format.row_bytes(layout.columns);
        let data = arena.region(layout.panels() * panel_bytes, |data| {
            let shared = Disjoint::new(data);
            device.pool.run(layout.panels(), &|panel, _| {
                // SAFETY: each task writes only the panel `panel`.
                let out = unsafe { shared.part(panel * panel_bytes, panel_bytes) };
                for (lane, row) in layout.rows_of(panel) {
                    let row = &tensor.data[row * row_bytes..][..row_bytes];
                    scatter(kernels, format, lane, row, out);
                }
            });
        })?;
        Ok(Packed { format, layout, kernels, panel_bytes, data })
    }

    /// The panel `index` in its storage format.
    pub fn panel(&self, index: usize) -> &[u8] {
        &self.data[index * self.panel_bytes..][..self.panel_bytes]
    }

    /// The columns `from..to` of a panel. Both are multiples of a block, except at the end of the
    /// matrix.
    fn columns(&self, panel: usize, from: usize, to: usize) -> &[u8] {
        let group = self.kernels.group(self.format);
        let bytes = |columns| panel_bytes(self.format, columns, group);
        &self.panel(panel)[bytes(from)..bytes(to)]
    }
}

impl Lookup for Packed {
    fn row(&self, row: usize, out: &mut [f32]) {
        let layout = &self.layout;
        assert!(
            layout.order == Order::Straight && row < layout.rows && out.len() == layout.columns
        );
        let (panel, lane) = (self.panel(row / PANEL), row % PANEL);
        let mut stored = [0; 4 * BLOCK];
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let stored = &mut stored[..self.format.row_bytes(out.len())];
            gather(self.kernels, self.format, lane, panel, block, stored);
            decode(self.format, stored, out);
        }
    }
}

impl Panels for Packed {
    fn count(&self) -> usize {
        self.layout.panels()
    }

    fn depth(&self) -> usize {
        self.layout.columns
    }

    fn rounding(&self, kernels: &Kernels) -> Rounding {
        kernels.isa.rounding(self.format)
    }

    fn slice<'a>(
        &'a self,
        kernels: &Kernels,
        panel: usize,
        from: usize,
        to: usize,
        scratch: &'a mut [f32],
    ) -> PanelSlice<'a> {
        let stored = self.columns(panel, from, to);
        match (self.format, self.rounding(kernels)) {
            (Format::F32, _) => PanelSlice::Plain(bytemuck::cast_slice(stored)),
            (_, Rounding::Bf16) => PanelSlice::Pairs(bytemuck::cast_slice(stored)),
            (_, Rounding::None) => {
                kernels.unpack(self.format, to - from, stored, scratch);
                PanelSlice::Plain(scratch)
            }
            (format, Rounding::Integer8 | Rounding::Integer16) => {
                let scratch = bytemuck::cast_slice_mut(scratch);
                PanelSlice::Integers(format, stored, kernels.widen(format, stored, scratch))
            }
        }
    }

    fn stored(&self, panel: usize, from: usize, to: usize, part: [usize; 2]) -> &[u8] {
        part_of(self.columns(panel, from, to), part)
    }
}

fn panel_bytes(format: Format, columns: usize, group: usize) -> usize {
    format.row_bytes(columns.next_multiple_of(group)) * PANEL
}

/// Copies one row in the host's layout to lane `lane` of a panel.
fn scatter(kernels: &Kernels, format: Format, lane: usize, row: &[u8], panel: &mut [u8]) {
    let (group, bytes) = (kernels.group(format), format.block_bytes());
    if !format.is_quantised() {
        for (k, value) in row.chunks_exact(bytes).enumerate() {
            panel[element(k, lane, group) * bytes..][..bytes].copy_from_slice(value);
        }
        return;
    }
    let (opening, shift) = (2 * format.scales(), kernels.shift(format));
    let mut arranged = [0; BLOCK];
    let arranged = &mut arranged[..bytes - opening];
    for (block, out) in row.chunks_exact(bytes).zip(panel.chunks_exact_mut(bytes * PANEL)) {
        let (scales, quants) = block.split_at(opening);
        for (s, scale) in scales.chunks_exact(2).enumerate() {
            out[2 * (s * PANEL + lane)..][..2].copy_from_slice(scale);
        }
        arranged.copy_from_slice(quants);
        kernels.arrange(format, arranged);
        for (j, byte) in arranged.iter().enumerate() {
            out[opening * PANEL + element(j, lane, group)] = byte.wrapping_add(shift);
        }
    }
}

/// The inverse of [`scatter`] for the columns from `32 * block` on: 32 of them, or fewer if `row`
/// is shorter.
fn gather(
    kernels: &Kernels,
    format: Format,
    lane: usize,
    panel: &[u8],
    block: usize,
    row: &mut [u8],
) {
    let (group, bytes) = (kernels.group(format), format.block_bytes());
    if !format.is_quantised() {
        for (k, value) in (block * BLOCK..).zip(row.chunks_exact_mut(bytes)) {
            value.copy_from_slice(&panel[element(k, lane, group) * bytes..][..bytes]);
        }
        return;
    }
    let (opening, shift) = (2 * format.scales(), kernels.shift(format));
    let panel = &panel[block * bytes * PANEL..][..bytes * PANEL];
    let (scales, quants) = row.split_at_mut(opening);
    for (s, scale) in scales.chunks_exact_mut(2).enumerate() {
        scale.copy_from_slice(&panel[2 * (s * PANEL + lane)..][..2]);
    }
    for (j, byte) in quants.iter_mut().enumerate() {
        *byte = panel[opening * PANEL + element(j, lane, group)].wrapping_sub(shift);
    }
    kernels.restore(format, quants);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::format::encode;
    use gpt_simd::Isa;

    #[test]
    fn a_packed_row_is_the_row() {
        for isa in Isa::available() {
            check(&CpuDevice::with_isa(isa, Some(2)).unwrap());
        }
    }

    fn check(device: &CpuDevice) {
        for format in Format::ALL {
            for (rows, columns) in [(1, 1), (33, 31), (64, 64), (70, 100)] {
                let mut data = Vec::new();
                for r in 0..rows {
                    let row: Vec<f32> = (0..columns).map(|c| ((r * 7 + c) as f32).sin()).collect();
                    encode(format, &row, &mut data);
                }
                let tensor = HostTensor { format, rows, columns, data: data.into() };
                let arena = Arena::default();
                let packed = Packed::new(device, &arena, &tensor, Order::Straight).unwrap();
                let bytes = format.row_bytes(columns);
                let (mut expected, mut found) = (vec![0.0; columns], vec![f32::NAN; columns]);
                for r in 0..rows {
                    decode(format, &tensor.data[r * bytes..][..bytes], &mut expected);
                    packed.row(r, &mut found);
                    assert_eq!(found, expected, "{format:?} row {r} of {rows}x{columns}");
                }
            }
        }
    }
}
