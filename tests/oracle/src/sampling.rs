//! Sampling in f64: temperature, top-k, top-p, min-p and a draw.
//!
//! Rounding may move the bound of a filter past a token, and may decide which of two sums of logit
//! and noise is greater. So this module measures how much better another token would have been:
//! about 0 for a correct one.

use gpt_plan::hash;
use gpt_runtime::Sampling;

/// Relative tolerance of the top-p and min-p filters.
const SLACK: f64 = 1e-4;

/// The tokens that may be sampled from some logits.
pub struct Choice<'a> {
    sampling: &'a Sampling,
    /// The greatest logit minus each logit, in f32: tokens with equal differences are equally
    /// likely.
    below: Vec<f32>,
    /// Whether each token passes the filters for certain.
    certain: Vec<bool>,
    /// Whether each token may pass the filters.
    possible: Vec<bool>,
}

impl<'a> Choice<'a> {
    pub fn new(logits: &[f32], sampling: &'a Sampling) -> Choice<'a> {
        let clean = |x: &f32| if x.is_nan() { f32::NEG_INFINITY } else { *x };
        let logits: Vec<f32> = logits.iter().map(clean).collect();
        let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let below = logits.iter();
        let below = below.map(|&x| if x == greatest { 0.0 } else { greatest - x });
        let below: Vec<f32> = below.collect();
        if sampling.temperature == 0.0 {
            let mut first = vec![false; below.len()];
            first[below.iter().position(|b| *b == 0.0).unwrap_or(0)] = true;
            return Choice { sampling, below, certain: first.clone(), possible: first };
        }
        Choice {
            certain: left(&below, sampling, -SLACK),
            possible: left(&below, sampling, SLACK),
            below,
            sampling,
        }
    }

    /// The difference between the best score of the certain tokens and the score of `token` in draw
    /// `draw`; infinite if a filter removes `token`. A score is the logit over temperature plus
    /// noise.
    pub fn error(&self, draw: u32, token: u32) -> f64 {
        let token = token as usize;
        if token >= self.below.len() || !self.possible[token] {
            return f64::INFINITY;
        }
        if self.sampling.temperature == 0.0 {
            return 0.0;
        }
        let temperature = f64::from(self.sampling.temperature);
        let score = |i: usize| {
            gumbel(self.sampling.seed, draw, i as u32) - f64::from(self.below[i]) / temperature
        };
        let certain = (0..self.below.len()).filter(|i| self.certain[*i]);
        certain.map(score).fold(f64::NEG_INFINITY, f64::max) - score(token)
    }
}

/// The tokens that pass the filters, widened by `slack`.
fn left(below: &[f32], sampling: &Sampling, slack: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..below.len()).collect();
    order.sort_by(|&a, &b| below[a].total_cmp(&below[b]).then(a.cmp(&b)));
    if sampling.top_k > 0 {
        order.truncate(sampling.top_k);
    }
    let weight = |i: usize| (-f64::from(below[i]) / f64::from(sampling.temperature)).exp();
    if sampling.top_p < 1.0 {
        let total: f64 = order.iter().map(|&i| weight(i)).sum();
        let goal = (f64::from(sampling.top_p) + slack) * total;
        let mut sum = 0.0;
        let last = order.iter().position(|&i| {
            sum += weight(i);
            sum >= goal
        });
        order.truncate(last.map_or(order.len(), |last| last + 1));
    }
    let least = f64::from(sampling.min_p) * (1.0 - slack);
    let mut left = vec![false; below.len()];
    for (place, &i) in order.iter().enumerate() {
        left[i] = place == 0 || (weight(i) >= least && weight(i) > 0.0);
    }
    left
}

/// `-ln(-ln u)`, where `1 - u` is the hash of seed, draw and token plus a half, in units of 2^-32.
fn gumbel(seed: u64, draw: u32, token: u32) -> f64 {
    let key = hash(draw.wrapping_add(0x9E37_79B9));
    let key = hash(hash(key ^ seed as u32) ^ (seed >> 32) as u32);
    let t = (f64::from(hash(key ^ hash(token))) + 0.5) / 4_294_967_296.0;
    -(-(-t).ln_1p()).ln()
}
