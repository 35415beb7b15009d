//! Random initial weights for training, benchmarks and tests.
//!
//! A value is a pure function of (seed, tensor, layer, index), so it is independent of the order,
//! the threads and the format in which tensors are generated. The generator is SplitMix64's output
//! function (Steele, Lea and Flood 2014) over a counter; the Box-Muller transform makes its output
//! normally distributed, in f64.

use std::f64::consts::TAU;

use gpt_plan::{Format, Init, Plan, Tensor, TensorId};

use super::host::stored_format;
use super::tables::sinusoidal;
use super::{HostTensor, Weights};
use crate::Error;

/// A model's initial weights, matrices in one format.
#[derive(Clone, Debug)]
pub struct RandomWeights {
    plan: &'static Plan,
    seed: u64,
    format: Format,
}

impl RandomWeights {
    /// Initial weights of `plan`. A seed gives the same values in every format, up to rounding.
    pub fn new(plan: &'static Plan, seed: u64, format: Format) -> Self {
        RandomWeights { plan, seed, format }
    }
}

impl Weights for RandomWeights {
    fn tensor(&self, id: TensorId, layer: u32) -> Result<HostTensor<'_>, Error> {
        let tensor = self.plan.tensor(id);
        let format = self.format(id, layer);
        let shape = [tensor.rows as usize, tensor.columns as usize];
        let mut values = Values::new(tensor, Stream::new(self.seed, id, layer));
        let fill = |row: usize, out: &mut [f32]| values.fill(row, out);
        Ok(HostTensor::from_rows(format, shape, fill))
    }

    fn format(&self, id: TensorId, _layer: u32) -> Format {
        stored_format(self.plan.tensor(id).kind, self.format)
    }
}

/// Generates the values of one tensor, row by row.
struct Values {
    init: Init,
    stream: Stream,
    columns: u64,
}

impl Values {
    fn new(tensor: &Tensor, stream: Stream) -> Self {
        Values { init: tensor.init, stream, columns: u64::from(tensor.columns) }
    }

    fn fill(&mut self, index: usize, row: &mut [f32]) {
        match self.init {
            Init::Ones => row.fill(1.0),
            Init::Zeros => row.fill(0.0),
            Init::Sinusoidal => sinusoidal(index, row),
            Init::Normal(std) => {
                let first = index as u64 * self.columns;
                let mut pair = (u64::MAX, [0.0; 2]);
                for (i, x) in (first..).zip(row) {
                    if pair.0 != i / 2 {
                        pair = (i / 2, self.stream.normals(i / 2));
                    }
                    *x = (std * pair.1[(i % 2) as usize]) as f32;
                }
            }
        }
    }
}

/// A counter-based random number generator for one tensor.
struct Stream {
    key: u64,
}

impl Stream {
    fn new(seed: u64, id: TensorId, layer: u32) -> Self {
        let place = u64::from(id.0) << 32 | u64::from(layer);
        Stream { key: mix(mix(seed).wrapping_add(mix(place ^ 0x5851_F42D_4C95_7F2D))) }
    }

    /// Two independent standard normals.
    fn normals(&self, index: u64) -> [f64; 2] {
        let uniform = |i: u64| {
            let bits = mix(self.key.wrapping_add(i.wrapping_mul(GOLDEN))) >> 11;
            (bits as f64 + 0.5) * (-53f64).exp2()
        };
        let radius = (-2.0 * uniform(2 * index).ln()).sqrt();
        let (sin, cos) = (TAU * uniform(2 * index + 1)).sin_cos();
        [radius * cos, radius * sin]
    }
}

/// The increment of SplitMix64: 2^64 over the golden ratio, odd.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's output function, a bijection that scrambles every bit.
pub fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(GOLDEN);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::testing::{self, values};

    #[test]
    fn normals_have_their_moments_and_differ_by_seed_tensor_and_layer() {
        let plan = testing::gpt2();
        let id = plan.find("mlp.up.weight").unwrap();
        let weights = RandomWeights::new(plan, 1, Format::F32);
        let a = values(&weights, id, 0);
        let n = a.len() as f64;
        let mean = a.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let var = a.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
        let std = 0.02 * (768.0 / f64::from(plan.tensor(id).columns)).sqrt();
        assert!(mean.abs() < 5.0 * std / n.sqrt(), "mean {mean}");
        assert!((var.sqrt() / std - 1.0).abs() < 5.0 / (2.0 * n).sqrt(), "std {}", var.sqrt());
        assert_eq!(a, values(&weights, id, 0));
        assert_ne!(a, values(&weights, id, 1));
        assert_ne!(a, values(&RandomWeights::new(plan, 2, Format::F32), id, 0));
    }

    #[test]
    fn a_format_rounds_the_same_values() {
        let plan = testing::gpt2();
        let id = plan.find("attn.qkv.weight").unwrap();
        let exact = values(&RandomWeights::new(plan, 7, Format::F32), id, 1);
        for (format, bound) in [
            (Format::F16, 1e-3),
            (Format::Bf16, 5e-3),
            (Format::Q8, 8e-3),
            (Format::Q4, 0.12),
            (Format::Q5, 0.06),
            (Format::Q4K, 0.12),
            (Format::Q5K, 0.06),
            (Format::Q6K, 0.03),
        ] {
            let rounded = values(&RandomWeights::new(plan, 7, format), id, 1);
            let error = testing::relative_error(&rounded, &exact);
            assert!(error > 0.0 && error < bound, "{format:?}: {error}");
        }
    }
}
