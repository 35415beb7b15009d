//! Attention: each token takes the mean of all values, weighted by the softmax of its query's
//! products with the keys.

use gpt_plan::{Mask, NormGroups, Positions, Spec};

use super::matrix::{Matrix, dot};
use super::rotary::Rotary;
use super::{BlockParameters, Masks, NormParameters, norm, side_by_side};

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

    /// Normalises the groups of queries and keys, if the model does so.
    pub fn normed(self, spec: &Spec, block: &BlockParameters) -> Qkv {
        let (Some(own), Some(parameters)) = (spec.qk_norm, &block.qk_norm) else { return self };
        let [q, k] = [(&self.q, 0), (&self.k, 1)].map(|(x, i)| {
            let groups = Groups::new(spec, own.over, x.columns);
            let normed = groups
                .parameters(&parameters[i])
                .map(|(group, parameters)| norm(own.norm, &parameters, &groups.columns(x, group)));
            groups.join(&normed.collect::<Vec<_>>())
        });
        Qkv { q, k, v: self.v }
    }

    /// Rotates queries and keys of `layer` by an angle proportional to their position, so their
    /// products depend on the distance (Su et al. 2021). Does nothing in layers without rotation.
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

/// The groups of columns of queries, or of keys, that are normalised together.
pub struct Groups {
    over: NormGroups,
    width: usize,
    count: usize,
}

impl Groups {
    /// The groups of `columns` columns.
    pub fn new(spec: &Spec, over: NormGroups, columns: usize) -> Groups {
        let width = match over {
            NormGroups::Width => columns,
            // `Head` has one set of parameters for all heads, `EachHead` one for each head.
            NormGroups::Head | NormGroups::EachHead => spec.head_dim as usize,
        };
        Groups { over, width, count: columns / width }
    }

    /// Each group, with its part of the parameters.
    pub fn parameters<'a>(
        &'a self,
        all: &'a NormParameters,
    ) -> impl Iterator<Item = (usize, NormParameters)> + 'a {
        (0..self.count).map(|group| {
            let first = if self.over == NormGroups::Head { 0 } else { group * self.width };
            let part = |values: &Option<Vec<f64>>| {
                values.as_ref().map(|values| values[first..first + self.width].to_vec())
            };
            (group, NormParameters { gamma: part(&all.gamma), beta: part(&all.beta) })
        })
    }

    /// The columns of a group.
    pub fn columns(&self, x: &Matrix, group: usize) -> Matrix {
        x.columns(group * self.width, (group + 1) * self.width)
    }

    /// Joins the columns of all groups.
    pub fn join(&self, groups: &[Matrix]) -> Matrix {
        side_by_side(&groups.iter().collect::<Vec<_>>())
    }

    /// Joins the gradients of the groups' parameters: shared ones are added.
    pub fn join_parameters(&self, parts: &[NormParameters]) -> NormParameters {
        let joined = |of: &dyn Fn(&NormParameters) -> Option<Vec<f64>>| {
            let parts: Option<Vec<Vec<f64>>> = parts.iter().map(of).collect();
            let parts = parts?;
            Some(match self.over {
                NormGroups::Head => {
                    (0..self.width).map(|i| parts.iter().map(|part| part[i]).sum()).collect()
                }
                NormGroups::EachHead | NormGroups::Width => parts.concat(),
            })
        };
        NormParameters {
            gamma: joined(&|part| part.gamma.clone()),
            beta: joined(&|part| part.beta.clone()),
        }
    }
}

/// The weight of each key for each query of head `head`: the softmax of the masked scores.
/// `[tokens, tokens]`; each row sums to one.
pub fn attention_weights(spec: &Spec, layer: u32, qkv: &Qkv, head: usize) -> Matrix {
    let head_dim = spec.head_dim as usize;
    let mask = spec.mask.0[layer as usize % spec.mask.0.len()];
    let window = spec.window.0[layer as usize % spec.window.0.len()];
    let queries = head_columns(&qkv.q, head, head_dim);
    let keys = head_columns(&qkv.k, kv_head(spec, head), head_dim);
    let slope = match spec.positions {
        Positions::Alibi { max_bias } => alibi_slope(max_bias, head + 1, spec.heads as usize),
        _ => 0.0,
    };
    let scores = Matrix::from_fn(queries.rows, keys.rows, |query, key| {
        if mask == Mask::Causal && key > query {
            return f64::NEG_INFINITY; // the future
        }
        if window.is_some_and(|window| query.abs_diff(key) >= window as usize) {
            return f64::NEG_INFINITY; // too far away
        }
        let bias = slope * (key as f64 - query as f64);
        score(spec, dot(queries.row(query), keys.row(key))) + bias
    });
    scores.map_rows(softmax)
}

/// The slope of head `i` of `n`, counted from 1 (Press et al. 2022, section 3): `2^(-bias i / n)`
/// if `n` is a power of two. Otherwise, with `power` the largest power of two below `n`, the first
/// `power` heads have the slopes of `power` heads, and the others every second slope of `2 power`
/// heads.
fn alibi_slope(bias: f64, i: usize, n: usize) -> f64 {
    let mut power = 1;
    while 2 * power <= n {
        power *= 2;
    }
    let (i, n) = if i <= power { (i, power) } else { (2 * (i - power) - 1, 2 * power) };
    2_f64.powf(-bias * i as f64 / n as f64)
}

/// The score of a query and a key with this product, without a bias.
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
