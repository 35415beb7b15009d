//! Activations in f64, without approximation.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use gpt_plan::Activation;

/// `activation` at `x`.
pub fn activate(activation: &Activation, x: f64) -> f64 {
    match activation {
        Activation::Gelu => x * 0.5 * (1.0 + erf(x * FRAC_1_SQRT_2)),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        Activation::Relu => x.max(0.0),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Custom { value, .. } => value.eval(x),
    }
}

/// The derivative of `activation` at `x`.
pub fn slope(activation: &Activation, x: f64) -> f64 {
    match activation {
        Activation::Gelu => {
            let density = (-x * x / 2.0).exp() / (2.0 * PI).sqrt();
            0.5 * (1.0 + erf(x * FRAC_1_SQRT_2)) + x * density
        }
        Activation::GeluTanh => {
            let root = (2.0 / PI).sqrt();
            let tanh = (root * (x + 0.044715 * x.powi(3))).tanh();
            let inner = root * (1.0 + 3.0 * 0.044715 * x * x);
            0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner
        }
        Activation::Relu => f64::from(u8::from(x > 0.0)),
        Activation::Silu => {
            let sigmoid = 1.0 / (1.0 + (-x).exp());
            sigmoid * (1.0 + x * (1.0 - sigmoid))
        }
        Activation::Custom { derivative, .. } => derivative.eval(x),
    }
}

/// The error function, by the series `2/sqrt(pi) exp(-x²) Σ 2ⁿ x²ⁿ⁺¹ / (2n+1)!!` (DLMF 7.6.2). All
/// its terms have one sign, so nothing cancels.
pub fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum(); // 1 - erf(6) is 2e-17, below f64's resolution
    }
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-18 * sum.abs() {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 2e-15 * expected.abs(), "{found} is not {expected}");
    }

    #[test]
    fn erf_matches_published_tables() {
        // DLMF and Abramowitz & Stegun, table 7.1.
        close(erf(0.0), 0.0);
        close(erf(0.5), 0.520_499_877_813_046_5);
        close(erf(1.0), 0.842_700_792_949_714_9);
        close(erf(-2.0), -0.995_322_265_018_952_7);
        close(erf(3.5), 0.999_999_256_901_627_7);
        close(erf(7.0), 1.0);
    }

    #[test]
    fn activations_at_one() {
        close(activate(&Activation::Gelu, 1.0), 0.841_344_746_068_542_9);
        close(activate(&Activation::GeluTanh, 1.0), 0.841_191_990_608_276_8);
        close(activate(&Activation::Silu, 1.0), 0.731_058_578_630_004_9);
        close(activate(&Activation::Relu, 1.0), 1.0);
        assert_eq!(activate(&Activation::Relu, -1.0), 0.0);
    }
}
