//! Many rows times a matrix: the loop that inference and training share.
//!
//! With many rows arithmetic is what counts: part of a panel stays in the cache while all rows pass by. Outputs come in tiles, some rows of one
//! panel (32 outputs each); whoever asked for them adds a bias and puts them where they belong while they are still at hand. Where the
//! weights come from, and in which direction they are read, is the business of [`Panels`].

use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use super::device::CpuDevice;
use super::simd::{BrainPair, Factor, Kernels, PANEL, Strided, StridedMut};
use super::train::AttentionDesk;

/// Columns of a panel that are worked on at once: 64 KiB in f32, which the second-level cache keeps while all rows pass by.
/// Sums are also taken in pieces of this length, which keeps their rounding errors small. A multiple of 32.
const DEPTH: usize = 512;

/// Steps of depth that all rows go through before the next ones: 16 KiB of a panel, which stay in the first-level cache.
const NEAR: usize = 128;

/// Elements of the panels that a task works on together, 128 KiB: they stay in the second-level cache, and their outputs, side by side in
/// memory, are written while a few rows pass by.
const GROUP: usize = 32 << 10;

/// Rows that pass by a group of panels together, a multiple of every register tile's height; and most rows of a tile.
const ROWS: usize = 96;
const TILE_ROWS: usize = 384;

/// A matrix as a product reads it: for each of 32 outputs side by side, step by step of depth.
pub trait Panels: Sync {
    /// Number of panels, the last one padded.
    fn count(&self) -> usize;
    /// Steps of depth: the width of the input.
    fn depth(&self) -> usize;
    /// The steps `from..to` of a panel (`from` a multiple of 32); made in `room` (in whole blocks of 32 steps) if they do not stand like that.
    fn part<'a>(
        &'a self,
        kernels: &Kernels,
        panel: usize,
        from: usize,
        to: usize,
        room: &'a mut [f32],
    ) -> Part<'a>;
    /// Whether the parts are rounded to bf16 and the input has to be: they come in pairs then if the instruction set multiplies those.
    fn rounds(&self, _kernels: &Kernels) -> bool {
        false
    }
}

/// Part of a panel.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    /// `[depth][32]`.
    Plain(&'a [f32]),
    /// `[depth / 2][32]`, the last pair filled up with zeros.
    Pairs(&'a [BrainPair]),
}

/// Rows of input as parts want them.
enum Rows<'a> {
    Plain(Strided<'a>),
    Pairs(Strided<'a, BrainPair>),
}

/// What a thread works on.
pub struct Desk {
    /// `[TILE_ROWS][32]`: a panel's outputs.
    tile: Vec<f32>,
    /// Panels in f32.
    room: Vec<f32>,
    /// `[TILE_ROWS][DEPTH]`: inputs rounded to bf16.
    pub rounded: Vec<f32>,
    /// What attention in training works on.
    pub attention: AttentionDesk,
}

impl Desk {
    pub fn new() -> Mutex<Desk> {
        Mutex::new(Desk {
            tile: vec![0.0; TILE_ROWS * PANEL],
            room: vec![0.0; GROUP],
            rounded: vec![0.0; TILE_ROWS * DEPTH],
            attention: AttentionDesk::new(),
        })
    }

    /// The desk of a thread, which no one else asks for.
    pub fn of(desks: &[Mutex<Desk>], thread: usize) -> MutexGuard<'_, Desk> {
        desks[thread]
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Where outputs of a panel go, and where weights are made ready.
    pub fn tile_and_room(&mut self) -> (&mut [f32], &mut [f32]) {
        (&mut self.tile, &mut self.room)
    }

    pub fn poison(&mut self) {
        self.tile.fill(f32::NAN);
        self.room.fill(f32::NAN);
    }
}

/// Receives a tile: its first row, its panel, and the outputs of each of its rows.
pub type Finish<'a> = &'a (dyn Fn(usize, usize, &mut [[f32; PANEL]]) + Sync);

/// `rows` rows of `depth` from `input`, as they are or rounded to bf16 in `room`.
fn rounded<'a>(
    kernels: &Kernels,
    input: Strided<'a>,
    [rows, depth]: [usize; 2],
    rounds: bool,
    room: &'a mut [f32],
) -> Rows<'a> {
    if !rounds {
        return Rows::Plain(input);
    }
    if kernels.has_pairs() {
        let pairs: &mut [BrainPair] = bytemuck::cast_slice_mut(room);
        kernels.pair_columns(input, [rows, depth], pairs);
        return Rows::Pairs(Strided {
            data: pairs,
            stride: depth.div_ceil(2),
        });
    }
    kernels.copy_rows(input, [rows, depth], true, room);
    Rows::Plain(Strided {
        data: room,
        stride: depth,
    })
}

/// `tile (+)= part · input`, some steps of depth at a time.
fn product(
    kernels: &Kernels,
    [rows, depth]: [usize; 2],
    input: &Rows<'_>,
    part: Part<'_>,
    tile: &mut [f32],
    add: bool,
) {
    match (input, part) {
        (Rows::Plain(input), Part::Plain(part)) => {
            product_of(kernels, [rows, depth], input, part, tile, add)
        }
        (Rows::Pairs(input), Part::Pairs(part)) => {
            product_of(kernels, [rows, depth.div_ceil(2)], input, part, tile, add)
        }
        _ => unreachable!("parts and rows are rounded together"),
    }
}

