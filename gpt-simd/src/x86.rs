//! AVX2 with FMA and F16C, AVX-512, and its extensions VNNI and BF16.

use std::arch::x86_64::*;

use super::int_dot::IntDot;
use super::vector::{Pairs, Vector};

/// Eight lanes; needs `avx2`, `fma`, `f16c`.
#[derive(Clone, Copy)]
pub struct Avx2(__m256);

/// Sixteen lanes; needs `avx512f` and `avx512bw`.
#[derive(Clone, Copy)]
pub struct Avx512(__m512);

/// Products of bytes, four at a time, for vectors of [`Avx512`]; also needs `avx512vnni`.
pub struct Vnni;

// SAFETY: callers of these methods ensure that the processor has the features of the intrinsics and
// that pointers are valid.
unsafe impl Vector for Avx2 {
    const LANES: usize = 8;
    const TILE: usize = 12;

    methods! {
        splat(x: f32) -> Self { Avx2(_mm256_set1_ps(x)) }
        load(from: *const f32) -> Self { Avx2(_mm256_loadu_ps(from)) }
        load_f16(from: *const u16) -> Self { Avx2(_mm256_cvtph_ps(_mm_loadu_si128(from.cast()))) }
        load_bf16(from: *const u16) -> Self {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            Avx2(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide)))
        }
        load_i8(from: *const i8) -> Self {
            Avx2(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))))
        }
        store(self, to: *mut f32) -> () { _mm256_storeu_ps(to, self.0) }
        store_f16(self, to: *mut u16) -> () {
            _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0))
        }
        store_bf16(self, to: *mut u16) -> () {
            let bits = _mm256_castps_si256(self.0);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
            // The carry would make some NaNs zero.
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0));
            let up = _mm256_blendv_epi8(up, _mm256_set1_epi32(0x7FC0_0000), nan);
            let high = _mm256_srli_epi32::<16>(up);
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(high, high));
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(packed))
        }
        add(self, other: Self) -> Self { Avx2(_mm256_add_ps(self.0, other.0)) }
        sub(self, other: Self) -> Self { Avx2(_mm256_sub_ps(self.0, other.0)) }
        mul(self, other: Self) -> Self { Avx2(_mm256_mul_ps(self.0, other.0)) }
        div(self, other: Self) -> Self { Avx2(_mm256_div_ps(self.0, other.0)) }
        max(self, other: Self) -> Self { Avx2(_mm256_max_ps(self.0, other.0)) }
        min(self, other: Self) -> Self { Avx2(_mm256_min_ps(self.0, other.0)) }
        positive(self) -> Self {
            let greater = _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, _mm256_setzero_ps());
            Avx2(_mm256_and_ps(greater, _mm256_set1_ps(1.0)))
        }
        mul_add(self, factor: Self, addend: Self) -> Self {
            Avx2(_mm256_fmadd_ps(self.0, factor.0, addend.0))
        }
        round(self) -> Self {
            Avx2(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0))
        }
        exp2_integer(self) -> Self {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(self.0), _mm256_set1_epi32(127));
            Avx2(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
        }
        sum(self) -> f32 {
            let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
        greatest(self) -> f32 {
            let four = _mm_max_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
        transpose_eight(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) -> () {
            let mut rows = [_mm256_setzero_ps(); 8];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = _mm256_loadu_ps(from.add(i * stride));
            }
            // Pairs of two rows, then quads of four, then both halves of the eight.
            let mut pairs = rows;
            for i in (0..8).step_by(2) {
                pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
                pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
            }
            let mut quads = pairs;
            for i in (0..8).step_by(4) {
                for k in 0..2 {
                    quads[i + 2 * k] = _mm256_shuffle_ps::<0x44>(pairs[i + k], pairs[i + 2 + k]);
                    quads[i + 2 * k + 1] = _mm256_shuffle_ps::<0xEE>(pairs[i + k], pairs[i + 2 + k]);
                }
            }
            for j in 0..4 {
                let low = _mm256_permute2f128_ps::<0x20>(quads[j], quads[j + 4]);
                let high = _mm256_permute2f128_ps::<0x31>(quads[j], quads[j + 4]);
                _mm256_storeu_ps(to.add(j * to_stride), low);
                _mm256_storeu_ps(to.add((j + 4) * to_stride), high);
            }
        }
    }
}

