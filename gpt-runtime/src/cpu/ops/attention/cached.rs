//! Attention in inference: the queries of the rows of a pass, with the keys and values of a
//! session's cache. Queries attend within their own sequence.
//!
//! A prompt has a task for each head and block of queries. For a single token, the rows of a block
//! are the query heads that share a key/value head, and there is a task for each key/value head and
//! split of the cache. The length of a split and the order in which splits are combined do not
//! depend on the number of threads.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gpt_plan::{Scores, Spec};

use super::{PrefetchDistances, ScoreMap, keys_of, scores, softmax, weighted_sum, within};
use crate::cpu::device::CpuDevice;
use crate::cpu::kv_cache::{Cache, CacheShape, KeysAndValues, KvStorage, SPLIT, each_format};
use crate::cpu::pool::Disjoint;
use crate::cpu::sequences::{QUERIES, Sequences, Span};
use gpt_simd::{CacheElement, Kernels, PANEL, Running, Strided, StridedMut};

/// Keys in a block. Its scores and values stay in the first-level cache. A block never spans two
/// splits.
const KEYS: usize = SPLIT / 4;

/// Scratch memory of a session.
pub struct CachedScratch {
    /// One for each thread. A lock is never contended, because each thread takes its own.
    threads: Vec<Mutex<BlockScratch>>,
    /// `[splits][heads][padded]`: the sums of each split of the cache.
    splits: Vec<f32>,
    /// `[splits][heads]`.
    states: Vec<Running>,
}

/// Scratch memory of one thread.
struct BlockScratch {
    /// `[QUERIES][KEYS]`.
    scores: Vec<f32>,
    /// `[QUERIES][padded head_dim]`.
    sums: Vec<f32>,
    states: Vec<Running>,
}

impl CachedScratch {
    pub fn new(spec: &Spec, threads: usize, capacity: usize) -> CachedScratch {
        let rows = QUERIES.max((spec.heads / spec.kv_heads) as usize);
        let padded = (spec.head_dim as usize).next_multiple_of(PANEL);
        let block = || {
            Mutex::new(BlockScratch {
                scores: vec![0.0; rows * KEYS],
                sums: vec![0.0; rows * padded],
                states: vec![Running::EMPTY; rows],
            })
        };
        let splits = capacity.div_ceil(SPLIT) * spec.heads as usize;
        CachedScratch {
            threads: (0..threads).map(|_| block()).collect(),
            splits: vec![0.0; splits * padded],
            states: vec![Running::EMPTY; splits],
        }
    }

    /// Fills scores and sums with NaN, so that a trace detects reads of stale values.
    pub fn poison(&mut self) {
        self.splits.fill(f32::NAN);
        for thread in 0..self.threads.len() {
            let mut scratch = lock(&self.threads, thread);
            scratch.scores.fill(f32::NAN);
            scratch.sums.fill(f32::NAN);
        }
    }
}

fn lock(threads: &[Mutex<BlockScratch>], thread: usize) -> MutexGuard<'_, BlockScratch> {
    threads[thread].lock().unwrap_or_else(PoisonError::into_inner)
}

/// The queries of a pass.
#[derive(Clone, Copy)]
pub struct Queries<'a> {
    /// `[rows][heads][head_dim]`.
    pub q: &'a [f32],
    pub heads: usize,
    pub sequences: &'a Sequences,
    pub scores: Scores,
}

impl Queries<'_> {
    /// The keys that the query of row `row` of a sequence attends to.
    fn keys(&self, span: &Span, row: usize) -> Range<usize> {
        keys_of(&self.scores, span.position + row, span.position + span.rows)
    }
}

/// One task: rows of queries that share a key/value head.
struct QueryBlock<'a> {
    kv_head: usize,
    q: Strided<'a>,
    rows: usize,
    /// The keys of the task: those that any of its rows sees. The first is a multiple of [`KEYS`].
    keys: Range<usize>,
}

/// `out = softmax(scores(q, k)) v`, masked, head by head; `out` has the layout of `q`.
pub fn forward(
    device: &CpuDevice,
    scratch: &mut CachedScratch,
    queries: &Queries<'_>,
    cache: &Cache,
    out: &mut [f32],
) {
    each_format!(&cache.storage, kv => match queries.sequences.spans() {
        [span] if span.rows == 1 => decode(device, scratch, queries, span, kv, out),
        _ => prefill(device, scratch, queries, kv, out),
    });
}

