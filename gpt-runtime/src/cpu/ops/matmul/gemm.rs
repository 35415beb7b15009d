//! The GEMM: many rows times a matrix.
//!
//! With many rows, arithmetic is the limit. A task takes a group of panels and some of the rows.
//! Slices of the panels stay in the second-level cache. Each block of rows is multiplied by all
//! panels of the group before the next block. An epilogue receives the outputs in tiles; a tile has
//! some rows of one panel. The implementation of [`Panels`] decides the source, the format and the
//! orientation of the weights.

use std::ops::Range;

use super::epilogue::EpilogueFn;
use crate::cpu::device::CpuDevice;
use crate::cpu::pack::{PanelSlice, Panels};
use crate::cpu::scratch::ThreadScratch;
use crate::cpu::scratch::gemm::{DEEP_GROUP, DEEP_PANELS, DEEP_ROWS, DEPTH, GROUP, PANELS, ROWS};
use gpt_simd::{
    BLOCK, Bf16Pair, Integers, Kernels, PANEL, PanelElement, Prefetch, Rounding, Strided,
    StridedMut,
};

/// Bytes of weights that are multiplied with all rows of a block before the next weights. They stay
/// in the first-level cache. For integers, they are whole blocks of 256 columns.
const NEAR: usize = 16 << 10;

/// The largest matrix, in bytes of f32, that fits in the cache of every thread. For such a matrix
/// the rows are divided among the threads; each thread's cache still holds its rows from the
/// previous step. For a larger matrix the panels are divided, and each is read from memory once.
const SMALL: usize = 512 << 10;

