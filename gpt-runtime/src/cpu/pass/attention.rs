//! Attention by online softmax: scores exist for a block of queries and a block of keys at a time, never for all.
//!
//! For each block of keys: scores (a product with the panels of keys), the running softmax of each query, what was gathered so
//! far shrunk to the new maximum, and the block's values gathered (a product with the rows of values). Dao et al.
//! 2022 have the argument. A prompt gives a task to each head and block of queries. A single token has the query heads of a key/value head as the
//! rows of a block, and gives a task to each of those and each part of the cache: parts have one length whatever the number of threads, and are put
//! together in one order.

use std::sync::{Mutex, MutexGuard};

use gpt_plan::{Mask, Spec};

use super::Pass;
use crate::cpu::kv_cache::{Cache, Cells, PART, Pairs, Shape, each_format};
use crate::cpu::pool::Disjoint;
use crate::cpu::simd::{Cell, Kernels, PANEL, Prefetch, Running, Strided, StridedMut};

/// Queries of a block, in a prompt. A multiple of every register tile's height.
const QUERIES: usize = 48;
/// Keys of a block: with them a block's scores and values stay in the first-level cache. No block has keys of two parts.
const KEYS: usize = PART / 4;

/// Nothing seen yet.
const UNSEEN: Running = Running {
    max: f32::NEG_INFINITY,
    sum: 0.0,
};

/// What attention works on, made once for a session.
pub(super) struct Scratch {
    /// For each thread; a lock is never contended, as a thread takes its own.
    threads: Vec<Mutex<ThreadScratch>>,
    /// `[parts][heads][padded]`: what each part of the cache comes to, and `[parts][heads]` its sums.
    parts: Vec<f32>,
    states: Vec<Running>,
}

/// One thread's.
struct ThreadScratch {
    /// `[QUERIES][KEYS]`.
    scores: Vec<f32>,
    /// `[QUERIES][padded head_dim]`.
    gathered: Vec<f32>,
    states: Vec<Running>,
}

impl Scratch {
    pub fn new(spec: &Spec, threads: usize, capacity: usize) -> Scratch {
        let rows = QUERIES.max((spec.heads / spec.kv_heads) as usize);
        let padded = (spec.head_dim as usize).next_multiple_of(PANEL);
        let desk = || {
            Mutex::new(ThreadScratch {
                scores: vec![0.0; rows * KEYS],
                gathered: vec![0.0; rows * padded],
                states: vec![UNSEEN; rows],
            })
        };
        let parts = capacity.div_ceil(PART) * spec.heads as usize;
        Scratch {
            threads: (0..threads).map(|_| desk()).collect(),
            parts: vec![0.0; parts * padded],
            states: vec![UNSEEN; parts],
        }
    }

    pub fn poison(&mut self) {
        self.parts.fill(f32::NAN);
        for thread in 0..self.threads.len() {
            let mut desk = desk(&self.threads, thread);
            desk.scores.fill(f32::NAN);
            desk.gathered.fill(f32::NAN);
        }
    }
}

fn desk(threads: &[Mutex<ThreadScratch>], thread: usize) -> MutexGuard<'_, ThreadScratch> {
    threads[thread]
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// One task: rows of queries that share a key/value head.
struct Block<'a> {
    kv_head: usize,
    queries: Strided<'a>,
    rows: usize,
    /// The first key that counts.
    from: usize,
    /// Where the keys end that the first row sees; with a causal mask and queries of successive tokens, each row sees one more.
    seen: usize,
    more: usize,
}

