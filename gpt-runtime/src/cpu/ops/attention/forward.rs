//! The forward pass of attention in training.
//!
//! A task handles one query head of one sequence. It stores the log-sum-exp of each query's scores,
//! from which the backward pass recomputes probabilities. Dropout masks the weights of the values,
//! not the terms of the softmax's denominator.

use super::{HeadViews, softmax};
use crate::cpu::device::CpuDevice;
use crate::cpu::ops::RowsOut;
use crate::cpu::pool::Disjoint;
use crate::cpu::scratch::AttentionScratch;
use crate::cpu::scratch::attention::BLOCK;
use gpt_simd::{Running, StridedMut};

/// `out = drop(softmax(scores(q, k))) v`; `lse` is `[rows][heads]`.
pub fn forward(device: &CpuDevice, heads: &HeadViews<'_>, out: &RowsOut<'_>, lse: &mut [f32]) {
    let lse = Disjoint::new(lse);
    let (tokens, head_dim, padded) = (heads.tokens, heads.head_dim, heads.padded());
    let tasks = heads.sequences() * heads.heads();
    device.pool.run(tasks, &|task, thread| {
        let (sequence, head) = (task / heads.heads(), task % heads.heads());
        let (kv_head, first) = (head / heads.group, sequence * tokens);
        let map = heads.map(head);
        let mut scratch = device.scratch(thread);
        let AttentionScratch { p, keys: transposed, sums, states, .. } = &mut scratch.attention;
        for query in (0..tokens).step_by(BLOCK) {
            let queries = BLOCK.min(tokens - query);
            states.fill(Running::EMPTY);
            let blocks = heads.key_blocks(query, query + queries);
            for block in blocks.clone() {
                let later = block > blocks.start;
                let key = block * BLOCK;
                let keys = BLOCK.min(tokens - key);
                let k = heads.part(first + key, heads.k_column(kv_head));
                heads.transpose(k, keys, transposed);
                let values = heads.part(first + key, heads.v_column(kv_head));
                for (query, queries) in HeadViews::query_tiles(query, query + queries) {
                    let q = heads.part(first + query, heads.q_column(head));
                    let keys = heads.visible(query + queries - 1, key, keys).end;
                    let shape = [queries, keys];
                    let at = query % BLOCK;
                    let sums = &mut sums[at * padded..];
                    heads.scores(q, transposed, shape, p);
                    let shrinking =
                        later.then_some(StridedMut { data: &mut *sums, stride: padded });
                    softmax(
                        heads.kernels,
                        StridedMut { data: p, stride: BLOCK },
                        keys,
                        |i| heads.visible(query + i, key, keys),
                        |i| (map, key as isize - (query + i) as isize),
                        &mut states[at..][..queries],
                        shrinking,
                    );
                    heads.apply_dropout(p, [sequence, head, query, key], shape);
                    heads.weighted_sum(p, shape, values, sums, later);
                }
            }
            for (i, state) in states[..queries].iter().enumerate() {
                let row = first + query + i;
                // SAFETY: each task writes one head of its own rows.
                let (out, lse) = unsafe {
                    (
                        out.part(row, head * head_dim, head_dim),
                        lse.part(row * heads.heads() + head, 1),
                    )
                };
                for (out, sum) in out.iter_mut().zip(&sums[i * padded..]) {
                    *out = sum / state.sum;
                }
                lse[0] = state.max + state.sum.ln();
            }
        }
    });
}
