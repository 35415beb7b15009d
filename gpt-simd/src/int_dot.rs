//! The instruction-set operations of integer products. An instruction multiplies adjacent columns
//! of a row and adds the products in a lane of 32 bits.
//!
//! Instruction sets differ in the number of columns that one instruction multiplies: four of 8 bits
//! with VNNI, otherwise two of 16 bits. Panels of quantised weights are packed for that number
//! (`[depth / GROUP][32][GROUP]`, where depth is the number of columns), and inputs are rounded to
//! that width.

use super::vector::Vector;

/// Bits `shift..shift + count` of each stored byte.
#[derive(Clone, Copy)]
pub struct Bits {
    pub from: *const u8,
    pub shift: u32,
    pub count: u32,
}

impl Bits {
    #[inline(always)]
    fn mask(self) -> u8 {
        ((1u32 << self.count) - 1) as u8
    }
}

/// Registers of groups: [`GROUP`](Self::GROUP) numbers for each lane of [`V`](Self::V).
///
/// # Safety
/// See [`Vector`]: every method may be called only where the processor has the features that the
/// implementation is named after, with pointers that are valid for a whole register of their
/// element.
pub unsafe trait IntDot {
    type V: Vector;
    /// An input.
    type Quant: Copy;
    /// A register of weights or of inputs.
    type Group: Copy;
    /// A register of sums.
    type Sums: Copy;
    /// Bytes of an input, and of a weight after [`store`](Self::store), which converts weights once
    /// for many rows.
    const WIDE_BYTES: usize = size_of::<Self::Quant>();
    /// Adjacent columns that one instruction multiplies and adds in a lane.
    const GROUP: usize = size_of::<i32>() / Self::WIDE_BYTES;
    /// The greatest magnitude of an input.
    const LARGEST: f32 = ((1u32 << (8 * Self::WIDE_BYTES - 1)) - 1) as f32;
    /// The number that packing adds to 8-bit weights, because some instructions take unsigned
    /// weights.
    const SHIFT: i32 = 0;
    /// The most rows of a tile that keeps float sums in registers in addition to its integer sums.
    /// Zero if there are too few registers.
    const SPAN_ROWS: usize = 0;

    /// Converts a register of whole numbers of magnitude at most [`LARGEST`](Self::LARGEST) to
    /// inputs, and stores them.
    unsafe fn store_quants(rounded: Self::V, to: *mut Self::Quant);
    /// Loads one group of inputs and copies it to every lane.
    unsafe fn splat(from: *const Self::Quant) -> Self::Group;
    /// Loads stored weights of 8 bits.
    unsafe fn bytes(from: *const u8) -> Self::Group;
    /// Loads stored weights whose bits are in `N` places, the lowest bits first.
    #[inline(always)]
    unsafe fn gather<const N: usize>(places: [Bits; N]) -> Self::Group {
        // SAFETY: by the caller's promise.
        unsafe {
            let mut weights = Self::bits(places[0].from, places[0].shift, places[0].mask());
            let mut known = places[0].count;
            for place in &places[1..] {
                let bits = Self::bits(place.from, place.shift, place.mask());
                weights = Self::merge(weights, bits, known);
                known += place.count;
            }
            weights
        }
    }
    /// Loads bytes, shifts each right by `shift` bits, and masks it. `mask` must clear the bits
    /// that a shift of a wider element moves in from the next byte.
    unsafe fn bits(from: *const u8, shift: u32, mask: u8) -> Self::Group;
    /// `low | high << shift` for each weight.
    unsafe fn merge(low: Self::Group, high: Self::Group, shift: u32) -> Self::Group;
    /// Loads the output of [`store`](Self::store).
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self::Group {
        // SAFETY: by the caller's promise.
        unsafe { from.cast::<Self::Group>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(group: Self::Group, to: *mut u8) {
        // SAFETY: by the caller's promise.
        unsafe { to.cast::<Self::Group>().write_unaligned(group) }
    }
    /// Sums that start at `sum` in every lane.
    unsafe fn start(sum: i32) -> Self::Sums;
    /// Adds the products of each lane's weights and inputs.
    unsafe fn add_products(
        sums: Self::Sums,
        weights: Self::Group,
        inputs: Self::Group,
    ) -> Self::Sums;
    unsafe fn floats(sums: Self::Sums) -> Self::V;
}
