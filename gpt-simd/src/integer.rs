//! Products of quantised matrices, in integers.
//!
//! Inputs are rounded to integers in blocks of 32 with a scale each. The products of a block of
//! inputs and a block of weights (up to 8 bits) are summed in 32 bits without rounding. The sum is
//! then multiplied by both scales, once for each 32 columns, or for each 16 in formats with a
//! weight scale for each 16 ([`Scales::PARTS`]). The instruction set decides the width of an input
//! ([`IntDot`]). With 16 bits, the error is at most 2^-16 of the largest input of the block. With 8
//! bits, as in llama.cpp, one instruction adds four products, and a matrix product takes half the
//! time.
//!
//! VNNI's instruction takes one unsigned operand. Where it is used ([`IntDot::SHIFT`]), 8-bit
//! weights are packed with 128 added, and a sum starts at -128 times the sum of the block's inputs
//! to make up for that. Formats that store weights with an offset ([`Scales::OFFSET`]) are
//! corrected in the same way. The remaining formats store unsigned weights.

use std::ops::Range;
use std::sync::atomic::{Ordering, compiler_fence};

use super::int_dot::IntDot;
use super::product::SpreadPrefetch;
use super::quants::Quants;
use super::scales::Scales;
use super::vector::{PANEL, Vector};
use super::{prefetch_later, prefetch_next_page};

/// Columns of a block.
pub const BLOCK: usize = 32;
/// The number of weights in a block of a panel: 32 columns of 32 outputs.
pub const WIDE_BLOCK: usize = BLOCK * PANEL;

/// Pointers to rounded inputs, which may start at any row and block. Rows are `stride` blocks
/// apart. The type of quants is [`IntDot::Quant`].
#[derive(Clone, Copy)]
pub struct QuantisedInputs {
    /// `[rows][stride][32]`.
    pub quants: *const u8,
    /// `[rows][stride]`: the scale of each block; an input is its quant times the scale. `sums` and
    /// `starts` have the same shape.
    pub scales: *const f32,
    /// The sum of each block's rounded inputs, as a float. It is multiplied by a format's minima.
    pub sums: *const f32,
    /// Initial values of integer sums with weights that are packed with [`IntDot::SHIFT`] added.
    pub starts: *const i32,
    /// `[rows][stride][2]`: the sum of the quants of each half of a block.
    pub halves: *const i32,
    pub stride: usize,
}

