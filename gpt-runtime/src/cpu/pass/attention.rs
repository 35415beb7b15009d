//! Attention by online softmax: scores exist for a block of queries and a block of keys at a time, never for all.
//!
//! For each block of keys: scores (a product with the panels of keys), the running softmax of each query, what was gathered so
//! far shrunk to the new maximum, and the block's values gathered (a product with the rows of values). Dao et al.
//! 2022 have the argument. A prompt gives a task to each head and block of queries; a single token gives one to each
//! key/value head, whose query heads are the rows of the block.

use gpt_plan::{Mask, Op, Spec};

use super::{Pass, ThreadScratch};
use crate::cpu::cache::Cache;
use crate::cpu::pool::Disjoint;
use crate::cpu::simd::{Kernels, PANEL, Running};
use crate::cpu::simd::{Strided, StridedMut};

/// Queries of a block, in a prompt. A multiple of every register tile's height.
const QUERIES: usize = 48;
/// Keys of a block: with them a block's scores and values stay in the first-level cache.
pub(super) const KEYS: usize = 128;

/// Rows of the largest block.
pub(super) fn query_rows(spec: &Spec) -> usize {
    QUERIES.max((spec.heads / spec.kv_heads) as usize)
}

/// One task: rows of queries that share a key/value head.
struct Block<'a> {
    kv_head: usize,
    queries: &'a [f32],
    stride: usize,
    rows: usize,
    /// Keys that the first row sees; with a causal mask and queries of successive tokens, each row sees one more.
    seen: usize,
    more: usize,
}

impl Pass<'_> {
    /// `a = softmax(q kᵀ / sqrt(head_dim)) v`, masked, head by head.
    pub(in crate::cpu) fn attention_rows(&mut self, q: &[f32], cache: &Cache, a: &mut Vec<f32>) {
        self.begin(Some(a));
        let rows = self.rows();
        let spec = &self.plan.spec;
        let (head_dim, heads, width) =
            (cache.head_dim, spec.heads as usize, spec.q_width() as usize);
        let group = heads / cache.kv_heads;
        let total = self.position + rows;
        let causal = spec.mask == Mask::Causal;
        let (kernels, scratch, position) =
            (self.device.kernels, &self.scratch.threads, self.position);
        let out = Disjoint::new(a);
        if rows == 1 {
            self.device.pool.run(cache.kv_heads, &|kv_head, thread| {
                let first = kv_head * group * head_dim;
                let block = Block {
                    kv_head,
                    queries: &q[first..],
                    stride: head_dim,
                    rows: group,
                    seen: total,
                    more: 0,
                };
                let mut scratch = scratch[thread]
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
                // SAFETY: each task writes its own heads.
                attend(kernels, &block, cache, &mut scratch, |row| unsafe {
                    out.part(first + row * head_dim, head_dim)
                });
            });
        } else {
            let blocks = rows.div_ceil(QUERIES);
            self.device.pool.run(blocks * heads, &|task, thread| {
                // Later blocks see more keys; they go first, so that no thread is left with a long one.
                let (head, first) = (task % heads, (blocks - 1 - task / heads) * QUERIES);
                let block = Block {
                    kv_head: head / group,
                    queries: &q[first * width + head * head_dim..],
                    stride: width,
                    rows: QUERIES.min(rows - first),
                    seen: if causal { position + first + 1 } else { total },
                    more: usize::from(causal),
                };
                let mut scratch = scratch[thread]
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
                attend(kernels, &block, cache, &mut scratch, |row| {
                    let start = (first + row) * width + head * head_dim;
                    // SAFETY: each task writes one head of its own rows.
                    unsafe { out.part(start, head_dim) }
                });
            });
        }
        self.end(|op| matches!(op, Op::Attention), a, width);
    }
}

fn attend<'o>(
    kernels: &Kernels,
    block: &Block<'_>,
    cache: &Cache,
    scratch: &mut ThreadScratch,
    out: impl Fn(usize) -> &'o mut [f32],
) {
    let (rows, head_dim, padded) = (block.rows, cache.head_dim, cache.padded);
    let scale = (1.0 / (head_dim as f64).sqrt()) as f32;
    let ThreadScratch {
        scores,
        gathered,
        states,
        ..
    } = scratch;
    let states = &mut states[..rows];
    states.fill(Running {
        max: f32::NEG_INFINITY,
        sum: 0.0,
    });
    gathered[..rows * padded].fill(0.0);
    let last = block.seen + block.more * (rows - 1);
    for start in (0..last).step_by(KEYS) {
        let count = KEYS.min(last - start);
        for offset in (0..count).step_by(PANEL) {
            let panel = Strided {
                data: cache.key_panel(block.kv_head, start + offset),
                stride: PANEL,
            };
            let output = StridedMut {
                data: &mut scores[offset..],
                stride: KEYS,
            };
            let queries = Strided {
                data: block.queries,
                stride: block.stride,
            };
            kernels.product(rows, head_dim, queries, panel, output, false);
        }
        for (row, state) in states.iter_mut().enumerate() {
            let seen = (block.seen + block.more * row)
                .saturating_sub(start)
                .min(count);
            let scores = &mut scores[row * KEYS..][..count];
            if seen == 0 {
                scores.fill(0.0);
                continue;
            }
            let shrink = kernels.softmax_block(scores, seen, scale, state);
            if shrink != 1.0 {
                kernels.scale(&mut gathered[row * padded..][..padded], shrink);
            }
        }
        let values = cache.values_from(block.kv_head, start);
        for lane in (0..padded).step_by(PANEL) {
            let weights = Strided {
                data: scores,
                stride: KEYS,
            };
            let panel = Strided {
                data: &values[lane..],
                stride: padded,
            };
            let output = StridedMut {
                data: &mut gathered[lane..],
                stride: padded,
            };
            kernels.product(rows, count, weights, panel, output, true);
        }
    }
    for (row, state) in states.iter().enumerate() {
        let sums = &gathered[row * padded..][..head_dim];
        for (out, sum) in out(row).iter_mut().zip(sums) {
            *out = sum / state.sum;
        }
    }
}
