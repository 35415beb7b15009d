//! Plain Rust on eight lanes, for processors without a faster set, and as the reference of tests.
//! It also has products of bytes and of pairs of bf16, so that their layouts and loops are tested
//! on any processor.

use half::{bf16, f16};

use super::int_dot::IntDot;
use super::vector::{Pairs, Vector};

/// Eight lanes, which the compiler maps to the target's baseline vectors.
#[derive(Clone, Copy)]
pub struct Portable([f32; 8]);

/// Products of bytes for vectors of [`Portable`].
pub struct Bytes;

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Portable(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

// SAFETY: no feature is needed; accesses stay within the vector that callers promise.
unsafe impl Vector for Portable {
    const LANES: usize = 8;
    const TILE: usize = 4;

    methods! {
        splat(x: f32) -> Self { Portable([x; 8]) }
        load(from: *const f32) -> Self { Portable(from.cast::<[f32; 8]>().read_unaligned()) }
        load_f16(from: *const u16) -> Self {
            Portable(from.cast::<[u16; 8]>().read_unaligned().map(|x| f16::from_bits(x).to_f32()))
        }
        load_bf16(from: *const u16) -> Self {
            Portable(from.cast::<[u16; 8]>().read_unaligned().map(|x| bf16::from_bits(x).to_f32()))
        }
        load_i8(from: *const i8) -> Self {
            Portable(from.cast::<[i8; 8]>().read_unaligned().map(f32::from))
        }
        store(self, to: *mut f32) -> () { to.cast::<[f32; 8]>().write_unaligned(self.0) }
        store_f16(self, to: *mut u16) -> () {
            to.cast::<[u16; 8]>().write_unaligned(self.0.map(|x| f16::from_f32(x).to_bits()))
        }
        store_bf16(self, to: *mut u16) -> () {
            to.cast::<[u16; 8]>().write_unaligned(self.0.map(|x| bf16::from_f32(x).to_bits()))
        }
        add(self, other: Self) -> Self { self.zip(other, |a, b| a + b) }
        sub(self, other: Self) -> Self { self.zip(other, |a, b| a - b) }
        mul(self, other: Self) -> Self { self.zip(other, |a, b| a * b) }
        div(self, other: Self) -> Self { self.zip(other, |a, b| a / b) }
        max(self, other: Self) -> Self { self.zip(other, |a, b| if a > b { a } else { b }) }
        min(self, other: Self) -> Self { self.zip(other, |a, b| if a < b { a } else { b }) }
        positive(self) -> Self { Portable(self.0.map(|x| f32::from(u8::from(x > 0.0)))) }
        mul_add(self, factor: Self, addend: Self) -> Self {
            // Not `f32::mul_add`, which is a library call where the target has no such instruction.
            Portable(std::array::from_fn(|i| self.0[i] * factor.0[i] + addend.0[i]))
        }
        round(self) -> Self {
            // Adding and subtracting 1.5 * 2^23 removes the fraction.
            Portable(self.0.map(|x| (x + 12_582_912.0) - 12_582_912.0))
        }
        exp2_integer(self) -> Self {
            Portable(self.0.map(|x| f32::from_bits(((x as i32 + 127) << 23) as u32)))
        }
        sum(self) -> f32 { self.0.iter().sum() }
        greatest(self) -> f32 { self.0.iter().copied().fold(f32::NEG_INFINITY, f32::max) }
    }
}

// SAFETY: as above.
unsafe impl IntDot for Portable {
    type V = Portable;
    type Quant = i16;
    type Group = [i16; 16];
    type Sums = [i32; 8];

    methods! {
        store_quants(rounded: Portable, to: *mut i16) -> () {
            to.cast::<[i16; 8]>().write_unaligned(rounded.0.map(|x| x as i16))
        }
        splat(from: *const i16) -> [i16; 16] {
            let pair = from.cast::<[i16; 2]>().read_unaligned();
            std::array::from_fn(|i| pair[i % 2])
        }
        bytes(from: *const u8) -> [i16; 16] { from.cast::<[i8; 16]>().read_unaligned().map(i16::from) }
        bits(from: *const u8, shift: u32, mask: u8) -> [i16; 16] {
            from.cast::<[u8; 16]>().read_unaligned().map(|x| i16::from(x >> shift & mask))
        }
        merge(low: [i16; 16], high: [i16; 16], shift: u32) -> [i16; 16] {
            std::array::from_fn(|i| low[i] | high[i] << shift)
        }
        start(sum: i32) -> [i32; 8] { [sum; 8] }
        add_products(sums: [i32; 8], weights: [i16; 16], inputs: [i16; 16]) -> [i32; 8] {
            let product = |i: usize| i32::from(weights[i]) * i32::from(inputs[i]);
            std::array::from_fn(|i| sums[i] + product(2 * i) + product(2 * i + 1))
        }
        floats(sums: [i32; 8]) -> Portable { Portable(sums.map(|x| x as f32)) }
    }
}

// SAFETY: as above.
unsafe impl IntDot for Bytes {
    type V = Portable;
    type Quant = i8;
    type Group = [u8; 32];
    type Sums = [i32; 8];
    const SHIFT: i32 = 128;

    methods! {
        store_quants(rounded: Portable, to: *mut i8) -> () {
            to.cast::<[i8; 8]>().write_unaligned(rounded.0.map(|x| x as i8))
        }
        splat(from: *const i8) -> [u8; 32] {
            let group = from.cast::<[u8; 4]>().read_unaligned();
            std::array::from_fn(|i| group[i % 4])
        }
        bytes(from: *const u8) -> [u8; 32] { from.cast::<[u8; 32]>().read_unaligned() }
        bits(from: *const u8, shift: u32, mask: u8) -> [u8; 32] {
            from.cast::<[u8; 32]>().read_unaligned().map(|x| x >> shift & mask)
        }
        merge(low: [u8; 32], high: [u8; 32], shift: u32) -> [u8; 32] {
            std::array::from_fn(|i| low[i] | high[i] << shift)
        }
        start(sum: i32) -> [i32; 8] { Portable::start(sum) }
        add_products(sums: [i32; 8], weights: [u8; 32], inputs: [u8; 32]) -> [i32; 8] {
            let product = |i: usize| i32::from(weights[i]) * i32::from(inputs[i] as i8);
            std::array::from_fn(|i| sums[i] + (4 * i..4 * i + 4).map(product).sum::<i32>())
        }
        floats(sums: [i32; 8]) -> Portable { Portable::floats(sums) }
    }
}

/// Both halves of a pair as floats.
fn halves(pair: f32) -> [f32; 2] {
    let bits = pair.to_bits();
    [f32::from_bits(bits << 16), f32::from_bits(bits & 0xFFFF_0000)]
}

/// Two floats as a pair.
fn pair(first: f32, second: f32) -> f32 {
    let bits = |x| u32::from(bf16::from_f32(x).to_bits());
    f32::from_bits(bits(first) | bits(second) << 16)
}

// SAFETY: as above.
unsafe impl Pairs for Portable {
    methods! {
        add_pairs(sums: Self, weights: Self, inputs: Self) -> Self {
            Portable(std::array::from_fn(|i| {
                let ([a, b], [x, y]) = (halves(weights.0[i]), halves(inputs.0[i]));
                sums.0[i] + a * x + b * y
            }))
        }
        pair_up(first: Self, second: Self) -> Self { first.zip(second, pair) }
        store_pairs(first: Self, second: Self, to: *mut u32) -> () {
            let lane = |i: usize| if i < 8 { first.0[i] } else { second.0[i - 8] };
            let pairs: [f32; 8] = std::array::from_fn(|i| pair(lane(2 * i), lane(2 * i + 1)));
            to.cast::<[u32; 8]>().write_unaligned(pairs.map(f32::to_bits))
        }
    }
}
