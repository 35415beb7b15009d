//! The backward pass of attention.
//!
//! A task handles one key/value head of one sequence and the query heads that share it, so no two
//! tasks write the same element, and the order of sums is fixed. Each block of probabilities is
//! recomputed from the stored log-sum-exps (Dao et al. 2022): `p = e^(s - lse)`, `dv = pᵀ da`,
//! `dp = da vᵀ` and `ds = p (dp - delta)`, where a query's `delta = Σ a da` equals `Σ p dp`; then
//! `dq = ds k` and `dk = dsᵀ q`, times the scale. With dropout, `dp` is masked as the probabilities
//! were, and `delta` is still `Σ a da`.

use super::HeadViews;
use crate::cpu::device::CpuDevice;
use crate::cpu::ops::RowsOut;
use crate::cpu::ops::rotary::Rotary;
use crate::cpu::pool::Disjoint;
use crate::cpu::scratch::AttentionScratch;
use crate::cpu::scratch::attention::BLOCK;
use gpt_simd::Strided;

/// Values stored by the forward pass, and the gradient of its output.
#[derive(Clone, Copy)]
pub struct SavedForward<'a> {
    /// The output, `[rows][heads][head_dim]`.
    pub a: Strided<'a>,
    /// The gradient of the output.
    pub da: Strided<'a>,
    /// `[rows][heads]`.
    pub lse: &'a [f32],
}

/// Computes the gradients of q, k and v before rotation. `delta` is scratch memory,
/// `[rows][heads]`.
pub fn input(
    device: &CpuDevice,
    heads: &HeadViews<'_>,
    rotary: &Rotary,
    saved: SavedForward<'_>,
    delta: &mut [f32],
    out: &RowsOut<'_>,
) {
    let delta = Disjoint::new(delta);
    let (tokens, head_dim, padded) = (heads.tokens, heads.head_dim, heads.padded());
    let (kernels, all) = (heads.kernels, heads.heads());
    let head_of = |rows: Strided<'_>, row: usize, head: usize| row * rows.stride + head * head_dim;
    let tasks = heads.sequences() * heads.kv_heads;
    device.pool.run(tasks, &|task, thread| {
        let (sequence, kv_head) = (task / heads.kv_heads, task % heads.kv_heads);
        let first = sequence * tokens;
        let own = kv_head * heads.group..(kv_head + 1) * heads.group;
        // SAFETY: each task writes its own heads of its own rows.
        let part = |row: usize, column: usize| unsafe { out.part(first + row, column, head_dim) };
        for row in first..first + tokens {
            for head in own.clone() {
                // SAFETY: as above.
                let delta = unsafe { delta.part(row * all + head, 1) };
                let [a, da] =
                    [saved.a, saved.da].map(|x| &x.data[head_of(x, row, head)..][..head_dim]);
                delta[0] = dot(a, da);
            }
        }
        let mut scratch = device.scratch(thread);
        let AttentionScratch {
            p,
            dp,
            keys: transposed_keys,
            values: transposed_values,
            slopes,
            sums,
            dk,
            dv,
            ..
        } = &mut scratch.attention;
        for block in 0..tokens.div_ceil(BLOCK) {
            let key = block * BLOCK;
            let keys = BLOCK.min(tokens - key);
            let k = heads.part(first + key, heads.k_column(kv_head));
            heads.transpose(k, keys, transposed_keys);
            let v = heads.part(first + key, heads.v_column(kv_head));
            heads.transpose(v, keys, transposed_values);
            dk[..keys * padded].fill(0.0);
            dv[..keys * padded].fill(0.0);
            for head in own.clone() {
                let map = heads.map(head);
                let seeing = heads.queries_of(key, key + keys);
                for (query, queries) in HeadViews::query_tiles(seeing.start, seeing.end) {
                    let keys = heads.visible(query + queries - 1, key, keys).end;
                    let q = heads.part(first + query, heads.q_column(head));
                    let da = Strided {
                        data: &saved.da.data[head_of(saved.da, first + query, head)..],
                        stride: saved.da.stride,
                    };
                    let (at, shape) = ([sequence, head, query, key], [queries, keys]);
                    heads.scores(q, transposed_keys, shape, p);
                    for i in 0..queries {
                        let seen = heads.visible(query + i, key, keys);
                        let lse = saved.lse[(first + query + i) * all + head];
                        let row = &mut p[i * BLOCK..][..keys];
                        let scale = map.cap(kernels, row);
                        if let Some(cap) = map.softcap {
                            // The derivative of tanh is 1 - tanh^2.
                            let slopes = slopes[i * BLOCK..].iter_mut().zip(&*row);
                            slopes.for_each(|(slope, s)| *slope = 1.0 - (s / cap) * (s / cap));
                        }
                        let (hidden, row) = row.split_at_mut(seen.start);
                        hidden.fill(0.0);
                        let distance = (key + seen.start) as isize - (query + i) as isize;
                        let scale = map.bias(&mut row[..seen.len()], distance, scale);
                        kernels.probabilities(row, seen.len(), scale, lse);
                    }
                    heads.scores(da, transposed_values, shape, dp);
                    heads.apply_dropout(dp, at, shape);
                    for i in 0..queries {
                        // SAFETY: as above; this task wrote the elements before.
                        let delta = unsafe { delta.part((first + query + i) * all + head, 1) }[0];
                        let p = &p[i * BLOCK..][..keys];
                        for (d, p) in dp[i * BLOCK..][..keys].iter_mut().zip(p) {
                            *d = p * (*d - delta) * map.scale;
                        }
                        if map.softcap.is_some() {
                            let slopes = slopes[i * BLOCK..].iter();
                            dp[i * BLOCK..][..keys]
                                .iter_mut()
                                .zip(slopes)
                                .for_each(|(d, s)| *d *= s);
                        }
                    }
                    heads.weighted_sum(dp, shape, k, sums, false);
                    let column = heads.q_column(head);
                    // The first block of a tile sets the gradient; later ones add to it.
                    let first_block = heads.key_blocks(query, query + queries).start;
                    for i in 0..queries {
                        let sums = &sums[i * padded..][..head_dim];
                        let dq = part(query + i, column);
                        if block == first_block {
                            dq.copy_from_slice(sums);
                        } else {
                            dq.iter_mut().zip(sums).for_each(|(dq, s)| *dq += s);
                        }
                    }
                    heads.add_weighted_by_column(dp, [keys, queries], q, dk);
                    heads.apply_dropout(p, at, shape);
                    heads.add_weighted_by_column(p, [keys, queries], da, dv);
                }
            }
            for i in 0..keys {
                let from = i * padded;
                part(key + i, heads.k_column(kv_head)).copy_from_slice(&dk[from..][..head_dim]);
                part(key + i, heads.v_column(kv_head)).copy_from_slice(&dv[from..][..head_dim]);
            }
        }
        for row in 0..tokens {
            let columns = own.clone().map(|head| heads.q_column(head));
            for column in columns.chain([heads.k_column(kv_head)]) {
                rotary.backward(row, part(row, column));
            }
        }
    });
}

/// `Σ a b` in 16 independent sums; a single sum would wait for the latency of each addition.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = [0.0; 16];
    for (a, b) in a.iter().zip(b) {
        for i in 0..16 {
            sums[i] += a[i] * b[i];
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b);
    sums.into_iter().chain(rest).sum()
}
