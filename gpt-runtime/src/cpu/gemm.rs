//! Many rows times a matrix: the loop that inference and training share.
//!
//! With many rows arithmetic is what counts. A task takes a group of panels and some of the rows; parts of the panels stay in the second-level
//! cache while the rows pass by, a block of them at a time, which meets all panels of the group before the next block comes. Outputs come in tiles,
//! some rows of one panel (32 outputs each); whoever asked for them adds a bias and puts them where they belong while they are still at
//! hand. Where the weights come from, in which format and in which direction they are read, is the business of [`Panels`].

use std::sync::{Mutex, MutexGuard};

use gpt_plan::Format;

use super::device::CpuDevice;
use super::simd::{
    BLOCK, Bf16Pair, Factor, Integers, Kernels, PANEL, Prefetch, Rounding, Strided, StridedMut,
    Wide,
};
#[cfg(feature = "train")]
use super::train::{AttentionScratch, ROUNDED};

/// Floats that training needs for rounded operands.
#[cfg(not(feature = "train"))]
const ROUNDED: usize = 0;

/// Steps of depth of a part of a panel: 64 KiB in f32. Sums are taken in pieces of this length, which keeps their rounding errors
/// small. A multiple of 32.
const DEPTH: usize = 512;

/// Bytes of weights that all rows of a tile go through before the next ones: they stay in the first-level cache.
const NEAR: usize = 16 << 10;

/// Bytes of the parts that a task works on together: they stay in the second-level cache. Their outputs, side by side in memory, are written while a few
/// rows pass by.
const GROUP: usize = 128 << 10;
/// The same where a panel has more than one part, with the sums that wait beside them.
const DEEP_GROUP: usize = 384 << 10;
/// Most panels of a group, and most of one whose panels have more than one part.
const PANELS: usize = 32;
const DEEP_PANELS: usize = 8;

/// Bytes of a matrix in f32 that all threads may as well have in their caches: there each thread takes rows of its own, which it finds in its cache after the step before.
/// Of a larger one each takes panels of its own, which come from memory once.
const SMALL: usize = 512 << 10;

/// Rows that pass by a group of panels together, a multiple of every register tile's height; and most rows of a task whose panels have more than
/// one part, as their sums wait for the next.
const ROWS: usize = 96;
const DEEP_ROWS: usize = 192;

/// A matrix as a product reads it: for each of 32 outputs side by side, step by step of depth.
pub trait Panels: Sync {
    /// Number of panels, the last one padded.
    fn count(&self) -> usize;
    /// Steps of depth: the width of the input.
    fn depth(&self) -> usize;
    /// What the parts are multiplied with.
    fn rounding(&self, kernels: &Kernels) -> Rounding;
    /// The steps `from..to` of a panel (`from` a multiple of 32); made in `room`, of 4 bytes for each number and in whole blocks of 32 steps, if
    /// they do not stand as the product wants them.
    fn part<'a>(
        &'a self,
        kernels: &Kernels,
        panel: usize,
        from: usize,
        to: usize,
        room: &'a mut [f32],
    ) -> Part<'a>;
    /// Piece `i` of `n` (`which` is both) of the memory that [`part`](Self::part) reads, or some of it, for those who ask for it in time.
    fn piece(&self, panel: usize, from: usize, to: usize, which: [usize; 2]) -> &[u8];
}

/// Piece `i` of `n` of a slice.
pub fn piece(bytes: &[u8], [i, n]: [usize; 2]) -> &[u8] {
    &bytes[bytes.len() * i / n..bytes.len() * (i + 1) / n]
}

