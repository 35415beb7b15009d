//! Access to a batch's fused q, k, v rows, block by block.

use std::ops::Range;

use gpt_plan::Scores;

use super::{PrefetchDistances, ScoreMap, keys_of, scores, weighted_sum, within};
use crate::cpu::ops::dropout::DropoutMask;
use crate::cpu::scratch::attention::BLOCK;
use gpt_simd::{Kernels, PANEL, Strided, StridedMut};

/// The number of queries in one product with a block of keys: half a [`BLOCK`]. In a block on the
/// diagonal of a causal mask, the first tile of queries then needs only half of the keys.
const QUERY_TILE: usize = 32;

/// No prefetch: the panels are already in the cache.
const NO_PREFETCH: PrefetchDistances = PrefetchDistances { keys: 0, values: 0 };

/// The operands that all tasks of attention in training share.
pub struct HeadViews<'a> {
    pub kernels: &'a Kernels,
    /// `[rows][q, k and v of all heads]`, rotated.
    pub qkv: Strided<'a>,
    pub head_dim: usize,
    pub kv_heads: usize,
    /// Query heads of each key/value head.
    pub group: usize,
    /// Rows of the batch.
    pub rows: usize,
    /// Tokens of each sequence.
    pub tokens: usize,
    pub scores: Scores,
    pub mask: Option<DropoutMask>,
}

impl<'a> HeadViews<'a> {
    pub fn sequences(&self) -> usize {
        self.rows / self.tokens
    }

    pub fn heads(&self) -> usize {
        self.kv_heads * self.group
    }

    /// Returns the map of head `head`, which turns products of queries and keys into scores.
    pub fn map(&self, head: usize) -> ScoreMap {
        ScoreMap::new(&self.scores, head, self.heads())
    }

    /// `head_dim`, rounded up to a multiple of [`PANEL`].
    pub fn padded(&self) -> usize {
        self.head_dim.next_multiple_of(PANEL)
    }

    /// The rows from `row` on, at `column` of the fused projection.
    pub fn part(&self, row: usize, column: usize) -> Strided<'a> {
        Strided { data: &self.qkv.data[row * self.qkv.stride + column..], stride: self.qkv.stride }
    }

    pub fn q_column(&self, head: usize) -> usize {
        head * self.head_dim
    }

    pub fn k_column(&self, kv_head: usize) -> usize {
        (self.heads() + kv_head) * self.head_dim
    }

    pub fn v_column(&self, kv_head: usize) -> usize {
        (self.heads() + self.kv_heads + kv_head) * self.head_dim
    }

    /// The blocks of keys that queries `from..to` see.
    pub fn key_blocks(&self, from: usize, to: usize) -> Range<usize> {
        let keys = |query| keys_of(&self.scores, query, self.tokens);
        keys(from).start / BLOCK..keys(to - 1).end.div_ceil(BLOCK)
    }

    /// The queries that see any of the keys `from..to`, extended to whole tiles.
    pub fn queries_of(&self, from: usize, to: usize) -> Range<usize> {
        let queries = |key: usize| self.scores.queries(key as u64, self.tokens as u64);
        let (start, end) = (queries(from).start as usize, queries(to - 1).end as usize);
        start / QUERY_TILE * QUERY_TILE..end.next_multiple_of(QUERY_TILE).min(self.tokens)
    }

    /// Queries `from..to` in tiles, as `(first, count)`.
    pub fn query_tiles(from: usize, to: usize) -> impl Iterator<Item = (usize, usize)> {
        (from..to).step_by(QUERY_TILE).map(move |query| (query, QUERY_TILE.min(to - query)))
    }

    /// Which of the keys `key..key + keys` the query sees, as a range relative to `key`.
    pub fn visible(&self, query: usize, key: usize, keys: usize) -> Range<usize> {
        within(keys_of(&self.scores, query, self.tokens), key, keys)
    }

    /// Transposes `rows` rows of a head to panels `[padded][32]`: for each element of the head, 32
    /// neighbouring positions.
    pub fn transpose(&self, from: Strided<'_>, rows: usize, out: &mut [f32]) {
        let padded = self.padded();
        for panel in 0..rows.div_ceil(PANEL) {
            let out = &mut out[panel * padded * PANEL..];
            let count = PANEL.min(rows - panel * PANEL);
            for column in (0..padded).step_by(PANEL) {
                // Columns past the head belong to another head or are padding; their outputs are
                // not read.
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

    /// `out[query][key] = rows[query] · transposed[key]` of a block.
    pub fn scores(
        &self,
        rows: Strided<'_>,
        transposed: &[f32],
        [queries, keys]: [usize; 2],
        out: &mut [f32],
    ) {
        let panel = |index| &transposed[index * self.padded() * PANEL..];
        let out = StridedMut { data: out, stride: BLOCK };
        let size = [queries, keys, self.head_dim];
        scores(self.kernels, size, rows, panel, out, NO_PREFETCH);
    }

    /// `out[i] (+)= Σ weights[i][k] rows[k]`; `out` is `[..][padded]`.
    pub fn weighted_sum(
        &self,
        weights: &[f32],
        shape: [usize; 2],
        rows: Strided<'_>,
        out: &mut [f32],
        add: bool,
    ) {
        let weights = Strided { data: weights, stride: BLOCK };
        let out = StridedMut { data: out, stride: self.padded() };
        weighted_sum(self.kernels, shape, weights, rows, out, add, NO_PREFETCH);
    }

    /// `out[i] += Σ weights[k][i] rows[k]`; `out` is `[..][padded]`.
    pub fn add_weighted_by_column(
        &self,
        weights: &[f32],
        [count, depth]: [usize; 2],
        rows: Strided<'_>,
        out: &mut [f32],
    ) {
        let weights = Strided { data: weights, stride: BLOCK };
        for lane in (0..self.padded()).step_by(PANEL) {
            let panel = Strided { data: &rows.data[lane..], stride: rows.stride };
            let output = StridedMut { data: &mut out[lane..], stride: self.padded() };
            self.kernels.product_of_columns(count, depth, weights, panel, output, true);
        }
    }

    /// Multiplies a block of probabilities, or of their gradients, by the dropout mask. The block
    /// starts at `[sequence, head, query, key]`.
    pub fn apply_dropout(
        &self,
        block: &mut [f32],
        [sequence, head, query, key]: [usize; 4],
        [queries, keys]: [usize; 2],
    ) {
        let Some(mask) = &self.mask else {
            return;
        };
        for (i, row) in block.chunks_mut(BLOCK).take(queries).enumerate() {
            let number = (sequence * self.heads() + head) * self.tokens + query + i;
            mask.apply(self.kernels, &mut row[..keys], number * self.tokens + key);
        }
    }
}