impl Pass<'_> {
    /// `a = softmax(q kᵀ / sqrt(head_dim)) v`, masked, head by head.
    pub(in crate::cpu) fn attention_rows(&mut self, q: &[f32], cache: &Cache, a: &mut Vec<f32>) {
        self.begin(Some(a));
        each_format!(&cache.cells, pairs => if self.rows() == 1 {
            self.attend_one(q, &cache.shape, pairs, a)
        } else {
            self.attend_many(q, &cache.shape, pairs, a)
        });
        let width = self.plan.spec.q_width() as usize;
        self.end(a, width);
    }

    fn attend_one<E: Cell>(&mut self, q: &[f32], shape: &Shape, pairs: &Pairs<E>, a: &mut [f32]) {
        let heads = self.plan.spec.heads as usize;
        let (head_dim, padded) = (shape.head_dim, shape.padded);
        let group = heads / shape.kv_heads;
        let total = self.position + 1;
        let kernels = self.device.kernels;
        let Scratch {
            threads,
            parts: gathered,
            states,
        } = &mut self.scratch.attention;
        let parts = total.div_ceil(PART);
        let (all, all_states) = (Disjoint::new(gathered), Disjoint::new(states));
        self.device
            .pool
            .run(shape.kv_heads * parts, &|task, thread| {
                let (kv_head, part) = (task % shape.kv_heads, task / shape.kv_heads);
                let first = kv_head * group;
                let block = Block {
                    kv_head,
                    queries: Strided {
                        data: &q[first * head_dim..],
                        stride: head_dim,
                    },
                    rows: group,
                    from: part * PART,
                    seen: total.min((part + 1) * PART),
                    more: 0,
                };
                let desk = &mut *desk(threads, thread);
                attend(kernels, &block, shape, pairs, desk);
                let at = part * heads + first;
                // SAFETY: each task writes its own heads of its own part.
                let (gathered, states) = unsafe {
                    (
                        all.part(at * padded, group * padded),
                        all_states.part(at, group),
                    )
                };
                gathered.copy_from_slice(&desk.gathered[..group * padded]);
                states.copy_from_slice(&desk.states[..group]);
            });
        for (head, out) in a.chunks_exact_mut(head_dim).take(heads).enumerate() {
            let of = (0..parts).map(|part| part * heads + head);
            let max = of.clone().map(|at| states[at].max);
            let max = max.fold(f32::NEG_INFINITY, f32::max);
            let share = |at: usize| (states[at].max - max).exp();
            let sum: f32 = of.clone().map(|at| states[at].sum * share(at)).sum();
            out.fill(0.0);
            for at in of {
                let share = share(at) / sum;
                for (out, gathered) in out.iter_mut().zip(&gathered[at * padded..]) {
                    *out += share * gathered;
                }
            }
        }
    }

    fn attend_many<E: Cell>(&mut self, q: &[f32], shape: &Shape, pairs: &Pairs<E>, a: &mut [f32]) {
        let rows = self.rows();
        let spec = &self.plan.spec;
        let (heads, width) = (spec.heads as usize, spec.q_width() as usize);
        let (head_dim, padded) = (shape.head_dim, shape.padded);
        let group = heads / shape.kv_heads;
        let causal = spec.mask == Mask::Causal;
        let position = self.position;
        let (kernels, threads) = (self.device.kernels, &self.scratch.attention.threads);
        let out = Disjoint::new(a);
        let blocks = rows.div_ceil(QUERIES);
        self.device.pool.run(blocks * heads, &|task, thread| {
            // Later blocks see more keys; they go first, so that no thread is left with a long one.
            let (head, first) = (task % heads, (blocks - 1 - task / heads) * QUERIES);
            let block = Block {
                kv_head: head / group,
                queries: Strided {
                    data: &q[first * width + head * head_dim..],
                    stride: width,
                },
                rows: QUERIES.min(rows - first),
                from: 0,
                seen: position + if causal { first + 1 } else { rows },
                more: usize::from(causal),
            };
            let desk = &mut *desk(threads, thread);
            attend(kernels, &block, shape, pairs, desk);
            for (row, state) in desk.states[..block.rows].iter().enumerate() {
                let start = (first + row) * width + head * head_dim;
                // SAFETY: each task writes one head of its own rows.
                let out = unsafe { out.part(start, head_dim) };
                for (out, sum) in out.iter_mut().zip(&desk.gathered[row * padded..]) {
                    *out = sum / state.sum;
                }
            }
        });
    }
}

/// Leaves in `desk` what each row of `block` gathers, and the sums it has to be divided by.
fn attend<E: Cell>(
    kernels: &Kernels,
    block: &Block<'_>,
    shape: &Shape,
    pairs: &Pairs<E>,
    desk: &mut ThreadScratch,
) {
    let (rows, head_dim, padded) = (block.rows, shape.head_dim, shape.padded);
    let scale = (1.0 / (head_dim as f64).sqrt()) as f32;
    let ThreadScratch {
        scores,
        gathered,
        states,
    } = desk;
    let states = &mut states[..rows];
    states.fill(UNSEEN);
    gathered[..rows * padded].fill(0.0);
    let last = block.seen + block.more * (rows - 1);
    for start in (block.from..last).step_by(KEYS) {
        let count = KEYS.min(last - start);
        for offset in (0..count).step_by(PANEL) {
            let panel = Strided {
                data: pairs.key_panel(shape, block.kv_head, start + offset),
                stride: PANEL,
            };
            let output = StridedMut {
                data: &mut scores[offset..],
                stride: KEYS,
            };
            let ask = Prefetch {
                ahead: KEYS * head_dim,
                soon: &[],
            };
            kernels.product_asking(rows, head_dim, block.queries, panel, output, false, ask);
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
        let values = pairs.values_from(shape, block.kv_head, start);
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
            let ask = Prefetch {
                ahead: KEYS * padded,
                soon: &[],
            };
            kernels.product_asking(rows, count, weights, panel, output, true, ask);
        }
    }
}