/// Part of a panel.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    /// `[depth][32]`.
    Plain(&'a [f32]),
    /// `[depth / 2][32]`, the last pair filled up with zeros.
    Pairs(&'a [Bf16Pair]),
    /// Blocks as they are stored, and what [`Kernels::widen`] made of them.
    Integers(Format, &'a [u8], Wide<'a>),
}

/// Rows of input.
#[derive(Clone, Copy)]
pub enum Rows<'a> {
    /// As they are. If they have to be rounded, that is done block by block.
    Plain(Strided<'a>),
    Pairs(Strided<'a, Bf16Pair>),
    Integers(Integers<'a>),
}

/// What a thread works on.
pub struct ThreadScratch {
    /// Outputs: `[DEEP_PANELS][DEEP_ROWS][32]` at most.
    tile: Vec<f32>,
    /// Parts of panels, as they are multiplied.
    room: Vec<f32>,
    /// `[ROWS][DEPTH]`: inputs rounded to bf16. Gradients of weights round both of their operands here.
    pub rounded: Vec<f32>,
    /// What attention in training works on.
    #[cfg(feature = "train")]
    pub attention: AttentionScratch,
}

impl ThreadScratch {
    pub fn new() -> Mutex<ThreadScratch> {
        Mutex::new(ThreadScratch {
            tile: vec![0.0; DEEP_PANELS * DEEP_ROWS * PANEL],
            room: vec![0.0; DEEP_GROUP / size_of::<f32>()],
            rounded: vec![0.0; ROUNDED.max(ROWS * DEPTH)],
            #[cfg(feature = "train")]
            attention: AttentionScratch::new(),
        })
    }

    /// The desk of a thread, which no one else asks for.
    pub fn of(
        thread_scratch: &[Mutex<ThreadScratch>],
        thread: usize,
    ) -> MutexGuard<'_, ThreadScratch> {
        thread_scratch[thread]
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn poison(&mut self) {
        self.tile.fill(f32::NAN);
        self.room.fill(f32::NAN);
    }
}

/// Receives a tile: its first row, its panel, and the outputs of each of its rows.
pub type Finish<'a> = &'a (dyn Fn(usize, usize, &mut [[f32; PANEL]]) + Sync);

/// Tasks of a product: groups of panels, and shares of the rows.
struct Tasks {
    panels: usize,
    /// Panels of a group, and groups.
    group: usize,
    groups: usize,
    rows: usize,
    /// Rows of a share, and shares.
    share: usize,
    shares: usize,
    /// Floats that a part is made in.
    room: usize,
    deep: bool,
    /// Whether neighbouring tasks have the same rows, not the same panels.
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
        // Narrow matrices on many threads have too few groups; then rows are shared out too.
        let shares = (4 * device.pool.threads())
            .div_ceil(groups)
            .min(rows.div_ceil(ROWS / 2));
        let share = rows.div_ceil(shares).next_multiple_of(12);
        let share = if deep { share.min(DEEP_ROWS) } else { share };
        Tasks {
            panels,
            group,
            groups,
            rows,
            share,
            shares: rows.div_ceil(share),
            room: numbers * bytes / size_of::<f32>(),
            deep,
            by_rows: panels * PANEL * depth * size_of::<f32>() <= SMALL,
        }
    }

    /// Group of panels and share of rows of a task.
    fn place(&self, task: usize) -> (usize, usize) {
        match self.by_rows {
            true => (task % self.groups, task / self.groups),
            false => (task / self.shares, task % self.shares),
        }
    }
}

/// `finish` gets `panels · input` for each of the rows, tile by tile, from many threads.
pub fn gemm(
    device: &CpuDevice,
    input: Rows<'_>,
    rows: usize,
    matrix: &impl Panels,
    finish: Finish<'_>,
) {
    let tasks = Tasks::new(device, matrix, rows);
    let (kernels, depth) = (device.kernels, matrix.depth());
    let rounds = matrix.rounding(kernels) == Rounding::Bf16;
    device
        .pool
        .run(tasks.groups * tasks.shares, &|task, thread| {
            let (group, share) = tasks.place(task);
            let first = group * tasks.group;
            let panels = first..(first + tasks.group).min(tasks.panels);
            let first_row = share * tasks.share;
            let rows = first_row..(first_row + tasks.share).min(tasks.rows);
            let mut desk = ThreadScratch::of(&device.thread_scratch, thread);
            let ThreadScratch {
                tile,
                room,
                rounded,
                ..
            } = &mut *desk;
            for start in (0..depth).step_by(DEPTH) {
                let end = (start + DEPTH).min(depth);
                // What comes after this part: more of these panels, or the next ones.
                let (skip, next) = match end < depth {
                    true => (0, end..(end + DEPTH).min(depth)),
                    false if rows.end == tasks.rows => (tasks.group, 0..depth.min(DEPTH)),
                    false => (tasks.panels, 0..0),
                };
                let blocks = rows.len().div_ceil(ROWS);
                let mut parts = [Part::Plain(&[]); PANELS];
                let rooms = room.chunks_exact_mut(tasks.room);
                for ((part, panel), room) in parts.iter_mut().zip(panels.clone()).zip(rooms) {
                    *part = matrix.part(kernels, panel, start, end, room);
                }
                for (block, from) in rows.clone().step_by(ROWS).enumerate() {
                    let shape = [ROWS.min(rows.end - from), end - start];
                    let input = input
                        .block(from, start)
                        .rounded(kernels, shape, rounds, rounded);
                    for (panel, part) in panels.clone().zip(&parts) {
                        // Sums that wait for the next part have a place of their own.
                        let at = match tasks.deep {
                            true => (panel - panels.start) * DEEP_ROWS + from - rows.start,
                            false => 0,
                        };
                        let tile = &mut tile[at * PANEL..][..shape[0] * PANEL];
                        let soon = |near: [usize; 2]| {
                            let at = [block * near[1] + near[0], blocks * near[1]];
                            match panel + skip < tasks.panels {
                                true => matrix.piece(panel + skip, next.start, next.end, at),
                                false => &[],
                            }
                        };
                        product(kernels, shape, &input, *part, tile, start > 0, &soon);
                        if end == depth {
                            finish(from, panel, tile.as_chunks_mut::<PANEL>().0);
                        }
                    }
                }
            }
        });
}

impl<'a> Rows<'a> {
    /// The rows from `row` on, from step `start` (a multiple of 32) on.
    fn block(&self, row: usize, start: usize) -> Rows<'a> {
        match self {
            Rows::Plain(rows) => Rows::Plain(Strided {
                data: &rows.data[row * rows.stride + start..],
                stride: rows.stride,
            }),
            Rows::Pairs(rows) => Rows::Pairs(Strided {
                data: &rows.data[row * rows.stride + start / 2..],
                stride: rows.stride,
            }),
            Rows::Integers(rows) => Rows::Integers(rows.part(row, start / BLOCK)),
        }
    }

    /// Plain rows rounded to bf16 in `room`, if `rounds`: to pairs where the instruction set multiplies those.
    fn rounded(
        self,
        kernels: &Kernels,
        [rows, depth]: [usize; 2],
        rounds: bool,
        room: &'a mut [f32],
    ) -> Rows<'a> {
        let plain = match self {
            Rows::Plain(plain) if rounds => plain,
            other => return other,
        };
        if kernels.has_pairs() {
            let pairs: &mut [Bf16Pair] = bytemuck::cast_slice_mut(room);
            kernels.pair_columns(plain, [rows, depth], pairs);
            return Rows::Pairs(Strided {
                data: pairs,
                stride: depth.div_ceil(2),
            });
        }
        kernels.copy_rows(plain, [rows, depth], true, room);
        Rows::Plain(Strided {
            data: room,
            stride: depth,
        })
    }
}

