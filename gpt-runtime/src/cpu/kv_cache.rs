//! The keys and values of one layer, in the layout that the products of attention read.
//!
//! A product with a query treats the keys as a matrix with an output for each position. Keys are
//! stored in panels, like weights, with 32 positions side by side for each element of the head.
//! Values are stored in rows, one for each position, padded to a multiple of 32. Both are in one of
//! three formats, which the products read directly.
//!
//! Positions are divided into splits of [`SPLIT`], each with the keys and values of all heads.
//! Splits beyond the current position are never touched, so the system does not allocate their
//! memory. With heads as the outer dimension, the start of each head would touch a large page:
//! SmolLM2's first token then took 360 MB, and the time to clear them.

use std::marker::PhantomData;

use bytemuck::{cast_slice, cast_slice_mut};
use gpt_plan::Spec;

use super::memory::{Arena, Region};
use crate::Error;
use crate::engine::{CacheFormat, SessionOptions};
use gpt_simd::{Bf16, CacheElement, F16, Kernels, PANEL};

/// Positions in a split. In decoding, each split of each key/value head is a task.
pub const SPLIT: usize = 512;

/// Keys and values of a number of positions.
pub struct Cache {
    pub shape: CacheShape,
    pub storage: KvStorage,
}

/// The shape of a cache.
#[derive(Clone, Copy)]
pub struct CacheShape {
    pub kv_heads: usize,
    pub head_dim: usize,
    /// `head_dim`, rounded up to a multiple of [`PANEL`].
    pub padded: usize,
    /// The capacity, rounded up to a multiple of [`PANEL`].
    positions: usize,
    /// The index of the first element.
    start: usize,
}

/// The elements of a cache, in its format.
pub enum KvStorage {
    F32(KeysAndValues<f32>),
    F16(KeysAndValues<F16>),
    Bf16(KeysAndValues<Bf16>),
}

/// The keys and values of a cache: for each split `[kv_heads][panels][head_dim][32 positions]` of
/// keys, then `[kv_heads][positions][padded]` of values.
pub struct KeysAndValues<E> {
    region: Region,
    elements: PhantomData<E>,
}

/// Evaluates `$work` for the keys and values of a cache in their format.
macro_rules! each_format {
    ($storage:expr, $kv:ident => $work:expr) => {
        match $storage {
            KvStorage::F32($kv) => $work,
            KvStorage::F16($kv) => $work,
            KvStorage::Bf16($kv) => $work,
        }
    };
}
pub(super) use each_format;

impl Cache {
    /// Allocates a cache of zeros in `arena`.
    pub fn new(
        arena: &Arena,
        kv_heads: usize,
        head_dim: usize,
        capacity: usize,
        format: CacheFormat,
    ) -> Result<Cache, Error> {
        let shape = CacheShape {
            kv_heads,
            head_dim,
            padded: head_dim.next_multiple_of(PANEL),
            positions: CacheShape::padded_positions(capacity),
            start: 0,
        };
        let storage = match format {
            CacheFormat::F32 => KvStorage::F32(KeysAndValues::new(arena, &shape)?),
            CacheFormat::F16 => KvStorage::F16(KeysAndValues::new(arena, &shape)?),
            CacheFormat::Bf16 => KvStorage::Bf16(KeysAndValues::new(arena, &shape)?),
        };
        Ok(Cache { shape, storage })
    }

    /// Copies the splits that hold the first `positions` positions of `other`, which has the same
    /// shape and format.
    pub fn copy_from(&mut self, other: &Cache, positions: usize) {
        let shape = self.shape;
        let whole = positions.next_multiple_of(SPLIT).min(shape.positions);
        let elements = whole * shape.elements_per_position();
        match (&mut self.storage, &other.storage) {
            (KvStorage::F32(to), KvStorage::F32(from)) => to.copy_from(from, elements),
            (KvStorage::F16(to), KvStorage::F16(from)) => to.copy_from(from, elements),
            (KvStorage::Bf16(to), KvStorage::Bf16(from)) => to.copy_from(from, elements),
            _ => unreachable!("a fork has the format of its origin"),
        }
    }

    /// Appends the keys of all heads at `position` to `out`, then the values, in f32. `shape` is
    /// the part of the cache that holds the sequence.
    pub fn gather(&self, shape: &CacheShape, position: usize, out: &mut Vec<f32>) {
        each_format!(&self.storage, kv => {
            let elements = kv.elements();
            for head in 0..shape.kv_heads {
                let key = |d| elements[shape.key_at(head, position, d)].to_f32();
                out.extend((0..shape.head_dim).map(key));
            }
            for head in 0..shape.kv_heads {
                let values = kv.values_from(shape, head, position);
                out.extend(values[..shape.head_dim].iter().map(|v| v.to_f32()));
            }
        });
    }
}

