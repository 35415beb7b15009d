//! Work along one row: norms, activations, and the running softmax of attention.

use super::vector::{Vector, exp};

/// Applies `f` to every element, the rest of the last vector through a copy.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn map<V: Vector>(row: &mut [f32], f: impl Fn(V) -> V) {
    // SAFETY: vectors lie within `row`, or in `rest`, which is longer than any vector.
    unsafe {
        let whole = row.len() / V::LANES * V::LANES;
        for i in (0..whole).step_by(V::LANES) {
            let at = row.as_mut_ptr().add(i);
            f(V::load(at)).store(at);
        }
        if whole < row.len() {
            let mut rest = [0.0f32; 16];
            let tail = &mut row[whole..];
            rest[..tail.len()].copy_from_slice(tail);
            f(V::load(rest.as_ptr())).store(rest.as_mut_ptr());
            tail.copy_from_slice(&rest[..tail.len()]);
        }
    }
}

/// The sum of `f` over a row.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn total<V: Vector>(row: &[f32], f: impl Fn(V) -> V, scalar: impl Fn(f32) -> f32) -> f32 {
    // SAFETY: vectors lie within `row`.
    unsafe {
        let whole = row.len() / V::LANES * V::LANES;
        let mut sum = V::splat(0.0);
        for i in (0..whole).step_by(V::LANES) {
            sum = sum.add(f(V::load(row.as_ptr().add(i))));
        }
        sum.sum() + row[whole..].iter().map(|&x| scalar(x)).sum::<f32>()
    }
}

/// Mean and `1 / sqrt(variance + eps)` of a row.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub unsafe fn layer_statistics<V: Vector>(x: &[f32], eps: f32) -> [f32; 2] {
    // SAFETY: passed on.
    unsafe {
        let n = x.len() as f32;
        let mean = total::<V>(x, |x| x, |x| x) / n;
        let centre = V::splat(mean);
        let squares = total::<V>(
            x,
            |x| {
                let d = x.sub(centre);
                d.mul(d)
            },
            |x| (x - mean) * (x - mean),
        );
        [mean, 1.0 / (squares / n + eps).sqrt()]
    }
}

/// Zero and `1 / sqrt(mean of squares + eps)` of a row.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub unsafe fn rms_statistics<V: Vector>(x: &[f32], eps: f32) -> [f32; 2] {
    // SAFETY: passed on.
    let squares = unsafe { total::<V>(x, |x| x.mul(x), |x| x * x) };
    [0.0, 1.0 / (squares / x.len() as f32 + eps).sqrt()]
}

/// `(x - mean) * scale * gamma + beta`. All slices have one length; `beta` may be empty.
///
/// # Safety
/// None beyond the instruction set's: slices are indexed.
#[inline(always)]
pub unsafe fn normalise<V: Vector>(
    x: &[f32],
    [mean, scale]: [f32; 2],
    gamma: &[f32],
    beta: &[f32],
    out: &mut [f32],
) {
    for ((out, x), gamma) in out.iter_mut().zip(x).zip(gamma) {
        *out = (x - mean) * scale * gamma;
    }
    for (out, beta) in out.iter_mut().zip(beta) {
        *out += beta;
    }
}

/// The sums of each 32 elements; the last may be shorter.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub unsafe fn block_sums<V: Vector>(x: &[f32], sums: &mut [f32]) {
    for (x, sum) in x.chunks(32).zip(sums) {
        // SAFETY: passed on.
        *sum = unsafe { total::<V>(x, |x| x, |x| x) };
    }
}

/// `x / (1 + e^-x)`.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub unsafe fn silu<V: Vector>(row: &mut [f32]) {
    // SAFETY: passed on.
    unsafe { map::<V>(row, |x| x.div(V::splat(1.0).add(exp(V::splat(0.0).sub(x))))) }
}

/// `max(x, 0)`; NaN stays NaN.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub unsafe fn relu<V: Vector>(row: &mut [f32]) {
    // SAFETY: passed on.
    unsafe { map::<V>(row, |x| V::splat(0.0).max(x)) }
}

