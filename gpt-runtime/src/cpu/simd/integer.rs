//! Products of quantised matrices, in integers.
//!
//! Inputs are rounded to 16 bits in blocks of 32, each with a scale of its own: the products of a block's numbers with a block of weights (8
//! bits or 4) are summed in 32 bits without any rounding, and the two scales come in once for 32 terms. An input is off by at most 2^-16 of the greatest in
//! its block. (With 8 bits, as llama.cpp has them, it would be 2^-8; instructions that multiply bytes pay only where they add four at a time, VNNI.)
//!
//! Instructions multiply pairs: weights stand as `[depth / 2][32 outputs][2]`, so that one register has two steps of depth for as many
//! outputs as it has lanes.

use super::prefetch_far;
use super::vector::{PANEL, Vector};

/// Steps of depth of a block.
pub const BLOCK: usize = 32;
/// Bytes of a panel's block: f16 scales of its 32 outputs, in q4 as many f16 minima, and the quants.
pub const Q8_BLOCK: usize = 34 * PANEL;
pub const Q4_BLOCK: usize = 20 * PANEL;
/// Where minima begin in a block of q4, and where quants do.
const Q4_MINIMA: usize = 2 * PANEL;
const Q8_QUANTS: usize = 2 * PANEL;
const Q4_QUANTS: usize = 4 * PANEL;
/// Numbers of one block of a panel, widened.
pub const WIDE_BLOCK: usize = BLOCK * PANEL;

/// Rounds a row to integers: `x ≈ scales[block] * quants`. `sums` are those of each block's rounded inputs, which a format's minima multiply (of the
/// exact ones, they would not cancel against what quants that are all positive add too much). What the last block lacks becomes zeros. A NaN makes its
/// block's scale NaN.
///
/// # Safety
/// As [`Vector`]; `quants` has room for whole blocks, `scales` and `sums` for one number each.
#[inline(always)]
pub unsafe fn quantise<V: Vector>(
    x: &[f32],
    quants: &mut [i16],
    scales: &mut [f32],
    sums: &mut [f32],
) {
    const LARGEST: f32 = 32_767.0;
    for (b, part) in x.chunks(BLOCK).enumerate() {
        let mut block = [0.0f32; BLOCK];
        block[..part.len()].copy_from_slice(part);
        // SAFETY: vectors lie within the block, and within its place among the quants.
        unsafe {
            let at = block.as_ptr();
            let (mut greatest, mut sum) = (V::splat(0.0), V::splat(0.0));
            for i in (0..BLOCK).step_by(V::LANES) {
                let x = V::load(at.add(i));
                greatest = greatest.max(x).max(V::splat(0.0).sub(x));
                sum = sum.add(x);
            }
            let greatest = greatest.greatest();
            // Zero times a NaN is one.
            let scale = (greatest + 0.0 * sum.sum()) / LARGEST;
            let by = if greatest > 0.0 {
                LARGEST / greatest
            } else {
                0.0
            };
            let to = quants[b * BLOCK..][..BLOCK].as_mut_ptr();
            // Whole numbers, and their sum is below 2^24.
            let mut total = V::splat(0.0);
            for i in (0..BLOCK).step_by(V::LANES) {
                let rounded = V::load(at.add(i)).mul(V::splat(by)).round();
                rounded.store_i16(to.add(i));
                total = total.add(rounded);
            }
            scales[b] = scale;
            sums[b] = scale * total.sum();
        }
    }
}

/// How a format stores quants.
pub trait Quants {
    const BLOCK_BYTES: usize;
    const MINIMA: bool;

    /// For the outputs from `lane` on, pairs `step` and `step + 8` of a block (`step < 8`).
    ///
    /// # Safety
    /// As [`Vector`]; `block` is a whole block.
    unsafe fn pairs<V: Vector>(block: *const u8, step: usize, lane: usize) -> [V::Pairs; 2];
}

