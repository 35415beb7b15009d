//! The keys and values of one layer, laid out as the products of attention read them.
//!
//! To a query, keys are a matrix with an output for each position: so they are kept in panels, like weights, 32 positions
//! side by side for each element of the head. Values are the other way round: a row for each position, padded to 32. Both are kept in one of three
//! formats, and the products read that format; nothing is widened beforehand.

use std::marker::PhantomData;

use bytemuck::{cast_slice, cast_slice_mut};

use super::memory::{Arena, Block};
use super::simd::{Brain, Cell, Half, Kernels, PANEL};
use crate::Error;
use crate::engine::CacheFormat;

/// Keys and values of a number of positions.
pub struct Cache {
    pub shape: Shape,
    pub cells: Cells,
}

/// Where things are in a cache.
#[derive(Clone, Copy)]
pub struct Shape {
    pub kv_heads: usize,
    pub head_dim: usize,
    /// `head_dim` rounded up to whole panels.
    pub padded: usize,
    /// Panels of 32 positions.
    panels: usize,
}

/// What a cache holds, in its format.
pub enum Cells {
    F32(Sides<f32>),
    F16(Sides<Half>),
    Bf16(Sides<Brain>),
}

/// Both halves of a cache.
pub struct Sides<E> {
    /// `[kv_heads][panels][head_dim][32 positions]`.
    keys: Block,
    /// `[kv_heads][positions][padded]`.
    values: Block,
    elements: PhantomData<E>,
}

/// Does `$work` with the sides of a cache, whatever their format is.
macro_rules! each_format {
    ($cells:expr, $sides:ident => $work:expr) => {
        match $cells {
            Cells::F32($sides) => $work,
            Cells::F16($sides) => $work,
            Cells::Bf16($sides) => $work,
        }
    };
}
pub(super) use each_format;

impl Cache {
    /// Zeros, in memory of `arena`.
    pub fn new(
        arena: &Arena,
        kv_heads: usize,
        head_dim: usize,
        capacity: usize,
        format: CacheFormat,
    ) -> Result<Cache, Error> {
        let shape = Shape {
            kv_heads,
            head_dim,
            padded: head_dim.next_multiple_of(PANEL),
            panels: capacity.div_ceil(PANEL),
        };
        let cells = match format {
            CacheFormat::F32 => Cells::F32(Sides::new(arena, &shape)?),
            CacheFormat::F16 => Cells::F16(Sides::new(arena, &shape)?),
            CacheFormat::Bf16 => Cells::Bf16(Sides::new(arena, &shape)?),
        };
        Ok(Cache { shape, cells })
    }

    /// Appends the key and then the value of each head at `position` to `out`, in f32.
    pub fn gather(&self, position: usize, out: &mut Vec<f32>) {
        let shape = self.shape;
        each_format!(&self.cells, sides => {
            let keys = sides.keys();
            for head in 0..shape.kv_heads {
                let key = |d| keys[shape.key_at(head, position, d)].widened();
                out.extend((0..shape.head_dim).map(key));
            }
            for head in 0..shape.kv_heads {
                let values = sides.values_from(&shape, head, position);
                out.extend(values[..shape.head_dim].iter().map(|v| v.widened()));
            }
        });
    }
}

impl<E: Cell> Sides<E> {
    fn new(arena: &Arena, shape: &Shape) -> Result<Sides<E>, Error> {
        let rows = shape.kv_heads * shape.panels * PANEL;
        let block = |width: usize| arena.block(rows * width * size_of::<E>(), |_| ());
        Ok(Sides {
            keys: block(shape.head_dim)?,
            values: block(shape.padded)?,
            elements: PhantomData,
        })
    }

    fn keys(&self) -> &[E] {
        cast_slice(&self.keys)
    }

    /// Keys and values, to be written.
    pub fn both(&mut self) -> (&mut [E], &mut [E]) {
        (
            cast_slice_mut(&mut self.keys),
            cast_slice_mut(&mut self.values),
        )
    }

    /// The panel that holds keys from `position` (a multiple of 32) on.
    pub fn key_panel(&self, shape: &Shape, head: usize, position: usize) -> &[E] {
        &self.keys()[shape.key_at(head, position, 0)..][..shape.head_dim * PANEL]
    }

    /// The values of a head from `position` on.
    pub fn values_from(&self, shape: &Shape, head: usize, position: usize) -> &[E] {
        &cast_slice(&self.values)[shape.value_at(head, position)..]
    }
}

impl Shape {
    /// Where element `d` of the key at `position` is.
    pub fn key_at(&self, head: usize, position: usize, d: usize) -> usize {
        ((head * self.panels + position / PANEL) * self.head_dim + d) * PANEL + position % PANEL
    }

    /// Where the value at `position` begins.
    pub fn value_at(&self, head: usize, position: usize) -> usize {
        (head * self.panels * PANEL + position) * self.padded
    }
}

/// A few values in the format of a cache.
pub fn narrow<'a, E: Cell>(kernels: &Kernels, row: &[f32], room: &'a mut [E; PANEL]) -> &'a [E] {
    let out = &mut room[..row.len()];
    E::narrow(kernels, row, out);
    out
}
