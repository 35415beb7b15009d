//! Matrix products over packed panels of floats: many rows at once (`product`), one row (`gemv`),
//! and conversion to f32 (`unpack`). Products of quantised panels are in
//! [`integer`](super::integer).
//!
//! A panel is 32 outputs wide, `[depth][32]`, or `[depth / 2][32][2]` for pairs of bf16. Kernels
//! here take raw pointers; the methods of [`Kernels`](super::Kernels) check their operands.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::prefetch_later;
use super::vector::{PANEL, Pairs, Vector};

/// The arguments of [`product`], which computes `output = input · panel`, or adds to `output`.
pub struct Product<E = f32, I = f32> {
    pub rows: usize,
    pub depth: usize,
    pub input: *const I,
    /// Elements between the starts of two rows of the input.
    pub input_stride: usize,
    /// Elements of the input from one index of depth to the next: 1, or the length of a row if the
    /// input is read by columns.
    pub input_step: usize,
    pub panel: *const E,
    /// Elements of the panel from one index of depth to the next: 32 in a packed panel.
    pub panel_stride: usize,
    /// How many elements ahead a product of at most `FEW` rows prefetches the panel; 0 for none.
    pub ahead: usize,
    /// Bytes that a later product reads, prefetched little by little.
    pub next: (*const u8, usize),
    pub output: *mut f32,
    pub output_stride: usize,
    /// Whether the product is added to the output.
    pub add: bool,
}

/// The most rows of a product whose tile is as wide as the panel: the sums of so few rows fit in
/// the registers. Attention of one token computes such products. Their rows are the query heads
/// that share keys and values; their panels, which are parts of the cache, come from memory and are
/// prefetched ([`Product::ahead`]).
const FEW: usize = 3;

/// Computes one panel's outputs for `rows` rows of input. `VECTORS` registers side by side make a
/// tile, `WIDE` registers span the panel.
///
/// # Safety
/// See [`Vector`]; the pointers are valid for the shapes in [`Product`].
#[inline(always)]
pub unsafe fn product<V: Vector, E: Element<V>, const VECTORS: usize, const WIDE: usize>(
    p: &Product<E, E::Input>,
) {
    // SAFETY: tiles lie within the product's rows and lanes.
    unsafe {
        match p.rows {
            1 => tile::<V, E, 1, WIDE>(p, 0, 0),
            2 => tile::<V, E, 2, WIDE>(p, 0, 0),
            FEW => tile::<V, E, FEW, WIDE>(p, 0, 0),
            _ => each_tile!(p, { V::TILE / VECTORS }, V, VECTORS, tile, [V, E]),
        }
    }
}

/// Computes a tile: `ROWS x VECTORS` registers of sums, kept over the whole depth.
///
/// # Safety
/// See [`Vector`]; the product has this tile's rows and columns.
#[inline(always)]
unsafe fn tile<V: Vector, E: Element<V>, const ROWS: usize, const VECTORS: usize>(
    p: &Product<E, E::Input>,
    row: usize,
    lane: usize,
) {
    // SAFETY: see `product`.
    unsafe {
        let lanes = lane..lane + VECTORS * V::LANES;
        let calls = p.depth.div_ceil(SpreadPrefetch::STEPS);
        let mut spread = SpreadPrefetch::new(p.next, p.rows, row..row + ROWS, lanes, calls);
        let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
        // Three rows share a pointer, because x86 can address a base plus zero, one or two strides.
        // From a single pointer the compiler would derive each row's address from the one before
        // it, which gives 85 % of the speed.
        let first = p.input.add(row * p.input_stride);
        let mut bases = [first; 4];
        for (i, base) in bases.iter_mut().enumerate() {
            if 3 * i < ROWS {
                *base = first.add(3 * i * p.input_stride);
            }
        }
        let mut panel = p.panel.add(lane);
        for k in 0..p.depth {
            if k % SpreadPrefetch::STEPS == 0 {
                spread.prefetch();
            }
            if ROWS <= FEW && p.ahead > 0 {
                let bytes = VECTORS * V::LANES * size_of::<E>();
                prefetch_later(panel.wrapping_add(p.ahead).cast(), bytes);
            }
            let input = |r: usize| E::splat(bases[r / 3].add(r % 3 * p.input_stride));
            // The smaller operand, weights or inputs, is kept in registers and the other is loaded
            // one by one. Both together would take one register too many.
            if VECTORS > ROWS {
                let mut inputs = [V::splat(0.0); ROWS];
                for (r, x) in inputs.iter_mut().enumerate() {
                    *x = input(r);
                }
                for j in 0..VECTORS {
                    let weight = E::load(panel.add(j * V::LANES));
                    for (x, sums) in inputs.iter().zip(&mut sums) {
                        sums[j] = E::add_product(sums[j], weight, *x);
                    }
                }
            } else {
                let mut weights = [V::splat(0.0); VECTORS];
                for (j, w) in weights.iter_mut().enumerate() {
                    *w = E::load(panel.add(j * V::LANES));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = input(r);
                    for (j, sum) in sums.iter_mut().enumerate() {
                        *sum = E::add_product(*sum, weights[j], x);
                    }
                }
            }
            for base in &mut bases {
                *base = base.add(p.input_step);
            }
            panel = panel.add(p.panel_stride);
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let output = p.output.add((row + r) * p.output_stride + lane);
            for (j, sum) in sums.into_iter().enumerate() {
                let to = output.add(j * V::LANES);
                let sum = if p.add { V::load(to).add(sum) } else { sum };
                sum.store(to);
            }
        }
    }
}

