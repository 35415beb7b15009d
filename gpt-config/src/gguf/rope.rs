//! The rotary embedding of a GGUF: its base, and the scaling of frequencies.
//!
//! Llama 3's scaling is not a key but a tensor, `rope_freqs.weight`, with a divisor for each
//! frequency. The parameters of `RopeScaling::Llama3` are computed from these divisors.

use std::f64::consts::TAU;

use gpt_plan::{Pattern, Rope, RopeScaling};

use super::Tensors;
use crate::fields::{self, Fields};

/// The tensor that divides rotary frequencies.
pub const DIVISORS: &str = "rope_freqs.weight";

/// Reads the rotary embedding of all layers.
pub fn read(fields: &mut Fields<'_>, tensors: &dyn Tensors, head_dim: u32) -> Rope {
    let theta = fields.number("rope.freq_base").unwrap_or(10_000.0);
    let dims = fields.size("rope.dimension_count").unwrap_or(head_dim);
    let mut scaling = by_keys(fields);
    if tensors.has(DIVISORS) {
        let divisors = tensors.vector(DIVISORS, dims / 2).unwrap_or_default();
        let found = llama3(&divisors, theta, dims).filter(|_| scaling == RopeScaling::None);
        match found {
            Some(found) => scaling = found,
            None => fields.fail(format!(
                "rotary scaling by the tensor {DIVISORS} is not supported, unless it is Llama 3's"
            )),
        }
    }
    if tensors.has("rope_factors_long.weight") {
        fields.fail("rotary scaling by the tensor rope_factors_long.weight is not supported");
    }
    Rope { scaling: Pattern::all(scaling), ..Rope::new(Pattern::all(Some(theta)), dims) }
}

/// The scaling that the keys of the file describe.
fn by_keys(fields: &mut Fields<'_>) -> RopeScaling {
    let factor = fields.number("rope.scaling.factor").or(fields.number("rope.scale_linear"));
    let original = fields.size("rope.scaling.original_context_length");
    // This key says whether the model was trained with the scaling.
    fields.ignore(&["rope.scaling.finetuned"]);
    match fields.text("rope.scaling.type") {
        Some("none") => RopeScaling::None,
        None | Some("linear") => match factor {
            None | Some(1.0) => RopeScaling::None,
            Some(factor) => RopeScaling::Linear { factor },
        },
        Some("yarn") => {
            // These keys are a multiplier for other scalings, and a weight of the frequencies that
            // are not divided.
            fields.only("rope.scaling.attn_factor", 1.0);
            fields.only("rope.scaling.yarn_ext_factor", 1.0);
            if factor.is_none() || original.is_none() {
                fields.fail(
                    "rotary scaling of type yarn needs rope.scaling.factor and rope.scaling.original_context_length",
                );
            }
            RopeScaling::Yarn {
                factor: factor.unwrap_or(1.0),
                original_context: original.unwrap_or(1),
                beta_fast: fields.number("rope.scaling.yarn_beta_fast").unwrap_or(32.0),
                beta_slow: fields.number("rope.scaling.yarn_beta_slow").unwrap_or(1.0),
                attention_factor: fields.number("rope.scaling.yarn_attn_factor"),
                truncate: true,
            }
        }
        Some(kind) => {
            let (kind, file) = (fields::short(kind), fields.file());
            fields.ignore(&["rope.scaling.attn_factor"]);
            fields.fail(format!("rotary scaling of type {kind} in {file} is not supported"));
            RopeScaling::None
        }
    }
}

/// The divisors of Llama 3's scaling, in f32 as llama.cpp's converter writes them; `None` for
/// another scaling.
pub fn divisors(scaling: RopeScaling, theta: f64, dims: u32) -> Option<Vec<f32>> {
    let RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } =
        scaling
    else {
        return None;
    };
    let divisor = |i: u32| {
        let frequency = theta.powf(-2.0 * f64::from(i) / f64::from(dims)) / TAU;
        let rotations = f64::from(original_context) * frequency;
        let share = (rotations - low_freq_factor) / (high_freq_factor - low_freq_factor);
        let kept = share.clamp(0.0, 1.0);
        (1.0 / ((1.0 - kept) / factor + kept)) as f32
    };
    Some((0..dims / 2).map(divisor).collect())
}

