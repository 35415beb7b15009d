//! The operations that kernels need of an instruction set for integer products: products of
//! neighbours in depth, summed in lanes of 32 bits.
//!
//! Sets differ in the number of neighbours that an instruction multiplies: two of 16 bits
//! everywhere, four of 8 bits with VNNI. Panels of quantised weights are packed for that number
//! (`[depth / GROUP][32][GROUP]`), and inputs are rounded to that width.

use super::vector::Vector;

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
    /// Stored weights of 4 bits: the low nibbles, and the high ones.
    unsafe fn nibbles(from: *const u8) -> [Self::Group; 2];
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