/// The share of [`Product::next`] that a tile prefetches, a few lines at a time. A processor has
/// buffers for a few dozen lines. A tile that prefetched its whole share at once would wait for
/// memory instead of multiplying.
pub struct SpreadPrefetch {
    /// The next line.
    at: *const u8,
    /// Lines of the whole share.
    lines: usize,
    /// The number of calls of [`SpreadPrefetch::prefetch`] that prefetch the whole share.
    calls: usize,
    /// `calls` times the number of lines that are due but have not been prefetched yet.
    due: usize,
}

impl SpreadPrefetch {
    /// Steps of depth from one prefetch to the next in products of floats.
    const STEPS: usize = 16;
    /// Bytes of a cache line.
    const LINE: usize = 64;

    /// The share of the bytes `next` for a tile with these lanes and rows (of `all` rows),
    /// prefetched in `calls` calls.
    #[inline(always)]
    pub fn new(
        next: (*const u8, usize),
        all: usize,
        rows: Range<usize>,
        lanes: Range<usize>,
        calls: usize,
    ) -> SpreadPrefetch {
        let lines = next.1 / SpreadPrefetch::LINE;
        // Tiles of the same rows have neighbouring shares. Those of the next rows follow.
        let before =
            |row: usize, lane: usize| lines * (row * PANEL + rows.len() * lane) / (all * PANEL);
        let (from, to) = (before(rows.start, lanes.start), before(rows.start, lanes.end));
        SpreadPrefetch {
            at: next.0.wrapping_add(from * SpreadPrefetch::LINE),
            lines: to - from,
            calls,
            due: 0,
        }
    }

    /// Prefetches the lines that are now due.
    #[inline(always)]
    pub fn prefetch(&mut self) {
        self.due += self.lines;
        while self.due >= self.calls {
            prefetch_later(self.at, SpreadPrefetch::LINE);
            self.at = self.at.wrapping_add(SpreadPrefetch::LINE);
            self.due -= self.calls;
        }
    }
}

/// An element of a panel that is not quantised, and its input.
pub trait Element<V: Vector>: Copy {
    type Input: Copy;

    /// # Safety
    /// See [`Vector::load`].
    unsafe fn load(from: *const Self) -> V;
    /// Copies one element of the input to every lane.
    ///
    /// # Safety
    /// See [`Vector`]; the pointer is valid for one element.
    unsafe fn splat(from: *const Self::Input) -> V;
    /// # Safety
    /// See [`Vector`].
    unsafe fn add_product(sum: V, weight: V, input: V) -> V;
}

/// An element to which f32 is rounded: to nearest, ties to even.
pub trait Rounded<V: Vector>: Element<V> {
    /// # Safety
    /// See [`Vector::store`].
    unsafe fn store(value: V, to: *mut Self);
}

/// Bits of an IEEE half.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct F16(pub u16);

/// Bits of a bf16.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct Bf16(pub u16);

/// Two bf16 that are neighbours in depth, the first in the low half; one instruction multiplies and
/// adds both.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct Bf16Pair(pub u32);

