//! Kernels of one row: norms, activations, and the running softmax of attention.

use super::vector::{Vector, exp, exp_m1};

/// Replaces each element `$x` of `$row` by `$result`; a partial last vector goes through a copy. It
/// is a macro for the reason given in [`learn`](super::learn).
macro_rules! map {
    ($V:ident, $row:ident, |$x:ident| $result:expr) => {
        // SAFETY: vectors lie within the row, or in a copy that is as long as the longest vector.
        unsafe {
            let whole = $row.len() / $V::LANES * $V::LANES;
            for i in (0..whole).step_by($V::LANES) {
                let at = $row.as_mut_ptr().add(i);
                let $x = $V::load(at);
                let result: $V = $result;
                result.store(at);
            }
            if whole < $row.len() {
                let mut rest = [0.0f32; 16];
                let tail = &mut $row[whole..];
                rest[..tail.len()].copy_from_slice(tail);
                let $x = $V::load(rest.as_ptr());
                let result: $V = $result;
                result.store(rest.as_mut_ptr());
                tail.copy_from_slice(&rest[..tail.len()]);
            }
        }
    };
}

/// The sum of a row.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
unsafe fn total<V: Vector>(row: &[f32]) -> f32 {
    // SAFETY: vectors lie within `row`.
    unsafe {
        let whole = row.len() / V::LANES * V::LANES;
        let mut sum = V::splat(0.0);
        for i in (0..whole).step_by(V::LANES) {
            sum = sum.add(V::load(row.as_ptr().add(i)));
        }
        let mut total = sum.sum();
        for x in &row[whole..] {
            total += x;
        }
        total
    }
}

/// The sum of the squares of a row's distances from `centre`.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
unsafe fn squares_around<V: Vector>(row: &[f32], centre: f32) -> f32 {
    // SAFETY: vectors lie within `row`.
    unsafe {
        let whole = row.len() / V::LANES * V::LANES;
        let mut sum = V::splat(0.0);
        for i in (0..whole).step_by(V::LANES) {
            let d = V::load(row.as_ptr().add(i)).sub(V::splat(centre));
            sum = sum.add(d.mul(d));
        }
        let mut total = sum.sum();
        for x in &row[whole..] {
            total += (x - centre) * (x - centre);
        }
        total
    }
}

/// Mean and `1 / sqrt(variance + eps)` of a row.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn layer_statistics<V: Vector>(x: &[f32], eps: f32) -> [f32; 2] {
    // SAFETY: the caller's contract is the same.
    unsafe {
        let n = x.len() as f32;
        let mean = total::<V>(x) / n;
        let squares = squares_around::<V>(x, mean);
        [mean, 1.0 / (squares / n + eps).sqrt()]
    }
}

/// Zero and `1 / sqrt(mean of squares + eps)` of a row.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn rms_statistics<V: Vector>(x: &[f32], eps: f32) -> [f32; 2] {
    // SAFETY: the caller's contract is the same.
    let squares = unsafe { squares_around::<V>(x, 0.0) };
    [0.0, 1.0 / (squares / x.len() as f32 + eps).sqrt()]
}

/// `(x - mean) * scale * gamma + beta`. All slices have the same length; `beta` may be empty.
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

/// `x / (1 + e^-x)`.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn silu<V: Vector>(row: &mut [f32]) {
    map!(V, row, |x| x.div(V::splat(1.0).add(exp(V::splat(0.0).sub(x)))));
}

/// `max(x, 0)`; NaN stays NaN.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn relu<V: Vector>(row: &mut [f32]) {
    map!(V, row, |x| V::splat(0.0).max(x));
}

/// `0.5 x (1 + tanh u)` with `u = sqrt(2/pi) (x + 0.044715 x^3)`, computed as `x / (1 + e^-2u)`,
/// which is equal and does not cancel where tanh is near -1.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn gelu_tanh<V: Vector>(row: &mut [f32]) {
    const A: f32 = -2.0 * 0.797_884_6;
    const B: f32 = A * 0.044_715;
    map!(V, row, |x| {
        let inner = x.mul(x).mul_add(V::splat(B), V::splat(A)).mul(x);
        x.div(V::splat(1.0).add(exp(inner)))
    });
}

/// `x Phi(x)`, computed as `x - x tail` for positive x and `x tail` for negative x, so nothing
/// cancels.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn gelu<V: Vector>(row: &mut [f32]) {
    map!(V, row, |x| {
        let zero = V::splat(0.0);
        let magnitude = x.max(zero.sub(x));
        x.max(zero).sub(magnitude.mul(normal_tail(x).0))
    });
}