/// Six rows of two registers take 12 registers of integer sums and 12 of float sums. The rest of
/// the 32 registers hold weights, an input and scales.
const SPAN_ROWS: usize = 6;

// SAFETY: callers of these methods ensure that the processor has the features of the intrinsics and
// that pointers are valid.
unsafe impl Vector for Avx512 {
    const LANES: usize = 16;
    const TILE: usize = 24;

    methods! {
        splat(x: f32) -> Self { Avx512(_mm512_set1_ps(x)) }
        load(from: *const f32) -> Self { Avx512(_mm512_loadu_ps(from)) }
        load_f16(from: *const u16) -> Self { Avx512(_mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))) }
        load_bf16(from: *const u16) -> Self {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            Avx512(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide)))
        }
        load_i8(from: *const i8) -> Self {
            Avx512(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))))
        }
        store(self, to: *mut f32) -> () { _mm512_storeu_ps(to, self.0) }
        store_f16(self, to: *mut u16) -> () {
            _mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0))
        }
        store_bf16(self, to: *mut u16) -> () {
            let bits = _mm512_castps_si512(self.0);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
            // The carry would make some NaNs zero.
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
            let up = _mm512_mask_mov_epi32(up, nan, _mm512_set1_epi32(0x7FC0_0000));
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(up)))
        }
        add(self, other: Self) -> Self { Avx512(_mm512_add_ps(self.0, other.0)) }
        sub(self, other: Self) -> Self { Avx512(_mm512_sub_ps(self.0, other.0)) }
        mul(self, other: Self) -> Self { Avx512(_mm512_mul_ps(self.0, other.0)) }
        div(self, other: Self) -> Self { Avx512(_mm512_div_ps(self.0, other.0)) }
        max(self, other: Self) -> Self { Avx512(_mm512_max_ps(self.0, other.0)) }
        min(self, other: Self) -> Self { Avx512(_mm512_min_ps(self.0, other.0)) }
        positive(self) -> Self {
            let greater = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, _mm512_setzero_ps());
            Avx512(_mm512_maskz_mov_ps(greater, _mm512_set1_ps(1.0)))
        }
        mul_add(self, factor: Self, addend: Self) -> Self {
            Avx512(_mm512_fmadd_ps(self.0, factor.0, addend.0))
        }
        round(self) -> Self {
            Avx512(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0))
        }
        exp2_integer(self) -> Self {
            let biased = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(127));
            Avx512(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased)))
        }
        sum(self) -> f32 { _mm512_reduce_add_ps(self.0) }
        greatest(self) -> f32 { _mm512_reduce_max_ps(self.0) }
        // A transposition in registers of eight lanes is as fast, and AVX-512 implies AVX2.
        transpose_eight(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) -> () {
            Avx2::transpose_eight(from, stride, to, to_stride)
        }
    }
}

// SAFETY: as above.
unsafe impl IntDot for Avx2 {
    type V = Avx2;
    type Quant = i16;
    type Group = __m256i;
    type Sums = __m256i;

    methods! {
        store_quants(rounded: Avx2, to: *mut i16) -> () {
            let wide = _mm256_cvtps_epi32(rounded.0);
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packs_epi32(wide, wide));
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(packed))
        }
        splat(from: *const i16) -> __m256i { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
        bytes(from: *const u8) -> __m256i { _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast())) }
        bits(from: *const u8, shift: u32, mask: u8) -> __m256i {
            let words = _mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast()));
            let shifted = _mm256_srl_epi16(words, _mm_cvtsi32_si128(shift as i32));
            _mm256_and_si256(shifted, _mm256_set1_epi16(mask.into()))
        }
        merge(low: __m256i, high: __m256i, shift: u32) -> __m256i {
            _mm256_or_si256(low, _mm256_sll_epi16(high, _mm_cvtsi32_si128(shift as i32)))
        }
        start(sum: i32) -> __m256i { _mm256_set1_epi32(sum) }
        add_products(sums: __m256i, weights: __m256i, inputs: __m256i) -> __m256i {
            _mm256_add_epi32(sums, _mm256_madd_epi16(weights, inputs))
        }
        floats(sums: __m256i) -> Avx2 { Avx2(_mm256_cvtepi32_ps(sums)) }
    }
}

