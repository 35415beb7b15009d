//! Matrix products over packed panels of plain numbers: many rows at once (`product`), one row (`gemv`), and decoding (`unpack`). Those of quantised
//! panels are in [`integer`](super::integer).
//!
//! A panel is 32 outputs wide. In f32 it is `[depth][32]`; the layouts of the other formats are described in
//! [`pack`](crate::cpu::pack). Kernels here see raw pointers; the checked doors to them are the methods of
//! [`Kernels`](super::Kernels).

use bytemuck::{Pod, Zeroable};

use super::vector::{PANEL, Vector};
use super::{prefetch_far, prefetch_later};

/// `output = input · panel`, or `output += ..`: all of [`product`]'s arguments.
pub struct Product<E = f32> {
    pub rows: usize,
    pub depth: usize,
    pub input: *const f32,
    /// Floats from one row of the input to the next.
    pub input_stride: usize,
    /// Floats from one step of depth to the next: 1, or a row's length where the input is read by columns.
    pub input_step: usize,
    pub panel: *const E,
    /// Elements from one step of depth to the next: 32 in a packed panel.
    pub panel_stride: usize,
    /// Elements from where the panel is read to where memory is asked for what a later product of few rows will read; 0 for not at all.
    pub ahead: usize,
    pub output: *mut f32,
    pub output_stride: usize,
    /// Whether the output's old values are kept and added to.
    pub add: bool,
}

/// So few rows (the heads of one token, which share keys and values) read the panel from memory rather than from a cache, and leave registers for all
/// of its width.
const FEW: usize = 3;

/// One panel's outputs for `rows` rows of input. `VECTORS` registers side by side make a tile, `WIDE` span the panel.
///
/// # Safety
/// As [`Vector`]; the pointers are valid for the shapes that [`Product`] tells.
#[inline(always)]
pub unsafe fn product<V: Vector, E: Element, const VECTORS: usize, const WIDE: usize>(
    p: &Product<E>,
) {
    // SAFETY: tiles lie within the product's rows and lanes.
    unsafe {
        match p.rows {
            1 => tile::<V, E, 1, WIDE>(p, 0, 0),
            2 => tile::<V, E, 2, WIDE>(p, 0, 0),
            FEW => tile::<V, E, FEW, WIDE>(p, 0, 0),
            _ => each_tile!(p, V, VECTORS, tile, E),
        }
    }
}

/// `ROWS x VECTORS` registers of sums, kept over the whole depth.
///
/// # Safety
/// As [`Vector`], and the product has this tile's rows and columns.
#[inline(always)]
unsafe fn tile<V: Vector, E: Element, const ROWS: usize, const VECTORS: usize>(
    p: &Product<E>,
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
            if ROWS <= FEW && p.ahead > 0 {
                let bytes = VECTORS * V::LANES * size_of::<E>();
                prefetch_later(panel.wrapping_add(p.ahead).cast(), bytes);
            }
            let input = |r: usize| V::splat(*bases[r / 3].add(r % 3 * p.input_stride));
            // What there is less of, weights or inputs, is kept in registers; the others come one by one. All of both would be one register too many.
            if VECTORS > ROWS {
                let mut inputs = [V::splat(0.0); ROWS];
                for (r, x) in inputs.iter_mut().enumerate() {
                    *x = input(r);
                }
                for j in 0..VECTORS {
                    let weight: V = E::load(panel.add(j * V::LANES));
                    for (x, sums) in inputs.iter().zip(&mut sums) {
                        sums[j] = weight.mul_add(*x, sums[j]);
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
                        *sum = weights[j].mul_add(x, *sum);
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

/// How a panel without blocks stores one number.
pub trait Element: Copy {
    /// # Safety
    /// As [`Vector::load`].
    unsafe fn load<V: Vector>(from: *const Self) -> V;
    /// Stores a register, rounded to nearest, ties to even.
    ///
    /// # Safety
    /// As [`Vector::store`].
    unsafe fn store<V: Vector>(value: V, to: *mut Self);
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: passed on.
        unsafe { V::load(from) }
    }

    #[inline(always)]
    unsafe fn store<V: Vector>(value: V, to: *mut Self) {
        // SAFETY: passed on.
        unsafe { value.store(to) }
    }
}

/// Bits of an IEEE half.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct Half(pub u16);

impl Element for Half {
    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: passed on; `Half` is a transparent u16.
        unsafe { V::load_f16(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store<V: Vector>(value: V, to: *mut Self) {
        // SAFETY: passed on, likewise.
        unsafe { value.store_f16(to.cast()) }
    }
}

/// Bits of a bf16.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct Brain(pub u16);

impl Element for Brain {
    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: passed on; `Brain` is a transparent u16.
        unsafe { V::load_bf16(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store<V: Vector>(value: V, to: *mut Self) {
        // SAFETY: passed on, likewise.
        unsafe { value.store_bf16(to.cast()) }
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

/// A row in another format, rounded to nearest; both slices have one length.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
pub unsafe fn narrow<V: Vector, E: Element + Default>(row: &[f32], out: &mut [E]) {
    let whole = row.len() / V::LANES * V::LANES;
    // SAFETY: vectors lie within the rows, or in copies that are longer than any vector.
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