/// `[16][32][2]` signed bytes.
pub struct Q8;
/// `[8][32][2]` bytes: steps 0 to 15 are low nibbles, 16 to 31 the high ones.
pub struct Q4;

impl Quants for Q8 {
    const BLOCK_BYTES: usize = Q8_BLOCK;
    const MINIMA: bool = false;

    #[inline(always)]
    // SAFETY: the contract is the trait's.
    unsafe fn pairs<V: Vector>(block: *const u8, step: usize, lane: usize) -> [V::Pairs; 2] {
        // SAFETY: 16 steps of 64 bytes follow the scales.
        unsafe {
            let at = block.add(Q8_QUANTS + (step * PANEL + lane) * 2);
            [
                V::pairs_of_bytes(at.cast()),
                V::pairs_of_bytes(at.add(8 * PANEL * 2).cast()),
            ]
        }
    }
}

impl Quants for Q4 {
    const BLOCK_BYTES: usize = Q4_BLOCK;
    const MINIMA: bool = true;

    #[inline(always)]
    // SAFETY: the contract is the trait's.
    unsafe fn pairs<V: Vector>(block: *const u8, step: usize, lane: usize) -> [V::Pairs; 2] {
        // SAFETY: eight steps of 64 bytes follow the minima.
        unsafe { V::pairs_of_nibbles(block.add(Q4_QUANTS + (step * PANEL + lane) * 2)) }
    }
}

/// One row times one panel. `WIDE` registers span the panel.
///
/// # Safety
/// As [`Vector`]; the row has `blocks` blocks and the panel as many, `output` 32 floats.
#[inline(always)]
pub unsafe fn row<V: Vector, Q: Quants, const WIDE: usize>(
    quants: *const i16,
    scales: *const f32,
    sums: *const f32,
    blocks: usize,
    panel: *const u8,
    output: *mut f32,
) {
    // SAFETY: offsets stay within one block of the panel and 32 inputs.
    unsafe {
        let mut totals = [V::splat(0.0); WIDE];
        for b in 0..blocks {
            let (block, input) = (panel.add(b * Q::BLOCK_BYTES), quants.add(b * BLOCK));
            let mut parts = [V::no_sums(); WIDE];
            prefetch_far(block, Q::BLOCK_BYTES);
            for step in 0..8 {
                let x = V::splat_pair(input.add(2 * step));
                let later = V::splat_pair(input.add(2 * step + 16));
                for (j, part) in parts.iter_mut().enumerate() {
                    let [w, v] = Q::pairs::<V>(block, step, j * V::LANES);
                    *part = V::add_products(*part, w, x);
                    *part = V::add_products(*part, v, later);
                }
            }
            let (scale, sum) = (V::splat(*scales.add(b)), V::splat(*sums.add(b)));
            for (j, total) in totals.iter_mut().enumerate() {
                let of_weights = V::load_f16(block.cast::<u16>().add(j * V::LANES));
                *total = V::from_sums(parts[j]).mul_add(of_weights.mul(scale), *total);
                if Q::MINIMA {
                    let minima = block.add(Q4_MINIMA).cast::<u16>().add(j * V::LANES);
                    *total = V::load_f16(minima).mul_add(sum, *total);
                }
            }
        }
        for (j, total) in totals.into_iter().enumerate() {
            total.store(output.add(j * V::LANES));
        }
    }
}

/// The quants of `blocks` blocks of a panel in 16 bits, `[blocks][16][32][2]`: whoever multiplies many rows widens them once.
///
/// # Safety
/// As [`Vector`]; `panel` has as many blocks, `output` room for [`WIDE_BLOCK`] numbers of each.
#[inline(always)]
pub unsafe fn widen<V: Vector, Q: Quants>(panel: *const u8, blocks: usize, output: *mut i16) {
    // SAFETY: offsets stay within a block.
    unsafe {
        for b in 0..blocks {
            let (block, output) = (panel.add(b * Q::BLOCK_BYTES), output.add(b * WIDE_BLOCK));
            for step in 0..8 {
                for lane in (0..PANEL).step_by(V::LANES) {
                    let [now, later] = Q::pairs::<V>(block, step, lane);
                    let to = output.add((step * PANEL + lane) * 2);
                    V::store_pairs(now, to);
                    V::store_pairs(later, to.add(8 * PANEL * 2));
                }
            }
        }
    }
}