/// Piece `i` of `n` of what will be read soon.
type Soon<'a> = &'a dyn Fn([usize; 2]) -> &'a [u8];

/// `tile (+)= part · input`, as many steps of depth at a time as stay near.
fn product(
    kernels: &Kernels,
    [rows, depth]: [usize; 2],
    input: &Rows<'_>,
    part: Part<'_>,
    tile: &mut [f32],
    add: bool,
    soon: Soon<'_>,
) {
    match (input, part) {
        (Rows::Plain(input), Part::Plain(part)) => {
            product_of(kernels, [rows, depth], input, part, tile, add, soon)
        }
        (Rows::Pairs(input), Part::Pairs(part)) => product_of(
            kernels,
            [rows, depth.div_ceil(2)],
            input,
            part,
            tile,
            add,
            soon,
        ),
        (Rows::Integers(input), Part::Integers(format, stored, wide)) => {
            let bytes = format.block_bytes() * PANEL;
            let near = NEAR / kernels.wide_bytes(BLOCK * PANEL);
            for start in (0..depth.div_ceil(BLOCK)).step_by(near) {
                let count = near.min(depth.div_ceil(BLOCK) - start);
                let stored = &stored[start * bytes..][..count * bytes];
                let (wide, input) = (wide.part(start), input.part(0, start));
                let add = add || start > 0;
                let soon = soon([start / near, depth.div_ceil(BLOCK).div_ceil(near)]);
                kernels.integer_product(format, rows, input, stored, wide, tile, add, soon);
            }
        }
        _ => unreachable!("parts and rows are rounded alike"),
    }
}

fn product_of<E: Factor>(
    kernels: &Kernels,
    [rows, depth]: [usize; 2],
    input: &Strided<'_, E::Input>,
    part: &[E],
    tile: &mut [f32],
    add: bool,
    soon: Soon<'_>,
) {
    let near = NEAR / (size_of::<E>() * PANEL);
    for start in (0..depth).step_by(near) {
        let input = Strided {
            data: &input.data[start..],
            stride: input.stride,
        };
        let panel = Strided {
            data: &part[start * PANEL..],
            stride: PANEL,
        };
        let output = StridedMut {
            data: tile,
            stride: PANEL,
        };
        let ask = Prefetch {
            ahead: 0,
            soon: soon([start / near, depth.div_ceil(near)]),
        };
        let (depth, add) = (near.min(depth - start), add || start > 0);
        kernels.product_asking(rows, depth, input, panel, output, add, ask);
    }
}
