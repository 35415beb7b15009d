//! Attention: each token takes the mean of all values, weighted by the softmax of its query's
//! products with the keys.

use gpt_plan::{Mask, Spec};

use super::Masks;
use super::matrix::{Matrix, dot};
use super::rotary::Rotary;

/// Queries, keys and values of a sequence, each `[tokens, heads * head_dim]` with its own number of
/// heads.
#[derive(Clone, Debug, PartialEq)]
pub struct Qkv {
    pub q: Matrix,
    pub k: Matrix,
    pub v: Matrix,
}

impl Qkv {
    /// Splits the output of the fused projection, whose columns are queries, keys and values.
    pub fn split(spec: &Spec, fused: &Matrix) -> Qkv {
        let (q, kv) = (spec.q_width() as usize, spec.kv_width() as usize);
        Qkv {
            q: fused.columns(0, q),
            k: fused.columns(q, q + kv),
            v: fused.columns(q + kv, q + 2 * kv),
        }
    }

    /// Rotates queries and keys of `layer` by an angle proportional to their position, so their
    /// products depend on the distance (Su et al. 2021). The identity for layers without rotation.
    pub fn rotate(self, spec: &Spec, layer: u32) -> Qkv {
        self.rotated(spec, layer, 1.0)
    }

    /// The inverse rotation, which is also the gradient of the rotation: its inverse is its
    /// transpose.
    pub fn rotate_back(self, spec: &Spec, layer: u32) -> Qkv {
        self.rotated(spec, layer, -1.0)
    }

    fn rotated(self, spec: &Spec, layer: u32, direction: f64) -> Qkv {
        let Some(rotary) = Rotary::of(spec, layer) else { return self };
        Qkv { q: rotary.apply(&self.q, direction), k: rotary.apply(&self.k, direction), v: self.v }
    }

    /// Joins queries, keys and values, the inverse of the split.
    pub fn join(&self) -> Matrix {
        super::side_by_side(&[&self.q, &self.k, &self.v])
    }
}

/// The weight of each key for each query of head `head`: the softmax of the scores, masked.
/// `[tokens, tokens]`; each row sums to one.
pub fn attention_weights(spec: &Spec, layer: u32, qkv: &Qkv, head: usize) -> Matrix {
    let head_dim = spec.head_dim as usize;
    let mask = spec.mask.0[layer as usize % spec.mask.0.len()];
    let window = spec.window.0[layer as usize % spec.window.0.len()];
    let queries = head_columns(&qkv.q, head, head_dim);
    let keys = head_columns(&qkv.k, kv_head(spec, head), head_dim);
    let scores = Matrix::from_fn(queries.rows, keys.rows, |query, key| {
        if mask == Mask::Causal && key > query {
            return f64::NEG_INFINITY; // the future
        }
        if window.is_some_and(|window| query.abs_diff(key) >= window as usize) {
            return f64::NEG_INFINITY; // too far away
        }
        score(spec, dot(queries.row(query), keys.row(key)))
    });
    scores.map_rows(softmax)
}

/// The score of a query and a key with this product.
pub fn score(spec: &Spec, product: f64) -> f64 {
    let scaled = match spec.attention_scale {
        Some(scale) => scale * product,
        None => product / f64::from(spec.head_dim).sqrt(),
    };
    match spec.attention_softcap {
        Some(cap) => cap * (scaled / cap).tanh(),
        None => scaled,
    }
}

/// The mean of the values under the attention weights in each head, with dropout by `masks`.
/// `[tokens, heads * head_dim]`.
pub fn attention(spec: &Spec, qkv: &Qkv, layer: u32, masks: Masks) -> Matrix {
    let head_dim = spec.head_dim as usize;
    let heads: Vec<Matrix> = (0..spec.heads as usize)
        .map(|head| {
            let weights = attention_weights(spec, layer, qkv, head);
            let weights = masks.of_weights(spec, layer, head, &weights);
            let values = head_columns(&qkv.v, kv_head(spec, head), head_dim);
            Matrix::from_fn(weights.rows, head_dim, |query, column| {
                let of_keys = weights.row(query).iter().enumerate();
                of_keys.map(|(key, weight)| weight * values.row(key)[column]).sum()
            })
        })
        .collect();
    Matrix::from_fn(qkv.q.rows, qkv.q.columns, |row, column| {
        heads[column / head_dim].row(row)[column % head_dim]
    })
}

/// `exp(s) / Σ exp(s)`. The largest score is subtracted first to keep `exp` finite.
pub fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|e| e / sum).collect()
}

/// The key/value head of a query head. In grouped-query attention neighbouring query heads share
/// one (Ainslie et al. 2023).
pub fn kv_head(spec: &Spec, head: usize) -> usize {
    head / (spec.heads / spec.kv_heads) as usize
}

pub fn head_columns(matrix: &Matrix, head: usize, head_dim: usize) -> Matrix {
    matrix.columns(head * head_dim, (head + 1) * head_dim)
}
