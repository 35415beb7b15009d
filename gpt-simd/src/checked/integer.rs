//! Products of integers.

use gpt_plan::Format;

use super::{extent, size};
use crate::integer::{BLOCK, IntegerProduct, QuantisedInputs, WIDE_BLOCK};
use crate::vector::PANEL;
use crate::{Kernels, QuantKernels};

/// Rows of integers, the output of [`Kernels::quantise`]: `[rows][blocks][32]` quants of
/// [`Kernels::quant_bytes`] bytes, and for each block a scale, the sum of the rounded numbers, the
/// initial sum of a product with shifted weights, and the sums of the quants of both halves.
#[derive(Clone, Copy)]
pub struct Integers<'a> {
    /// The quants, `[rows][blocks][32]`.
    pub quants: &'a [u8],
    /// The scale of each block: an input is about its quant times the scale.
    pub scales: &'a [f32],
    /// The sum of the rounded numbers of each block.
    pub sums: &'a [f32],
    /// The initial sum of a product of each block with shifted weights.
    pub starts: &'a [i32],
    /// The sums of the quants of both halves of each block.
    pub halves: &'a [i32],
    /// Blocks of a row.
    pub blocks: usize,
}

/// One row of [`Integers`], to be written.
pub struct IntegersMut<'a> {
    /// `[blocks][32]` quants.
    pub quants: &'a mut [u8],
    /// A scale for each block.
    pub scales: &'a mut [f32],
    /// A sum for each block.
    pub sums: &'a mut [f32],
    /// An initial sum for each block.
    pub starts: &'a mut [i32],
    /// Two sums for each block.
    pub halves: &'a mut [i32],
}

impl<'a> Integers<'a> {
    /// The rows that start at `row`, each of them without its first `block` blocks.
    pub fn from(&self, row: usize, block: usize) -> Integers<'a> {
        // The offset in blocks: all of the rows before `row`, and `block` of the row itself.
        let first = row
            .checked_mul(self.blocks)
            .and_then(|start| start.checked_add(block))
            .expect("the first block exceeds usize");
        let block_bytes = self.quants.len() / self.scales.len();
        Integers {
            quants: &self.quants[first * block_bytes..],
            scales: &self.scales[first..],
            sums: &self.sums[first..],
            starts: &self.starts[first..],
            halves: &self.halves[2 * first..],
            blocks: self.blocks,
        }
    }

    /// Checks that there are `blocks` blocks, and returns pointers to them.
    pub(crate) fn checked(&self, blocks: usize, quant_bytes: usize) -> QuantisedInputs {
        assert!(
            self.quants.len() >= size(blocks, BLOCK * quant_bytes)
                && self.scales.len() >= blocks
                && self.sums.len() >= blocks
                && self.starts.len() >= blocks
                && self.halves.len() >= size(blocks, 2),
            "rows of integers"
        );
        QuantisedInputs {
            quants: self.quants.as_ptr(),
            scales: self.scales.as_ptr(),
            sums: self.sums.as_ptr(),
            starts: self.starts.as_ptr(),
            halves: self.halves.as_ptr(),
            stride: self.blocks,
        }
    }
}

/// Blocks of a panel in the form that products of many rows read.
#[derive(Clone, Copy)]
pub struct Wide<'a> {
    data: &'a [u8],
    /// Bytes from the start of one block to the start of the next.
    stride: usize,
    /// Bytes of a block.
    block: usize,
}

impl<'a> Wide<'a> {
    /// The blocks that start at `block`.
    pub fn from(&self, block: usize) -> Wide<'a> {
        Wide { data: &self.data[size(block, self.stride)..], ..*self }
    }

    /// Checks that there are `blocks` blocks, and returns a pointer to them.
    pub(crate) fn checked(&self, blocks: usize) -> *const u8 {
        assert!(extent(blocks, self.block, self.stride) <= self.data.len(), "a widened panel");
        self.data.as_ptr()
    }

    pub(crate) fn stride(&self) -> usize {
        self.stride
    }
}

/// Checks that a quantised panel, or a part of one, consists of the whole blocks that `blocks`
/// sub-blocks take, and of no more.
fn check_panel(format: Format, blocks: usize, panel: &[u8]) {
    let whole = blocks.div_ceil(format.sub_blocks());
    assert_eq!(panel.len(), size(whole, format.packed_bytes() * PANEL), "a panel of whole blocks");
}

impl Kernels {
    /// Bytes of an input that was rounded to an integer.
    #[inline]
    pub fn quant_bytes(&self) -> usize {
        self.integers.quant_bytes
    }

    /// Bytes of `numbers` widened weights.
    #[inline]
    pub fn wide_bytes(&self, numbers: usize) -> usize {
        size(numbers, self.integers.wide_bytes)
    }

    /// The number that packing adds to the weights of `format`.
    #[inline]
    pub fn shift(&self, format: Format) -> u8 {
        match self.quants(format).shifted {
            true => self.integers.shift as u8,
            false => 0,
        }
    }