/// The tail of the normal distribution beyond `|x|`, `erfc(z) / 2` with `z = |x| / sqrt 2`, and
/// `e^(-x^2 / 2)`. With `t = 1 / (1 + z / 2)`, `erfc(z) e^(z^2) / t` is a smooth function of `t`.
/// It is interpolated at Chebyshev nodes, with a relative error of 6e-9 for |x| up to 15.5, beyond
/// which the exponential is too small for an f32.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn normal_tail<V: Vector>(x: V) -> (V, V) {
    const FIT: [f32; 10] = [
        -0.183_982_39,
        0.365_018_13,
        -0.268_078_26,
        -0.039_420_158,
        0.044_446_655,
        0.051_915_52,
        0.186_178_53,
        0.245_118_95,
        0.282_254_3,
        0.282_088_6,
    ];
    // SAFETY: the caller's contract is the same.
    unsafe {
        let one = V::splat(1.0);
        let size = x.max(V::splat(0.0).sub(x));
        // Half of z.
        let half = size.mul(V::splat(0.5 * std::f32::consts::FRAC_1_SQRT_2));
        let t = one.div(half.add(one));
        let mut fit = V::splat(0.034_460_112);
        for c in FIT {
            fit = fit.mul_add(t, V::splat(c));
        }
        let bell = exp(x.mul(V::splat(-0.5)).mul(x));
        (t.mul(fit).mul(bell).mul(V::splat(0.5)), bell)
    }
}

/// The state of an online softmax: the maximum so far, and the sum of `e^(score - maximum)`.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// The maximum so far.
    pub max: f32,
    /// The sum of `e^(score - max)`.
    pub sum: f32,
}

impl Running {
    /// No scores yet.
    pub const EMPTY: Running = Running { max: f32::NEG_INFINITY, sum: 0.0 };
}

/// Replaces the first `seen` of `scores` (one or more) by `e^(scale * score - maximum)` and the
/// rest by zero. Returns the factor by which sums under the old maximum have to be multiplied.
///
/// # Safety
/// See [`Vector`]; `seen` is at most the length of `scores`.
#[inline(always)]
pub unsafe fn softmax_block<V: Vector>(
    scores: &mut [f32],
    seen: usize,
    scale: f32,
    state: &mut Running,
) -> f32 {
    // SAFETY: whole vectors are only taken below `seen`, which is at most the length of the scores.
    unsafe {
        let whole = seen / V::LANES * V::LANES;
        let mut max = V::splat(f32::NEG_INFINITY);
        for i in (0..whole).step_by(V::LANES) {
            max = max.max(V::load(scores.as_ptr().add(i)));
        }
        let greatest = scores[whole..seen].iter().copied().fold(max.greatest(), f32::max) * scale;
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
        let tail = &mut scores[whole..seen];
        exp_tail::<V>(tail, factor, shift);
        total += tail.iter().sum::<f32>();
        scores[seen..].fill(0.0);
        let shrink = (state.max - new).exp();
        *state = Running { max: new, sum: state.sum * shrink + total };
        shrink
    }
}

/// `e^(factor * x + shift)` of the elements after a row's last whole vector.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn exp_tail<V: Vector>(tail: &mut [f32], factor: V, shift: V) {
    if tail.is_empty() {
        return;
    }
    let mut copy = [0.0f32; 16];
    copy[..tail.len()].copy_from_slice(tail);
    // SAFETY: the copy is as long as the longest vector, the tail shorter than one.
    unsafe {
        let at = copy.as_mut_ptr();
        exp(V::load(at).mul_add(factor, shift)).store(at);
    }
    tail.copy_from_slice(&copy[..tail.len()]);
}

/// `cap * tanh(scale * x / cap)` of each element. `tanh u` is computed as `m / (m + 2)` with
/// `m = e^2u - 1`, which does not cancel.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn softcap<V: Vector>(row: &mut [f32], scale: f32, cap: f32) {
    let factor = 2.0 * scale / cap;
    map!(V, row, |x| {
        let m = exp_m1(x.mul(V::splat(factor)));
        V::splat(cap).mul(m.div(m.add(V::splat(2.0))))
    });
}

/// `row *= factor`.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn scale<V: Vector>(row: &mut [f32], factor: f32) {
    map!(V, row, |x| x.mul(V::splat(factor)));
}
