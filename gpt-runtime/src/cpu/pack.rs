//! Matrices as the kernels read them.
//!
//! A matrix of the plan is `[rows, columns]`, an output feature a row. A kernel wants, for each input feature, the weights of
//! 32 outputs side by side: so rows are cut into panels of 32, and a panel is stored column by column. Panels follow
//! each other; a thread takes some of them and reads them from beginning to end, which is what memory likes best.
//!
//! Layout of a panel, `depth` being the number of columns:
//! - f32, f16, bf16: `[depth][32]`
//! - q8: for each 32 columns `[32 x f16 scale][16][32][2 x i8]`, 1088 bytes: pairs of columns side by side, as integer instructions take them
//! - q4: for each 32 columns `[32 x f16 scale][32 x f16 minimum][8][32][2 x u8]`, 640 bytes: bytes in pairs likewise; byte `j` holds column
//!   `j` in its low and column `j + 16` in its high nibble
//!
//! A gated MLP's first matrix is packed with 16 gate rows and the 16 up rows they belong to in one panel, so that what is
//! multiplied comes out together. Missing rows at the end are zeros.

use gpt_plan::Format;

use super::device::CpuDevice;
use super::memory::{Arena, Block};
use super::multiply::Panels;
use super::pool::{Disjoint, Pool};
use super::simd::{Kernels, PANEL};
use crate::Error;
use crate::weights::HostTensor;

/// A packed matrix.
pub struct Packed {
    pub format: Format,
    /// Outputs, without padding.
    pub rows: usize,
    /// Inputs.
    pub depth: usize,
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
        pool: &Pool,
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
        let panel_bytes = panel_bytes(format, columns);
        let row_bytes = format.row_bytes(columns);
        let data = arena.block(panels * panel_bytes, |data| {
            let shared = Disjoint::new(data);
            pool.run(panels, &|panel, _| {
                // SAFETY: each task writes the panel of its own number.
                let out = unsafe { shared.part(panel * panel_bytes, panel_bytes) };
                for lane in 0..PANEL {
                    if let Some(row) = row_of(order, rows, panel, lane) {
                        let row = &tensor.data[row * row_bytes..][..row_bytes];
                        scatter(format, row, lane, out);
                    }
                }
            });
        })?;
        Ok(Packed {
            format,
            rows,
            depth: columns,
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
        let bytes = panel_bytes(self.format, self.depth);
        &self.data[index * bytes..][..bytes]
    }

    /// The part of a panel that covers the columns `from..to`; both whole blocks, but for the end of the matrix.
    pub fn panel_part(&self, index: usize, from: usize, to: usize) -> &[u8] {
        let panel = self.panel(index);
        let (from, to) = (self.format.row_bytes(from), self.format.row_bytes(to));
        &panel[from * PANEL..to * PANEL]
    }

    /// Calls `work` for each panel, on all threads: in tasks of a few hundred KB, long enough to be worth taking, short enough to share out evenly.
    pub fn share_out(&self, device: &CpuDevice, work: &(dyn Fn(usize) + Sync)) {
        let panels = self.panels();
        let group = (panels / (device.pool.threads() * 8)).clamp(1, 16);
        device.pool.run(panels.div_ceil(group), &|task, _| {
            (task * group..((task + 1) * group).min(panels)).for_each(work)
        });
    }

    /// Row `row` as f32, for the look-up of an embedding.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(self.order == Order::Straight && row < self.rows && out.len() == self.depth);
        let (panel, lane) = (self.panel(row / PANEL), row % PANEL);
        let half = |at: usize| half::f16::from_le_bytes([panel[at], panel[at + 1]]).to_f32();
        for (k, x) in out.iter_mut().enumerate() {
            let block = k / 32 * self.format.block_bytes() * PANEL;
            *x = match self.format {
                Format::F32 => {
                    let at = (k * PANEL + lane) * 4;
                    f32::from_le_bytes([panel[at], panel[at + 1], panel[at + 2], panel[at + 3]])
                }
                Format::F16 => half((k * PANEL + lane) * 2),
                Format::Bf16 => {
                    let at = (k * PANEL + lane) * 2;
                    half::bf16::from_le_bytes([panel[at], panel[at + 1]]).to_f32()
                }
                Format::Q8 => {
                    let quant = panel[block + 2 * PANEL + paired(k % 32, lane)] as i8;
                    half(block + 2 * lane) * f32::from(quant)
                }
                Format::Q4 => {
                    let byte = panel[block + 4 * PANEL + paired(k % 16, lane)];
                    let quant = (byte >> (k % 32 / 16 * 4)) & 15;
                    half(block + 2 * lane) * f32::from(quant) + half(block + 2 * PANEL + 2 * lane)
                }
            };
        }
    }
}

/// Of matrices that are not quantised.
impl Panels for Packed {
    fn count(&self) -> usize {
        self.panels()
    }

    fn depth(&self) -> usize {
        self.depth
    }

    fn part<'a>(
        &'a self,
        kernels: &Kernels,
        panel: usize,
        from: usize,
        to: usize,
        room: &'a mut [f32],
    ) -> &'a [f32] {
        let stored = self.panel_part(panel, from, to);
        if self.format == Format::F32 {
            return bytemuck::cast_slice(stored);
        }
        kernels.unpack(self.format, to - from, stored, room);
        room
    }
}

fn panel_bytes(format: Format, columns: usize) -> usize {
    format.row_bytes(columns) * PANEL
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

/// Where byte `j` of a block stands for the output in `lane`.
fn paired(j: usize, lane: usize) -> usize {
    (j / 2 * PANEL + lane) * 2 + j % 2
}

/// Puts one row, as the host stores it, into lane `lane` of a panel.
fn scatter(format: Format, row: &[u8], lane: usize, panel: &mut [u8]) {
    let size = match format {
        Format::F32 => 4,
        Format::F16 | Format::Bf16 => 2,
        Format::Q8 | Format::Q4 => {
            let scales = if format == Format::Q8 { 1 } else { 2 };
            let blocks = row.chunks_exact(format.block_bytes());
            for (block, out) in blocks.zip(panel.chunks_exact_mut(format.block_bytes() * PANEL)) {
                for s in 0..scales {
                    out[s * 2 * PANEL + 2 * lane..][..2].copy_from_slice(&block[2 * s..][..2]);
                }
                for (j, &quants) in block[2 * scales..].iter().enumerate() {
                    out[scales * 2 * PANEL + paired(j, lane)] = quants;
                }
            }
            return;
        }
    };
    for (k, value) in row.chunks_exact(size).enumerate() {
        panel[(k * PANEL + lane) * size..][..size].copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::format::{decode, encode};

    #[test]
    fn a_packed_row_is_the_row() {
        let pool = Pool::new(2).unwrap();
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
                let packed =
                    Packed::new(&pool, &Arena::default(), &tensor, Order::Straight).unwrap();
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
