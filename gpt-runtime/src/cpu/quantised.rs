//! Rows times a quantised matrix: the input is rounded to integers once, and products are those of integers.
//!
//! One row reads the matrix from beginning to end, as it is stored. Many rows go through part of a panel, which is made ready for them first,
//! while it stays in the first-level cache; their outputs come in the same tiles as those of [`multiply`](super::multiply).

use super::device::CpuDevice;
use super::multiply::{Finish, each_tile};
use super::pack::Packed;
use super::pool::Disjoint;
use super::simd::{BLOCK, Integers, IntegersMut, Kernels, PANEL};

/// Blocks of depth that all rows go through before the next ones: 16 KiB of widened weights.
const NEAR: usize = 8;
/// Rows of a task that rounds inputs.
const ROWS: usize = 8;

/// Rows of input as integers, in memory that is made once.
pub struct Rounded {
    /// `[rows][blocks][32]`, of as many bytes as the instruction set has it.
    quants: Vec<u8>,
    /// `[rows][blocks]`.
    scales: Vec<f32>,
    sums: Vec<f32>,
    starts: Vec<i32>,
}

impl Rounded {
    /// Room for `rows` rows of `width`.
    pub fn new(kernels: &Kernels, rows: usize, width: usize) -> Rounded {
        let blocks = rows * width.div_ceil(BLOCK);
        Rounded {
            quants: vec![0; blocks * BLOCK * kernels.quant_bytes()],
            scales: vec![0.0; blocks],
            sums: vec![0.0; blocks],
            starts: vec![0; blocks],
        }
    }

    /// What a trace must not find.
    pub fn poison(&mut self) {
        self.quants.fill(0x80);
        self.scales.fill(f32::NAN);
        self.sums.fill(f32::NAN);
        self.starts.fill(i32::MIN);
    }

    /// Rounds `rows` rows, which follow each other in `x`.
    fn round(&mut self, device: &CpuDevice, x: &[f32], rows: usize) -> Integers<'_> {
        let width = x.len() / rows;
        let blocks = width.div_ceil(BLOCK);
        let row_bytes = blocks * BLOCK * device.kernels.quant_bytes();
        let quants = Disjoint::new(&mut self.quants);
        let (scales, sums) = (
            Disjoint::new(&mut self.scales),
            Disjoint::new(&mut self.sums),
        );
        let starts = Disjoint::new(&mut self.starts);
        device.pool.run(rows.div_ceil(ROWS), &|task, _| {
            for row in task * ROWS..((task + 1) * ROWS).min(rows) {
                // SAFETY: each task writes rows of its own.
                let out = unsafe {
                    IntegersMut {
                        quants: quants.part(row * row_bytes, row_bytes),
                        scales: scales.part(row * blocks, blocks),
                        sums: sums.part(row * blocks, blocks),
                        starts: starts.part(row * blocks, blocks),
                    }
                };
                device.kernels.quantise(&x[row * width..][..width], out);
            }
        });
        Integers {
            quants: &self.quants[..rows * row_bytes],
            scales: &self.scales[..rows * blocks],
            sums: &self.sums[..rows * blocks],
            starts: &self.starts[..rows * blocks],
            blocks,
        }
    }
}

/// `finish` gets `weight · x` for each of `rows` rows, tile by tile, from many threads.
pub fn multiply_quantised(
    device: &CpuDevice,
    rounded: &mut Rounded,
    x: &[f32],
    rows: usize,
    weight: &Packed,
    finish: Finish<'_>,
) {
    debug_assert_eq!(x.len(), rows * weight.depth);
    let input = rounded.round(device, x, rows);
    if rows == 1 {
        one_row(device, &input, weight, finish)
    } else {
        many_rows(device, &input, rows, weight, finish)
    }
}

fn one_row(device: &CpuDevice, input: &Integers<'_>, weight: &Packed, finish: Finish<'_>) {
    weight.share_out(device, &|panel| {
        let mut outputs = [[0.0; PANEL]];
        device
            .kernels
            .integer_row(weight.format, input, weight.panel(panel), &mut outputs[0]);
        finish(0, panel, &mut outputs);
    });
}

fn many_rows(
    device: &CpuDevice,
    input: &Integers<'_>,
    rows: usize,
    weight: &Packed,
    finish: Finish<'_>,
) {
    let (blocks, kernels) = (input.blocks, device.kernels);
    each_tile(device, weight.panels(), rows, &|panel, rows, desk| {
        let (tile, room) = desk.tile_and_room();
        let wide = bytemuck::cast_slice_mut(room);
        for start in (0..blocks).step_by(NEAR) {
            let end = (start + NEAR).min(blocks);
            let part = weight.panel_part(panel, start * BLOCK, end * BLOCK);
            let input = input.part(rows.start, start);
            kernels.widen(weight.format, part, wide);
            let add = start > 0;
            kernels.integer_product(weight.format, rows.len(), input, part, wide, tile, add);
        }
        let tile = &mut tile.as_chunks_mut::<PANEL>().0[..rows.len()];
        finish(rows.start, panel, tile);
    });
}
