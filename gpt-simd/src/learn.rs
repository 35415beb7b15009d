//! Kernels of training in addition to products and to the kernels of `rows`: activations with their
//! slopes, the backward pass of norms, sums over rows, transposition, AdamW, dropout, rounding.
//!
//! The compiler vectorises loops over arrays of a panel's width for the instruction set.

use super::vector::{PANEL, Vector, exp};

/// Replaces each element `$x` of `$values` by the first element of the pair `$result`, and each of
/// `$slopes` by the second, vector by vector; a partial last vector goes through copies. This is a
/// macro because a closure that is not inlined is compiled without the instruction set's features,
/// so that every operation in it becomes a call.
macro_rules! map_two {
    ($V:ident, $values:ident, $slopes:ident, |$x:ident| $result:expr) => {
        // SAFETY: vectors lie within the rows, or in copies that are as long as the longest vector.
        unsafe {
            let whole = $values.len() / $V::LANES * $V::LANES;
            for i in (0..whole).step_by($V::LANES) {
                let at = $values.as_mut_ptr().add(i);
                let $x = $V::load(at);
                let (value, slope): ($V, $V) = $result;
                value.store(at);
                slope.store($slopes.as_mut_ptr().add(i));
            }
            let rest = $values.len() - whole;
            if rest > 0 {
                let (mut a, mut b) = ([0.0f32; 16], [0.0f32; 16]);
                a[..rest].copy_from_slice(&$values[whole..]);
                let $x = $V::load(a.as_ptr());
                let (value, slope): ($V, $V) = $result;
                value.store(a.as_mut_ptr());
                slope.store(b.as_mut_ptr());
                $values[whole..].copy_from_slice(&a[..rest]);
                $slopes[whole..].copy_from_slice(&b[..rest]);
            }
        }
    };
}

/// `max(x, 0)` and its slope, 0 at 0.
///
/// # Safety
/// See [`Vector`]; both rows have the same length.
#[inline(always)]
pub unsafe fn relu_slopes<V: Vector>(values: &mut [f32], slopes: &mut [f32]) {
    map_two!(V, values, slopes, |x| (V::splat(0.0).max(x), x.positive()));
}

/// `x s` with `s = 1 / (1 + e^-x)`; its slope is `s + x s (1 - s)`.
///
/// # Safety
/// See [`Vector`]; both rows have the same length.
#[inline(always)]
pub unsafe fn silu_slopes<V: Vector>(values: &mut [f32], slopes: &mut [f32]) {
    map_two!(V, values, slopes, |x| {
        let one = V::splat(1.0);
        let e = exp(V::splat(0.0).sub(x));
        let s = one.div(one.add(e));
        let value = x.mul(s);
        (value, value.mul_add(one.sub(s), s))
    });
}

/// GELU's tanh form is `x s` with `s = 1 / (1 + e^-2u)`, `u = sqrt(2/pi) (x + 0.044715 x^3)`; its
/// slope is `s + x s (1 - s) 2 u'`.
///
/// # Safety
/// See [`Vector`]; both rows have the same length.
#[inline(always)]
pub unsafe fn gelu_tanh_slopes<V: Vector>(values: &mut [f32], slopes: &mut [f32]) {
    const A: f32 = -2.0 * 0.797_884_6;
    const B: f32 = A * 0.044_715;
    map_two!(V, values, slopes, |x| {
        let one = V::splat(1.0);
        let square = x.mul(x);
        let inner = square.mul_add(V::splat(B), V::splat(A)).mul(x);
        let s = one.div(one.add(exp(inner)));
        let value = x.mul(s);
        let steep = square.mul_add(V::splat(-3.0 * B), V::splat(-A));
        (value, value.mul(one.sub(s)).mul_add(steep, s))
    });
}

/// The exact GELU `x Phi(x)`; its slope is `Phi(x) + x phi(x)` with the normal density `phi`. `Phi`
/// is computed as in [`gelu`](super::rows::gelu).
///
/// # Safety
/// See [`Vector`]; both rows have the same length.
#[inline(always)]
pub unsafe fn gelu_slopes<V: Vector>(values: &mut [f32], slopes: &mut [f32]) {
    map_two!(V, values, slopes, |x| {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        let (tail, bell) = super::rows::normal_tail(x);
        let magnitude = x.max(zero.sub(x));
        let value = x.max(zero).sub(magnitude.mul(tail));
        // Phi is `tail` on the left and `1 - tail` on the right.
        let right = x.positive();
        let phi = right.add(tail.mul(one.sub(right.add(right))));
        let density = bell.mul(V::splat(0.398_942_3));
        (value, x.mul_add(density, phi))
    });
}

