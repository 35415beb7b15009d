//! Attention, forward and back, block by block: the scores of a sequence never exist at once.
//!
//! A task has one head of keys and values of one sequence, and the query heads that share it; so nothing that two tasks write is shared, and
//! sums have one order. Forward it is attention by online softmax, as inference does it, and the logarithm of each query's sum is kept. The
//! way back makes each block of probabilities again from that (Dao et al. 2022): with `p = e^(s - lse)`, `dv = pᵀ da`, `dp = da vᵀ` and
//! `ds = p (dp - delta)`, where `delta = Σ a da` of a query is what `Σ p dp` is; then `dq = ds k` and `dk = dsᵀ q`, times the scale.
//!
//! Dropped probabilities take part in sums of values but not in the softmax's own; `delta` is the same sum then too.

use gpt_plan::{BufferId as B, Dropout, Mask, Site};

use super::Pass;
use crate::cpu::gemm::ThreadScratch;
use crate::cpu::pool::Disjoint;
use crate::cpu::simd::{Kernels, PANEL, Running, Strided, StridedMut};

/// Queries and keys of a block.
pub const BLOCK: usize = 64;
/// Queries that go through a block together. On the diagonal the first half of them sees only half of the keys.
const STRIP: usize = 32;
/// Widest head that the compiler lets pass.
const WIDEST: usize = 256;

/// What a thread works on.
pub struct AttentionScratch {
    /// `[BLOCK][BLOCK]`: probabilities, and their gradients.
    p: Vec<f32>,
    dp: Vec<f32>,
    /// `[2][head_dim][32]`: keys and values of a block turned over, 32 positions side by side.
    keys: Vec<f32>,
    values: Vec<f32>,
    /// `[BLOCK][padded head_dim]`: sums over a block.
    sums: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
    states: [Running; BLOCK],
}

impl AttentionScratch {
    pub fn new() -> AttentionScratch {
        let wide = || vec![0.0; BLOCK * WIDEST];
        let square = || vec![0.0; BLOCK * BLOCK];
        AttentionScratch {
            p: square(),
            dp: square(),
            keys: wide(),
            values: wide(),
            sums: wide(),
            dk: wide(),
            dv: wide(),
            states: [Running { max: 0.0, sum: 0.0 }; BLOCK],
        }
    }
}

/// What all tasks of a step know.
struct Heads<'a> {
    kernels: &'a Kernels,
    qkv: Strided<'a>,
    head_dim: usize,
    /// `head_dim` in whole panels.
    padded: usize,
    kv_heads: usize,
    group: usize,
    tokens: usize,
    causal: bool,
    scale: f32,
    dropout: Option<(Dropout, u32)>,
}

