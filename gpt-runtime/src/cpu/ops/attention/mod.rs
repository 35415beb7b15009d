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

use gpt_simd::{CacheElement, Kernels, PANEL, Prefetch, Running, Strided, StridedMut};

/// The factor of scores, `1 / sqrt(head_dim)`.
fn scale_of(head_dim: usize) -> f32 {
    (1.0 / (head_dim as f64).sqrt()) as f32
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

/// Updates the online softmax of each row with a block of scores. Row `i` sees its first `seen(i)`
/// scores. Rescales `sums`, `[rows][padded]`, to the new maximum; they are none for the first
/// block.
fn softmax(
    kernels: &Kernels,
    scores: StridedMut<'_>,
    keys: usize,
    seen: impl Fn(usize) -> usize,
    scale: f32,
    states: &mut [Running],
    mut sums: Option<StridedMut<'_>>,
) {
    for (row, state) in states.iter_mut().enumerate() {
        let scores = &mut scores.data[row * scores.stride..][..keys];
        let seen = seen(row);
        if seen == 0 {
            scores.fill(0.0);
            continue;
        }
        let shrink = kernels.softmax_block(scores, seen, scale, state);
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