/// `0.5 x (1 + tanh u)` with `u = sqrt(2/pi) (x + 0.044715 x^3)`, written as `x / (1 + e^-2u)`, which is the same and does not
/// cancel where tanh is near -1.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub unsafe fn gelu_tanh<V: Vector>(row: &mut [f32]) {
    const A: f32 = -2.0 * 0.797_884_6;
    const B: f32 = A * 0.044_715;
    // SAFETY: passed on.
    unsafe {
        map::<V>(row, |x| {
            let inner = x.mul(x).mul_add(V::splat(B), V::splat(A)).mul(x);
            x.div(V::splat(1.0).add(exp(inner)))
        })
    }
}

/// `x Phi(x)`: the value is `x - x tail` on the right and `x tail` on the left, so nothing cancels.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub unsafe fn gelu<V: Vector>(row: &mut [f32]) {
    // SAFETY: passed on.
    unsafe {
        let zero = V::splat(0.0);
        map::<V>(row, |x| {
            let magnitude = x.max(zero.sub(x));
            x.max(zero).sub(magnitude.mul(normal_tail(x)))
        })
    }
}

/// The normal distribution beyond `|x|`, `erfc(|x| / sqrt 2) / 2`. The complementary error function is that of Press et al., Numerical
/// Recipes (2nd ed., 6.2): a Chebyshev fit with a relative error below 1.2e-7 everywhere.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub unsafe fn normal_tail<V: Vector>(x: V) -> V {
    const FIT: [f32; 9] = [
        -0.822_152_2,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ];
    // SAFETY: passed on.
    unsafe {
        let one = V::splat(1.0);
        let z = x.mul(V::splat(std::f32::consts::FRAC_1_SQRT_2));
        let size = z.max(V::splat(0.0).sub(z));
        let t = one.div(size.mul_add(V::splat(0.5), one));
        let mut fit = V::splat(0.170_872_77);
        for c in FIT {
            fit = fit.mul_add(t, V::splat(c));
        }
        t.mul(exp(fit.sub(size.mul(size)))).mul(V::splat(0.5))
    }
}

/// The state of a softmax that has not seen all its scores: the maximum so far, and the sum of `e^(score - maximum)`.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    pub max: f32,
    pub sum: f32,
}

/// Turns the first `seen` of `scores` (one or more) into `e^(scale * score - maximum)` and the rest into zero. Returns the factor by
/// which everything gathered under the old maximum has shrunk.
///
/// # Safety
/// As [`Vector`]; `scores` has room for whole vectors up to `seen`.
#[inline(always)]
pub unsafe fn softmax_block<V: Vector>(
    scores: &mut [f32],
    seen: usize,
    scale: f32,
    state: &mut Running,
) -> f32 {
    // SAFETY: passed on; the scores are a whole number of vectors long.
    unsafe {
        let whole = seen / V::LANES * V::LANES;
        let mut max = V::splat(f32::NEG_INFINITY);
        for i in (0..whole).step_by(V::LANES) {
            max = max.max(V::load(scores.as_ptr().add(i)));
        }
        let greatest = scores[whole..seen]
            .iter()
            .copied()
            .fold(max.greatest(), f32::max)
            * scale;
        let new = state.max.max(greatest);
        let (factor, shift) = (V::splat(scale), V::splat(-new));
        let mut sum = V::splat(0.0);
        for i in (0..whole).step_by(V::LANES) {
            let at = scores.as_mut_ptr().add(i);
            let p = exp(V::load(at).mul_add(factor, shift));
            p.store(at);
            sum = sum.add(p);
        }
        let mut total = sum.sum();
        for score in &mut scores[whole..seen] {
            *score = (*score * scale - new).exp();
            total += *score;
        }
        scores[seen..].fill(0.0);
        let shrink = (state.max - new).exp();
        *state = Running {
            max: new,
            sum: state.sum * shrink + total,
        };
        shrink
    }
}

/// `row *= factor`.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub unsafe fn scale<V: Vector>(row: &mut [f32], factor: f32) {
    // SAFETY: passed on.
    unsafe { map::<V>(row, |x| x.mul(V::splat(factor))) }
}