impl<'a> Heads<'a> {
    fn new(pass: &'a Pass<'_>) -> Heads<'a> {
        let spec = &pass.plan.spec;
        let head_dim = spec.head_dim as usize;
        Heads {
            kernels: pass.device.kernels,
            qkv: Strided {
                data: pass.buffers.get(B::Qkv.here(), pass.layer),
                stride: pass.buffers.stride(B::Qkv),
            },
            head_dim,
            padded: head_dim.next_multiple_of(PANEL),
            kv_heads: spec.kv_heads as usize,
            group: (spec.heads / spec.kv_heads) as usize,
            tokens: pass.tokens,
            causal: spec.mask == Mask::Causal,
            scale: (1.0 / f64::from(spec.head_dim).sqrt()) as f32,
            dropout: pass.dropout(Site::Attention),
        }
    }

    fn heads(&self) -> usize {
        self.kv_heads * self.group
    }

    /// Rows of q, k or v from row `row` on, at `column` of the fused projection.
    fn rows(&self, row: usize, column: usize) -> Strided<'a> {
        Strided {
            data: &self.qkv.data[row * self.qkv.stride + column..],
            stride: self.qkv.stride,
        }
    }

    fn q_column(&self, head: usize) -> usize {
        head * self.head_dim
    }

    fn k_column(&self, kv_head: usize) -> usize {
        (self.heads() + kv_head) * self.head_dim
    }

    fn v_column(&self, kv_head: usize) -> usize {
        (self.heads() + self.kv_heads + kv_head) * self.head_dim
    }

    /// Blocks of keys that a block of queries sees.
    fn key_blocks(&self, query: usize) -> std::ops::Range<usize> {
        0..if self.causal {
            query / BLOCK + 1
        } else {
            self.tokens.div_ceil(BLOCK)
        }
    }

    /// Queries `from..to` in strips.
    fn strips(from: usize, to: usize) -> impl Iterator<Item = (usize, usize)> {
        (from..to)
            .step_by(STRIP)
            .map(move |query| (query, STRIP.min(to - query)))
    }

    /// How many of the keys from `key` on a query sees, of `keys`.
    fn seen(&self, query: usize, key: usize, keys: usize) -> usize {
        if self.causal {
            (query + 1).saturating_sub(key).min(keys)
        } else {
            keys
        }
    }

    /// Turns over `rows` rows of a head: 32 positions side by side for each element.
    fn turn(&self, from: Strided<'_>, rows: usize, out: &mut [f32]) {
        for panel in 0..rows.div_ceil(PANEL) {
            let out = &mut out[panel * self.padded * PANEL..];
            let count = PANEL.min(rows - panel * PANEL);
            for column in (0..self.padded).step_by(PANEL) {
                // Columns past the head are those of another; what comes of them is not read.
                let from = &from.data[panel * PANEL * from.stride + column..];
                self.kernels.transpose(
                    from,
                    self.qkv.stride,
                    [count, PANEL],
                    &mut out[column * PANEL..],
                    PANEL,
                );
            }
        }
    }

    /// `out[query][key] = Σ rows[query] turned[key]` of a block.
    fn scores(
        &self,
        rows: Strided<'_>,
        turned: &[f32],
        queries: usize,
        keys: usize,
        out: &mut [f32],
    ) {
        for panel in 0..keys.div_ceil(PANEL) {
            let panel_data = Strided {
                data: &turned[panel * self.padded * PANEL..],
                stride: PANEL,
            };
            let output = StridedMut {
                data: &mut out[panel * PANEL..],
                stride: BLOCK,
            };
            self.kernels
                .product(queries, self.head_dim, rows, panel_data, output, false);
        }
    }

    /// `out[i] (+)= Σ weights[i][k] rows[k]`, or with `by_column` `weights[k][i]`; `out` is `[.., padded]`.
    fn gather(
        &self,
        weights: &[f32],
        by_column: bool,
        [count, depth]: [usize; 2],
        rows: Strided<'_>,
        out: &mut [f32],
        add: bool,
    ) {
        let weights = Strided {
            data: weights,
            stride: BLOCK,
        };
        for lane in (0..self.padded).step_by(PANEL) {
            let panel = Strided {
                data: &rows.data[lane..],
                stride: rows.stride,
            };
            let output = StridedMut {
                data: &mut out[lane..],
                stride: self.padded,
            };
            if by_column {
                self.kernels
                    .product_of_columns(count, depth, weights, panel, output, add);
            } else {
                self.kernels
                    .product(count, depth, weights, panel, output, add);
            }
        }
    }

    /// Multiplies a block of probabilities (or gradients of dropped ones) with the mask.
    fn drop(
        &self,
        block: &mut [f32],
        sequence: usize,
        head: usize,
        query: usize,
        key: usize,
        [queries, keys]: [usize; 2],
    ) {
        let Some((dropout, site)) = &self.dropout else {
            return;
        };
        for (i, row) in block.chunks_mut(BLOCK).take(queries).enumerate() {
            let number = (sequence * self.heads() + head) * self.tokens + query + i;
            let first = (number * self.tokens + key) as u32;
            self.kernels
                .drop_row(&mut row[..keys], first, *site, dropout);
        }
    }
}

/// `Σ a b`, 16 sums side by side: one alone would wait for each addition.
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