fn product_of<E: Factor>(
    kernels: &Kernels,
    [rows, depth]: [usize; 2],
    input: &Strided<'_, E::Input>,
    part: &[E],
    tile: &mut [f32],
    add: bool,
) {
    for start in (0..depth).step_by(NEAR) {
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
        let depth = NEAR.min(depth - start);
        kernels.product(rows, depth, input, panel, output, add || start > 0);
    }
}

/// `finish` gets `panels · input` for each of the rows, tile by tile, from many threads.
pub fn multiply(
    device: &CpuDevice,
    input: Strided<'_>,
    rows: usize,
    matrix: &impl Panels,
    finish: Finish<'_>,
) {
    if matrix.depth() <= DEPTH {
        multiply_groups(device, input, rows, matrix, finish)
    } else {
        multiply_deep(device, input, rows, matrix, finish)
    }
}

/// Shallow panels, several at a time: a few rows pass by all of them before the next rows come.
fn multiply_groups(
    device: &CpuDevice,
    input: Strided<'_>,
    rows: usize,
    matrix: &impl Panels,
    finish: Finish<'_>,
) {
    let (count, depth) = (matrix.count(), matrix.depth());
    let (kernels, threads) = (device.kernels, device.pool.threads());
    let panel_size = depth.next_multiple_of(PANEL) * PANEL;
    let groups = count.div_ceil(GROUP / panel_size);
    let group = count.div_ceil(groups);
    let groups = count.div_ceil(group);
    // Narrow matrices on many threads have too few groups; then rows are shared out too.
    let shares = (4 * threads).div_ceil(groups).min(rows.div_ceil(ROWS / 2));
    let share = rows.div_ceil(shares).next_multiple_of(12);
    let shares = rows.div_ceil(share);
    device.pool.run(groups * shares, &|task, thread| {
        let panels = task / shares * group..((task / shares + 1) * group).min(count);
        let rows = task % shares * share..((task % shares + 1) * share).min(rows);
        let mut desk = Desk::of(&device.desks, thread);
        let Desk {
            tile,
            room,
            rounded: copy,
            ..
        } = &mut *desk;
        let rooms = room.chunks_mut(panel_size);
        let parts: Vec<Part<'_>> = panels
            .clone()
            .zip(rooms)
            .map(|(panel, room)| matrix.part(kernels, panel, 0, depth, room))
            .collect();
        for from in rows.clone().step_by(ROWS) {
            let count = ROWS.min(rows.end - from);
            let input = Strided {
                data: &input.data[from * input.stride..],
                stride: input.stride,
            };
            let rounds = matrix.rounds(kernels);
            let input = rounded(kernels, input, [count, depth], rounds, copy);
            for (panel, part) in panels.clone().zip(&parts) {
                product(kernels, [count, depth], &input, *part, tile, false);
                finish(from, panel, &mut tile.as_chunks_mut::<PANEL>().0[..count]);
            }
        }
    });
}

/// Calls `work(panel, rows, desk)` on all threads, for each panel with all rows, some of them at a time: no more than a tile has.
pub fn each_tile(
    device: &CpuDevice,
    panels: usize,
    rows: usize,
    work: &(dyn Fn(usize, Range<usize>, &mut Desk) + Sync),
) {
    let shares = (4 * device.pool.threads())
        .div_ceil(panels)
        .min(rows.div_ceil(24));
    let shares = shares.max(rows.div_ceil(TILE_ROWS));
    let share = rows.div_ceil(shares);
    device.pool.run(panels * shares, &|task, thread| {
        let from = task % shares * share;
        if from < rows {
            let mut desk = Desk::of(&device.desks, thread);
            work(task / shares, from..(from + share).min(rows), &mut desk);
        }
    });
}

/// Deep panels, part by part: each part stays in the cache while all rows pass by.
fn multiply_deep(
    device: &CpuDevice,
    input: Strided<'_>,
    rows: usize,
    matrix: &impl Panels,
    finish: Finish<'_>,
) {
    let (depth, kernels) = (matrix.depth(), device.kernels);
    each_tile(device, matrix.count(), rows, &|panel, rows, desk| {
        let (from, rows) = (rows.start, rows.len());
        let Desk {
            tile,
            room,
            rounded: copy,
            ..
        } = desk;
        for start in (0..depth).step_by(DEPTH) {
            let end = (start + DEPTH).min(depth);
            let part = matrix.part(kernels, panel, start, end, room);
            let input = Strided {
                data: &input.data[from * input.stride + start..],
                stride: input.stride,
            };
            let rounds = matrix.rounds(kernels);
            let input = rounded(kernels, input, [rows, end - start], rounds, copy);
            product(kernels, [rows, end - start], &input, part, tile, start > 0);
        }
        finish(from, panel, &mut tile.as_chunks_mut::<PANEL>().0[..rows]);
    });
}
