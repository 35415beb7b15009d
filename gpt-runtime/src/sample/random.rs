//! Counter-based random numbers: the noise of a token is a function of the seed, the number of the
//! draw and the token.
//!
//! No state passes from one draw to the next, so a GPU computes the noise of all tokens in
//! parallel. `shaders/wgsl/sampling/noise.wgsl` is the same in WGSL.

use gpt_plan::hash;

/// An upper bound of [`gumbel`]: `-ln(-ln u)` for the greatest `u`, 1 - 2^-33.
pub const MAX_NOISE: f32 = 22.9;

/// The hash key of draw `draw`.
pub fn key(seed: u64, draw: u32) -> u32 {
    let key = hash(draw.wrapping_add(0x9E37_79B9));
    hash(hash(key ^ seed as u32) ^ (seed >> 32) as u32)
}

/// Gumbel noise, `-ln(-ln u)` of a uniform `u`. The probability that a token has the greatest
/// `logit + noise` is its softmax probability (Gumbel 1954; Maddison et al. 2014).
pub fn gumbel(key: u32, token: u32) -> f32 {
    -exponential(hash(key ^ hash(token))).ln()
}

/// `-ln u` where `u = 1 - t` and `t = (bits + 1/2) / 2^32`, to f32's relative precision. A small
/// `t` makes the greatest noise. There a series in `t` replaces the logarithm, because `1 - t`
/// loses most digits of `t`.
fn exponential(bits: u32) -> f32 {
    const BELOW_ONE: f32 = 1.0 - f32::EPSILON / 2.0;
    let fine = (bits & 0xFF) as f32 + 0.5;
    let t = ((bits >> 8) as f32 + fine / 256.0) / 16_777_216.0;
    if t < 0.0625 {
        let series = 1.0 / 4.0 + t * (1.0 / 5.0 + t * (1.0 / 6.0));
        t * (1.0 + t * (1.0 / 2.0 + t * (1.0 / 3.0 + t * series)))
    } else {
        -(1.0 - t.min(BELOW_ONE)).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_precise_where_it_is_small() {
        for bits in
            [0, 1, 200, 70_000, 1 << 20, 1 << 27, (1 << 28) - 1, 1 << 28, 1 << 31, u32::MAX - 1000]
        {
            // Near 1 an f32 has steps of 2^-24, which the logarithm magnifies. That is the smallest
            // noise, which never wins a draw.
            let bound = if bits > 0xFFFF_0000 { 2e-3 } else { 1e-6 };
            let t = (f64::from(bits) + 0.5) / 4_294_967_296.0;
            let expected = -(-t).ln_1p();
            let found = f64::from(exponential(bits));
            assert!((found / expected - 1.0).abs() < bound, "{bits}: {found}, not {expected}");
        }
        assert!(-exponential(0).ln() <= MAX_NOISE);
        assert!(exponential(u32::MAX).is_finite());
    }

    /// The mean is Euler's constant and the variance pi^2 / 6, over tokens and over draws.
    #[test]
    fn noise_is_gumbels_and_independent() {
        let check = |noise: &dyn Fn(u32) -> f32| {
            let n = 100_000;
            let all: Vec<f64> = (0..n).map(|i| f64::from(noise(i))).collect();
            let mean = all.iter().sum::<f64>() / f64::from(n);
            let variance = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
            assert!((mean - 0.577_216).abs() < 0.015, "{mean}");
            assert!((variance - 1.644_934).abs() < 0.05, "{variance}");
            let pairs = all.windows(2).map(|w| (w[0] - mean) * (w[1] - mean));
            let covariance = pairs.sum::<f64>() / f64::from(n);
            assert!(covariance.abs() < 0.02, "{covariance}");
        };
        check(&|i| gumbel(key(1, 0), i));
        check(&|i| gumbel(key(1, i), 17));
        check(&|i| gumbel(key(u64::from(i) << 32, 3), 17));
    }
}