impl Pass<'_> {
    /// `a = drop(softmax(q kᵀ / sqrt(head_dim))) v`; `lse` is kept.
    pub(super) fn attention(&mut self) {
        let mut a_out = self.buffers.take(B::A.here(), self.layer);
        let mut lse_out = self.buffers.take(B::Lse.here(), self.layer);
        let (a, lse) = (Disjoint::new(&mut a_out), Disjoint::new(&mut lse_out));
        let stride = self.buffers.stride(B::A);
        let heads = Heads::new(self);
        let (tokens, head_dim, padded) = (heads.tokens, heads.head_dim, heads.padded);
        let sequences = self.rows / tokens;
        let thread_scratch = &self.device.thread_scratch;
        self.device
            .pool
            .run(sequences * heads.heads(), &|task, thread| {
                let (sequence, head) = (task / heads.heads(), task % heads.heads());
                let (kv_head, first) = (head / heads.group, sequence * tokens);
                let mut desk = ThreadScratch::of(thread_scratch, thread);
                let AttentionScratch {
                    p,
                    keys: turned,
                    sums,
                    states,
                    ..
                } = &mut desk.attention;
                for query in (0..tokens).step_by(BLOCK) {
                    let queries = BLOCK.min(tokens - query);
                    states.fill(Running {
                        max: f32::NEG_INFINITY,
                        sum: 0.0,
                    });
                    for block in heads.key_blocks(query) {
                        let key = block * BLOCK;
                        let keys = BLOCK.min(tokens - key);
                        heads.turn(
                            heads.rows(first + key, heads.k_column(kv_head)),
                            keys,
                            turned,
                        );
                        let values = heads.rows(first + key, heads.v_column(kv_head));
                        for (query, queries) in Heads::strips(query, query + queries) {
                            let q = heads.rows(first + query, heads.q_column(head));
                            let keys = heads.seen(query + queries - 1, key, keys);
                            let at = query % BLOCK;
                            let sums = &mut sums[at * padded..];
                            heads.scores(q, turned, queries, keys, p);
                            for (i, state) in states[at..][..queries].iter_mut().enumerate() {
                                let seen = heads.seen(query + i, key, keys);
                                let row = &mut p[i * BLOCK..][..keys];
                                let shrink =
                                    heads.kernels.softmax_block(row, seen, heads.scale, state);
                                if block > 0 && shrink != 1.0 {
                                    heads
                                        .kernels
                                        .scale(&mut sums[i * padded..][..padded], shrink);
                                }
                            }
                            heads.drop(p, sequence, head, query, key, [queries, keys]);
                            heads.gather(p, false, [queries, keys], values, sums, block > 0);
                        }
                    }
                    for (i, state) in states[..queries].iter().enumerate() {
                        let row = first + query + i;
                        // SAFETY: each task writes one head of its own rows.
                        let (a, lse) = unsafe {
                            (
                                a.part(row * stride + head * head_dim, head_dim),
                                lse.part(row * heads.heads() + head, 1),
                            )
                        };
                        for (a, sum) in a.iter_mut().zip(&sums[i * padded..]) {
                            *a = sum / state.sum;
                        }
                        lse[0] = state.max + state.sum.ln();
                    }
                }
            });
        self.buffers.put(B::A.here(), self.layer, a_out);
        self.buffers.put(B::Lse.here(), self.layer, lse_out);
    }

    /// The gradients of q, k and v.
    pub(super) fn attention_input(&mut self) {
        let mut d_out = self.buffers.take(B::DQkv.here(), self.layer);
        let mut delta_out = self.buffers.take(B::Delta.here(), self.layer);
        let (dqkv, delta) = (Disjoint::new(&mut d_out), Disjoint::new(&mut delta_out));
        let heads = Heads::new(self);
        let (tokens, head_dim, padded) = (heads.tokens, heads.head_dim, heads.padded);
        let (kernels, all) = (heads.kernels, heads.heads());
        let stride = self.buffers.stride(B::DQkv);
        let lse = self.buffers.get(B::Lse.here(), self.layer);
        let (a_stride, a) = (
            self.buffers.stride(B::A),
            self.buffers.get(B::A.here(), self.layer),
        );
        let da = self.buffers.get(B::DA.here(), self.layer);
        let da_rows = |row: usize, head: usize| Strided {
            data: &da[row * a_stride + head * head_dim..],
            stride: a_stride,
        };
        let thread_scratch = &self.device.thread_scratch;
        let sequences = self.rows / tokens;
        self.device
            .pool
            .run(sequences * heads.kv_heads, &|task, thread| {
                let (sequence, kv_head) = (task / heads.kv_heads, task % heads.kv_heads);
                let first = sequence * tokens;
                let own = kv_head * heads.group..(kv_head + 1) * heads.group;
                // SAFETY: each task writes its own heads of its own rows.
                let part = |row: usize, column: usize| unsafe {
                    dqkv.part((first + row) * stride + column, head_dim)
                };
                for row in first..first + tokens {
                    for head in own.clone() {
                        let at = row * a_stride + head * head_dim;
                        // SAFETY: as above.
                        let delta = unsafe { delta.part(row * all + head, 1) };
                        delta[0] = dot(&a[at..][..head_dim], &da[at..][..head_dim]);
                    }
                }
                let mut desk = ThreadScratch::of(thread_scratch, thread);
                let AttentionScratch {
                    p,
                    dp,
                    keys: turned_keys,
                    values: turned_values,
                    sums,
                    dk,
                    dv,
                    ..
                } = &mut desk.attention;
                for block in 0..tokens.div_ceil(BLOCK) {
                    let key = block * BLOCK;
                    let keys = BLOCK.min(tokens - key);
                    let k = heads.rows(first + key, heads.k_column(kv_head));
                    heads.turn(k, keys, turned_keys);
                    let v = heads.rows(first + key, heads.v_column(kv_head));
                    heads.turn(v, keys, turned_values);
                    dk[..keys * padded].fill(0.0);
                    dv[..keys * padded].fill(0.0);
                    for head in own.clone() {
                        let start = if heads.causal { key } else { 0 };
                        for (query, queries) in Heads::strips(start, tokens) {
                            let keys = heads.seen(query + queries - 1, key, keys);
                            let q = heads.rows(first + query, heads.q_column(head));
                            let d = da_rows(first + query, head);
                            let shape = [queries, keys];
                            heads.scores(q, turned_keys, queries, keys, p);
                            for i in 0..queries {
                                let seen = heads.seen(query + i, key, keys);
                                let lse = lse[(first + query + i) * all + head];
                                let row = &mut p[i * BLOCK..][..keys];
                                kernels.probabilities(row, seen, heads.scale, lse);
                            }
                            heads.scores(d, turned_values, queries, keys, dp);
                            heads.drop(dp, sequence, head, query, key, shape);
                            for i in 0..queries {
                                // SAFETY: as above; written before, by this task.
                                let delta =
                                    unsafe { delta.part((first + query + i) * all + head, 1) }[0];
                                let p = &p[i * BLOCK..][..keys];
                                for (d, p) in dp[i * BLOCK..][..keys].iter_mut().zip(p) {
                                    *d = p * (*d - delta) * heads.scale;
                                }
                            }
                            heads.gather(dp, false, shape, k, sums, false);
                            let column = heads.q_column(head);
                            for i in 0..queries {
                                let sums = &sums[i * padded..][..head_dim];
                                let dq = part(query + i, column);
                                if block == 0 {
                                    dq.copy_from_slice(sums);
                                } else {
                                    dq.iter_mut().zip(sums).for_each(|(dq, s)| *dq += s);
                                }
                            }
                            heads.gather(dp, true, [keys, queries], q, dk, true);
                            heads.drop(p, sequence, head, query, key, shape);
                            heads.gather(p, true, [keys, queries], d, dv, true);
                        }
                    }
                    for i in 0..keys {
                        let from = i * padded;
                        part(key + i, heads.k_column(kv_head))
                            .copy_from_slice(&dk[from..][..head_dim]);
                        part(key + i, heads.v_column(kv_head))
                            .copy_from_slice(&dv[from..][..head_dim]);
                    }
                }
                for row in 0..tokens {
                    let columns = own.clone().map(|head| heads.q_column(head));
                    for column in columns.chain([heads.k_column(kv_head)]) {
                        self.rotary.turn_back(row, part(row, column));
                    }
                }
            });
        self.buffers.put(B::DQkv.here(), self.layer, d_out);
        self.buffers.put(B::Delta.here(), self.layer, delta_out);
    }
}