/// Rows of input.
#[derive(Clone, Copy)]
pub enum GemmInput<'a> {
    /// f32. If the matrix requires bf16, a task rounds each block of rows just before multiplying
    /// it.
    Plain(Strided<'a>),
    Pairs(Strided<'a, Bf16Pair>),
    Integers(Integers<'a>),
}

/// The tasks of a product: groups of panels times shares of the rows.
struct Tasks {
    panels: usize,
    /// Columns of the matrix.
    depth: usize,
    /// Panels in a group.
    group: usize,
    groups: usize,
    rows: usize,
    /// Rows in a share.
    share: usize,
    shares: usize,
    /// Floats of scratch memory for the conversion of one slice.
    scratch: usize,
    /// Whether panels have more than one slice.
    deep: bool,
    /// Whether neighbouring tasks share rows; otherwise they share panels.
    by_rows: bool,
}

impl Tasks {
    fn new(device: &CpuDevice, matrix: &impl Panels, rows: usize) -> Tasks {
        let (panels, depth) = (matrix.count(), matrix.depth());
        let deep = depth > DEPTH;
        let numbers = depth.min(DEPTH).next_multiple_of(BLOCK) * PANEL;
        let bytes = match matrix.rounding(device.kernels) {
            Rounding::Bf16 if device.kernels.has_pairs() => 2,
            Rounding::None | Rounding::Bf16 => 4,
            Rounding::Integer8 | Rounding::Integer16 => device.kernels.wide_bytes(1),
        };
        let most = match deep {
            true => (DEEP_GROUP / (numbers * bytes + DEEP_ROWS * PANEL * 4)).min(DEEP_PANELS),
            false => (GROUP / (numbers * bytes)).min(PANELS),
        };
        let groups = panels.div_ceil(most);
        let group = panels.div_ceil(groups);
        let groups = panels.div_ceil(group);
        // A narrow matrix has too few groups for many threads; its rows are divided as well.
        let shares = (4 * device.pool.threads()).div_ceil(groups).min(rows.div_ceil(ROWS / 2));
        let share = rows.div_ceil(shares).next_multiple_of(12);
        let share = if deep { share.min(DEEP_ROWS) } else { share };
        Tasks {
            panels,
            depth,
            group,
            groups,
            rows,
            share,
            shares: rows.div_ceil(share),
            scratch: numbers * bytes / size_of::<f32>(),
            deep,
            by_rows: panels * PANEL * depth * size_of::<f32>() <= SMALL,
        }
    }

    /// The group of panels and the share of rows of a task.
    fn coordinates(&self, task: usize) -> (usize, usize) {
        match self.by_rows {
            true => (task % self.groups, task / self.groups),
            false => (task / self.shares, task % self.shares),
        }
    }

    /// The panel and columns that replace `columns` of `panel` in the cache: the next slice of the
    /// panel. After the last slice, a task with the last rows (its rows end at `row_end`) continues
    /// with the panel at the same place in the next group. A task with many blocks of rows
    /// prefetches this slice little by little.
    fn next_slice(
        &self,
        panel: usize,
        columns: &Range<usize>,
        row_end: usize,
    ) -> Option<(usize, Range<usize>)> {
        let slice = |start: usize| start..(start + DEPTH).min(self.depth);
        if columns.end < self.depth {
            return Some((panel, slice(columns.end)));
        }
        let panel = panel + self.group;
        (row_end == self.rows && panel < self.panels).then(|| (panel, slice(0)))
    }

    /// The panel and columns that a task multiplies after `columns` of `panel`, one of `panels`. A
    /// task with a single block of rows prefetches them: it is done with a panel before much more
    /// than the next panel could arrive.
    fn next_panel(
        &self,
        panels: &Range<usize>,
        panel: usize,
        columns: &Range<usize>,
        row_end: usize,
    ) -> Option<(usize, Range<usize>)> {
        match panel + 1 < panels.end {
            true => Some((panel + 1, columns.clone())),
            false => self.next_slice(panels.start, columns, row_end),
        }
    }
}

/// Multiplies `rows` rows of `input` by `matrix` and passes the outputs to `epilogue`.
pub fn gemm(
    device: &CpuDevice,
    input: GemmInput<'_>,
    rows: usize,
    matrix: &impl Panels,
    epilogue: EpilogueFn<'_>,
) {
    let tasks = Tasks::new(device, matrix, rows);
    let (kernels, depth) = (device.kernels, matrix.depth());
    let rounds = matrix.rounding(kernels) == Rounding::Bf16;
    device.pool.run(tasks.groups * tasks.shares, &|task, thread| {
        let (group, share) = tasks.coordinates(task);
        let first = group * tasks.group;
        let panels = first..(first + tasks.group).min(tasks.panels);
        let first_row = share * tasks.share;
        let rows = first_row..(first_row + tasks.share).min(tasks.rows);
        let mut scratch = device.scratch(thread);
        let ThreadScratch { tile, panels: converted, inputs, .. } = &mut *scratch;
        for start in (0..depth).step_by(DEPTH) {
            let end = (start + DEPTH).min(depth);
            let columns = start..end;
            let blocks = rows.len().div_ceil(ROWS);
            let mut slices = [PanelSlice::Plain(&[]); PANELS];
            let mut converted = converted.chunks_exact_mut(tasks.scratch);
            for (block, from) in rows.clone().step_by(ROWS).enumerate() {
                let shape = [ROWS.min(rows.end - from), end - start];
                let input = input.block(from, start).rounded(kernels, shape, rounds, inputs);
                for (panel, slice) in panels.clone().zip(&mut slices) {
                    if block == 0 {
                        let scratch = converted.next().expect("scratch for a group");
                        *slice = matrix.slice(kernels, panel, start, end, scratch);
                    }
                    // With several slices, partial sums stay in `tile` until the last slice, so
                    // each panel and row has its own place.
                    let at = match tasks.deep {
                        true => (panel - panels.start) * DEEP_ROWS + from - rows.start,
                        false => 0,
                    };
                    let tile = &mut tile[at * PANEL..][..shape[0] * PANEL];
                    let next = match blocks {
                        1 => tasks.next_panel(&panels, panel, &columns, rows.end),
                        _ => tasks.next_slice(panel, &columns, rows.end),
                    };
                    let upcoming = |[i, n]: [usize; 2]| match &next {
                        Some((panel, columns)) => {
                            let part = [block * n + i, blocks * n];
                            matrix.stored(*panel, columns.start, columns.end, part)
                        }
                        None => &[],
                    };
                    multiply(kernels, shape, &input, *slice, tile, start > 0, &upcoming);
                    if end == depth {
                        epilogue(from, panel, tile.as_chunks_mut::<PANEL>().0);
                    }
                }
            }
        }
    });
}

impl<'a> GemmInput<'a> {
    /// The rows from `row` on, without their first `start` columns (a multiple of 32).
    fn block(&self, row: usize, start: usize) -> GemmInput<'a> {
        match self {
            GemmInput::Plain(rows) => GemmInput::Plain(Strided {
                data: &rows.data[row * rows.stride + start..],
                stride: rows.stride,
            }),
            GemmInput::Pairs(rows) => GemmInput::Pairs(Strided {
                data: &rows.data[row * rows.stride + start / 2..],
                stride: rows.stride,
            }),
            GemmInput::Integers(rows) => GemmInput::Integers(rows.from(row, start / BLOCK)),
        }
    }

    /// With `rounds`, rounds plain rows to bf16 in `scratch`, as pairs if the instruction set
    /// multiplies pairs.
    fn rounded(
        self,
        kernels: &Kernels,
        [rows, depth]: [usize; 2],
        rounds: bool,
        scratch: &'a mut [f32],
    ) -> GemmInput<'a> {
        let plain = match self {
            GemmInput::Plain(plain) if rounds => plain,
            other => return other,
        };
        if kernels.has_pairs() {
            let pairs: &mut [Bf16Pair] = bytemuck::cast_slice_mut(scratch);
            kernels.pair_columns(plain, [rows, depth], pairs);
            return GemmInput::Pairs(Strided { data: pairs, stride: depth.div_ceil(2) });
        }
        kernels.copy_rows(plain, [rows, depth], true, scratch);
        GemmInput::Plain(Strided { data: scratch, stride: depth })
    }
}

