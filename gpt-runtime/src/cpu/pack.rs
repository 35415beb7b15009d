//! Matrices as the kernels read them.
//!
//! A matrix of the plan is `[rows, columns]`, an output feature a row. A kernel wants, for each input feature, the weights of
//! 32 outputs side by side: so rows are cut into panels of 32, and a panel is stored column by column. Panels follow
//! each other; a thread takes some of them and reads them from beginning to end, which is what memory likes best.
//!
//! Layout of a panel, `depth` being the number of columns and G the columns that stand side by side, because an instruction multiplies and adds
//! as many at once ([`Kernels::group`]):
//! - f32, f16, bf16: `[depth / G][32][G]`; G is 1, or 2 for bf16 where there are instructions for pairs
//! - q8: for each 32 columns `[32 x f16 scale][32 / G][32][G x i8]`, 1088 bytes; with 128 added where instructions want no sign
//! - q4: for each 32 columns `[32 x f16 scale][32 x f16 minimum][16 / G][32][G x u8]`, 640 bytes; byte `j` holds column
//!   `j` in its low and column `j + 16` in its high nibble
//!
//! A gated MLP's first matrix is packed with 16 gate rows and the 16 up rows they belong to in one panel, so that what is
//! multiplied comes out together. Missing rows at the end are zeros.

use gpt_plan::Format;

use super::device::CpuDevice;
use super::gemm::{Panels, Part, piece};
use super::memory::{Arena, Block};
use super::pool::Disjoint;
use super::simd::{Kernels, PANEL, Rounding};
use crate::Error;
use crate::weights::HostTensor;

/// A packed matrix.
pub struct Packed {
    pub format: Format,
    /// Outputs, without padding.
    pub rows: usize,
    /// Inputs.
    pub depth: usize,
    /// Columns side by side.
    group: usize,
    /// What was added to weights of 8 bits.
    shift: u8,
    order: Order,
    data: Block,
}

/// Which rows a panel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// 32 in a row.
    Straight,
    /// 16 of the first half of the matrix, and the same 16 of the second.
    Gated,
}

impl Packed {
    /// Packs `tensor` on all threads, into memory of `arena`.
    pub fn new(
        device: &CpuDevice,
        arena: &Arena,
        tensor: &HostTensor<'_>,
        order: Order,
    ) -> Result<Packed, Error> {
        let HostTensor {
            format,
            rows,
            columns,
            ..
        } = *tensor;
        let panels = match order {
            Order::Straight => rows.div_ceil(PANEL),
            Order::Gated => (rows / 2).div_ceil(PANEL / 2),
        };
        let group = device.kernels.group(format);
        let shift = device.kernels.shift() as u8;
        let panel_bytes = panel_bytes(format, columns, group);
        let row_bytes = format.row_bytes(columns);
        let data = arena.block(panels * panel_bytes, |data| {
            let shared = Disjoint::new(data);
            device.pool.run(panels, &|panel, _| {
                // SAFETY: each task writes the panel of its own number.
                let out = unsafe { shared.part(panel * panel_bytes, panel_bytes) };
                for lane in 0..PANEL {
                    if let Some(row) = row_of(order, rows, panel, lane) {
                        let row = &tensor.data[row * row_bytes..][..row_bytes];
                        scatter(format, [group, lane], shift, row, out);
                    }
                }
            });
        })?;
        Ok(Packed {
            format,
            rows,
            depth: columns,
            group,
            shift,
            order,
            data,
        })
    }

    /// Number of panels.
    pub fn panels(&self) -> usize {
        match self.order {
            Order::Straight => self.rows.div_ceil(PANEL),
            Order::Gated => (self.rows / 2).div_ceil(PANEL / 2),
        }
    }

    /// The panel `index` in its format.
    pub fn panel(&self, index: usize) -> &[u8] {
        let bytes = panel_bytes(self.format, self.depth, self.group);
        &self.data[index * bytes..][..bytes]
    }

    /// The part of a panel that covers the columns `from..to`; both whole blocks, but for the end of the matrix.
    pub fn panel_part(&self, index: usize, from: usize, to: usize) -> &[u8] {
        let bytes = |columns| panel_bytes(self.format, columns, self.group);
        &self.panel(index)[bytes(from)..bytes(to)]
    }