/// An element that becomes f32 when it is loaded.
macro_rules! widened_element {
    ($element:ty, $load:ident) => {
        impl<V: Vector> Element<V> for $element {
            type Input = f32;

            #[inline(always)]
            unsafe fn load(from: *const Self) -> V {
                // SAFETY: the caller's contract is the same; the element is a transparent number.
                unsafe { V::$load(from.cast()) }
            }

            #[inline(always)]
            unsafe fn splat(from: *const f32) -> V {
                // SAFETY: the caller's contract is the same.
                unsafe { V::splat(*from) }
            }

            #[inline(always)]
            unsafe fn add_product(sum: V, weight: V, input: V) -> V {
                // SAFETY: the caller's contract is the same.
                unsafe { weight.mul_add(input, sum) }
            }
        }
    };
}

widened_element!(f32, load);
widened_element!(F16, load_f16);
widened_element!(Bf16, load_bf16);

/// Registers hold the bits of pairs.
impl<V: Pairs> Element<V> for Bf16Pair {
    type Input = Bf16Pair;

    #[inline(always)]
    unsafe fn load(from: *const Self) -> V {
        // SAFETY: the caller's contract is the same; nothing calculates with the bits as if they
        // were floats.
        unsafe { V::load(from.cast()) }
    }

    #[inline(always)]
    unsafe fn splat(from: *const Bf16Pair) -> V {
        // SAFETY: as in `load`.
        unsafe { V::splat(*from.cast()) }
    }

    #[inline(always)]
    unsafe fn add_product(sum: V, weight: V, input: V) -> V {
        // SAFETY: the caller's contract is the same.
        unsafe { V::add_pairs(sum, weight, input) }
    }
}

impl<V: Vector> Rounded<V> for F16 {
    #[inline(always)]
    unsafe fn store(value: V, to: *mut Self) {
        // SAFETY: the caller's contract is the same; `F16` is a transparent u16.
        unsafe { value.store_f16(to.cast()) }
    }
}

impl<V: Vector> Rounded<V> for Bf16 {
    #[inline(always)]
    unsafe fn store(value: V, to: *mut Self) {
        // SAFETY: the caller's contract is the same; `Bf16` is a transparent u16.
        unsafe { value.store_bf16(to.cast()) }
    }
}

/// Multiplies one row by one panel that is not quantised. `WIDE` registers span the panel. `UNROLL`
/// consecutive indices of depth have separate sums, so that additions do not wait for each other
/// and rounding errors stay smaller.
///
/// # Safety
/// See [`Vector`]; `input` has `depth` elements, `panel` `depth * 32`, `output` 32 floats. For
/// pairs of bf16, `depth` counts pairs.
#[inline(always)]
pub unsafe fn gemv<V: Vector, E: Element<V>, const WIDE: usize, const UNROLL: usize>(
    input: *const E::Input,
    depth: usize,
    panel: *const E,
    output: *mut f32,
) {
    // SAFETY: indices stay below `depth`.
    unsafe {
        let mut sums = [[V::splat(0.0); WIDE]; UNROLL];
        let whole = depth / UNROLL * UNROLL;
        let mut k = 0;
        while k < whole {
            for (u, sums) in sums.iter_mut().enumerate() {
                let x = E::splat(input.add(k + u));
                for (j, sum) in sums.iter_mut().enumerate() {
                    let w = E::load(panel.add((k + u) * PANEL + j * V::LANES));
                    *sum = E::add_product(*sum, w, x);
                }
            }
            k += UNROLL;
        }
        for k in whole..depth {
            let x = E::splat(input.add(k));
            for (j, sum) in sums[0].iter_mut().enumerate() {
                let w = E::load(panel.add(k * PANEL + j * V::LANES));
                *sum = E::add_product(*sum, w, x);
            }
        }
        for j in 0..WIDE {
            let mut total = sums[0][j];
            for sums in &sums[1..] {
                total = total.add(sums[j]);
            }
            total.store(output.add(j * V::LANES));
        }
    }
}

/// Converts `depth * 32` elements to f32.
///
/// # Safety
/// See [`Vector`]; both pointers are valid for `depth * 32` elements.
#[inline(always)]
pub unsafe fn unpack<V: Vector, E: Element<V>>(panel: *const E, depth: usize, output: *mut f32) {
    for i in (0..depth * PANEL).step_by(V::LANES) {
        // SAFETY: `i + LANES <= depth * 32`, as lanes divide 32.
        unsafe { E::load(panel.add(i)).store(output.add(i)) };
    }
}

