//! Matrix products over packed panels: many rows at once (`product`), one row (`gemv_*`), and decoding (`unpack_*`).
//!
//! A panel is 32 outputs wide. In f32 it is `[depth][32]`; the layouts of the other formats are described in
//! [`pack`](crate::cpu::pack). Kernels here see raw pointers; the checked doors to them are the methods of
//! [`Kernels`](super::Kernels).

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
    let mut row = 0;
    while row < p.rows {
        let rows = V::TILE_ROWS.min(p.rows - row);
        for lane in (0..PANEL).step_by(VECTORS * V::LANES) {
            // SAFETY: `row + rows <= p.rows` and the tile's lanes end within the panel.
            unsafe {
                match rows {
                    1 => tile::<V, 1, VECTORS>(p, row, lane),
                    2 => tile::<V, 2, VECTORS>(p, row, lane),
                    3 => tile::<V, 3, VECTORS>(p, row, lane),
                    4 => tile::<V, 4, VECTORS>(p, row, lane),
                    5 => tile::<V, 5, VECTORS>(p, row, lane),
                    6 => tile::<V, 6, VECTORS>(p, row, lane),
                    7 => tile::<V, 7, VECTORS>(p, row, lane),
                    8 => tile::<V, 8, VECTORS>(p, row, lane),
                    9 => tile::<V, 9, VECTORS>(p, row, lane),
                    10 => tile::<V, 10, VECTORS>(p, row, lane),
                    11 => tile::<V, 11, VECTORS>(p, row, lane),
                    _ => tile::<V, 12, VECTORS>(p, row, lane),
                }
            }
        }
        row += rows;
    }
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
        let mut input = p.input.add(row * p.input_stride);
        let mut panel = p.panel.add(lane);
        for _ in 0..p.depth {
            let weights: [V; VECTORS] = std::array::from_fn(|j| V::load(panel.add(j * V::LANES)));
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = V::splat(*input.add(r * p.input_stride));
                for (sum, w) in sums.iter_mut().zip(weights) {
                    *sum = w.mul_add(x, *sum);
                }
            }
            input = input.add(p.input_step);
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

/// Bytes of a block of depth 32 in a panel.
pub const Q8_BLOCK: usize = 34 * PANEL;
pub const Q4_BLOCK: usize = 20 * PANEL;
/// Where quants begin in such a block, after f16 scales (and minima) of its 32 outputs.
const Q8_QUANTS: usize = 2 * PANEL;
const Q4_MINIMA: usize = 2 * PANEL;
const Q4_QUANTS: usize = 4 * PANEL;

/// One row times one panel of q8.
///
/// # Safety
/// As [`Vector`]; `input` has `blocks * 32` floats, `panel` as many blocks, `output` 32 floats.
#[inline(always)]
pub unsafe fn gemv_q8<V: Vector, const WIDE: usize>(
    input: *const f32,
    blocks: usize,
    panel: *const u8,
    output: *mut f32,
) {
    // SAFETY: offsets stay within one block of `Q8_BLOCK` bytes and 32 inputs.
    unsafe {
        let mut totals = [V::splat(0.0); WIDE];
        for b in 0..blocks {
            let (block, input) = (panel.add(b * Q8_BLOCK), input.add(b * 32));
            let quants = block.add(Q8_QUANTS).cast::<i8>();
            let mut sums = [[V::splat(0.0); WIDE]; 2];
            for i in (0..32).step_by(2) {
                for (u, sums) in sums.iter_mut().enumerate() {
                    let x = V::splat(*input.add(i + u));
                    for (j, sum) in sums.iter_mut().enumerate() {
                        let q = V::load_i8(quants.add((i + u) * PANEL + j * V::LANES));
                        *sum = q.mul_add(x, *sum);
                    }
                }
            }
            for (j, total) in totals.iter_mut().enumerate() {
                let scale = V::load_f16(block.cast::<u16>().add(j * V::LANES));
                *total = scale.mul_add(sums[0][j].add(sums[1][j]), *total);
            }
        }
        for (j, total) in totals.into_iter().enumerate() {
            total.store(output.add(j * V::LANES));
        }
    }
}

