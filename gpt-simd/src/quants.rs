//! Quantised formats: the layout of quants in a panel, and the code that loads a register of them.
//!
//! A panel has 32 outputs. A block of it begins with 32 f16 scales and, if the format has them, 32
//! f16 minima. Its sub-blocks of 32 columns follow. A sub-block has 32 bytes for each fine scale
//! and each fine minimum of an output, and the quants. The bytes of quants of one output are in the
//! order of `gpt-runtime`'s packed blocks, and groups of `GROUP` bytes of the 32 outputs are
//! interleaved: `[bytes / GROUP][32][GROUP]`. A format may reorder the bits of a sub-block before
//! they are interleaved ([`Quants::arrange`]). The products are in [`integer`](super::integer).

use gpt_plan::{Format, SUB_BLOCK};

use super::int_dot::{Bits, IntDot};
use super::integer::BLOCK;
use super::scales::{Affine, Fine, FineAffine, Plain, Scales};
use super::vector::PANEL;

/// A quantised format.
pub trait Quants {
    const FORMAT: Format;
    /// The scales and minima, which decide how sums are multiplied.
    type Scales: Scales;

    /// Whether [`groups`](Self::groups) loads neighbouring groups, so that a panel is read from
    /// beginning to end.
    const NEIGHBOURS: bool = false;

    /// Loads the two groups of a sub-block that begin at [`columns`](Self::columns), for a register
    /// of outputs that begins at `lane`. `step` is less than `16 / GROUP`.
    ///
    /// # Safety
    /// See [`Vector`](super::vector::Vector); `quants` holds a whole sub-block.
    unsafe fn groups<D: IntDot>(quants: *const u8, step: usize, lane: usize) -> [D::Group; 2];

    /// The first columns of the two groups of `step`. The groups are in different halves of the
    /// sub-block if its bytes have bits of both halves, or if each half has its own scale.
    #[inline(always)]
    fn columns<D: IntDot>(step: usize) -> [usize; 2] {
        match Self::NEIGHBOURS {
            true => [2 * step * D::GROUP, (2 * step + 1) * D::GROUP],
            false => [step * D::GROUP, step * D::GROUP + BLOCK / 2],
        }
    }

    /// Reorders the quants of one sub-block from the packed order to that of panels whose groups
    /// have `group` bytes.
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
        table[gpt_plan::Format::Q4K as usize] = Some($of::<$crate::quants::Q4K>());
        table[gpt_plan::Format::Q5K as usize] = Some($of::<$crate::quants::Q5K>());
        table[gpt_plan::Format::Q6K as usize] = Some($of::<$crate::quants::Q6K>());
        table
    }};
}

/// One byte for each weight.
pub struct Q8;

impl Quants for Q8 {
    const FORMAT: Format = Format::Q8;
    type Scales = Plain;
    const NEIGHBOURS: bool = true;

    #[inline(always)]
    // SAFETY: the contract is the trait's.
    unsafe fn groups<D: IntDot>(quants: *const u8, step: usize, lane: usize) -> [D::Group; 2] {
        // SAFETY: there are 32 bytes of each output.
        unsafe {
            Self::columns::<D>(step)
                .map(|column| D::bytes(quants.add(column * PANEL + lane * D::GROUP)))
        }
    }
}

/// Bytes of two nibbles. Low nibbles are columns 0 to 15 of a sub-block, high nibbles columns 16 to
/// 31.
pub struct Q4;

impl Quants for Q4 {
    const FORMAT: Format = Format::Q4;
    type Scales = Affine;

    #[inline(always)]
    // SAFETY: the contract is the trait's.
    unsafe fn groups<D: IntDot>(quants: *const u8, step: usize, lane: usize) -> [D::Group; 2] {
        // SAFETY: there are 16 bytes of each output.
        unsafe {
            let from = quants.add((step * PANEL + lane) * D::GROUP);
            let nibble = |shift| D::gather([Bits { from, shift, count: 4 }]);
            [nibble(0), nibble(4)]
        }
    }
}

/// The quants of [`Q4`] with fine scales and minima.
pub struct Q4K;

impl Quants for Q4K {
    const FORMAT: Format = Format::Q4K;
    type Scales = FineAffine;

