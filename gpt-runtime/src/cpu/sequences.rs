//! The rows of a pass, grouped by sequence.
//!
//! A session's pass runs the next tokens of one sequence. A pass over several texts has the rows of
//! all texts, one after the other, without padding. Products and norms treat all rows alike; only
//! positions, attention, and the places of keys and values depend on the sequence.

use super::kv_cache::CacheShape;

/// Queries in a block of attention. A multiple of the height of every register tile.
pub const QUERIES: usize = 48;

/// The sequences of a pass.
pub struct Sequences {
    spans: Vec<Span>,
    /// The index of each row's span.
    span_of: Vec<u32>,
    blocks: Vec<Block>,
    /// The whole cache.
    cache: CacheShape,
}

/// The rows of one sequence.
#[derive(Clone, Copy)]
pub struct Span {
    /// Its first row.
    pub first: usize,
    pub rows: usize,
    /// The position of its first row. The cache holds the positions before it.
    pub position: usize,
    /// The part of the cache that holds the sequence's keys and values.
    pub cache: CacheShape,
}

/// Neighbouring rows of one sequence, at most [`QUERIES`].
#[derive(Clone, Copy)]
pub struct Block {
    /// The index of the span.
    pub span: u32,
    /// The block's first row, counted from the first row of the span.
    pub first: u32,
}

impl Sequences {
    /// Allocates memory for passes of at most `chunk` rows of one sequence, with keys and values in
    /// all of `cache`.
    pub fn new(chunk: usize, cache: CacheShape) -> Sequences {
        Sequences {
            spans: Vec::with_capacity(1),
            span_of: Vec::with_capacity(chunk),
            blocks: Vec::with_capacity(chunk.div_ceil(QUERIES)),
            cache,
        }
    }

    /// Makes the pass run the next `rows` tokens of one sequence, from `position` on.
    pub fn set_one(&mut self, position: usize, rows: usize) {
        self.clear();
        self.push(Span { first: 0, rows, position, cache: self.cache });
    }

    /// Makes the pass run whole sequences of the given `lengths`. Their keys and values follow each
    /// other in the cache. Those of each sequence begin at a new panel, as in a cache of its own.
    pub fn set_texts(&mut self, lengths: impl Iterator<Item = usize>) {
        self.clear();
        let (mut first, mut positions) = (0, 0);
        for rows in lengths {
            let cache = self.cache.part(positions, rows);
            self.push(Span { first, rows, position: 0, cache });
            first += rows;
            positions += CacheShape::padded_positions(rows);
        }
    }

    fn clear(&mut self) {
        self.spans.clear();
        self.span_of.clear();
        self.blocks.clear();
    }

    fn push(&mut self, span: Span) {
        let index = self.spans.len() as u32;
        self.span_of.extend(std::iter::repeat_n(index, span.rows));
        // Later blocks of a causal sequence see more keys. They run first, so that no thread ends
        // with a long one.
        let firsts = (0..span.rows).step_by(QUERIES).rev();
        self.blocks.extend(firsts.map(|first| Block { span: index, first: first as u32 }));
        self.spans.push(span);
    }

    /// The sequence of row `row`.
    #[inline]
    pub fn span_of(&self, row: usize) -> &Span {
        &self.spans[self.span_of[row] as usize]
    }

    /// The position of row `row` in its sequence.
    #[inline]
    pub fn position(&self, row: usize) -> usize {
        let span = self.span_of(row);
        span.position + row - span.first
    }

    /// The sequences, in the order of their rows.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The blocks of queries of attention.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }
}
