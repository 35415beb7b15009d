//! Constant tables that files leave out: sinusoidal positions and rotary angles.
//!
//! Angles are f64 until their sine is taken, because in f32 `position * frequency` loses its
//! fraction well before the end of a context.

use std::f64::consts::PI;

use gpt_plan::{RopeScaling, Spec};

/// Computes the sinusoidal embedding of `position` (Vaswani et al. 2017), a row of a tensor with
/// `Init::Sinusoidal`.
pub(super) fn sinusoidal(position: usize, row: &mut [f32]) {
    let embed = row.len() as f64;
    for (column, x) in row.iter_mut().enumerate() {
        let angle = position as f64 / 10000f64.powf((column - column % 2) as f64 / embed);
        let value = if column % 2 == 0 { angle.sin() } else { angle.cos() };
        *x = value as f32;
    }
}

/// The (cosine, sine) of each rotary angle, `[context, tables, head_dim / 2]`, multiplied by the
/// attention factor of the table's scaling. Pairs beyond the rotated elements have the angle 0.
/// Empty for models without rotary positions.
pub(crate) fn rotary(spec: &Spec) -> Vec<[f32; 2]> {
    let Some(rope) = spec.rope() else { return Vec::new() };
    let rotated = rope.dims / 2;
    // A frequency and a multiplier for each pair of each table.
    let mut pairs: Vec<[f64; 2]> = Vec::new();
    for (theta, scaling) in spec.rotary_tables() {
        let factor = attention_factor(scaling);
        for i in 0..spec.head_dim / 2 {
            pairs.push(match i < rotated {
                true => [frequency(theta, scaling, i, rope.dims), factor],
                false => [0.0, 1.0],
            });
        }
    }
    let angles = (0..spec.context).flat_map(|position| {
        pairs.iter().map(move |[frequency, factor]| (f64::from(position) * frequency, factor))
    });
    angles.map(|(a, factor)| [(factor * a.cos()) as f32, (factor * a.sin()) as f32]).collect()
}

/// The angle between neighbouring positions of pair `i` of `dims / 2`.
fn frequency(theta: f64, scaling: RopeScaling, i: u32, dims: u32) -> f64 {
    let pair = f64::from(i);
    let frequency = theta.powf(-2.0 * pair / f64::from(dims));
    match scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor,
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            // The rotations within the original context.
            let rotations = f64::from(original_context) * frequency / (2.0 * PI);
            let unchanged = (rotations - low_freq_factor) / (high_freq_factor - low_freq_factor);
            mix(frequency / factor, frequency, unchanged.clamp(0.0, 1.0))
        }
        RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, truncate, .. } => {
            // The pair with a given number of rotations within the original context.
            let pair_of = |rotations: f64| {
                let positions = f64::from(original_context) / (2.0 * PI * rotations);
                f64::from(dims) * positions.ln() / (2.0 * theta.ln())
            };
            let (mut first, mut last) = (pair_of(beta_fast), pair_of(beta_slow));
            if truncate {
                (first, last) = (first.floor(), last.ceil());
            }
            first = first.max(0.0);
            last = last.min(f64::from(dims - 1));
            if first == last {
                last += 0.001;
            }
            let divided = ((pair - first) / (last - first)).clamp(0.0, 1.0);
            mix(frequency, frequency / factor, divided)
        }
    }
}

/// The factor of cosines and sines. A score is multiplied by its square.
fn attention_factor(scaling: RopeScaling) -> f64 {
    match scaling {
        RopeScaling::Yarn { factor, attention_factor, .. } => {
            attention_factor.unwrap_or(if factor > 1.0 { 0.1 * factor.ln() + 1.0 } else { 1.0 })
        }
        _ => 1.0,
    }
}

fn mix(a: f64, b: f64, share: f64) -> f64 {
    a * (1.0 - share) + b * share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sinusoidal_table_follows_the_paper() {
        let mut row = [0.0; 6];
        sinusoidal(3, &mut row);
        let angle = |i: f64| 3.0 / 10000f64.powf(i / 6.0);
        let expected = [0.0, 2.0, 4.0].map(|i| [angle(i).sin() as f32, angle(i).cos() as f32]);
        assert_eq!(row.as_slice(), expected.as_flattened());
    }
}