/// One row times one panel of q4. `sums` holds the sum of each 32 inputs, which the minima multiply.
///
/// # Safety
/// As [`gemv_q8`]; `sums` has `blocks` floats.
#[inline(always)]
pub unsafe fn gemv_q4<V: Vector, const WIDE: usize>(
    input: *const f32,
    sums: *const f32,
    blocks: usize,
    panel: *const u8,
    output: *mut f32,
) {
    // SAFETY: offsets stay within one block of `Q4_BLOCK` bytes and 32 inputs.
    unsafe {
        let mut totals = [V::splat(0.0); WIDE];
        for b in 0..blocks {
            let (block, input) = (panel.add(b * Q4_BLOCK), input.add(b * 32));
            let quants = block.add(Q4_QUANTS);
            let mut parts = [[V::splat(0.0); WIDE]; 2];
            for i in 0..16 {
                let x = [V::splat(*input.add(i)), V::splat(*input.add(i + 16))];
                let [lows, highs] = &mut parts;
                for (j, (low_part, high_part)) in lows.iter_mut().zip(highs).enumerate() {
                    let (low, high) = V::load_nibbles(quants.add(i * PANEL + j * V::LANES));
                    *low_part = low.mul_add(x[0], *low_part);
                    *high_part = high.mul_add(x[1], *high_part);
                }
            }
            let sum = V::splat(*sums.add(b));
            for (j, total) in totals.iter_mut().enumerate() {
                let scale = V::load_f16(block.cast::<u16>().add(j * V::LANES));
                let minimum = V::load_f16(block.add(Q4_MINIMA).cast::<u16>().add(j * V::LANES));
                *total = scale.mul_add(parts[0][j].add(parts[1][j]), *total);
                *total = minimum.mul_add(sum, *total);
            }
        }
        for (j, total) in totals.into_iter().enumerate() {
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

/// `blocks` blocks of q8 as f32 `[blocks * 32][32]`.
///
/// # Safety
/// As [`Vector`]; `output` has `blocks * 1024` floats.
#[inline(always)]
pub unsafe fn unpack_q8<V: Vector>(panel: *const u8, blocks: usize, output: *mut f32) {
    // SAFETY: offsets stay within a block and its 1024 outputs.
    unsafe {
        for b in 0..blocks {
            let (block, output) = (panel.add(b * Q8_BLOCK), output.add(b * 32 * PANEL));
            for lane in (0..PANEL).step_by(V::LANES) {
                let scale = V::load_f16(block.cast::<u16>().add(lane));
                for i in 0..32 {
                    let q = V::load_i8(block.add(Q8_QUANTS + i * PANEL + lane).cast());
                    q.mul(scale).store(output.add(i * PANEL + lane));
                }
            }
        }
    }
}

/// `blocks` blocks of q4 as f32 `[blocks * 32][32]`.
///
/// # Safety
/// As [`unpack_q8`].
#[inline(always)]
pub unsafe fn unpack_q4<V: Vector>(panel: *const u8, blocks: usize, output: *mut f32) {
    // SAFETY: offsets stay within a block and its 1024 outputs.
    unsafe {
        for b in 0..blocks {
            let (block, output) = (panel.add(b * Q4_BLOCK), output.add(b * 32 * PANEL));
            for lane in (0..PANEL).step_by(V::LANES) {
                let scale = V::load_f16(block.cast::<u16>().add(lane));
                let minimum = V::load_f16(block.add(Q4_MINIMA).cast::<u16>().add(lane));
                for i in 0..16 {
                    let (low, high) = V::load_nibbles(block.add(Q4_QUANTS + i * PANEL + lane));
                    low.mul_add(scale, minimum)
                        .store(output.add(i * PANEL + lane));
                    high.mul_add(scale, minimum)
                        .store(output.add((i + 16) * PANEL + lane));
                }
            }
        }
    }
}
