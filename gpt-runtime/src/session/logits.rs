//! The scores of the next token.

use std::marker::PhantomData;
use std::ops::Deref;

use crate::parameter::sealed;
use crate::vtable::{Gpt, Untyped};

/// Scores of the next token, `[vocab]`; dereferences to a slice.
pub struct Logits<'s, M = Untyped> {
    pub(super) values: &'s [f32],
    pub(super) brand: PhantomData<fn() -> M>,
}

impl<M> Deref for Logits<'_, M> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.values
    }
}

impl<M: Gpt> Logits<'_, M> {
    /// The scores as an array: `&[f32; VOCAB]`.
    pub fn as_array(&self) -> &M::Logits {
        &sealed::Row::rows(self.values)[0]
    }
}

impl<M> Logits<'_, M> {
    /// The natural logarithm of each token's probability, `[vocab]`: `logits - logsumexp(logits)`.
    pub fn log_probs(&self) -> Vec<f32> {
        let normalizer = log_sum_exp(self.values);
        let log_prob = |logit: &f32| (f64::from(*logit) - normalizer) as f32;
        self.values.iter().map(log_prob).collect()
    }

    /// The natural logarithm of the probability of `token`; none if it is not in the vocabulary.
    pub fn log_prob(&self, token: u32) -> Option<f32> {
        let logit = self.values.get(token as usize)?;
        Some((f64::from(*logit) - log_sum_exp(self.values)) as f32)
    }

    /// The `count` most likely tokens, each with the natural logarithm of its probability, the most
    /// likely first. Tokens with equal scores are sorted by id.
    pub fn likeliest(&self, count: usize) -> Vec<(u32, f32)> {
        likeliest(self.values, count)
    }

    /// The most likely token; among equals, the one with the smallest id.
    pub fn argmax(&self) -> u32 {
        let start = (0, f32::NEG_INFINITY);
        let best = self
            .values
            .iter()
            .enumerate()
            .fold(start, |best, (i, &value)| if value > best.1 { (i, value) } else { best });
        best.0 as u32
    }
}

// These functions are not generic, so they are compiled in this crate, at its `opt-level`.

/// `ln(sum(exp(logits)))` in f64. Subtracts the maximum, so that no exponential overflows.
fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let max = f64::from(max);
    let terms = logits.iter().map(|x| (f64::from(*x) - max).exp());
    max + terms.sum::<f64>().ln()
}

/// [`Logits::likeliest`] of a row.
pub fn likeliest(logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
    for (token, &logit) in (0..).zip(logits) {
        // Nearly all tokens are rejected here.
        if best.len() == count && best.last().is_none_or(|(_, least)| *least >= logit) {
            continue;
        }
        let at = best.partition_point(|(_, other)| *other >= logit);
        best.insert(at, (token, logit));
        best.truncate(count);
    }
    let normalizer = log_sum_exp(logits);
    for (_, value) in &mut best {
        *value = (f64::from(*value) - normalizer) as f32;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_tokens_are_in_order() {
        let logits: Logits<'_> = Logits { values: &[1.0, 3.0, -2.0, 3.0, 0.5], brand: PhantomData };
        let all = logits.log_probs();
        let expected = |tokens: &[u32]| -> Vec<(u32, f32)> {
            tokens.iter().map(|&t| (t, all[t as usize])).collect()
        };
        assert_eq!(logits.likeliest(3), expected(&[1, 3, 0]));
        assert_eq!(logits.likeliest(9), expected(&[1, 3, 0, 4, 2]));
        assert!(logits.likeliest(0).is_empty());
    }

    #[test]
    fn log_probabilities_are_those_of_the_plain_formula() {
        let of = |values: &[f32]| -> Vec<f32> {
            let logits: Logits<'_> = Logits { values, brand: PhantomData };
            let all = logits.log_probs();
            for (token, log_prob) in (0..).zip(&all) {
                assert_eq!(logits.log_prob(token), Some(*log_prob));
            }
            assert_eq!(logits.log_prob(values.len() as u32), None);
            all
        };
        let values = [0.5, -1.25, 3.0, 0.0, -7.5];
        let sum: f64 = values.iter().map(|x| f64::from(*x).exp()).sum();
        for (found, logit) in of(&values).iter().zip(values) {
            let expected = (f64::from(logit).exp() / sum).ln();
            assert!((f64::from(*found) - expected).abs() < 1e-6);
        }
        // Exponentials of these logits overflow or underflow.
        for shift in [1e4, -1e4] {
            let found = of(&[shift, shift + 1.0]);
            let expected = [-(1.0 + 1f32.exp()).ln(), -(1.0 + (-1f32).exp()).ln()];
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
            }
        }
    }
}