/// Allocates the cache of each layer. The layers of a bidirectional model share one: such a model
/// reads a whole text and never continues it, so no layer needs the keys of an earlier pass.
///
/// # Errors
/// Fails if the system has too little memory.
pub fn layer_caches(spec: &Spec, options: &SessionOptions) -> Result<Vec<Cache>, Error> {
    let arena = Arena::default();
    let cache = |_| {
        Cache::new(
            &arena,
            spec.kv_heads as usize,
            spec.head_dim as usize,
            options.capacity as usize,
            options.cache,
        )
    };
    let count = if spec.is_causal() { spec.layers } else { 1 };
    (0..count).map(cache).collect()
}

impl<E: CacheElement> KeysAndValues<E> {
    fn new(arena: &Arena, shape: &CacheShape) -> Result<KeysAndValues<E>, Error> {
        let elements = shape.positions * shape.elements_per_position();
        Ok(KeysAndValues {
            region: arena.region(elements * size_of::<E>(), |_| ())?,
            elements: PhantomData,
        })
    }

    fn copy_from(&mut self, other: &KeysAndValues<E>, elements: usize) {
        self.elements_mut()[..elements].copy_from_slice(&other.elements()[..elements]);
    }

    fn elements(&self) -> &[E] {
        cast_slice(&self.region)
    }

    /// All elements, mutably.
    pub fn elements_mut(&mut self) -> &mut [E] {
        cast_slice_mut(&mut self.region)
    }

    /// The panel that holds keys from `position` (a multiple of 32) on.
    pub fn key_panel(&self, shape: &CacheShape, head: usize, position: usize) -> &[E] {
        &self.elements()[shape.key_at(head, position, 0)..][..shape.head_dim * PANEL]
    }

    /// The values of a head from `position` to the end of its split.
    pub fn values_from(&self, shape: &CacheShape, head: usize, position: usize) -> &[E] {
        let (first, count) = shape.split_of(position);
        let to = first + count - position;
        &self.elements()[shape.value_at(head, position)..][..to * shape.padded]
    }
}

impl CacheShape {
    /// The positions that a sequence of `length` takes in the cache: whole panels.
    pub const fn padded_positions(length: usize) -> usize {
        length.next_multiple_of(PANEL)
    }

    /// The part of the cache for a sequence of `length` positions, after `before` positions of
    /// other sequences, which are whole panels.
    pub fn part(&self, before: usize, length: usize) -> CacheShape {
        let positions = CacheShape::padded_positions(length);
        debug_assert!(before + positions <= self.positions);
        CacheShape { positions, start: self.start + before * self.elements_per_position(), ..*self }
    }

    fn elements_per_position(&self) -> usize {
        self.kv_heads * (self.head_dim + self.padded)
    }

    /// The first position and the length of the split that has `position`. The last split may be
    /// shorter than the others.
    fn split_of(&self, position: usize) -> (usize, usize) {
        let first = position / SPLIT * SPLIT;
        (first, SPLIT.min(self.positions - first))
    }

    /// Index of element `d` of the key at `position`.
    pub fn key_at(&self, head: usize, position: usize, d: usize) -> usize {
        let (first, count) = self.split_of(position);
        let lane = position % PANEL;
        let panel = (head * count + position - lane - first) * self.head_dim;
        self.start + first * self.elements_per_position() + panel + d * PANEL + lane
    }

    /// Index of the first element of the value at `position`.
    pub fn value_at(&self, head: usize, position: usize) -> usize {
        let (first, count) = self.split_of(position);
        let keys = self.kv_heads * count * self.head_dim;
        let row = head * count + position - first;
        self.start + first * self.elements_per_position() + keys + row * self.padded
    }
}

/// Converts up to 32 values to the format of a cache, in `scratch`.
pub fn narrow<'a, E: CacheElement>(
    kernels: &Kernels,
    row: &[f32],
    scratch: &'a mut [E; PANEL],
) -> &'a [E] {
    let out = &mut scratch[..row.len()];
    E::narrow(kernels, row, out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No two elements share an index, and earlier splits precede later ones.
    #[test]
    fn splits_follow_each_other() {
        for (capacity, head_dim) in [(1, 64), (33, 6), (600, 40), (1024, 32)] {
            let shape = CacheShape {
                kv_heads: 3,
                head_dim,
                padded: head_dim.next_multiple_of(PANEL),
                positions: CacheShape::padded_positions(capacity),
                start: 0,
            };
            let elements = shape.positions * shape.elements_per_position();
            let mut taken = vec![false; elements];
            for position in 0..shape.positions {
                let part = position / SPLIT * SPLIT;
                let part = part * shape.elements_per_position()
                    ..(part + SPLIT).min(shape.positions) * shape.elements_per_position();
                for head in 0..shape.kv_heads {
                    let keys = (0..head_dim).map(|d| shape.key_at(head, position, d));
                    let value = shape.value_at(head, position);
                    for at in keys.chain(value..value + shape.padded) {
                        assert!(part.contains(&at), "{capacity}: {position} is at {at}");
                        assert!(!std::mem::replace(&mut taken[at], true));
                    }
                }
            }
            assert!(taken.iter().all(|taken| *taken), "{capacity}: no gaps");
        }
    }
}