/// Rounds a row to integers: `x ≈ scales[block] * quants`. `sums` are the sums of each block's
/// rounded inputs, which are multiplied by a format's minima. A minimum cancels the offset of
/// unsigned weights only if both are multiplied by the same inputs. The last block is padded with
/// zeros. A NaN makes its block's scale NaN.
///
/// # Safety
/// See [`Vector`]; `quants` holds whole blocks of [`IntDot::Quant`], `halves` two numbers for each
/// block, the others one.
#[inline(always)]
pub unsafe fn quantise<D: IntDot>(
    x: &[f32],
    quants: *mut u8,
    scales: &mut [f32],
    sums: &mut [f32],
    starts: &mut [i32],
    halves: &mut [i32],
) {
    let quants = quants.cast::<D::Quant>();
    let (whole, rest) = x.as_chunks::<BLOCK>();
    let mut last = [0.0f32; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    let blocks = whole.iter().chain((!rest.is_empty()).then_some(&last));
    let places = scales.iter_mut().zip(sums).zip(starts).zip(halves.as_chunks_mut::<2>().0);
    for (b, (block, (((scale, sum), start), halves))) in blocks.zip(places).enumerate() {
        // SAFETY: `quants` holds as many blocks as the other outputs.
        unsafe {
            let (found, totals) = quantise_block::<D>(block, quants.add(b * BLOCK));
            let total = totals[0] + totals[1];
            *scale = found;
            *sum = found * total;
            *start = -D::SHIFT * total as i32;
            *halves = totals.map(|total| total as i32);
        }
    }
}

/// Rounds a block and returns its scale and the sums of the integers of its halves.
///
/// # Safety
/// See [`Vector`]; `quants` holds a block.
#[inline(always)]
unsafe fn quantise_block<D: IntDot>(x: &[f32; BLOCK], quants: *mut D::Quant) -> (f32, [f32; 2]) {
    // SAFETY: vectors lie within the block, and within its place among the quants.
    unsafe {
        let at = x.as_ptr();
        let mut greatest = D::V::splat(0.0);
        for i in (0..BLOCK).step_by(D::V::LANES) {
            let x = D::V::load(at.add(i));
            greatest = greatest.max(x).max(D::V::splat(0.0).sub(x));
        }
        let greatest = greatest.greatest();
        let by = if greatest > 0.0 { D::LARGEST / greatest } else { 0.0 };
        // The sums of these integers are below 2^24, so they are exact.
        let mut totals = [D::V::splat(0.0); 2];
        for (half, total) in totals.iter_mut().enumerate() {
            for i in (0..BLOCK / 2).step_by(D::V::LANES) {
                let i = half * BLOCK / 2 + i;
                let rounded = D::V::load(at.add(i)).mul(D::V::splat(by)).round();
                D::store_quants(rounded, quants.add(i));
                *total = total.add(rounded);
            }
        }
        let [first, second] = totals;
        let totals = [first.sum(), second.sum()];
        // An infinity or NaN makes a sum NaN, and zero times NaN is NaN.
        ((greatest + 0.0 * (totals[0] + totals[1])) / D::LARGEST, totals)
    }
}

/// Bytes of a block of a panel.
const fn block_bytes<Q: Quants>() -> usize {
    Q::FORMAT.packed_bytes() * PANEL
}

/// Bytes of a sub-block of a panel.
const fn sub_block_bytes<Q: Quants>() -> usize {
    Q::Scales::FINE + Q::FORMAT.quant_bytes() * PANEL
}

/// Multiplies one row by one panel. `WIDE` is the number of registers that hold 32 lanes.
///
/// # Safety
/// See [`Vector`]; the row has `blocks` blocks and the panel as many sub-blocks, `output` 32
/// floats.
#[inline(always)]
pub unsafe fn row<D: IntDot, Q: Quants, const WIDE: usize>(
    input: &QuantisedInputs,
    blocks: usize,
    panel: *const u8,
    output: *mut f32,
) {
    // SAFETY: iteration `b` stays within sub-block `b` of the panel and block `b` of the inputs.
    unsafe {
        let lanes = D::V::LANES;
        let quants = input.quants.cast::<D::Quant>();
        let share = block_bytes::<Q>() / Q::Scales::SUB_BLOCKS;
        let mut totals = [D::V::splat(0.0); WIDE];
        for b in 0..blocks {
            prefetch_next_page(panel.wrapping_add(b * share), share);
            let [opening, fine] = sub_block::<Q>(panel, b);
            let weights = fine.add(Q::Scales::FINE);
            let quants = quants.add(b * BLOCK);
            // The second half of a block has separate sums if it has a separate scale.
            const { assert!(Q::Scales::PARTS == 1 || !Q::NEIGHBOURS) };
            let halves = input.halves.add(2 * b);
            let start = |part| start::<D, Q::Scales>(input.starts.add(b), halves, part);
            let (mut first, mut second) = ([start(0); WIDE], [start(Q::Scales::PARTS - 1); WIDE]);
            for step in 0..16 / D::GROUP {
                let [x, later] = Q::columns::<D>(step).map(|column| D::splat(quants.add(column)));
                for (j, (first, second)) in first.iter_mut().zip(&mut second).enumerate() {
                    let [w, v] = Q::groups::<D>(weights, step, j * lanes);
                    *first = D::add_products(*first, w, x);
                    let other = if Q::Scales::PARTS == 1 { first } else { second };
                    *other = D::add_products(*other, v, later);
                }
                // Keeps the reads of memory in order. The compiler would read the first lanes of
                // all steps, then the last ones, and the hardware would prefetch less.
                compiler_fence(Ordering::SeqCst);
            }
            let scale = D::V::splat(*input.scales.add(b));
            let sum = D::V::splat(*input.sums.add(b));
            let parts = [first, second];
            for (j, total) in totals.iter_mut().enumerate() {
                for (i, part) in parts.iter().enumerate().take(Q::Scales::PARTS) {
                    let of_weights = Q::Scales::scale::<D::V>(opening, fine, i, j * lanes);
                    *total = D::floats(part[j]).mul_add(of_weights.mul(scale), *total);
                }
                if Q::Scales::MINIMA {
                    let minima = Q::Scales::minimum::<D::V>(opening, fine, j * lanes);
                    *total = minima.mul_add(sum, *total);
                }
            }
        }
        for (j, total) in totals.into_iter().enumerate() {
            total.store(output.add(j * lanes));
        }
    }
}

/// Returns pointers to sub-block `b` of a panel: to the f16 scales of its block, and to its fine
/// scales. The quants come after the fine scales.
///
/// # Safety
/// The panel has the sub-block.
#[inline(always)]
unsafe fn sub_block<Q: Quants>(panel: *const u8, b: usize) -> [*const u8; 2] {
    let (block, within) = (b / Q::Scales::SUB_BLOCKS, b % Q::Scales::SUB_BLOCKS);
    // SAFETY: by the caller's promise.
    unsafe {
        let opening = panel.add(block * block_bytes::<Q>());
        [opening, opening.add(Q::Scales::OPENING + within * sub_block_bytes::<Q>())]
    }
}

/// The initial values of the sums of part `part` of a block. `starts` and `halves` belong to the
/// block.
///
/// # Safety
/// See [`Vector`]; the pointers are valid for a block.
#[inline(always)]
unsafe fn start<D: IntDot, S: Scales>(
    starts: *const i32,
    halves: *const i32,
    part: usize,
) -> D::Sums {
    const { assert!(S::OFFSET == 0 || S::PARTS == 2) };
    // SAFETY: the caller's contract is the same.
    unsafe {
        D::start(match S::SHIFTED && D::SHIFT != 0 {
            true => *starts,
            false if S::OFFSET != 0 => -S::OFFSET * *halves.add(part),
            false => 0,
        })
    }
}

/// Converts the quants of `blocks` sub-blocks of a panel to the form that [`IntDot::load`] takes,
/// `[blocks][32 / GROUP][32][GROUP]`, once for many rows.
///
/// # Safety
/// See [`Vector`]; `panel` has as many sub-blocks, `output` holds [`WIDE_BLOCK`] weights of
/// [`IntDot::WIDE_BYTES`] for each.
#[inline(always)]
pub unsafe fn widen<D: IntDot, Q: Quants>(panel: *const u8, blocks: usize, output: *mut u8) {
    // SAFETY: offsets stay within a block.
    unsafe {
        for b in 0..blocks {
            let [_, fine] = sub_block::<Q>(panel, b);
            let weights = fine.add(Q::Scales::FINE);
            let output = output.add(b * WIDE_BLOCK * D::WIDE_BYTES);
            for step in 0..16 / D::GROUP {
                for lane in (0..PANEL).step_by(D::V::LANES) {
                    let groups = Q::groups::<D>(weights, step, lane);
                    for (group, column) in groups.into_iter().zip(Q::columns::<D>(step)) {
                        let at = column * PANEL + lane * D::GROUP;
                        D::store(group, output.add(at * D::WIDE_BYTES));
                    }
                }
            }
        }
    }
}

/// The arguments of [`product`], which computes `output = input · panel` for many rows, or adds to
/// `output`.
pub struct IntegerProduct {
    pub rows: usize,
    pub blocks: usize,
    pub input: QuantisedInputs,
    /// The quants: the output of [`widen`], or stored bytes in the same form.
    pub wide: *const u8,
    /// Bytes from one block of `wide` to the next.
    pub wide_stride: usize,
    /// The panel itself, for its scales and minima.
    pub panel: *const u8,
    /// Bytes from one block of `panel` to the next.
    pub block_bytes: usize,
    /// Bytes from one sub-block to the next.
    pub sub_block_bytes: usize,
    /// Start and length of the memory that a later product reads; `product` prefetches it.
    pub next: (*const u8, usize),
    /// `[rows][32]`.
    pub output: *mut f32,
    /// Whether the product is added to `output` instead of replacing it.
    pub add: bool,
}

/// Computes the outputs of one panel for `rows` rows. A tile is `VECTORS` registers wide. `S` gives
/// the scales; the quants are already in `wide`.
///
/// A tile has integer sums of one block (or of a part with its own scale), and float sums of all
/// blocks. If the registers hold both ([`IntDot::SPAN_ROWS`]), a tile runs over all blocks.
/// Otherwise the outer loop is over blocks, and the float sums are kept in `output`, which is in
/// the first-level cache.
///
/// # Safety
/// See [`Vector`]; the pointers are valid for the shapes in [`IntegerProduct`].
#[inline(always)]
pub unsafe fn product<D: IntDot, S: Scales, const VECTORS: usize>(p: &IntegerProduct) {
    // SAFETY: tiles lie within the product's rows and lanes.
    unsafe {
        if !p.add {
            std::slice::from_raw_parts_mut(p.output, p.rows * PANEL).fill(0.0);
        }
        let steps = BLOCK / S::PARTS / D::GROUP;
        if const { D::SPAN_ROWS > 0 } {
            // If the compiler knew the number of steps, it would unroll the loop over them, load
            // many weights at once, and keep the float sums in memory.
            let steps = std::hint::black_box(steps);
            let run = &Run { product: p, rows: p.rows, blocks: 0..p.blocks, steps };
            each_tile!(run, { D::SPAN_ROWS }, D::V, VECTORS, tile, [D, S]);
            return;
        }
        for b in 0..p.blocks {
            let each = p.next.1 / p.blocks;
            prefetch_later(p.next.0.wrapping_add(b * each), each);
            let run = &Run { product: p, rows: p.rows, blocks: b..b + 1, steps };
            each_tile!(run, { D::V::TILE / VECTORS }, D::V, VECTORS, tile, [D, S]);
        }
    }
}

/// A product, and the range of blocks over which its tiles run.
struct Run<'a> {
    product: &'a IntegerProduct,
    rows: usize,
    blocks: Range<usize>,
    /// Groups of columns in a block, or in a part of a block with its own scale.
    steps: usize,
}