/// The scaling that divides the frequency of each pair by its element of `divisors`; `None` if it
/// is not Llama 3's.
///
/// The divisors are 1 for high frequencies and `factor` for low ones. Between them, `1 / divisor`
/// is `(1 - s) / factor + s`, and `s` is linear in the frequency:
/// `s = slope * frequency / 2 pi - start`. Only the ratios of `original_context`, `low_freq_factor`
/// and `high_freq_factor` matter, so `low_freq_factor` is chosen near 1, as in all published
/// models.
fn llama3(divisors: &[f32], theta: f64, dims: u32) -> Option<RopeScaling> {
    let factor = f64::from(divisors.last().copied()?);
    if divisors.len() != dims as usize / 2 || !factor.is_finite() || factor < 1.0 {
        return None;
    }
    if factor == 1.0 {
        return divisors.iter().all(|divisor| *divisor == 1.0).then_some(RopeScaling::None);
    }
    let frequency = |i: usize| theta.powf(-2.0 * i as f64 / f64::from(dims)) / TAU;
    let unchanged = |divisor: f64| (1.0 / divisor - 1.0 / factor) / (1.0 - 1.0 / factor);
    let points = divisors.iter().enumerate().map(|(i, d)| (frequency(i), unchanged((*d).into())));
    let between: Vec<(f64, f64)> = points.filter(|(_, s)| *s > 1e-5 && *s < 1.0 - 1e-5).collect();
    let (slope, start) = line(&between)?;
    let exact = |digits: f64| {
        let context = (slope / start).round().max(1.0);
        let round = |x: f64| (x * digits).round() / digits;
        RopeScaling::Llama3 {
            factor,
            low_freq_factor: round(context * start / slope),
            high_freq_factor: round(context * (start + 1.0) / slope),
            original_context: context as u32,
        }
    };
    // The parameters of published models are round numbers.
    [1e2, 1e6].map(exact).into_iter().find(|scaling| {
        let RopeScaling::Llama3 { low_freq_factor, high_freq_factor, original_context, .. } =
            *scaling
        else {
            return false;
        };
        divisors.iter().enumerate().all(|(i, divisor)| {
            let rotations = f64::from(original_context) * frequency(i);
            let share = (rotations - low_freq_factor) / (high_freq_factor - low_freq_factor);
            let expected = share.clamp(0.0, 1.0);
            let kept = (1.0 - expected) / factor + expected;
            (kept * f64::from(*divisor) - 1.0).abs() < 1e-5
        })
    })
}

/// The line `y = slope * x - start` through points, by least squares.
fn line(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let (xx, xy) = points
        .iter()
        .fold((0.0, 0.0), |(xx, xy), p| (xx + (p.0 - x) * (p.0 - x), xy + (p.0 - x) * (p.1 - y)));
    let slope = xy / xx;
    let start = slope * x - y;
    (points.len() > 1 && slope > 0.0 && start > 0.0).then_some((slope, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The divisors as llama.cpp's converter computes them, in f32.
    fn divisors(factor: f32, low: f32, high: f32, context: f32, theta: f32, dims: u32) -> Vec<f32> {
        let divisor = |i: u32| {
            let wavelength = TAU as f32 * theta.powf(2.0 * i as f32 / dims as f32);
            let share = (context / wavelength - low) / (high - low);
            1.0 / ((1.0 - share.clamp(0.0, 1.0)) / factor + share.clamp(0.0, 1.0))
        };
        (0..dims / 2).map(divisor).collect()
    }

    #[test]
    fn divisors_give_the_parameters() {
        for (factor, low, high, context, theta, dims) in [
            (8.0, 1.0, 4.0, 8_192, 500_000.0, 128),
            (32.0, 1.0, 4.0, 8_192, 500_000.0, 64),
            (8.0, 1.0, 4.0, 24, 1_000.0, 20),
            (16.0, 1.0, 3.5, 4_096, 10_000.0, 96),
        ] {
            let read = divisors(factor, low, high, context as f32, theta, dims);
            let expected = RopeScaling::Llama3 {
                factor: factor.into(),
                low_freq_factor: low.into(),
                high_freq_factor: high.into(),
                original_context: context,
            };
            assert_eq!(llama3(&read, theta.into(), dims), Some(expected));
            // Other frequencies, another number of pairs, one wrong divisor.
            assert_ne!(llama3(&read, 1.1 * f64::from(theta), dims), Some(expected));
            assert_eq!(llama3(&read[1..], theta.into(), dims), None);
            let mut wrong = read;
            wrong[1] += 0.01;
            assert_ne!(llama3(&wrong, theta.into(), dims), Some(expected));
        }
        assert_eq!(llama3(&[1.0; 8], 1e4, 16), Some(RopeScaling::None));
        for odd in [&[][..], &[1.0, f32::NAN], &[1.0, 0.0], &[1.0, -1.0], &[3.0, 2.0], &[2.0; 2]] {
            assert_eq!(llama3(odd, 1e4, 4), None, "{odd:?}");
        }
    }
}
