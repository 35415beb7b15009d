//! Scales and minima of quantised panels.
//!
//! A product sums integers over a part of a sub-block that has one scale: 32 columns, or 16. It
//! then multiplies the sum by the scales of the weights and of the inputs. The types here say where
//! scales are stored and how sums begin, so that formats that differ only in their quants share one
//! product of many rows.

use super::vector::{PANEL, Vector};

/// The scales and minima of a format.
pub trait Scales {
    /// Parts of a sub-block of 32 columns that have a scale each: 1 or 2.
    const PARTS: usize = 1;
    /// Whether there are minima.
    const MINIMA: bool = false;
    /// Whether packing adds [`IntDot::SHIFT`](super::int_dot::IntDot::SHIFT) to the weights.
    const SHIFTED: bool = false;
    /// The number that the format itself adds to its weights.
    const OFFSET: i32 = 0;
    /// Bytes of the f16 values of a block of a panel.
    const OPENING: usize;
    /// Bytes of the fine scales and minima of a sub-block of a panel.
    const FINE: usize = 0;
    /// Sub-blocks of a block.
    const SUB_BLOCKS: usize = 1;

    /// The scales of the outputs that start at `lane`, for part `part` of a sub-block. `opening`
    /// points to the f16 values of its block, `fine` to its own fine scales.
    ///
    /// # Safety
    /// See [`Vector`]; the pointers point into a panel in this layout.
    unsafe fn scale<V: Vector>(opening: *const u8, fine: *const u8, part: usize, lane: usize) -> V;

    /// The minima of the outputs that start at `lane`; zeros if there are none.
    ///
    /// # Safety
    /// See [`scale`](Self::scale).
    #[inline(always)]
    unsafe fn minimum<V: Vector>(opening: *const u8, fine: *const u8, lane: usize) -> V {
        let _ = (opening, fine, lane);
        // SAFETY: by the caller's promise.
        unsafe { V::splat(0.0) }
    }
}

/// Bytes of one f16 for each output of a panel.
const HALVES: usize = 2 * PANEL;
/// Bytes of one fine scale or minimum for each output of a panel.
const BYTES: usize = PANEL;

/// Sub-blocks of a block of GGUF's k-quants.
const K_SUB_BLOCKS: usize = 8;

/// Loads the f16 numbers of the outputs that start at `lane`.
///
/// # Safety
/// See [`Vector`]; `from` has an f16 for each output.
#[inline(always)]
unsafe fn halves<V: Vector>(from: *const u8, lane: usize) -> V {
    // SAFETY: by the caller's promise.
    unsafe { V::load_f16(from.cast::<u16>().add(lane)) }
}

/// An f16 scale. Weights of 8 bits are shifted where products take unsigned weights.
pub struct Plain;

impl Scales for Plain {
    const SHIFTED: bool = true;
    const OPENING: usize = HALVES;

    #[inline(always)]
    // SAFETY: the contract is the trait's.
    unsafe fn scale<V: Vector>(opening: *const u8, _: *const u8, _: usize, lane: usize) -> V {
        // SAFETY: by the caller's promise.
        unsafe { halves(opening, lane) }
    }
}

/// An f16 scale and an f16 minimum.
pub struct Affine;

impl Scales for Affine {
    const MINIMA: bool = true;
    const OPENING: usize = 2 * HALVES;

    #[inline(always)]
    // SAFETY: the contract is the trait's.
    unsafe fn scale<V: Vector>(opening: *const u8, _: *const u8, _: usize, lane: usize) -> V {
        // SAFETY: by the caller's promise.
        unsafe { halves(opening, lane) }
    }

    #[inline(always)]
    // SAFETY: the contract is the trait's.
    unsafe fn minimum<V: Vector>(opening: *const u8, _: *const u8, lane: usize) -> V {
        // SAFETY: by the caller's promise.
        unsafe { halves(opening.add(HALVES), lane) }
    }
}

/// Like [`Affine`], times a fine scale and a fine minimum.
pub struct FineAffine;

impl Scales for FineAffine {
    const MINIMA: bool = true;
    const OPENING: usize = 2 * HALVES;
    const FINE: usize = 2 * BYTES;
    const SUB_BLOCKS: usize = K_SUB_BLOCKS;

    #[inline(always)]
    // SAFETY: the contract is the trait's.
    unsafe fn scale<V: Vector>(opening: *const u8, fine: *const u8, _: usize, lane: usize) -> V {
        // SAFETY: by the caller's promise.
        unsafe { halves::<V>(opening, lane).mul(V::load_i8(fine.add(lane).cast())) }
    }

    #[inline(always)]
    // SAFETY: the contract is the trait's.
    unsafe fn minimum<V: Vector>(opening: *const u8, fine: *const u8, lane: usize) -> V {
        // SAFETY: by the caller's promise.
        unsafe {
            let fine = V::load_i8(fine.add(BYTES + lane).cast());
            halves::<V>(opening.add(HALVES), lane).mul(fine)
        }
    }
}

/// An f16 scale times a fine scale for each 16 columns; the weights have `OFFSET` added.
pub struct Fine<const OFFSET: i32>;

impl<const OFFSET: i32> Scales for Fine<OFFSET> {
    const PARTS: usize = 2;
    const OFFSET: i32 = OFFSET;
    const OPENING: usize = HALVES;
    const FINE: usize = 2 * BYTES;
    const SUB_BLOCKS: usize = K_SUB_BLOCKS;

    #[inline(always)]
    // SAFETY: the contract is the trait's.
    unsafe fn scale<V: Vector>(opening: *const u8, fine: *const u8, part: usize, lane: usize) -> V {
        // SAFETY: by the caller's promise.
        unsafe {
            let fine = V::load_i8(fine.add(part * BYTES + lane).cast());
            halves::<V>(opening, lane).mul(fine)
        }
    }
}