    /// Reorders the quants of one sub-block of `format` from the packed order to a panel's order.
    #[inline]
    pub fn arrange(&self, format: Format, quants: &mut [u8]) {
        (self.quants(format).arrange)(quants, self.integers.group);
    }

    /// The inverse of [`arrange`](Self::arrange).
    #[inline]
    pub fn restore(&self, format: Format, quants: &mut [u8]) {
        (self.quants(format).restore)(quants, self.integers.group);
    }

    fn quants(&self, format: Format) -> &QuantKernels {
        let quants = self.integers.formats[format as usize].as_ref();
        quants.unwrap_or_else(|| panic!("{format:?} has no kernels of integers"))
    }

    /// Rounds a row to integers in blocks of 32: `x ≈ scales[block] * quants`; `sums` are the sums
    /// of each block's rounded numbers. All outputs have whole blocks.
    #[inline]
    pub fn quantise(&self, x: &[f32], out: IntegersMut<'_>) {
        let blocks = x.len().div_ceil(BLOCK);
        let block_bytes = BLOCK * self.quant_bytes();
        assert!(
            out.quants.len() == size(blocks, block_bytes)
                && out.scales.len() == blocks
                && out.sums.len() == blocks
                && out.starts.len() == blocks
                && out.halves.len() == size(blocks, 2),
            "memory for a rounded row"
        );
        let quants = out.quants.as_mut_ptr();
        // SAFETY: each output has the length that `blocks` blocks take.
        unsafe { (self.integers.quantise)(x, quants, out.scales, out.sums, out.starts, out.halves) }
    }

    /// Computes `output = input · panel` for the first row of the input and a whole quantised
    /// panel.
    #[inline]
    pub fn integer_row(
        &self,
        format: Format,
        input: &Integers<'_>,
        panel: &[u8],
        output: &mut [f32; PANEL],
    ) {
        let blocks = input.blocks;
        check_panel(format, blocks, panel);
        let input = input.checked(blocks, self.quant_bytes());
        let row = self.quants(format).row;
        // SAFETY: row and panel have `blocks` blocks.
        unsafe { row(&input, blocks, panel.as_ptr(), output.as_mut_ptr()) }
    }

    /// Returns the quants of the first `blocks` sub-blocks of a part of a panel, in the form that
    /// [`integer_product`](Self::integer_product) takes. If the stored quants have that form, they
    /// are returned. Otherwise they are converted into `scratch`, which holds
    /// [`wide_bytes`](Self::wide_bytes) of them. The part consists of whole blocks.
    #[inline]
    pub fn widen<'a>(
        &self,
        format: Format,
        blocks: usize,
        panel: &'a [u8],
        scratch: &'a mut [u8],
    ) -> Wide<'a> {
        check_panel(format, blocks, panel);
        let block = self.wide_bytes(WIDE_BLOCK);
        let opening = 2 * format.scales();
        // Weights that are stored as one byte each need no conversion for products of bytes.
        if self.integers.wide_bytes == 1 && format.quant_bytes() == BLOCK {
            return Wide {
                data: panel.get(opening * PANEL..).unwrap_or_default(),
                stride: format.packed_bytes() * PANEL,
                block,
            };
        }
        let widen = self.quants(format).widen;
        assert!(scratch.len() >= size(blocks, block), "memory for a widened panel");
        // SAFETY: the panel has `blocks` sub-blocks, and `scratch` memory for as many.
        unsafe { widen(panel.as_ptr(), blocks, scratch.as_mut_ptr()) }
        Wide { data: scratch, stride: block, block }
    }

    /// Computes `output = input · panel`, or adds it to `output` if `add` is true, for `rows` rows
    /// and the first `blocks` sub-blocks of a part of a panel. The input's rows start at the first
    /// column of that part. `wide` is the output of [`widen`](Self::widen) for the part, `output`
    /// is `[rows][32]`. `next` is prefetched.
    #[allow(clippy::too_many_arguments)]
    #[inline]
    pub fn integer_product(
        &self,
        format: Format,
        [rows, blocks]: [usize; 2],
        input: Integers<'_>,
        panel: &[u8],
        wide: Wide<'_>,
        output: &mut [f32],
        add: bool,
        next: &[u8],
    ) {
        check_panel(format, blocks, panel);
        if rows == 0 {
            return;
        }
        assert!(output.len() >= size(rows, PANEL), "memory for a tile");
        let last = extent(rows, blocks, input.blocks);
        let product = IntegerProduct {
            rows,
            blocks,
            input: input.checked(last, self.quant_bytes()),
            wide: wide.checked(blocks),
            wide_stride: wide.stride(),
            next: (next.as_ptr(), next.len()),
            panel: panel.as_ptr(),
            block_bytes: format.packed_bytes() * PANEL,
            sub_block_bytes: (format.packed_bytes() - 2 * format.scales()) / format.sub_blocks()
                * PANEL,
            output: output.as_mut_ptr(),
            add,
        };
        let kernel = self.quants(format).product;
        // SAFETY: the last element of each operand was checked to lie in its slice.
        unsafe { kernel(&product) }
    }
}
