//! NEON, which every 64-bit ARM processor has.

use std::arch::aarch64::*;

use super::int_dot::IntDot;
use super::vector::Vector;

/// Four lanes.
#[derive(Clone, Copy)]
pub struct Neon(float32x4_t);

// SAFETY: callers of these methods ensure that the processor has the features of the intrinsics and
// that pointers are valid.
unsafe impl Vector for Neon {
    const LANES: usize = 4;
    const TILE: usize = 12;

    methods! {
        splat(x: f32) -> Self { Neon(vdupq_n_f32(x)) }
        load(from: *const f32) -> Self { Neon(vld1q_f32(from)) }
        load_f16(from: *const u16) -> Self {
            Neon(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from))))
        }
        load_bf16(from: *const u16) -> Self {
            Neon(vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(vld1_u16(from)))))
        }
        load_i8(from: *const i8) -> Self {
            let four = vreinterpret_s8_u32(vdup_n_u32(from.cast::<u32>().read_unaligned()));
            Neon(vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(four)))))
        }
        store(self, to: *mut f32) -> () { vst1q_f32(to, self.0) }
        store_f16(self, to: *mut u16) -> () {
            vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32(self.0)))
        }
        // The instruction that narrows to bf16 is not in every processor, and needs a type that
        // stable Rust lacks.
        store_bf16(self, to: *mut u16) -> () {
            let mut lanes = [0.0; 4];
            vst1q_f32(lanes.as_mut_ptr(), self.0);
            to.cast::<[u16; 4]>().write_unaligned(lanes.map(|x| half::bf16::from_f32(x).to_bits()))
        }
        add(self, other: Self) -> Self { Neon(vaddq_f32(self.0, other.0)) }
        sub(self, other: Self) -> Self { Neon(vsubq_f32(self.0, other.0)) }
        mul(self, other: Self) -> Self { Neon(vmulq_f32(self.0, other.0)) }
        div(self, other: Self) -> Self { Neon(vdivq_f32(self.0, other.0)) }
        max(self, other: Self) -> Self { Neon(vmaxq_f32(self.0, other.0)) }
        min(self, other: Self) -> Self { Neon(vminq_f32(self.0, other.0)) }
        positive(self) -> Self {
            let greater = vcgtzq_f32(self.0);
            Neon(vreinterpretq_f32_u32(vandq_u32(greater, vreinterpretq_u32_f32(vdupq_n_f32(1.0)))))
        }
        mul_add(self, factor: Self, addend: Self) -> Self { Neon(vfmaq_f32(addend.0, self.0, factor.0)) }
        round(self) -> Self { Neon(vrndnq_f32(self.0)) }
        exp2_integer(self) -> Self {
            let biased = vaddq_s32(vcvtnq_s32_f32(self.0), vdupq_n_s32(127));
            Neon(vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased)))
        }
        sum(self) -> f32 { vaddvq_f32(self.0) }
        greatest(self) -> f32 { vmaxvq_f32(self.0) }
    }
}

// SAFETY: as above.
unsafe impl IntDot for Neon {
    type V = Neon;
    type Quant = i16;
    type Group = int16x8_t;
    type Sums = int32x4_t;

    methods! {
        store_quants(rounded: Neon, to: *mut i16) -> () {
            vst1_s16(to, vqmovn_s32(vcvtnq_s32_f32(rounded.0)))
        }
        splat(from: *const i16) -> int16x8_t {
            vreinterpretq_s16_s32(vdupq_n_s32(from.cast::<i32>().read_unaligned()))
        }
        bytes(from: *const u8) -> int16x8_t { vmovl_s8(vld1_s8(from.cast())) }
        bits(from: *const u8, shift: u32, mask: u8) -> int16x8_t {
            let shifted = vshl_u8(vld1_u8(from), vdup_n_s8(-(shift as i8)));
            vreinterpretq_s16_u16(vmovl_u8(vand_u8(shifted, vdup_n_u8(mask))))
        }
        merge(low: int16x8_t, high: int16x8_t, shift: u32) -> int16x8_t {
            vorrq_s16(low, vshlq_s16(high, vdupq_n_s16(shift as i16)))
        }
        start(sum: i32) -> int32x4_t { vdupq_n_s32(sum) }
        add_products(sums: int32x4_t, weights: int16x8_t, inputs: int16x8_t) -> int32x4_t {
            let low = vmull_s16(vget_low_s16(weights), vget_low_s16(inputs));
            vaddq_s32(sums, vpaddq_s32(low, vmull_high_s16(weights, inputs)))
        }
        floats(sums: int32x4_t) -> Neon { Neon(vcvtq_f32_s32(sums)) }
    }
}