/// The backward pass of a norm for one row. With `x' = (x - mean) scale` and `g = gamma dy`, the
/// result is `(g - centred mean(g) - x' mean(g x')) scale`. If `add` is true, it is added to `out`.
/// `centred` is 1 for LayerNorm and 0 for RMSNorm.
///
/// # Safety
/// See [`Vector`]; all slices have the same length.
#[inline(always)]
pub unsafe fn norm_backward<V: Vector>(
    x: &[f32],
    dy: &[f32],
    gamma: &[f32],
    [mean, scale, centred]: [f32; 3],
    out: &mut [f32],
    add: bool,
) {
    // SAFETY: vectors lie within the slices.
    unsafe {
        let n = x.len();
        let whole = n / V::LANES * V::LANES;
        let (centre, by) = (V::splat(mean), V::splat(scale));
        let (mut sum, mut along) = (V::splat(0.0), V::splat(0.0));
        for i in (0..whole).step_by(V::LANES) {
            let g = V::load(dy.as_ptr().add(i)).mul(V::load(gamma.as_ptr().add(i)));
            let normal = V::load(x.as_ptr().add(i)).sub(centre).mul(by);
            sum = sum.add(g);
            along = g.mul_add(normal, along);
        }
        let (mut sum, mut along) = (sum.sum(), along.sum());
        for i in whole..n {
            let g = dy[i] * gamma[i];
            sum += g;
            along += g * (x[i] - mean) * scale;
        }
        let shift = centred * sum / n as f32;
        let tilt = along / n as f32;
        for i in (0..whole).step_by(V::LANES) {
            let g = V::load(dy.as_ptr().add(i)).mul(V::load(gamma.as_ptr().add(i)));
            let normal = V::load(x.as_ptr().add(i)).sub(centre).mul(by);
            let d = g.sub(V::splat(shift)).sub(normal.mul(V::splat(tilt))).mul(by);
            let to = out.as_mut_ptr().add(i);
            if add { V::load(to).add(d) } else { d }.store(to);
        }
        for i in whole..n {
            let d = (dy[i] * gamma[i] - shift - (x[i] - mean) * scale * tilt) * scale;
            out[i] = if add { out[i] + d } else { d };
        }
    }
}

/// Sums over rows, a panel wide: `gamma += Σ dy (x - mean) scale` and `beta += Σ dy`. `stats` has
/// mean and scale of each row.
///
/// # Safety
/// None beyond the instruction set's: slices are indexed.
#[inline(always)]
pub unsafe fn norm_sums<V: Vector>(
    x: &[f32],
    dy: &[f32],
    stride: usize,
    stats: &[f32],
    gamma: &mut [f32; PANEL],
    beta: &mut [f32; PANEL],
) {
    // 256 rows are summed at a time, then these sums, so that rounding errors stay small.
    for (block, stats) in stats.chunks(512).enumerate() {
        let (mut g, mut b) = ([0.0f32; PANEL], [0.0f32; PANEL]);
        for (r, stat) in stats.as_chunks::<2>().0.iter().enumerate() {
            let start = (block * 256 + r) * stride;
            let (x, dy) = (&x[start..][..PANEL], &dy[start..][..PANEL]);
            for j in 0..PANEL {
                g[j] += dy[j] * ((x[j] - stat[0]) * stat[1]);
                b[j] += dy[j];
            }
        }
        for j in 0..PANEL {
            gamma[j] += g[j];
            beta[j] += b[j];
        }
    }
}

/// `sums += Σ rows`, a panel wide.
///
/// # Safety
/// None beyond the instruction set's: slices are indexed.
#[inline(always)]
pub unsafe fn row_sums<V: Vector>(x: &[f32], rows: usize, stride: usize, sums: &mut [f32; PANEL]) {
    for from in (0..rows).step_by(256) {
        let mut block = [0.0f32; PANEL];
        for r in from..rows.min(from + 256) {
            let x = &x[r * stride..][..PANEL];
            for j in 0..PANEL {
                block[j] += x[j];
            }
        }
        for j in 0..PANEL {
            sums[j] += block[j];
        }
    }
}

