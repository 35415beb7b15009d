//! Inputs of a product, rounded to what a matrix is multiplied with: integers where it is quantised, pairs of bf16 where it is bf16 and the
//! processor has instructions for them. They are rounded once, whatever the number of panels that they meet.

use super::device::CpuDevice;
use super::gemm::Rows;
use super::pool::Disjoint;
use super::simd::{BLOCK, Bf16Pair, Integers, IntegersMut, Kernels, Rounding, Strided};

/// Rows of a task.
const ROWS: usize = 8;

/// Rows of rounded input, in memory that is made once.
pub struct Rounded {
    /// Integers `[rows][blocks][32]`, or pairs `[rows][width / 2]`.
    bits: Vec<u32>,
    /// `[rows][blocks]`, of integers, as the next two: see [`Integers`].
    scales: Vec<f32>,
    sums: Vec<f32>,
    starts: Vec<i32>,
}

impl Rounded {
    /// Room for `rows` rows of `width`.
    pub fn new(rows: usize, width: usize) -> Rounded {
        let blocks = rows * width.div_ceil(BLOCK);
        Rounded {
            // Two bytes for each number, which is the most.
            bits: vec![0; blocks * BLOCK / 2],
            scales: vec![0.0; blocks],
            sums: vec![0.0; blocks],
            starts: vec![0; blocks],
        }
    }

    /// What a trace must not find.
    pub fn poison(&mut self) {
        self.bits.fill(0x8080_8080);
        self.scales.fill(f32::NAN);
        self.sums.fill(f32::NAN);
        self.starts.fill(i32::MIN);
    }

    /// `rows` rows, which follow each other in `x`, as a product with `rounding` wants them.
    pub fn round<'a>(
        &'a mut self,
        device: &CpuDevice,
        x: &'a [f32],
        rows: usize,
        rounding: Rounding,
    ) -> Rows<'a> {
        let width = x.len() / rows;
        match rounding {
            Rounding::None => Rows::Plain(Strided {
                data: x,
                stride: width,
            }),
            Rounding::Bf16 => Rows::Pairs(self.pairs(device, x, rows, width)),
            Rounding::Integer8 | Rounding::Integer16 => {
                Rows::Integers(self.integers(device, x, rows, width))
            }
        }
    }

    fn pairs(
        &mut self,
        device: &CpuDevice,
        x: &[f32],
        rows: usize,
        width: usize,
    ) -> Strided<'_, Bf16Pair> {
        let stride = width.div_ceil(2);
        let bits = Disjoint::new(&mut self.bits);
        each_group(device, rows, &|kernels, row| {
            // SAFETY: each task writes rows of its own.
            let out = unsafe { bits.part(row * stride, stride) };
            let row = Strided {
                data: &x[row * width..],
                stride: width,
            };
            kernels.pair_columns(row, [1, width], bytemuck::cast_slice_mut(out));
        });
        Strided {
            data: bytemuck::cast_slice(&self.bits[..rows * stride]),
            stride,
        }
    }

    fn integers(
        &mut self,
        device: &CpuDevice,
        x: &[f32],
        rows: usize,
        width: usize,
    ) -> Integers<'_> {
        let blocks = width.div_ceil(BLOCK);
        let row_words = blocks * BLOCK * device.kernels.quant_bytes() / 4;
        let bits = Disjoint::new(&mut self.bits);
        let (scales, sums) = (
            Disjoint::new(&mut self.scales),
            Disjoint::new(&mut self.sums),
        );
        let starts = Disjoint::new(&mut self.starts);
        each_group(device, rows, &|kernels, row| {
            // SAFETY: each task writes rows of its own.
            let out = unsafe {
                IntegersMut {
                    quants: bytemuck::cast_slice_mut(bits.part(row * row_words, row_words)),
                    scales: scales.part(row * blocks, blocks),
                    sums: sums.part(row * blocks, blocks),
                    starts: starts.part(row * blocks, blocks),
                }
            };
            kernels.quantise(&x[row * width..][..width], out);
        });
        Integers {
            quants: bytemuck::cast_slice(&self.bits[..rows * row_words]),
            scales: &self.scales[..rows * blocks],
            sums: &self.sums[..rows * blocks],
            starts: &self.starts[..rows * blocks],
            blocks,
        }
    }
}

/// Calls `work` for each row, on all threads, some rows a task.
fn each_group(device: &CpuDevice, rows: usize, work: &(dyn Fn(&Kernels, usize) + Sync)) {
    device.pool.run(rows.div_ceil(ROWS), &|task, _| {
        for row in task * ROWS..((task + 1) * ROWS).min(rows) {
            work(device.kernels, row);
        }
    });
}
