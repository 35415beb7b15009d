//! Weights of inference, packed in their storage format.
//!
//! Layout of a panel, where `depth` is the number of columns and G the columns that one instruction
//! multiplies and adds at once ([`Kernels::group`]):
//! - f32, f16, bf16: `[depth / G][32][G]`; G is 1, or 2 for bf16 where the instruction set
//!   multiplies pairs
//! - q8: for each 32 columns `[32 x f16 scale][32 / G][32][G x i8]`, 1088 bytes; with 128 added
//!   where instructions take unsigned weights
//! - q4: for each 32 columns `[32 x f16 scale][32 x f16 minimum][16 / G][32][G x u8]`, 640 bytes;
//!   byte `j` holds column `j` in its low and column `j + 16` in its high nibble

use gpt_plan::Format;

use super::{Lookup, Order, PanelLayout, PanelSlice, Panels, element, part_of};
use crate::Error;
use crate::cpu::device::CpuDevice;
use crate::cpu::memory::{Arena, Region};
use crate::cpu::pool::Disjoint;
use crate::cpu::simd::{Kernels, PANEL, Rounding};
use crate::weights::HostTensor;

/// A packed matrix.
pub struct Packed {
    pub format: Format,
    pub layout: PanelLayout,
    /// The number of interleaved columns.
    group: usize,
    /// The offset that was added to weights of 8 bits.
    shift: u8,
    data: Region,
}

impl Packed {
    /// Packs `tensor` on all threads, into memory of `arena`.
    ///
    /// # Errors
    /// The system has no memory for it.
    pub fn new(
        device: &CpuDevice,
        arena: &Arena,
        tensor: &HostTensor<'_>,
        order: Order,
    ) -> Result<Packed, Error> {
        let format = tensor.format;
        let layout = PanelLayout {
            rows: tensor.rows,
            columns: tensor.columns,
            order,
        };
        let group = device.kernels.group(format);
        let shift = device.kernels.shift() as u8;
        let panel_bytes = panel_bytes(format, layout.columns, group);
        let row_bytes = format.row_bytes(layout.columns);
        let data = arena.region(layout.panels() * panel_bytes, |data| {
            let shared = Disjoint::new(data);
            device.pool.run(layout.panels(), &|panel, _| {
                // SAFETY: each task writes the panel of its own number.
                let out = unsafe { shared.part(panel * panel_bytes, panel_bytes) };
                for (lane, row) in layout.rows_of(panel) {
                    let row = &tensor.data[row * row_bytes..][..row_bytes];
                    scatter(format, [group, lane], shift, row, out);
                }
            });
        })?;
        Ok(Packed {
            format,
            layout,
            group,
            shift,
            data,
        })
    }

    /// The panel `index` in its storage format.
    pub fn panel(&self, index: usize) -> &[u8] {
        let bytes = panel_bytes(self.format, self.layout.columns, self.group);
        &self.data[index * bytes..][..bytes]
    }

    /// The columns `from..to` of a panel. Both are multiples of a block, except at the end of the
    /// matrix.
    fn columns(&self, panel: usize, from: usize, to: usize) -> &[u8] {
        let bytes = |columns| panel_bytes(self.format, columns, self.group);
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
        let half = |at: usize| half::f16::from_le_bytes([panel[at], panel[at + 1]]).to_f32();
        let element = |k: usize| element(k, lane, self.group);
        for (k, x) in out.iter_mut().enumerate() {
            let block = k / 32 * self.format.block_bytes() * PANEL;
            *x = match self.format {
                Format::F32 => {
                    let at = element(k) * 4;
                    f32::from_le_bytes([panel[at], panel[at + 1], panel[at + 2], panel[at + 3]])
                }
                Format::F16 => half(element(k) * 2),
                Format::Bf16 => {
                    let at = element(k) * 2;
                    half::bf16::from_le_bytes([panel[at], panel[at + 1]]).to_f32()
                }
                Format::Q8 => {
                    let byte = panel[block + 2 * PANEL + element(k % 32)];
                    half(block + 2 * lane) * f32::from(byte.wrapping_sub(self.shift) as i8)
                }
                Format::Q4 => {
                    let byte = panel[block + 4 * PANEL + element(k % 16)];
                    let quant = (byte >> (k % 32 / 16 * 4)) & 15;
                    half(block + 2 * lane) * f32::from(quant) + half(block + 2 * PANEL + 2 * lane)
                }
            };
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

/// Copies one row in the host's format to lane `lane` of a panel.
fn scatter(format: Format, [group, lane]: [usize; 2], shift: u8, row: &[u8], panel: &mut [u8]) {
    let size = match format {
        Format::F32 => 4,
        Format::F16 | Format::Bf16 => 2,
        Format::Q8 | Format::Q4 => {
            let (scales, shift) = match format {
                Format::Q8 => (1, shift),
                _ => (2, 0),
            };
            let blocks = row.chunks_exact(format.block_bytes());
            for (block, out) in blocks.zip(panel.chunks_exact_mut(format.block_bytes() * PANEL)) {
                for s in 0..scales {
                    out[s * 2 * PANEL + 2 * lane..][..2].copy_from_slice(&block[2 * s..][..2]);
                }
                for (j, &quants) in block[2 * scales..].iter().enumerate() {
                    let at = scales * 2 * PANEL + element(j, lane, group);
                    out[at] = quants.wrapping_add(shift);
                }
            }
            return;
        }
    };
    for (k, value) in row.chunks_exact(size).enumerate() {
        panel[element(k, lane, group) * size..][..size].copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::Isa;
    use crate::weights::format::{decode, encode};

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
                let tensor = HostTensor {
                    format,
                    rows,
                    columns,
                    data: data.into(),
                };
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