    /// Row `row` as f32, for the look-up of an embedding.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(self.order == Order::Straight && row < self.rows && out.len() == self.depth);
        let (panel, lane) = (self.panel(row / PANEL), row % PANEL);
        let half = |at: usize| half::f16::from_le_bytes([panel[at], panel[at + 1]]).to_f32();
        let stands = |k: usize| stands(k, lane, self.group);
        for (k, x) in out.iter_mut().enumerate() {
            let block = k / 32 * self.format.block_bytes() * PANEL;
            *x = match self.format {
                Format::F32 => {
                    let at = stands(k) * 4;
                    f32::from_le_bytes([panel[at], panel[at + 1], panel[at + 2], panel[at + 3]])
                }
                Format::F16 => half(stands(k) * 2),
                Format::Bf16 => {
                    let at = stands(k) * 2;
                    half::bf16::from_le_bytes([panel[at], panel[at + 1]]).to_f32()
                }
                Format::Q8 => {
                    let byte = panel[block + 2 * PANEL + stands(k % 32)];
                    half(block + 2 * lane) * f32::from(byte.wrapping_sub(self.shift) as i8)
                }
                Format::Q4 => {
                    let byte = panel[block + 4 * PANEL + stands(k % 16)];
                    let quant = (byte >> (k % 32 / 16 * 4)) & 15;
                    half(block + 2 * lane) * f32::from(quant) + half(block + 2 * PANEL + 2 * lane)
                }
            };
        }
    }
}

impl Panels for Packed {
    fn count(&self) -> usize {
        self.panels()
    }

    fn depth(&self) -> usize {
        self.depth
    }

    fn rounding(&self, kernels: &Kernels) -> Rounding {
        kernels.isa.rounding(self.format)
    }

    fn part<'a>(
        &'a self,
        kernels: &Kernels,
        panel: usize,
        from: usize,
        to: usize,
        room: &'a mut [f32],
    ) -> Part<'a> {
        let stored = self.panel_part(panel, from, to);
        match (self.format, self.rounding(kernels)) {
            (Format::F32, _) => Part::Plain(bytemuck::cast_slice(stored)),
            (_, Rounding::Bf16) => Part::Pairs(bytemuck::cast_slice(stored)),
            (_, Rounding::None) => {
                kernels.unpack(self.format, to - from, stored, room);
                Part::Plain(room)
            }
            (format, Rounding::Integer8 | Rounding::Integer16) => {
                let room = bytemuck::cast_slice_mut(room);
                Part::Integers(format, stored, kernels.widen(format, stored, room))
            }
        }
    }

    fn piece(&self, panel: usize, from: usize, to: usize, which: [usize; 2]) -> &[u8] {
        piece(self.panel_part(panel, from, to), which)
    }
}

fn panel_bytes(format: Format, columns: usize, group: usize) -> usize {
    format.row_bytes(columns.next_multiple_of(group)) * PANEL
}

/// The matrix's row in `lane` of `panel`; none where the panel reaches beyond the matrix.
pub fn row_of(order: Order, rows: usize, panel: usize, lane: usize) -> Option<usize> {
    match order {
        Order::Straight => Some(panel * PANEL + lane).filter(|&row| row < rows),
        Order::Gated => {
            let (half, within) = (lane / (PANEL / 2), lane % (PANEL / 2));
            let hidden = rows / 2;
            let row = panel * (PANEL / 2) + within;
            (row < hidden).then_some(half * hidden + row)
        }
    }
}

/// Where element `k` of the output in `lane` stands, `group` side by side.
fn stands(k: usize, lane: usize, group: usize) -> usize {
    (k / group * PANEL + lane) * group + k % group
}

/// Puts one row, as the host stores it, into lane `lane` of a panel.
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
                    let at = scales * 2 * PANEL + stands(j, lane, group);
                    out[at] = quants.wrapping_add(shift);
                }
            }
            return;
        }
    };
    for (k, value) in row.chunks_exact(size).enumerate() {
        panel[stands(k, lane, group) * size..][..size].copy_from_slice(value);
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

    #[test]
    fn a_gated_panel_holds_gates_and_what_they_gate() {
        assert_eq!(row_of(Order::Gated, 40, 0, 3), Some(3));
        assert_eq!(row_of(Order::Gated, 40, 0, 19), Some(23));
        assert_eq!(row_of(Order::Gated, 40, 1, 4), None);
        assert_eq!(row_of(Order::Gated, 40, 1, 16), Some(36));
    }
}