/// `out[j][i] = from[i * stride + j]` for a block of `rows` by `columns` (`i < rows <= 32`;
/// `columns` a multiple of 8); missing rows become zeros.
///
/// # Safety
/// See [`Vector`]; `from` has all elements of its last row, `out` all 32 elements of its last row.
#[inline(always)]
pub unsafe fn transpose<V: Vector>(
    from: &[f32],
    stride: usize,
    [rows, columns]: [usize; 2],
    out: &mut [f32],
    out_stride: usize,
) {
    if rows < PANEL {
        for j in 0..columns {
            let out = &mut out[j * out_stride..][..PANEL];
            for (i, out) in out.iter_mut().enumerate() {
                *out = if i < rows { from[i * stride + j] } else { 0.0 };
            }
        }
        return;
    }
    for i in (0..PANEL).step_by(8) {
        for j in (0..columns).step_by(8) {
            // SAFETY: rows of `from` have `columns` elements and those of `out` 32, so the eight
            // rows of eight lie within both.
            unsafe {
                let from = from.as_ptr().add(i * stride + j);
                let out = out.as_mut_ptr().add(j * out_stride + i);
                V::transpose_eight(from, stride, out, out_stride);
            }
        }
    }
}

/// The constants of one step of AdamW.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// The learning rate divided by the first moment's bias correction.
    pub rate: f32,
    /// 1 - learning rate * weight decay.
    pub keep: f32,
    /// The decay rate of the first moment.
    pub beta1: f32,
    /// The decay rate of the second moment.
    pub beta2: f32,
    /// Added to the denominator.
    pub eps: f32,
    /// 1 / sqrt(the second moment's bias correction).
    pub root: f32,
    /// The factor by which gradients are multiplied.
    pub shrink: f32,
}

/// One step of AdamW on some parameters.
///
/// # Safety
/// None beyond the instruction set's: slices are indexed.
#[inline(always)]
pub unsafe fn adamw<V: Vector>(
    p: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    step: &AdamStep,
) {
    let AdamStep { rate, keep, beta1, beta2, eps, root, shrink } = *step;
    for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
        let g = g * shrink;
        *m = beta1 * *m + (1.0 - beta1) * g;
        *v = beta2 * *v + (1.0 - beta2) * (g * g);
        *p = keep * *p - rate * *m / (v.sqrt() * root + eps);
    }
}

/// The sum of squares of a few thousand elements in f32.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn squares<V: Vector>(x: &[f32]) -> f32 {
    // SAFETY: vectors lie within `x`.
    unsafe {
        let mut sums = [V::splat(0.0); 4];
        let step = 4 * V::LANES;
        let whole = x.len() / step * step;
        for i in (0..whole).step_by(step) {
            for (k, sum) in sums.iter_mut().enumerate() {
                let x = V::load(x.as_ptr().add(i + k * V::LANES));
                *sum = x.mul_add(x, *sum);
            }
        }
        let [a, b, c, d] = sums;
        let rest: f32 = x[whole..].iter().map(|x| x * x).sum();
        a.add(b).add(c.add(d)).sum() + rest
    }
}

/// Replaces the first `seen` scores of a row by `e^(scale * score - lse)`, and the rest by zero.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn probabilities<V: Vector>(scores: &mut [f32], seen: usize, scale: f32, lse: f32) {
    // SAFETY: whole vectors are only taken below `seen`.
    unsafe {
        let whole = seen / V::LANES * V::LANES;
        let (factor, shift) = (V::splat(scale), V::splat(-lse));
        for i in (0..whole).step_by(V::LANES) {
            let at = scores.as_mut_ptr().add(i);
            exp(V::load(at).mul_add(factor, shift)).store(at);
        }
        super::rows::exp_tail(&mut scores[whole..seen], factor, shift);
        scores[seen..].fill(0.0);
    }
}

/// Multiplies a row by the mask of the elements that start at `first`; see
/// [`Dropout`](gpt_plan::Dropout).
///
/// # Safety
/// None beyond the instruction set's.
#[inline(always)]
pub unsafe fn drop_row<V: Vector>(
    row: &mut [f32],
    first: u32,
    key: u32,
    threshold: u32,
    scale: f32,
) {
    for (i, x) in row.iter_mut().enumerate() {
        let hashed = gpt_plan::hash(key ^ gpt_plan::hash(first.wrapping_add(i as u32)));
        *x *= if hashed < threshold { 0.0 } else { scale };
    }
}

/// Rounds each element to the nearest bf16, ties to even; NaN stays NaN.
///
/// # Safety
/// None beyond the instruction set's.
#[inline(always)]
pub unsafe fn round<V: Vector>(row: &mut [f32]) {
    for x in row {
        let bits = x.to_bits();
        let even = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000;
        *x = if x.is_nan() { *x } else { f32::from_bits(even) };
    }
}