/// Adds the sums over the blocks of `run` to `ROWS x VECTORS` registers of the output.
///
/// # Safety
/// See [`Vector`]; the product has this tile's rows and columns.
#[inline(always)]
unsafe fn tile<D: IntDot, S: Scales, const ROWS: usize, const VECTORS: usize>(
    run: &Run<'_>,
    row: usize,
    lane: usize,
) {
    // SAFETY: see `product`.
    unsafe {
        let (p, lanes) = (run.product, D::V::LANES);
        let (stride, spans) = (p.input.stride, const { D::SPAN_ROWS > 0 });
        let output = p.output.add(row * PANEL + lane);
        let mut totals = [[D::V::splat(0.0); VECTORS]; ROWS];
        if spans && p.add {
            for (r, totals) in totals.iter_mut().enumerate() {
                for (j, total) in totals.iter_mut().enumerate() {
                    *total = D::V::load(output.add(r * PANEL + j * lanes));
                }
            }
        }
        let mut spread = SpreadPrefetch::new(
            p.next,
            p.rows,
            row..row + ROWS,
            lane..lane + VECTORS * lanes,
            p.blocks,
        );
        for b in run.blocks.clone() {
            if spans {
                spread.prefetch();
            }
            let opening = p.panel.add(b / S::SUB_BLOCKS * p.block_bytes);
            let fine = opening.add(S::OPENING + b % S::SUB_BLOCKS * p.sub_block_bytes);
            let (scales, sums) =
                (p.input.scales.add(row * stride + b), p.input.sums.add(row * stride + b));
            for part in 0..S::PARTS {
                let parts = integer_sums::<D, S, ROWS, VECTORS>(p, row, lane, [b, part, run.steps]);
                let mut of_weights = [D::V::splat(0.0); VECTORS];
                let mut minima = [D::V::splat(0.0); VECTORS];
                for j in 0..VECTORS {
                    let at = lane + j * lanes;
                    of_weights[j] = S::scale::<D::V>(opening, fine, part, at);
                    if S::MINIMA {
                        minima[j] = S::minimum::<D::V>(opening, fine, at);
                    }
                }
                // Rows are the outer loop: with the other order the compiler keeps the sums in
                // memory.
                for (r, (parts, totals)) in parts.into_iter().zip(&mut totals).enumerate() {
                    let scale = D::V::splat(*scales.add(r * stride));
                    let sum = D::V::splat(*sums.add(r * stride));
                    for (j, (part, total)) in parts.into_iter().zip(totals).enumerate() {
                        let to = output.add(r * PANEL + j * lanes);
                        if !spans {
                            *total = D::V::load(to);
                        }
                        let by = of_weights[j].mul(scale);
                        *total = D::floats(part).mul_add(by, *total);
                        if S::MINIMA {
                            *total = minima[j].mul_add(sum, *total);
                        }
                        if !spans {
                            total.store(to);
                        }
                    }
                }
            }
        }
        if spans {
            for (r, totals) in totals.into_iter().enumerate() {
                for (j, total) in totals.into_iter().enumerate() {
                    total.store(output.add(r * PANEL + j * lanes));
                }
            }
        }
    }
}

