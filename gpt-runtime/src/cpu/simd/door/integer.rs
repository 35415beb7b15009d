//! The doors to products of integers.

use gpt_plan::Format;

use crate::cpu::simd::Kernels;
use crate::cpu::simd::integer::{BLOCK, Product, WIDE_BLOCK};
use crate::cpu::simd::vector::PANEL;

/// Rows of integers, as [`Kernels::quantise`] makes them: `[rows][blocks][32]` quants, and for each block a scale and the sum of the rounded numbers.
#[derive(Clone, Copy)]
pub struct Integers<'a> {
    pub quants: &'a [i16],
    pub scales: &'a [f32],
    pub sums: &'a [f32],
    /// Blocks of a row.
    pub blocks: usize,
}

impl<'a> Integers<'a> {
    /// The rows from `row` on, read from block `block` on.
    pub fn part(&self, row: usize, block: usize) -> Integers<'a> {
        let first = row * self.blocks + block;
        Integers {
            quants: &self.quants[first * BLOCK..],
            scales: &self.scales[first..],
            sums: &self.sums[first..],
            blocks: self.blocks,
        }
    }
}

/// Blocks of a quantised panel or of a part of one.
fn blocks_of(format: Format, panel: &[u8]) -> usize {
    assert!(format.block() == BLOCK, "{format:?} is not quantised");
    let bytes = format.block_bytes() * PANEL;
    assert!(panel.len().is_multiple_of(bytes), "a panel of whole blocks");
    panel.len() / bytes
}

impl Kernels {
    /// Rounds a row to 16-bit integers in blocks of 32: `x ≈ scales[block] * quants`; `sums` are those of each block of what it was rounded
    /// to. Both, and `quants`, are in whole blocks.
    pub fn quantise(&self, x: &[f32], quants: &mut [i16], scales: &mut [f32], sums: &mut [f32]) {
        let blocks = x.len().div_ceil(BLOCK);
        assert!(
            quants.len() == blocks * BLOCK && scales.len() == blocks && sums.len() == blocks,
            "room for a rounded row"
        );
        // SAFETY: the kernel indexes its slices block by block.
        unsafe { (self.quantise)(x, quants, scales, sums) }
    }

    /// `output = input · panel`: the first row of the input, a whole quantised panel.
    pub fn integer_row(
        &self,
        format: Format,
        input: &Integers<'_>,
        panel: &[u8],
        output: &mut [f32; PANEL],
    ) {
        let blocks = blocks_of(format, panel);
        assert!(
            blocks == input.blocks
                && input.quants.len() >= blocks * BLOCK
                && input.scales.len() >= blocks
                && input.sums.len() >= blocks,
            "a row of integers"
        );
        let row = match format {
            Format::Q8 => self.row_q8,
            _ => self.row_q4,
        };
        let (scales, sums) = (input.scales.as_ptr(), input.sums.as_ptr());
        let (panel, output) = (panel.as_ptr(), output.as_mut_ptr());
        // SAFETY: row and panel have as many blocks.
        unsafe { row(input.quants.as_ptr(), scales, sums, blocks, panel, output) }
    }

    /// The quants of a part of a panel in 16 bits, as [`integer_product`](Self::integer_product) wants them.
    pub fn widen(&self, format: Format, panel: &[u8], output: &mut [i16]) {
        let blocks = blocks_of(format, panel);
        assert!(
            output.len() >= blocks * WIDE_BLOCK,
            "room for a widened panel"
        );
        let widen = match format {
            Format::Q8 => self.widen_q8,
            _ => self.widen_q4,
        };
        // SAFETY: both have as many blocks.
        unsafe { widen(panel.as_ptr(), blocks, output.as_mut_ptr()) }
    }

    /// `output (+)= input · panel` for `rows` rows and the blocks of a part of a panel, which the input's rows begin with; `wide` is what
    /// [`widen`](Self::widen) made of that part, `output` is `[rows][32]`.
    #[allow(clippy::too_many_arguments)]
    pub fn integer_product(
        &self,
        format: Format,
        rows: usize,
        input: Integers<'_>,
        panel: &[u8],
        wide: &[i16],
        output: &mut [f32],
        add: bool,
    ) {
        let blocks = blocks_of(format, panel);
        if rows == 0 {
            return;
        }
        let last = (rows - 1) * input.blocks + blocks;
        assert!(
            input.quants.len() >= last * BLOCK
                && input.scales.len() >= last
                && input.sums.len() >= last,
            "rows of integers"
        );
        assert!(wide.len() >= blocks * WIDE_BLOCK, "a widened panel");
        assert!(output.len() >= rows * PANEL, "room for a tile");
        let product = Product {
            rows,
            blocks,
            quants: input.quants.as_ptr(),
            scales: input.scales.as_ptr(),
            sums: input.sums.as_ptr(),
            stride: input.blocks,
            wide: wide.as_ptr(),
            panel: panel.as_ptr(),
            block_bytes: format.block_bytes() * PANEL,
            minima: format == Format::Q4,
            output: output.as_mut_ptr(),
            add,
        };
        // SAFETY: the last element of each operand was checked to lie in its slice.
        unsafe { (self.integer_product)(&product) }
    }
}
