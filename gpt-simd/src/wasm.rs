//! WebAssembly's vectors of 128 bits, which every current browser has. A module is valid only where
//! all of its instructions are known, so there is nothing to detect: a build has this set if it has
//! the target feature `simd128`.

use std::arch::wasm32::*;

use super::int_dot::IntDot;
use super::vector::Vector;

/// Four lanes.
#[derive(Clone, Copy)]
pub struct Simd128(v128);

// SAFETY: the target feature is on for the whole module; `Vector` requires valid pointers.
unsafe impl Vector for Simd128 {
    const LANES: usize = 4;
    // Browsers map a vector to one of 16 registers. A product and its sum are two instructions, so
    // the product takes a register as well.
    const TILE: usize = 8;

    methods! {
        splat(x: f32) -> Self { Simd128(f32x4_splat(x)) }
        load(from: *const f32) -> Self { Simd128(v128_load(from.cast())) }
        load_f16(from: *const u16) -> Self {
            // A shift and a multiplication by 2^112 move the exponent's bias. Infinities and NaN
            // would become finite, so they get the largest exponent.
            let wide = u32x4_load_extend_u16x4(from);
            let sign = u32x4_shl(v128_and(wide, u32x4_splat(0x8000)), 16);
            let rest = u32x4_shl(v128_and(wide, u32x4_splat(0x7FFF)), 13);
            let value = f32x4_mul(rest, f32x4_splat(5.192_296_9e33));
            let special = i32x4_ge(rest, i32x4_splat(0x7C00 << 13));
            let exponent = v128_and(special, i32x4_splat(0x7F80_0000));
            Simd128(v128_or(v128_or(value, exponent), sign))
        }
        load_bf16(from: *const u16) -> Self {
            Simd128(u32x4_shl(u32x4_load_extend_u16x4(from), 16))
        }
        load_i8(from: *const i8) -> Self {
            let words = i16x8_extend_low_i8x16(v128_load32_zero(from.cast()));
            Simd128(f32x4_convert_i32x4(i32x4_extend_low_i16x8(words)))
        }
        store(self, to: *mut f32) -> () { v128_store(to.cast(), self.0) }
        store_f16(self, to: *mut u16) -> () {
            let mut lanes = [0.0; 4];
            v128_store(lanes.as_mut_ptr().cast(), self.0);
            to.cast::<[u16; 4]>().write_unaligned(lanes.map(|x| half::f16::from_f32(x).to_bits()))
        }
        store_bf16(self, to: *mut u16) -> () {
            let odd = v128_and(u32x4_shr(self.0, 16), u32x4_splat(1));
            let up = i32x4_add(self.0, i32x4_add(odd, i32x4_splat(0x7FFF)));
            // The carry would make some NaNs zero.
            let up = v128_bitselect(i32x4_splat(0x7FC0_0000), up, f32x4_ne(self.0, self.0));
            let high = u32x4_shr(up, 16);
            v128_store64_lane::<0>(u16x8_narrow_i32x4(high, high), to.cast())
        }
        add(self, other: Self) -> Self { Simd128(f32x4_add(self.0, other.0)) }
        sub(self, other: Self) -> Self { Simd128(f32x4_sub(self.0, other.0)) }
        mul(self, other: Self) -> Self { Simd128(f32x4_mul(self.0, other.0)) }
        div(self, other: Self) -> Self { Simd128(f32x4_div(self.0, other.0)) }
        // `pmax(a, b)` is `a < b ? b : a`, so a NaN gives the first operand, here `other`. Unlike
        // `max` it is one instruction on x86.
        max(self, other: Self) -> Self { Simd128(f32x4_pmax(other.0, self.0)) }
        min(self, other: Self) -> Self { Simd128(f32x4_pmin(other.0, self.0)) }
        positive(self) -> Self {
            Simd128(v128_and(f32x4_gt(self.0, f32x4_splat(0.0)), f32x4_splat(1.0)))
        }
        mul_add(self, factor: Self, addend: Self) -> Self {
            Simd128(f32x4_add(f32x4_mul(self.0, factor.0), addend.0))
        }
        round(self) -> Self { Simd128(f32x4_nearest(self.0)) }
        exp2_integer(self) -> Self {
            // Added to 1.5 * 2^23, the integer is in the low bits of the mantissa; a conversion is
            // several instructions on x86.
            Simd128(u32x4_shl(f32x4_add(self.0, f32x4_splat(12_582_912.0 + 127.0)), 23))
        }
        sum(self) -> f32 {
            let two = f32x4_add(self.0, i64x2_shuffle::<1, 0>(self.0, self.0));
            f32x4_extract_lane::<0>(two) + f32x4_extract_lane::<1>(two)
        }
        greatest(self) -> f32 {
            let two = f32x4_pmax(self.0, i64x2_shuffle::<1, 0>(self.0, self.0));
            f32x4_extract_lane::<0>(two).max(f32x4_extract_lane::<1>(two))
        }
    }
}

// SAFETY: as above.
unsafe impl IntDot for Simd128 {
    type V = Simd128;
    type Quant = i16;
    type Group = v128;
    type Sums = v128;

    methods! {
        store_quants(rounded: Simd128, to: *mut i16) -> () {
            let wide = i32x4_trunc_sat_f32x4(rounded.0);
            v128_store64_lane::<0>(i16x8_narrow_i32x4(wide, wide), to.cast())
        }
        splat(from: *const i16) -> v128 { v128_load32_splat(from.cast()) }
        bytes(from: *const u8) -> v128 { i16x8_load_extend_i8x8(from.cast()) }
        bits(from: *const u8, shift: u32, mask: u8) -> v128 {
            let shifted = u16x8_shr(u16x8_load_extend_u8x8(from), shift);
            v128_and(shifted, u16x8_splat(mask.into()))
        }
        merge(low: v128, high: v128, shift: u32) -> v128 { v128_or(low, i16x8_shl(high, shift)) }
        start(sum: i32) -> v128 { i32x4_splat(sum) }
        add_products(sums: v128, weights: v128, inputs: v128) -> v128 {
            i32x4_add(sums, i32x4_dot_i16x8(weights, inputs))
        }
        floats(sums: v128) -> Simd128 { Simd128(f32x4_convert_i32x4(sums)) }
    }
}