// SAFETY: as above.
unsafe impl IntDot for Avx512 {
    type V = Avx512;
    type Quant = i16;
    type Group = __m512i;
    type Sums = __m512i;
    const SPAN_ROWS: usize = SPAN_ROWS;

    methods! {
        store_quants(rounded: Avx512, to: *mut i16) -> () {
            _mm256_storeu_si256(to.cast(), _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(rounded.0)))
        }
        splat(from: *const i16) -> __m512i { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
        bytes(from: *const u8) -> __m512i { _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.cast())) }
        bits(from: *const u8, shift: u32, mask: u8) -> __m512i {
            let words = _mm512_cvtepu8_epi16(_mm256_loadu_si256(from.cast()));
            let shifted = _mm512_srl_epi16(words, _mm_cvtsi32_si128(shift as i32));
            _mm512_and_si512(shifted, _mm512_set1_epi16(mask.into()))
        }
        merge(low: __m512i, high: __m512i, shift: u32) -> __m512i {
            _mm512_or_si512(low, _mm512_sll_epi16(high, _mm_cvtsi32_si128(shift as i32)))
        }
        start(sum: i32) -> __m512i { _mm512_set1_epi32(sum) }
        add_products(sums: __m512i, weights: __m512i, inputs: __m512i) -> __m512i {
            _mm512_add_epi32(sums, _mm512_madd_epi16(weights, inputs))
        }
        floats(sums: __m512i) -> Avx512 { Avx512(_mm512_cvtepi32_ps(sums)) }
    }
}

// SAFETY: as above.
unsafe impl IntDot for Vnni {
    type V = Avx512;
    type Quant = i8;
    type Group = __m512i;
    type Sums = __m512i;
    // The instruction takes one unsigned operand.
    const SHIFT: i32 = 128;
    const SPAN_ROWS: usize = SPAN_ROWS;

    methods! {
        store_quants(rounded: Avx512, to: *mut i8) -> () {
            _mm_storeu_si128(to.cast(), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(rounded.0)))
        }
        splat(from: *const i8) -> __m512i { <Avx512 as IntDot>::splat(from.cast()) }
        bytes(from: *const u8) -> __m512i { _mm512_loadu_si512(from.cast()) }
        bits(from: *const u8, shift: u32, mask: u8) -> __m512i {
            let shift = _mm_cvtsi32_si128(shift as i32);
            let shifted = _mm512_srl_epi16(_mm512_loadu_si512(from.cast()), shift);
            _mm512_and_si512(shifted, _mm512_set1_epi8(mask as i8))
        }
        merge(low: __m512i, high: __m512i, shift: u32) -> __m512i {
            Avx512::merge(low, high, shift)
        }
        start(sum: i32) -> __m512i { Avx512::start(sum) }
        add_products(sums: __m512i, weights: __m512i, inputs: __m512i) -> __m512i {
            _mm512_dpbusd_epi32(sums, weights, inputs)
        }
        floats(sums: __m512i) -> Avx512 { Avx512::floats(sums) }
    }
}

// SAFETY: as above.
unsafe impl Pairs for Avx512 {
    methods! {
        add_pairs(sums: Self, weights: Self, inputs: Self) -> Self {
            let pairs = |x: Avx512| std::mem::transmute::<__m512, __m512bh>(x.0);
            Avx512(_mm512_dpbf16_ps(sums.0, pairs(weights), pairs(inputs)))
        }
        pair_up(first: Self, second: Self) -> Self {
            let halves = _mm512_cvtne2ps_pbh(second.0, first.0);
            // Lane i of the first half, then lane i of the second.
            let order: [u16; 32] = std::array::from_fn(|i| (i / 2 + i % 2 * 16) as u16);
            let order = _mm512_loadu_si512(order.as_ptr().cast());
            let paired = _mm512_permutexvar_epi16(order, std::mem::transmute::<__m512bh, __m512i>(halves));
            Avx512(_mm512_castsi512_ps(paired))
        }
        store_pairs(first: Self, second: Self, to: *mut u32) -> () {
            let pairs = _mm512_cvtne2ps_pbh(second.0, first.0);
            _mm512_storeu_si512(to.cast(), std::mem::transmute::<__m512bh, __m512i>(pairs))
        }
    }
}