/// Returns the `i`th of `n` equal parts (`[i, n]`) of the memory that is read next, to be
/// prefetched.
type Upcoming<'a> = &'a dyn Fn([usize; 2]) -> &'a [u8];

/// `tile (+)= slice · input`, in blocks of depth that stay in the first-level cache.
fn multiply(
    kernels: &Kernels,
    [rows, depth]: [usize; 2],
    input: &GemmInput<'_>,
    slice: PanelSlice<'_>,
    tile: &mut [f32],
    add: bool,
    upcoming: Upcoming<'_>,
) {
    match (input, slice) {
        (GemmInput::Plain(input), PanelSlice::Plain(slice)) => {
            multiply_floats(kernels, [rows, depth], input, slice, tile, add, upcoming)
        }
        (GemmInput::Pairs(input), PanelSlice::Pairs(slice)) => {
            let shape = [rows, depth.div_ceil(2)];
            multiply_floats(kernels, shape, input, slice, tile, add, upcoming)
        }
        (GemmInput::Integers(input), PanelSlice::Integers(format, stored, wide)) => {
            let (bytes, sub_blocks) = (format.packed_bytes() * PANEL, format.sub_blocks());
            let near = NEAR / kernels.wide_bytes(BLOCK * PANEL);
            for start in (0..depth.div_ceil(BLOCK)).step_by(near) {
                let count = near.min(depth.div_ceil(BLOCK) - start);
                let whole = count.div_ceil(sub_blocks) * bytes;
                let stored = &stored[start / sub_blocks * bytes..][..whole];
                let (wide, input) = (wide.from(start), input.from(0, start));
                let add = add || start > 0;
                let next = upcoming([start / near, depth.div_ceil(BLOCK).div_ceil(near)]);
                let shape = [rows, count];
                kernels.integer_product(format, shape, input, stored, wide, tile, add, next);
            }
        }
        _ => unreachable!("inputs are rounded to the form of the matrix"),
    }
}

fn multiply_floats<E: PanelElement>(
    kernels: &Kernels,
    [rows, depth]: [usize; 2],
    input: &Strided<'_, E::Input>,
    slice: &[E],
    tile: &mut [f32],
    add: bool,
    upcoming: Upcoming<'_>,
) {
    let near = NEAR / (size_of::<E>() * PANEL);
    for start in (0..depth).step_by(near) {
        let input = Strided { data: &input.data[start..], stride: input.stride };
        let panel = Strided { data: &slice[start * PANEL..], stride: PANEL };
        let output = StridedMut { data: tile, stride: PANEL };
        let prefetch = Prefetch { ahead: 0, next: upcoming([start / near, depth.div_ceil(near)]) };
        let (depth, add) = (near.min(depth - start), add || start > 0);
        kernels.product_prefetching(rows, depth, input, panel, output, add, prefetch);
    }
}