/// `output (+)= input · panel` for many rows: all of [`product`]'s arguments.
pub struct Product {
    pub rows: usize,
    pub blocks: usize,
    pub quants: *const i16,
    pub scales: *const f32,
    pub sums: *const f32,
    /// Blocks from one row of the input to the next.
    pub stride: usize,
    /// What [`widen`] made.
    pub wide: *const i16,
    /// The panel itself, for its scales and minima.
    pub panel: *const u8,
    pub block_bytes: usize,
    pub minima: bool,
    /// Rows of 32.
    pub output: *mut f32,
    pub add: bool,
}

/// One panel's outputs for `rows` rows. `VECTORS` registers side by side make a tile.
///
/// # Safety
/// As [`Vector`]; the pointers are valid for the shapes that [`Product`] tells.
#[inline(always)]
pub unsafe fn product<V: Vector, const VECTORS: usize>(p: &Product) {
    // SAFETY: tiles lie within the product's rows and lanes.
    unsafe { each_tile!(p, V, VECTORS, tile) }
}

/// `ROWS x VECTORS` registers of integer sums, kept over a block; what blocks come to is added up in the output, which stays in the first-level
/// cache.
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
        let row_of_quants = p.stride * BLOCK;
        let output = p.output.add(row * PANEL + lane);
        if !p.add {
            for r in 0..ROWS {
                for j in 0..VECTORS {
                    V::splat(0.0).store(output.add(r * PANEL + j * V::LANES));
                }
            }
        }
        for b in 0..p.blocks {
            // Three rows share a pointer; see the product of f32.
            let first = p.quants.add(row * row_of_quants + b * BLOCK);
            let mut bases = [first; 4];
            for (i, base) in bases.iter_mut().enumerate() {
                if 3 * i < ROWS {
                    *base = first.add(3 * i * row_of_quants);
                }
            }
            let mut wide = p.wide.add(b * WIDE_BLOCK + 2 * lane);
            let mut parts = [[V::no_sums(); VECTORS]; ROWS];
            for _ in 0..BLOCK / 2 {
                let mut weights = [V::load_pairs(wide); VECTORS];
                for (j, w) in weights.iter_mut().enumerate() {
                    *w = V::load_pairs(wide.add(2 * j * V::LANES));
                }
                for (r, parts) in parts.iter_mut().enumerate() {
                    let x = V::splat_pair(bases[r / 3].add(r % 3 * row_of_quants));
                    for (j, part) in parts.iter_mut().enumerate() {
                        *part = V::add_products(*part, weights[j], x);
                    }
                }
                for base in &mut bases {
                    *base = base.add(2);
                }
                wide = wide.add(2 * PANEL);
            }
            let block = p.panel.add(b * p.block_bytes);
            for j in 0..VECTORS {
                let at = lane + j * V::LANES;
                let of_weights = V::load_f16(block.cast::<u16>().add(at));
                for (r, parts) in parts.iter().enumerate() {
                    let scale = V::splat(*p.scales.add((row + r) * p.stride + b));
                    let to = output.add(r * PANEL + j * V::LANES);
                    V::from_sums(parts[j])
                        .mul_add(of_weights.mul(scale), V::load(to))
                        .store(to);
                }
                if p.minima {
                    let minima = V::load_f16(block.add(Q4_MINIMA).cast::<u16>().add(at));
                    for r in 0..ROWS {
                        let sum = V::splat(*p.sums.add((row + r) * p.stride + b));
                        let to = output.add(r * PANEL + j * V::LANES);
                        minima.mul_add(sum, V::load(to)).store(to);
                    }
                }
            }
        }
    }
}