    #[inline(always)]
    // SAFETY: the contract is the trait's.
    unsafe fn groups<D: IntDot>(quants: *const u8, step: usize, lane: usize) -> [D::Group; 2] {
        // SAFETY: the caller's contract is the same.
        unsafe { Q4::groups::<D>(quants, step, lane) }
    }
}

/// `BITS` high bits of each quant, then bytes of two nibbles as in [`Q4`].
///
/// A byte has the high bits of `8 / BITS` columns. In the packed order these are neighbouring
/// columns. In a panel they have the same index in their groups: byte `i` has the bits of column
/// `i` of each of `8 / BITS` groups, the first group in the lowest bits. A register of bytes then
/// has the bits of a whole group at one shift.
struct HighBits<const BITS: usize>;

impl<const BITS: usize> HighBits<BITS> {
    /// Columns whose high bits share a byte.
    const SHARE: usize = 8 / BITS;
    /// Bytes of high bits in a sub-block of one output.
    const BYTES: usize = SUB_BLOCK / Self::SHARE;

    /// # Safety
    /// See [`Quants::groups`].
    #[inline(always)]
    unsafe fn groups<D: IntDot>(quants: *const u8, step: usize, lane: usize) -> [D::Group; 2] {
        // SAFETY: the high bits of each output, and 16 bytes of nibbles, are in the sub-block.
        unsafe {
            let group = |i: usize| quants.add((i * PANEL + lane) * D::GROUP);
            let weights = |nibble, step: usize| {
                let low = Self::BYTES / D::GROUP + step % (16 / D::GROUP);
                let shift = (step % Self::SHARE * BITS) as u32;
                D::gather([
                    Bits { from: group(low), shift: nibble, count: 4 },
                    Bits { from: group(step / Self::SHARE), shift, count: BITS as u32 },
                ])
            };
            [weights(0, step), weights(4, step + 16 / D::GROUP)]
        }
    }

    /// The byte and the shift of the high bits of `column`: in the packed order, and in a panel.
    fn places(column: usize, group: usize) -> [(usize, usize); 2] {
        let (step, member) = (column / group, column % group);
        [
            (column / Self::SHARE, column % Self::SHARE * BITS),
            (step / Self::SHARE * group + member, step % Self::SHARE * BITS),
        ]
    }

    /// Moves the bits of each column from one of its two [`places`](Self::places), the one with
    /// index `from`, to the other.
    fn reorder(quants: &mut [u8], group: usize, from: usize) {
        let mut before = [0; SUB_BLOCK];
        let before = &mut before[..Self::BYTES];
        before.copy_from_slice(&quants[..Self::BYTES]);
        quants[..Self::BYTES].fill(0);
        for column in 0..SUB_BLOCK {
            let places = Self::places(column, group);
            let ((byte, shift), (to, to_shift)) = (places[from], places[1 - from]);
            quants[to] |= (before[byte] >> shift & ((1 << BITS) - 1)) << to_shift;
        }
    }
}

/// Declares formats with high bits: the name, the number of high bits, and the scales.
macro_rules! with_high_bits {
    ($($(#[$doc:meta])* $format:ident, $bits:literal, $scales:ty;)+) => {$(
        $(#[$doc])*
        pub struct $format;

        impl Quants for $format {
            const FORMAT: Format = Format::$format;
            type Scales = $scales;

            #[inline(always)]
            // SAFETY: the contract is the trait's.
            unsafe fn groups<D: IntDot>(quants: *const u8, step: usize, lane: usize) -> [D::Group; 2] {
                // SAFETY: the caller's contract is the same.
                unsafe { HighBits::<$bits>::groups::<D>(quants, step, lane) }
            }

            fn arrange(quants: &mut [u8], group: usize) {
                HighBits::<$bits>::reorder(quants, group, 0);
            }

            fn restore(quants: &mut [u8], group: usize) {
                HighBits::<$bits>::reorder(quants, group, 1);
            }
        }
    )+};
}

with_high_bits! {
    /// Fifth bits and nibbles.
    Q5, 1, Affine;
    /// The quants of [`Q5`] with fine scales and minima.
    Q5K, 1, FineAffine;
    /// Fifth and sixth bits, and nibbles, with 32 added; a fine scale for each 16 columns.
    Q6K, 2, Fine<32>;
}
