//! Converts the inputs of a product to the form that the kernels multiply: integers for quantised
//! weights, and pairs of bf16 for bf16 weights if the instruction set multiplies pairs. Each row is
//! rounded once for all panels.

use super::gemm::GemmInput;
use crate::cpu::device::CpuDevice;
use crate::cpu::pool::Disjoint;
use gpt_simd::{BLOCK, Bf16Pair, Integers, IntegersMut, Rounding, Strided};

/// Memory for rows of rounded input, allocated once.
pub struct RoundedInputs {
    /// Integers `[rows][blocks][32]`, or pairs `[rows][width / 2]`.
    bits: Vec<u32>,
    /// `[rows][blocks]`, like `sums` and `starts`; only for integers (see [`Integers`]).
    scales: Vec<f32>,
    sums: Vec<f32>,
    starts: Vec<i32>,
    /// `[rows][blocks][2]`.
    halves: Vec<i32>,
}

impl RoundedInputs {
    /// Allocates memory for `rows` rows of `width` numbers.
    pub fn new(rows: usize, width: usize) -> RoundedInputs {
        let blocks = rows * width.div_ceil(BLOCK);
        RoundedInputs {
            // At most two bytes for each number.
            bits: vec![0; blocks * BLOCK / 2],
            scales: vec![0.0; blocks],
            sums: vec![0.0; blocks],
            starts: vec![0; blocks],
            halves: vec![0; 2 * blocks],
        }
    }

    /// Fills the memory with values that a trace detects if they are read.
    pub fn poison(&mut self) {
        self.bits.fill(0x8080_8080);
        self.scales.fill(f32::NAN);
        self.sums.fill(f32::NAN);
        self.starts.fill(i32::MIN);
        self.halves.fill(i32::MIN);
    }

    /// Rounds `x`, which has `rows` contiguous rows, for a product with `rounding`.
    pub fn round<'a>(
        &'a mut self,
        device: &CpuDevice,
        x: &'a [f32],
        rows: usize,
        rounding: Rounding,
    ) -> GemmInput<'a> {
        let width = x.len() / rows;
        match rounding {
            Rounding::None => GemmInput::Plain(Strided { data: x, stride: width }),
            Rounding::Bf16 => GemmInput::Pairs(self.pairs(device, x, rows, width)),
            Rounding::Integer8 | Rounding::Integer16 => {
                GemmInput::Integers(self.integers(device, x, rows, width))
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
        device.each_row(rows, |row| {
            // SAFETY: each task writes rows of its own.
            let out = unsafe { bits.part(row * stride, stride) };
            let row = Strided { data: &x[row * width..], stride: width };
            device.kernels.pair_columns(row, [1, width], bytemuck::cast_slice_mut(out));
        });
        Strided { data: bytemuck::cast_slice(&self.bits[..rows * stride]), stride }
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
        let (scales, sums) = (Disjoint::new(&mut self.scales), Disjoint::new(&mut self.sums));
        let (starts, halves) = (Disjoint::new(&mut self.starts), Disjoint::new(&mut self.halves));
        device.each_row(rows, |row| {
            // SAFETY: each task writes rows of its own.
            let out = unsafe {
                IntegersMut {
                    quants: bytemuck::cast_slice_mut(bits.part(row * row_words, row_words)),
                    scales: scales.part(row * blocks, blocks),
                    sums: sums.part(row * blocks, blocks),
                    starts: starts.part(row * blocks, blocks),
                    halves: halves.part(2 * row * blocks, 2 * blocks),
                }
            };
            device.kernels.quantise(&x[row * width..][..width], out);
        });
        Integers {
            quants: bytemuck::cast_slice(&self.bits[..rows * row_words]),
            scales: &self.scales[..rows * blocks],
            sums: &self.sums[..rows * blocks],
            starts: &self.starts[..rows * blocks],
            halves: &self.halves[..2 * rows * blocks],
            blocks,
        }
    }
}
