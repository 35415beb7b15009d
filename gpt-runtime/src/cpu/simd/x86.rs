//! AVX2 with FMA and F16C, and AVX-512.

use std::arch::x86_64::*;

use super::vector::Vector;

/// Eight lanes; needs `avx2`, `fma`, `f16c`.
#[derive(Clone, Copy)]
pub struct Avx2(__m256);

/// Sixteen lanes; needs `avx512f`.
#[derive(Clone, Copy)]
pub struct Avx512(__m512);

// SAFETY: `Vector` asks callers for the features these intrinsics need, and for pointers they may read.
unsafe impl Vector for Avx2 {
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;

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
        load_nibbles(from: *const u8) -> (Self, Self) {
            let wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()));
            let low = _mm256_and_si256(wide, _mm256_set1_epi32(15));
            let high = _mm256_srli_epi32::<4>(wide);
            (Avx2(_mm256_cvtepi32_ps(low)), Avx2(_mm256_cvtepi32_ps(high)))
        }
        store(self, to: *mut f32) -> () { _mm256_storeu_ps(to, self.0) }
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
    }
}

// SAFETY: `Vector` asks callers for the features these intrinsics need, and for pointers they may read.
unsafe impl Vector for Avx512 {
    const LANES: usize = 16;
    const TILE_ROWS: usize = 12;

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
        load_nibbles(from: *const u8) -> (Self, Self) {
            let wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()));
            let low = _mm512_and_si512(wide, _mm512_set1_epi32(15));
            let high = _mm512_srli_epi32::<4>(wide);
            (Avx512(_mm512_cvtepi32_ps(low)), Avx512(_mm512_cvtepi32_ps(high)))
        }
        store(self, to: *mut f32) -> () { _mm512_storeu_ps(to, self.0) }
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
    }
}
