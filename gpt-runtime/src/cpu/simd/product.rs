//! Matrix products over packed panels of plain numbers: many rows at once (`product`), one row (`gemv`), and decoding (`unpack`). Those of quantised
//! panels are in [`integer`](super::integer).
//!
//! A panel is 32 outputs wide. In f32 it is `[depth][32]`; the layouts of the other formats are described in
//! [`pack`](crate::cpu::pack). Kernels here see raw pointers; the checked doors to them are the methods of
//! [`Kernels`](super::Kernels).

use super::prefetch_far;
use super::vector::{PANEL, Vector};

/// `output = input · panel`, or `output += ..`: all of [`product`]'s arguments.
pub struct Product {
    pub rows: usize,
    pub depth: usize,
    pub input: *const f32,
    /// Floats from one row of the input to the next.
    pub input_stride: usize,
    /// Floats from one step of depth to the next: 1, or a row's length where the input is read by columns.
    pub input_step: usize,
    pub panel: *const f32,
    /// Floats from one step of depth to the next: 32 in a packed panel.
    pub panel_stride: usize,
    pub output: *mut f32,
    pub output_stride: usize,
    /// Whether the output's old values are kept and added to.
    pub add: bool,
}

/// One panel's outputs for `rows` rows of input. `VECTORS` registers side by side make a tile.
///
/// # Safety
/// As [`Vector`]; the pointers are valid for the shapes that [`Product`] tells.
#[inline(always)]
pub unsafe fn product<V: Vector, const VECTORS: usize>(p: &Product) {
    // SAFETY: tiles lie within the product's rows and lanes.
    unsafe { each_tile!(p, V, VECTORS, tile) }
}

/// `ROWS x VECTORS` registers of sums, kept over the whole depth.
///
/// # Safety
/// As [`Vector`], and the product has this tile's rows and columns.
#[inline(always)]
unsafe fn tile<V: Vector, const ROWS: usize, const VECTORS: usize>(
    p: &Product,
    row: usize,
    lane: usize,
) {
    // SAFETY: see `product`.
    unsafe {
        let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
        // Three rows share a pointer, as x86 can address a base, one stride and two strides. From a single pointer the compiler would walk down
        // the rows, each address waiting for the one before it: 85 % of the speed.
        let first = p.input.add(row * p.input_stride);
        let mut bases = [first; 4];
        for (i, base) in bases.iter_mut().enumerate() {
            if 3 * i < ROWS {
                *base = first.add(3 * i * p.input_stride);
            }
        }
        let mut panel = p.panel.add(lane);
        for _ in 0..p.depth {
            let mut weights = [V::splat(0.0); VECTORS];
            for (j, w) in weights.iter_mut().enumerate() {
                *w = V::load(panel.add(j * V::LANES));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = V::splat(*bases[r / 3].add(r % 3 * p.input_stride));
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = weights[j].mul_add(x, *sum);
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

/// How a panel without blocks stores one number.
pub trait Element: Copy {
    /// # Safety
    /// As [`Vector::load`].
    unsafe fn load<V: Vector>(from: *const Self) -> V;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: passed on.
        unsafe { V::load(from) }
    }
}

/// Bits of an IEEE half.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Half(pub u16);

impl Element for Half {
    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: passed on; `Half` is a transparent u16.
        unsafe { V::load_f16(from.cast()) }
    }
}

/// Bits of a bf16.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Brain(pub u16);

impl Element for Brain {
    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: passed on; `Brain` is a transparent u16.
        unsafe { V::load_bf16(from.cast()) }
    }
}

/// One row times one panel of plain elements. `WIDE` registers span the panel; `UNROLL` steps of depth have sums of their own,
/// so that additions do not wait for each other (and rounding errors stay smaller).
///
/// # Safety
/// As [`Vector`]; `input` has `depth` floats, `panel` `depth * 32` elements, `output` 32 floats.
#[inline(always)]
pub unsafe fn gemv<V: Vector, E: Element, const WIDE: usize, const UNROLL: usize>(
    input: *const f32,
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
            if size_of::<E>() < size_of::<f32>() {
                // Loads of f32 keep memory busy by themselves: there it gained nothing.
                prefetch_far(panel.add(k * PANEL).cast(), UNROLL * PANEL * size_of::<E>());
            }
            for (u, sums) in sums.iter_mut().enumerate() {
                let x = V::splat(*input.add(k + u));
                for (j, sum) in sums.iter_mut().enumerate() {
                    let w: V = E::load(panel.add((k + u) * PANEL + j * V::LANES));
                    *sum = w.mul_add(x, *sum);
                }
            }
            k += UNROLL;
        }
        for k in whole..depth {
            let x = V::splat(*input.add(k));
            for (j, sum) in sums[0].iter_mut().enumerate() {
                let w: V = E::load(panel.add(k * PANEL + j * V::LANES));
                *sum = w.mul_add(x, *sum);
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

/// `depth * 32` plain elements as f32.
///
/// # Safety
/// As [`Vector`]; both pointers are valid for `depth * 32` elements.
#[inline(always)]
pub unsafe fn unpack<V: Vector, E: Element>(panel: *const E, depth: usize, output: *mut f32) {
    for i in (0..depth * PANEL).step_by(V::LANES) {
        // SAFETY: `i + LANES <= depth * 32`, as lanes divide 32.
        unsafe { E::load::<V>(panel.add(i)).store(output.add(i)) };
    }
}