fn decode<E: CacheElement>(
    device: &CpuDevice,
    scratch: &mut CachedScratch,
    queries: &Queries<'_>,
    span: &Span,
    kv: &KeysAndValues<E>,
    out: &mut [f32],
) {
    let (heads, shape) = (queries.heads, &span.cache);
    let (head_dim, padded) = (shape.head_dim, shape.padded);
    let group = heads / shape.kv_heads;
    let keys = queries.keys(span, 0);
    let CachedScratch { threads, splits: sums, states } = scratch;
    let splits = keys.start / SPLIT..keys.end.div_ceil(SPLIT);
    let (all_sums, all_states) = (Disjoint::new(sums), Disjoint::new(states));
    device.pool.run(shape.kv_heads * splits.len(), &|task, thread| {
        let (kv_head, split) = (task % shape.kv_heads, splits.start + task / shape.kv_heads);
        let first = kv_head * group;
        let block = QueryBlock {
            kv_head,
            q: Strided { data: &queries.q[first * head_dim..], stride: head_dim },
            rows: group,
            keys: (split * SPLIT).max(keys.start / KEYS * KEYS)..keys.end.min((split + 1) * SPLIT),
        };
        let scratch = &mut *lock(threads, thread);
        let map = |row| (ScoreMap::new(&queries.scores, first + row, heads), span.position);
        attend(device.kernels, &block, |_| keys.clone(), map, shape, kv, scratch);
        let at = split * heads + first;
        // SAFETY: each task writes its own heads of its own split.
        let (sums, states) =
            unsafe { (all_sums.part(at * padded, group * padded), all_states.part(at, group)) };
        sums.copy_from_slice(&scratch.sums[..group * padded]);
        states.copy_from_slice(&scratch.states[..group]);
    });
    // Merges the splits of each head: their sums are rescaled to the largest maximum.
    for (head, out) in out.chunks_exact_mut(head_dim).take(heads).enumerate() {
        let of_head = splits.clone().map(|split| split * heads + head);
        let max = of_head.clone().map(|at| states[at].max);
        let max = max.fold(f32::NEG_INFINITY, f32::max);
        let weight = |at: usize| (states[at].max - max).exp();
        let sum: f32 = of_head.clone().map(|at| states[at].sum * weight(at)).sum();
        out.fill(0.0);
        for at in of_head {
            let weight = weight(at) / sum;
            for (out, x) in out.iter_mut().zip(&sums[at * padded..]) {
                *out += weight * x;
            }
        }
    }
}

fn prefill<E: CacheElement>(
    device: &CpuDevice,
    scratch: &CachedScratch,
    queries: &Queries<'_>,
    kv: &KeysAndValues<E>,
    out: &mut [f32],
) {
    let (heads, spans) = (queries.heads, queries.sequences.spans());
    let blocks = queries.sequences.blocks();
    let threads = &scratch.threads;
    let out = Disjoint::new(out);
    device.pool.run(blocks.len() * heads, &|task, thread| {
        let (head, part) = (task % heads, blocks[task / heads]);
        let (span, first) = (&spans[part.span as usize], part.first as usize);
        let shape = &span.cache;
        let (head_dim, padded) = (shape.head_dim, shape.padded);
        let width = heads * head_dim;
        let count = QUERIES.min(span.rows - first);
        let start = (span.first + first) * width + head * head_dim;
        let keys = queries.keys(span, first).start / KEYS * KEYS;
        let block = QueryBlock {
            kv_head: head / (heads / shape.kv_heads),
            q: Strided { data: &queries.q[start..], stride: width },
            rows: count,
            keys: keys..queries.keys(span, first + count - 1).end,
        };
        let scratch = &mut *lock(threads, thread);
        let map = ScoreMap::new(&queries.scores, head, heads);
        let map = |row| (map, span.position + first + row);
        let row_keys = |row| queries.keys(span, first + row);
        attend(device.kernels, &block, row_keys, map, shape, kv, scratch);
        for (row, state) in scratch.states[..block.rows].iter().enumerate() {
            // SAFETY: each task writes one head of its own rows.
            let out = unsafe { out.part(start + row * width, head_dim) };
            for (out, sum) in out.iter_mut().zip(&scratch.sums[row * padded..]) {
                *out = sum / state.sum;
            }
        }
    });
}

/// Computes, into `scratch`, the weighted sums of values for each row of `block`, and the row's
/// softmax state, which has the divisor. Row `i` sees the keys in `row_keys(i)`; `map(i)` returns
/// the map from its products to scores, and the position of its query.
fn attend<E: CacheElement>(
    kernels: &Kernels,
    block: &QueryBlock<'_>,
    row_keys: impl Fn(usize) -> Range<usize>,
    map: impl Fn(usize) -> (ScoreMap, usize),
    shape: &CacheShape,
    kv: &KeysAndValues<E>,
    scratch: &mut BlockScratch,
) {
    let (rows, head_dim, padded) = (block.rows, shape.head_dim, shape.padded);
    let distances = PrefetchDistances { keys: KEYS * head_dim, values: KEYS * padded };
    let BlockScratch { scores: block_scores, sums, states } = scratch;
    let states = &mut states[..rows];
    states.fill(Running::EMPTY);
    sums[..rows * padded].fill(0.0);
    for start in block.keys.clone().step_by(KEYS) {
        let keys = KEYS.min(block.keys.end - start);
        let panel = |index: usize| kv.key_panel(shape, block.kv_head, start + index * PANEL);
        let size = [rows, keys, head_dim];
        scores(kernels, size, block.q, panel, block_of_scores(block_scores), distances);
        let seen = |row: usize| within(row_keys(row), start, keys);
        let shrinking = StridedMut { data: &mut *sums, stride: padded };
        softmax(
            kernels,
            block_of_scores(block_scores),
            keys,
            seen,
            |row| {
                let (map, query) = map(row);
                (map, start as isize - query as isize)
            },
            states,
            Some(shrinking),
        );
        let weights = Strided { data: &*block_scores, stride: KEYS };
        let values = Strided { data: kv.values_from(shape, block.kv_head, start), stride: padded };
        let out = StridedMut { data: &mut *sums, stride: padded };
        weighted_sum(kernels, [rows, keys], weights, values, out, true, distances);
    }
}

/// A block of scores, `[rows][KEYS]`.
fn block_of_scores(data: &mut [f32]) -> StridedMut<'_> {
    StridedMut { data, stride: KEYS }
}
