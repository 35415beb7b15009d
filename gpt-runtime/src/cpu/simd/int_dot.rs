//! The operations that kernels need of an instruction set for integer products: products of
//! neighbours in depth, summed in lanes of 32 bits.
//!
//! Sets differ in the number of neighbours that an instruction multiplies: two of 16 bits
//! everywhere, four of 8 bits with VNNI. Panels of quantised weights are packed for that number
//! (`[depth / GROUP][32][GROUP]`), and inputs are rounded to that width.

use super::vector::Vector;

/// `count` bits of each stored byte from bit `shift` on.
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
/// As [`Vector`]: every method may be called only where the processor has the features that the
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
    /// Neighbours in depth that one instruction multiplies.
    const GROUP: usize;
    /// The greatest magnitude of an input.
    const LARGEST: f32;
    /// Added to weights of 8 bits when they are packed, where the instruction takes unsigned
    /// weights.
    const SHIFT: i32;
    /// Bytes of a weight that [`store`](Self::store) converted for many rows.
    const WIDE_BYTES: usize;

    /// Converts a register of whole numbers of magnitude at most [`LARGEST`](Self::LARGEST) to
    /// inputs.
    unsafe fn store_quants(rounded: Self::V, to: *mut Self::Quant);
    /// The same group of inputs for every lane.
    unsafe fn splat(from: *const Self::Quant) -> Self::Group;
    /// Stored weights of 8 bits.
    unsafe fn bytes(from: *const u8) -> Self::Group;
    /// Stored weights of fewer bits, in `N` places: the bits of the first place are the lowest.
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
    /// Parts of stored bytes: each shifted right by `shift` bits, and masked. A mask has no bits that
    /// neighbouring bytes would be shifted into.
    unsafe fn bits(from: *const u8, shift: u32, mask: u8) -> Self::Group;
    /// `low | high << shift` for each weight.
    unsafe fn merge(low: Self::Group, high: Self::Group, shift: u32) -> Self::Group;
    /// Loads the output of [`store`](Self::store).
    unsafe fn load(from: *const u8) -> Self::Group;
    unsafe fn store(group: Self::Group, to: *mut u8);
    /// The same sum in every lane.
    unsafe fn start(sum: i32) -> Self::Sums;
    /// Adds the products of each lane's weights and inputs.
    unsafe fn add_products(
        sums: Self::Sums,
        weights: Self::Group,
        inputs: Self::Group,
    ) -> Self::Sums;
    unsafe fn floats(sums: Self::Sums) -> Self::V;
}
