//! Attention backward.

use gpt_plan::Spec;

use crate::oracle::attention::{Qkv, attention_weights, head_columns, kv_head};
use crate::oracle::{Matrix, dot};

/// For one head, with weights `p = softmax(s)`, scores `s = q kᵀ / sqrt(head_dim)` and output `o = p v`: `dv = pᵀ do`, `dp = do vᵀ`, and through
/// the softmax `ds = p (dp - Σ p dp)`; then `dq = ds k / sqrt(head_dim)` and `dk = dsᵀ q / sqrt(head_dim)`. Heads that share keys and
/// values add up there.
pub fn attention_backward(spec: &Spec, qkv: &Qkv, d: &Matrix) -> Qkv {
    let head_dim = spec.head_dim as usize;
    let root = f64::from(spec.head_dim).sqrt();
    let mut gradient = Qkv {
        q: qkv.q.zeros(),
        k: qkv.k.zeros(),
        v: qkv.v.zeros(),
    };
    for head in 0..spec.heads as usize {
        let shared = kv_head(spec, head);
        let p = attention_weights(spec, qkv, head);
        let q = head_columns(&qkv.q, head, head_dim);
        let k = head_columns(&qkv.k, shared, head_dim);
        let v = head_columns(&qkv.v, shared, head_dim);
        let d = head_columns(d, head, head_dim);
        for query in 0..p.rows {
            let p = p.row(query);
            let d_p: Vec<f64> = (0..p.len())
                .map(|key| dot(d.row(query), v.row(key)))
                .collect();
            let mean = dot(p, &d_p);
            for (key, &p) in p.iter().enumerate() {
                let d_s = p * (d_p[key] - mean) / root;
                for i in 0..head_dim {
                    *gradient.q.at(query, head * head_dim + i) += d_s * k.row(key)[i];
                    *gradient.k.at(key, shared * head_dim + i) += d_s * q.row(query)[i];
                    *gradient.v.at(key, shared * head_dim + i) += p * d.row(query)[i];
                }
            }
        }
    }
    gradient
}
