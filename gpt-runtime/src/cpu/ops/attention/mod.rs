//! Attention by online softmax: scores exist only for one block of queries and one block of keys at
//! a time (Dao et al. 2022).
//!
//! [`cached`] is inference, with keys and values in a session's cache. [`forward`] and [`backward`]
//! are training, on the fused q, k, v rows of a batch. This file has what they share: the products
//! and the softmax of one block.

pub mod backward;
pub mod cached;
pub mod forward;
mod heads;

pub use heads::HeadViews;

use std::ops::Range;

use gpt_plan::Scores;
use gpt_simd::{CacheElement, Kernels, PANEL, Prefetch, Running, Strided, StridedMut};

/// Maps the products of a query and neighbouring keys to scores.
#[derive(Clone, Copy)]
pub struct ScoreMap {
    scale: f32,
    softcap: Option<f32>,
    /// The slope of ALiBi, 0 without it: a score gets `slope * (key - query)`.
    slope: f32,
}

impl ScoreMap {
    /// The map of query head `head` of `heads`.
    fn new(scores: &Scores, head: usize, heads: usize) -> ScoreMap {
        ScoreMap {
            scale: scores.scale as f32,
            softcap: scores.softcap.map(|cap| cap as f32),
            slope: scores.slope(head as u32, heads as u32) as f32,
        }
    }

    /// Adds the bias of ALiBi to capped products. `distance` is the position of the first product's
    /// key minus the position of the query. `scale` is the factor by which the products still have
    /// to be multiplied. Returns the factor that remains.
    fn bias(self, products: &mut [f32], distance: isize, scale: f32) -> f32 {
        if self.slope == 0.0 {
            return scale;
        }
        for (at, product) in (distance..).zip(products) {
            *product = *product * scale + self.slope * at as f32;
        }
        1.0
    }

    /// Caps products, if the model does. Returns the factor by which they still have to be
    /// multiplied.
    fn cap(self, kernels: &Kernels, products: &mut [f32]) -> f32 {
        match self.softcap {
            None => self.scale,
            Some(cap) => {
                kernels.softcap(products, self.scale, cap);
                1.0
            }
        }
    }
}

/// The keys that the query at `position` attends to, in a sequence of `length` positions.
fn keys_of(scores: &Scores, position: usize, length: usize) -> Range<usize> {
    let keys = scores.keys(position as u64, length as u64);
    keys.start as usize..keys.end as usize
}

/// Which of the keys `start..start + count` are in `keys`, as a range relative to `start`.
fn within(keys: Range<usize>, start: usize, count: usize) -> Range<usize> {
    let clamp = |key: usize| key.saturating_sub(start).min(count);
    clamp(keys.start)..clamp(keys.end)
}

/// Prefetch distances of the products, in elements of their panels; 0 for none.
#[derive(Clone, Copy)]
struct PrefetchDistances {
    keys: usize,
    values: usize,
}

/// `out[query][key] = q[query] · k[key]` for the queries of `q` and `keys` keys. `panel(i)` has the
/// keys from `32 i` on, `[head_dim][32]`.
fn scores<'a, E: CacheElement>(
    kernels: &Kernels,
    [queries, keys, head_dim]: [usize; 3],
    q: Strided<'_>,
    panel: impl Fn(usize) -> &'a [E],
    out: StridedMut<'_>,
    distances: PrefetchDistances,
) {
    for index in 0..keys.div_ceil(PANEL) {
        let keys = Strided { data: panel(index), stride: PANEL };
        let output = StridedMut { data: &mut out.data[index * PANEL..], stride: out.stride };
        let prefetch = Prefetch { ahead: distances.keys, next: &[] };
        kernels.product_prefetching(queries, head_dim, q, keys, output, false, prefetch);
    }
}

/// Updates the online softmax of each row with a block of products. Row `i` sees the products in
/// `seen(i)`. `map(i)` returns the map from products to scores, and the position of the first
/// product's key minus that of the query. Rescales `sums`, `[rows][padded]`, to the new maximum;
/// `sums` may be `None` for the first block.
fn softmax(
    kernels: &Kernels,
    scores: StridedMut<'_>,
    keys: usize,
    seen: impl Fn(usize) -> Range<usize>,
    map: impl Fn(usize) -> (ScoreMap, isize),
    states: &mut [Running],
    mut sums: Option<StridedMut<'_>>,
) {
    for (row, state) in states.iter_mut().enumerate() {
        let scores = &mut scores.data[row * scores.stride..][..keys];
        let seen = seen(row);
        if seen.is_empty() {
            scores.fill(0.0);
            continue;
        }
        let (hidden, scores) = scores.split_at_mut(seen.start);
        hidden.fill(0.0);
        let (map, distance) = map(row);
        let own = &mut scores[..seen.len()];
        let scale = map.cap(kernels, own);
        let scale = map.bias(own, distance + seen.start as isize, scale);
        let shrink = kernels.softmax_block(scores, seen.len(), scale, state);
        if let (Some(sums), true) = (&mut sums, shrink != 1.0) {
            kernels.scale(&mut sums.data[row * sums.stride..][..sums.stride], shrink);
        }
    }
}

/// `out[row] (+)= Σ weights[row][k] values[k]` for `[rows, depth]` weights; `out` is
/// `[rows][padded]`.
fn weighted_sum<E: CacheElement>(
    kernels: &Kernels,
    [rows, depth]: [usize; 2],
    weights: Strided<'_>,
    values: Strided<'_, E>,
    out: StridedMut<'_>,
    add: bool,
    distances: PrefetchDistances,
) {
    for lane in (0..out.stride).step_by(PANEL) {
        let panel = Strided { data: &values.data[lane..], stride: values.stride };
        let output = StridedMut { data: &mut out.data[lane..], stride: out.stride };
        let prefetch = Prefetch { ahead: distances.values, next: &[] };
        kernels.product_prefetching(rows, depth, weights, panel, output, add, prefetch);
    }
}
