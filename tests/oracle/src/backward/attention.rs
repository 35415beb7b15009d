//! The gradient of attention.

use gpt_plan::Spec;

use crate::attention::{Qkv, attention_weights, head_columns, kv_head, score};
use crate::{Masks, Matrix, dot};

/// The gradients of queries, keys and values. For one head, with scores `s = score(q kᵀ)`, weights
/// `p = softmax(s)`, dropout's factors `m` and output `o = (m p) v`: `dv = (m p)ᵀ do`,
/// `dp = m (do vᵀ)`, and through the softmax `ds = p (dp - Σ p dp)`; then, with the derivative `s'`
/// of the score, `dq = s' ds k` and `dk = s' dsᵀ q`. Gradients of shared keys and values add up.
pub fn attention_backward(spec: &Spec, qkv: &Qkv, layer: u32, masks: Masks, d: &Matrix) -> Qkv {
    let head_dim = spec.head_dim as usize;
    let mut gradient = Qkv { q: qkv.q.zeros(), k: qkv.k.zeros(), v: qkv.v.zeros() };
    for head in 0..spec.heads as usize {
        let shared = kv_head(spec, head);
        let p = attention_weights(spec, layer, qkv, head);
        let q = head_columns(&qkv.q, head, head_dim);
        let k = head_columns(&qkv.k, shared, head_dim);
        let v = head_columns(&qkv.v, shared, head_dim);
        let d = head_columns(d, head, head_dim);
        let kept = masks.of_weights(spec, layer, head, &p);
        let d_p = Matrix::from_fn(p.rows, p.columns, |query, key| dot(d.row(query), v.row(key)));
        let d_p = masks.of_weights(spec, layer, head, &d_p);
        for query in 0..p.rows {
            let (p, d_p) = (p.row(query), d_p.row(query));
            let mean = dot(p, d_p);
            for (key, &p) in p.iter().enumerate() {
                let d_s = p * (d_p[key] - mean);
                let d_s = d_s * score_slope(spec, dot(q.row(query), k.row(key)));
                for i in 0..head_dim {
                    *gradient.q.at(query, head * head_dim + i) += d_s * k.row(key)[i];
                    *gradient.k.at(key, shared * head_dim + i) += d_s * q.row(query)[i];
                    *gradient.v.at(key, shared * head_dim + i) +=
                        kept.row(query)[key] * d.row(query)[i];
                }
            }
        }
    }
    gradient
}

/// The derivative of a score with respect to the product.
fn score_slope(spec: &Spec, product: f64) -> f64 {
    let scale = spec.attention_scale.unwrap_or(1.0 / f64::from(spec.head_dim).sqrt());
    let capped = |cap: f64| 1.0 - (score(spec, product) / cap).powi(2);
    scale * spec.attention_softcap.map_or(1.0, capped)
}
