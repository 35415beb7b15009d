//! The scores of an attention: which keys a query attends to, and how a product of a query and a
//! key becomes a score.

use std::ops::Range;

use serde::Serialize;

use crate::Mask;

/// `score = softcap(scale * q·k) + slope * (key - query)` for each query and each key that it
/// attends to, where `key` and `query` are their positions.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub struct Scores {
    /// Whether a query attends to later positions.
    pub mask: Mask,
    /// The window, if there is one: a query attends only to positions whose distance is below this
    /// number.
    pub window: Option<u32>,
    /// The factor of a product.
    pub scale: f64,
    /// `c` of `c tanh(x / c)`, which bounds the scores.
    pub softcap: Option<f64>,
    /// ALiBi's smallest slope is `2^-alibi`; the slope of each head follows from it (Press et al.
    /// 2022). `None` for a model without ALiBi.
    pub alibi: Option<f64>,
}

impl Scores {
    /// The positions that the query at `position` attends to, in a sequence of `length` positions.
    #[inline]
    pub fn keys(&self, position: u64, length: u64) -> Range<u64> {
        let window = self.window.map_or(u64::MAX, u64::from);
        let end = match self.mask {
            Mask::Causal => position + 1,
            Mask::Bidirectional => position.saturating_add(window).min(length),
        };
        (position + 1).saturating_sub(window)..end
    }

    /// The positions whose queries attend to `key`, in a sequence of `length` positions.
    #[inline]
    pub fn queries(&self, key: u64, length: u64) -> Range<u64> {
        let window = self.window.map_or(u64::MAX, u64::from);
        let start = match self.mask {
            Mask::Causal => key,
            Mask::Bidirectional => (key + 1).saturating_sub(window),
        };
        start..key.saturating_add(window).min(length)
    }

    /// The score of a query and a key whose product is `product`, without the bias of ALiBi.
    pub fn score(&self, product: f64) -> f64 {
        let scaled = self.scale * product;
        self.softcap.map_or(scaled, |cap| cap * (scaled / cap).tanh())
    }

    /// ALiBi's slope of query head `head` of `heads`. If the number of heads `n` is a power of two,
    /// the slopes are `2^(-bias / n)` and its powers. For another number, the first slopes are
    /// those of the power of two below it. The rest are every second slope of twice that power.
    pub fn slope(&self, head: u32, heads: u32) -> f64 {
        let Some(bias) = self.alibi else { return 0.0 };
        let below = 1 << heads.ilog2();
        let exponent = match head < below {
            true => f64::from(head + 1) / f64::from(below),
            false => f64::from(2 * (head - below) + 1) / f64::from(2 * below),
        };
        (-bias * exponent).exp2()
    }

    /// The number of pairs of a query and a key that it attends to, for `rows` queries that start
    /// at `position`.
    pub fn pairs(&self, position: u64, rows: u64) -> u64 {
        let length = position + rows;
        match (self.mask, self.window) {
            (Mask::Causal, None) => rows * position + rows * (rows + 1) / 2,
            (Mask::Bidirectional, None) => rows * length,
            _ => (position..length)
                .map(|query| self.keys(query, length))
                .map(|keys| keys.end - keys.start)
                .sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slopes that BLOOM computes for 8 heads, and MPT for 6.
    #[test]
    fn slopes() {
        let (mask, alibi) = (Mask::Causal, Some(8.0));
        let scores = Scores { mask, window: None, scale: 1.0, softcap: None, alibi };
        let of = |heads: u32| -> Vec<f64> { (0..heads).map(|h| scores.slope(h, heads)).collect() };
        assert_eq!(of(8), (1..=8).map(|i| 0.5_f64.powi(i)).collect::<Vec<_>>());
        assert_eq!(of(6), [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]);
    }

    #[test]
    fn keys_and_queries_are_the_same_pairs() {
        for mask in [Mask::Causal, Mask::Bidirectional] {
            for window in [None, Some(1), Some(3), Some(40)] {
                let scores = Scores { mask, window, scale: 1.0, softcap: None, alibi: None };
                let mut pairs = 0;
                for (query, key) in (0..9_u64).flat_map(|q| (0..9_u64).map(move |k| (q, k))) {
                    let near = window.is_none_or(|w| query.abs_diff(key) < u64::from(w));
                    let seen = near && (mask == Mask::Bidirectional || key <= query);
                    assert_eq!(scores.keys(query, 9).contains(&key), seen, "{scores:?}");
                    assert_eq!(scores.queries(key, 9).contains(&query), seen, "{scores:?}");
                    pairs += u64::from(seen && query >= 4);
                }
                assert_eq!(scores.pairs(4, 5), pairs);
            }
        }
    }
}
