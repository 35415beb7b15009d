//! The vector type over which kernels are written: a register of f32 with about twenty operations.
//!
//! Each instruction set is an implementation of [`Vector`] (`x86`, `neon`, `wasm`, `portable`).
//! Apart from [`PANEL`], nothing here depends on matrices.

/// Outputs that a panel of a packed matrix holds side by side. Every vector length divides it.
pub const PANEL: usize = 32;

/// A register of f32.
///
/// # Safety
/// Every method may be called only where the processor has the features that the implementation is
/// named after. Kernels guarantee that by being reachable only through the function table of their
/// instruction set, which is handed out after detection. Pointers must be readable (or writable)
/// for a whole vector of their element; they need no alignment.
pub unsafe trait Vector: Copy {
    /// Numbers in a register.
    const LANES: usize;
    /// Registers of sums in a tile of a matrix product: the most for which the registers also hold
    /// the weights and inputs of a step.
    const TILE: usize;

    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn load_f16(from: *const u16) -> Self;
    unsafe fn load_bf16(from: *const u16) -> Self;
    unsafe fn load_i8(from: *const i8) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// Rounded to nearest, ties to even; overflow gives infinity.
    unsafe fn store_f16(self, to: *mut u16);
    /// Rounded to nearest, ties to even; overflow gives infinity. A NaN stays NaN, with any
    /// mantissa.
    unsafe fn store_bf16(self, to: *mut u16);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    unsafe fn min(self, other: Self) -> Self;
    /// 1 in each lane that is greater than zero, otherwise 0.
    unsafe fn positive(self) -> Self;
    /// `self * factor + addend`, rounded once where the hardware can.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// The nearest integer, ties to even. The magnitude of `self` must be below 2^22.
    unsafe fn round(self) -> Self;
    /// 2 to the power of an integer in -126..=127.
    unsafe fn exp2_integer(self) -> Self;
    /// The sum of all lanes.
    unsafe fn sum(self) -> f32;
    /// The greatest lane.
    unsafe fn greatest(self) -> f32;
    /// `to[j * to_stride + i] = from[i * stride + j]` for eight rows and eight columns.
    #[inline(always)]
    // SAFETY: the contract is the trait's.
    unsafe fn transpose_eight(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        for i in 0..8 {
            for j in 0..8 {
                // SAFETY: the caller's pointers are valid for such blocks.
                unsafe { *to.add(j * to_stride + i) = *from.add(i * stride + j) };
            }
        }
    }
}

/// A set that multiplies pairs of bf16 and adds both products to an f32.
///
/// # Safety
/// See [`Vector`]. Registers of pairs have the same type as registers of f32; only these functions
/// read them as pairs.
pub unsafe trait Pairs: Vector {
    /// In each lane, both products of a pair of weights and a pair of inputs, added to the sum.
    unsafe fn add_pairs(sums: Self, weights: Self, inputs: Self) -> Self;
    /// Joins each lane of `first` and the same lane of `second` into a pair, rounded to nearest,
    /// ties to even.
    unsafe fn pair_up(first: Self, second: Self) -> Self;
    /// Joins neighbouring lanes into pairs, rounded to nearest, ties to even, and stores the pairs
    /// of `first`, then those of `second`: `LANES` pairs in all.
    unsafe fn store_pairs(first: Self, second: Self, to: *mut u32);
}

/// `e^x` to about one unit in the last place: 2^n times a polynomial in the remainder `r`, where
/// `|r| <= ln2/2` (Cody and Waite's reduction in two steps). `x` is clamped to -87.33..=88.37; NaN
/// gives NaN.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn exp<V: Vector>(x: V) -> V {
    // SAFETY: the caller's promise is passed on to every call.
    unsafe {
        let (power, r, p) = reduced(x);
        p.mul_add(r, V::splat(1.0)).mul(power)
    }
}

/// `e^x - 1`, which stays accurate where x is near zero. `x` is clamped as in [`exp`].
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn exp_m1<V: Vector>(x: V) -> V {
    // SAFETY: the caller's promise is passed on to every call.
    unsafe {
        let (power, r, p) = reduced(x);
        p.mul(r).mul_add(power, power.sub(V::splat(1.0)))
    }
}

/// `2^n`, the remainder `r`, and `p` with `e^r = 1 + r p`. The bounds are as in [`exp`].
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
unsafe fn reduced<V: Vector>(x: V) -> (V, V, V) {
    // SAFETY: the caller's promise is passed on to every call.
    unsafe {
        // The bound is the first operand: `max` and `min` return the second one for a NaN.
        let x = V::splat(88.37).min(V::splat(-87.33).max(x));
        let n = x.mul(V::splat(std::f32::consts::LOG2_E)).round();
        let r = n.mul_add(V::splat(-0.693_359_4), x);
        let r = n.mul_add(V::splat(2.121_944_4e-4), r);
        // The Taylor series to the seventh power: its error at ln2/2 is 5e-9, under half an ulp.
        let coefficients = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0];
        let mut p = V::splat(1.0 / 5040.0);
        for c in coefficients {
            p = p.mul_add(r, V::splat(c));
        }
        (n.exp2_integer(), r, p)
    }
}