/// The integer sums of part `part` of block `b`, which has `steps` groups of columns.
///
/// # Safety
/// See [`Vector`]; the product has this tile's rows and columns, and the block.
#[inline(always)]
unsafe fn integer_sums<D: IntDot, S: Scales, const ROWS: usize, const VECTORS: usize>(
    p: &IntegerProduct,
    row: usize,
    lane: usize,
    [b, part, steps]: [usize; 3],
) -> [[D::Sums; VECTORS]; ROWS] {
    // SAFETY: see `product`.
    unsafe {
        let input = &p.input;
        let stride = input.stride * BLOCK;
        let column = b * BLOCK + part * BLOCK / S::PARTS;
        // Three rows share a pointer; `product::tile` explains why.
        let first = input.quants.cast::<D::Quant>().add(row * stride + column);
        let mut bases = [first; 4];
        for (i, base) in bases.iter_mut().enumerate() {
            if 3 * i < ROWS {
                *base = first.add(3 * i * stride);
            }
        }
        let group = D::GROUP * D::WIDE_BYTES;
        let within = part * BLOCK / S::PARTS * PANEL * D::WIDE_BYTES;
        let mut wide = p.wide.add(b * p.wide_stride + within + lane * group);
        let mut sums = [[D::start(0); VECTORS]; ROWS];
        if (S::SHIFTED && D::SHIFT != 0) || S::OFFSET != 0 {
            let first = row * input.stride + b;
            let (starts, halves) = (input.starts.add(first), input.halves.add(2 * first));
            for (r, sums) in sums.iter_mut().enumerate() {
                let at = r * input.stride;
                *sums = [start::<D, S>(starts.add(at), halves.add(2 * at), part); VECTORS];
            }
        }
        for _ in 0..steps {
            let mut weights = [D::load(wide); VECTORS];
            for (j, w) in weights.iter_mut().enumerate() {
                *w = D::load(wide.add(j * D::V::LANES * group));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = D::splat(bases[r / 3].add(r % 3 * stride));
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = D::add_products(*sum, weights[j], x);
                }
            }
            for base in &mut bases {
                *base = base.add(D::GROUP);
            }
            wide = wide.add(PANEL * group);
        }
        sums
    }
}
