//! Plain Rust on eight lanes: for processors without a faster set, and the reference the others are tested against.

use half::{bf16, f16};

use super::vector::Vector;

/// Eight lanes, which the compiler maps to whatever vectors the target always has.
#[derive(Clone, Copy)]
pub struct Portable([f32; 8]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Portable(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

// SAFETY: no feature is needed; pointers are read within the vector that callers promise.
unsafe impl Vector for Portable {
    type Pairs = [i16; 16];
    type Sums = [i32; 8];
    const LANES: usize = 8;
    const TILE_ROWS: usize = 4;

    methods! {
        splat(x: f32) -> Self { Portable([x; 8]) }
        load(from: *const f32) -> Self { Portable(from.cast::<[f32; 8]>().read_unaligned()) }
        load_f16(from: *const u16) -> Self {
            Portable(from.cast::<[u16; 8]>().read_unaligned().map(|x| f16::from_bits(x).to_f32()))
        }
        load_bf16(from: *const u16) -> Self {
            Portable(from.cast::<[u16; 8]>().read_unaligned().map(|x| bf16::from_bits(x).to_f32()))
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
            // Adding and taking away 1.5 * 2^23 leaves no bits after the point.
            Portable(self.0.map(|x| (x + 12_582_912.0) - 12_582_912.0))
        }
        exp2_integer(self) -> Self {
            Portable(self.0.map(|x| f32::from_bits(((x as i32 + 127) << 23) as u32)))
        }
        sum(self) -> f32 { self.0.iter().sum() }
        greatest(self) -> f32 { self.0.iter().copied().fold(f32::NEG_INFINITY, f32::max) }
        store_i16(self, to: *mut i16) -> () {
            to.cast::<[i16; 8]>().write_unaligned(self.0.map(|x| x as i16))
        }
        load_pairs(from: *const i16) -> [i16; 16] { from.cast::<[i16; 16]>().read_unaligned() }
        store_pairs(pairs: [i16; 16], to: *mut i16) -> () { to.cast::<[i16; 16]>().write_unaligned(pairs) }
        splat_pair(from: *const i16) -> [i16; 16] {
            let pair = from.cast::<[i16; 2]>().read_unaligned();
            std::array::from_fn(|i| pair[i % 2])
        }
        pairs_of_bytes(from: *const i8) -> [i16; 16] { from.cast::<[i8; 16]>().read_unaligned().map(i16::from) }
        pairs_of_nibbles(from: *const u8) -> [[i16; 16]; 2] {
            let bytes = from.cast::<[u8; 16]>().read_unaligned();
            [bytes.map(|x| i16::from(x & 15)), bytes.map(|x| i16::from(x >> 4))]
        }
        no_sums() -> [i32; 8] { [0; 8] }
        add_products(sums: [i32; 8], a: [i16; 16], b: [i16; 16]) -> [i32; 8] {
            let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
            std::array::from_fn(|i| sums[i] + product(2 * i) + product(2 * i + 1))
        }
        from_sums(sums: [i32; 8]) -> Self { Portable(sums.map(|x| x as f32)) }
    }
}
