//! Rotary positions: pair `(2i, 2i + 1)` of a head is rotated by `position * frequency(i)`.

use std::f64::consts::TAU;

use gpt_plan::{RopeScaling, Spec};

use super::matrix::Matrix;

/// The rotation of one layer.
pub struct Rotary {
    head_dim: usize,
    /// Elements of a head that rotate.
    dims: usize,
    theta: f64,
    scaling: RopeScaling,
}

impl Rotary {
    /// The rotation of `layer`. None if it does not rotate.
    pub fn of(spec: &Spec, layer: u32) -> Option<Rotary> {
        let rope = spec.rope()?;
        let theta = rope.theta.0[layer as usize % rope.theta.0.len()]?;
        let scaling = rope.scaling.0[layer as usize % rope.scaling.0.len()];
        let (head_dim, dims) = (spec.head_dim as usize, rope.dims as usize);
        Some(Rotary { head_dim, dims, theta, scaling })
    }

    /// Rotates each head of `input`, forward (1) or back (-1). Row `t` is at position `t`. The
    /// factor of YaRN multiplies in both directions: the gradient of a product with a matrix is a
    /// product with its transpose.
    pub fn apply(&self, input: &Matrix, direction: f64) -> Matrix {
        Matrix::from_fn(input.rows, input.columns, |position, column| {
            let within = column % self.head_dim;
            let row = input.row(position);
            if within >= self.dims {
                return row[column];
            }
            let angle = direction * position as f64 * self.frequency(within / 2);
            let (sin, cos) = angle.sin_cos();
            self.factor()
                * if within.is_multiple_of(2) {
                    row[column] * cos - row[column + 1] * sin
                } else {
                    row[column - 1] * sin + row[column] * cos
                }
        })
    }

    fn frequency(&self, pair: usize) -> f64 {
        let (pair, dims) = (pair as f64, self.dims as f64);
        let plain = self.theta.powf(-2.0 * pair / dims);
        let wavelength = TAU / plain;
        match self.scaling {
            RopeScaling::None => plain,
            RopeScaling::Linear { factor } => plain / factor,
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                let context = f64::from(original_context);
                if wavelength < context / high_freq_factor {
                    plain
                } else if wavelength > context / low_freq_factor {
                    plain / factor
                } else {
                    let smooth = (context / wavelength - low_freq_factor)
                        / (high_freq_factor - low_freq_factor);
                    (1.0 - smooth) * plain / factor + smooth * plain
                }
            }
            RopeScaling::Yarn {
                factor, original_context, beta_fast, beta_slow, truncate, ..
            } => {
                // The pair that rotates `beta` times within the original context, from
                // `context * theta^(-2 pair / dims) = 2 pi beta`.
                let pair_of = |beta: f64| {
                    dims / 2.0 * (f64::from(original_context) / (beta * TAU)).log(self.theta)
                };
                let (mut low, mut high) = (pair_of(beta_fast), pair_of(beta_slow));
                if truncate {
                    low = low.floor();
                    high = high.ceil();
                }
                let (low, mut high) = (low.max(0.0), high.min(dims - 1.0));
                if low == high {
                    high += 0.001;
                }
                let ramp = ((pair - low) / (high - low)).clamp(0.0, 1.0);
                plain / factor * ramp + plain * (1.0 - ramp)
            }
        }
    }

    fn factor(&self) -> f64 {
        match self.scaling {
            RopeScaling::Yarn { attention_factor: Some(given), .. } => given,
            RopeScaling::Yarn { factor, .. } if factor > 1.0 => 0.1 * factor.ln() + 1.0,
            _ => 1.0,
        }
    }
}