/// Rounds a row to another format, to nearest; both slices have the same length.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn narrow<V: Vector, E: Rounded<V> + Default>(row: &[f32], out: &mut [E]) {
    let whole = row.len() / V::LANES * V::LANES;
    // SAFETY: vectors lie within the rows, or in copies that are as long as the longest vector.
    unsafe {
        for i in (0..whole).step_by(V::LANES) {
            E::store(V::load(row.as_ptr().add(i)), out.as_mut_ptr().add(i));
        }
        if whole < row.len() {
            let (mut rest, mut narrowed) = ([0.0f32; 16], [E::default(); 16]);
            rest[..row.len() - whole].copy_from_slice(&row[whole..]);
            E::store(V::load(rest.as_ptr()), narrowed.as_mut_ptr());
            out[whole..].copy_from_slice(&narrowed[..row.len() - whole]);
        }
    }
}

/// Rounds a row to pairs of bf16, each of two neighbouring elements. An odd last element is paired
/// with zero. `out` has one pair for every two elements.
///
/// # Safety
/// See [`Vector`].
#[inline(always)]
pub unsafe fn pair_columns<V: Pairs>(row: &[f32], out: &mut [Bf16Pair]) {
    let step = 2 * V::LANES;
    let whole = row.len() / step * step;
    // SAFETY: vectors lie within the rows, or in copies that are as long as two of the longest.
    unsafe {
        let store = |from: *const f32, to: *mut Bf16Pair| {
            V::store_pairs(V::load(from), V::load(from.add(V::LANES)), to.cast());
        };
        for i in (0..whole).step_by(step) {
            store(row.as_ptr().add(i), out.as_mut_ptr().add(i / 2));
        }
        if whole < row.len() {
            let (mut rest, mut pairs) = ([0.0f32; 32], [Bf16Pair::default(); 16]);
            rest[..row.len() - whole].copy_from_slice(&row[whole..]);
            store(rest.as_ptr(), pairs.as_mut_ptr());
            out[whole / 2..].copy_from_slice(&pairs[..(row.len() - whole).div_ceil(2)]);
        }
    }
}

/// Rounds `rows` rows of `width` floats, `stride` floats apart, to bf16, and joins each two
/// neighbouring rows into a row of pairs: a pair has the elements of one column of both rows. An
/// odd last row is paired with zeros.
///
/// # Safety
/// See [`Vector`]; `from` is valid for such rows, `out` for half as many (rounded up) contiguous
/// rows of `width` pairs.
#[inline(always)]
pub unsafe fn pair_rows<V: Pairs>(
    from: *const f32,
    stride: usize,
    [rows, width]: [usize; 2],
    out: *mut Bf16Pair,
) {
    let whole = width / V::LANES * V::LANES;
    let rest = width - whole;
    // SAFETY: vectors lie within the rows, or in copies that are as long as the longest vector.
    unsafe {
        for row in 0..rows.div_ceil(2) {
            let (first, out) = (from.add(2 * row * stride), out.add(row * width));
            let zeros = [0.0f32; 16];
            // If there is no second row, the same zeros are read in each step.
            let (second, step) = match 2 * row + 1 < rows {
                true => (first.add(stride), 1),
                false => (zeros.as_ptr(), 0),
            };
            for i in (0..whole).step_by(V::LANES) {
                let (a, b) = (V::load(first.add(i)), V::load(second.add(i * step)));
                V::pair_up(a, b).store(out.add(i).cast());
            }
            if rest > 0 {
                let (mut a, mut b) = ([0.0f32; 16], [0.0f32; 16]);
                let mut pairs = [Bf16Pair::default(); 16];
                for i in 0..rest {
                    a[i] = *first.add(whole + i);
                    b[i] = *second.add((whole + i) * step);
                }
                V::pair_up(V::load(a.as_ptr()), V::load(b.as_ptr()))
                    .store(pairs.as_mut_ptr().cast());
                std::slice::from_raw_parts_mut(out.add(whole), rest)
                    .copy_from_slice(&pairs[..rest]);
            }
        }
    }
}
