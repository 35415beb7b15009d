//! Quantised formats: the layout of quants in a panel, and the code that loads a register of them.
//!
//! A panel has 32 outputs. A block of it holds 32 f16 scales, 32 f16 minima if the format has them,
//! and the quants. The bytes of quants of one output are in the order of [`Format`]'s host layout,
//! and groups of `GROUP` bytes of the 32 outputs are interleaved: `[bytes / GROUP][32][GROUP]`. A
//! format may reorder the bits of a block before they are interleaved ([`Quants::arrange`]). The
//! products are in [`integer`](super::integer).

use gpt_plan::Format;

use super::int_dot::{Bits, IntDot};
use super::integer::BLOCK;
use super::vector::PANEL;

/// A quantised format.
pub trait Quants {
    const FORMAT: Format;
    /// Whether packing adds [`IntDot::SHIFT`] to the weights.
    const SHIFTED: bool = false;
    /// Bytes of a panel's block.
    const BLOCK_BYTES: usize = Self::FORMAT.block_bytes() * PANEL;
    /// Whether a block has minima, which follow its scales.
    const MINIMA: bool = Self::FORMAT.scales() == 2;
    /// The offset of the quants in a panel's block, in bytes.
    const QUANTS: usize = Self::FORMAT.scales() * 2 * PANEL;

    /// Loads groups `step` and `step + 16 / GROUP` of a block, for a register of outputs that
    /// begins at `lane`. `step` is less than `16 / GROUP`.
    ///
    /// # Safety
    /// As [`Vector`](super::vector::Vector); `block` is a whole block.
    unsafe fn groups<D: IntDot>(block: *const u8, step: usize, lane: usize) -> [D::Group; 2];

    /// Reorders the quants of one block from the host's layout for panels of `group`.
    fn arrange(quants: &mut [u8], group: usize) {
        let _ = (quants, group);
    }

    /// The inverse of [`arrange`](Self::arrange).
    fn restore(quants: &mut [u8], group: usize) {
        let _ = (quants, group);
    }
}

/// `$of::<Q>()` for each quantised format `Q`, indexed by [`Format`].
macro_rules! by_format {
    ($of:ident) => {{
        let mut table = [None; gpt_plan::Format::ALL.len()];
        table[gpt_plan::Format::Q8 as usize] = Some($of::<$crate::quants::Q8>());
        table[gpt_plan::Format::Q4 as usize] = Some($of::<$crate::quants::Q4>());
        table[gpt_plan::Format::Q5 as usize] = Some($of::<$crate::quants::Q5>());
        table
    }};
}

/// One byte for each weight.
pub struct Q8;

impl Quants for Q8 {
    const FORMAT: Format = Format::Q8;
    const SHIFTED: bool = true;

    #[inline(always)]
    // SAFETY: the contract is the trait's.
    unsafe fn groups<D: IntDot>(block: *const u8, step: usize, lane: usize) -> [D::Group; 2] {
        // SAFETY: 32 bytes of each output follow the scales.
        unsafe {
            let at = block.add(Self::QUANTS + (step * PANEL + lane) * D::GROUP);
            [D::bytes(at), D::bytes(at.add(BLOCK / 2 * PANEL))]
        }
    }
}

/// Bytes of two nibbles. Low nibbles are columns 0 to 15 of a block, high nibbles columns 16 to 31.
pub struct Q4;

impl Quants for Q4 {
    const FORMAT: Format = Format::Q4;

    #[inline(always)]
    // SAFETY: the contract is the trait's.
    unsafe fn groups<D: IntDot>(block: *const u8, step: usize, lane: usize) -> [D::Group; 2] {
        // SAFETY: 16 bytes of each output follow the minima.
        unsafe {
            let from = block.add(Self::QUANTS + (step * PANEL + lane) * D::GROUP);
            let nibble = |shift| D::gather([Bits { from, shift, count: 4 }]);
            [nibble(0), nibble(4)]
        }
    }
}

/// Four bytes of fifth bits, then bytes of two nibbles as in [`Q4`].
///
/// [`arrange`](Quants::arrange) reorders the fifth bits. Of eight groups (steps), byte `i` holds
/// the fifth bits of the columns with index `i` in their group; bit `j` belongs to step `j`.
pub struct Q5;

/// Bytes of fifth bits in a block of one output.
const FIFTH: usize = BLOCK / 8;

impl Quants for Q5 {
    const FORMAT: Format = Format::Q5;

    #[inline(always)]
    // SAFETY: the contract is the trait's.
    unsafe fn groups<D: IntDot>(block: *const u8, step: usize, lane: usize) -> [D::Group; 2] {
        // SAFETY: 20 bytes of each output follow the minima.
        unsafe {
            let quants = block.add(Self::QUANTS);
            let group = |i: usize| quants.add((i * PANEL + lane) * D::GROUP);
            let weights = |shift, step: usize| {
                D::gather([
                    Bits {
                        from: group(FIFTH / D::GROUP + step % (16 / D::GROUP)),
                        shift,
                        count: 4,
                    },
                    Bits { from: group(step / 8), shift: step as u32 % 8, count: 1 },
                ])
            };
            [weights(0, step), weights(4, step + 16 / D::GROUP)]
        }
    }

    fn arrange(quants: &mut [u8], group: usize) {
        let fifth = [quants[0], quants[1], quants[2], quants[3]];
        quants[..FIFTH].fill(0);
        for column in 0..BLOCK {
            let (step, member) = (column / group, column % group);
            let bit = fifth[column / 8] >> (column % 8) & 1;
            quants[step / 8 * group + member] |= bit << (step % 8);
        }
    }

    fn restore(quants: &mut [u8], group: usize) {
        let arranged = [quants[0], quants[1], quants[2], quants[3]];
        quants[..FIFTH].fill(0);
        for column in 0..BLOCK {
            let (step, member) = (column / group, column % group);
            let bit = arranged[step / 8 * group + member] >> (step % 8) & 1;
            quants[column / 8] |= bit << (column % 8);
        }
    }
}
