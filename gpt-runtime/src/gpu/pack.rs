//! A matrix in the order that shaders read: panels of eight rows, element by element, the rows side by side ([`MatrixLayout`]).

use std::ops::Range;

use gpt_plan::{Format, MatrixLayout, PANEL, STRIP};
use half::f16;

use crate::weights::HostTensor;

/// Packs one matrix after another, in memory that is the same for all: a model's matrices are large, and fresh memory for each costs more than packing it.
pub struct Packer {
    threads: usize,
    packed: Vec<u8>,
}

impl Packer {
    pub fn new() -> Packer {
        Packer {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            packed: Vec::new(),
        }
    }

    /// Some panels of `tensor`, laid out by `layout`. In a gated MLP (`halves` of 2) strips of gate and up alternate.
    pub fn pack(
        &mut self,
        tensor: &HostTensor<'_>,
        layout: &MatrixLayout,
        halves: u32,
        panels: Range<u32>,
    ) -> &mut Vec<u8> {
        let bytes = layout.panel_bytes() as usize;
        self.packed.clear();
        self.packed.resize(panels.len() * bytes, 0);
        let share = panels.len().div_ceil(self.threads).max(1);
        std::thread::scope(|scope| {
            for (i, out) in self.packed.chunks_mut(share * bytes).enumerate() {
                let first = panels.start + (i * share) as u32;
                scope.spawn(move || {
                    for (panel, out) in (first..).zip(out.chunks_mut(bytes)) {
                        fill(tensor, halves, panel, out);
                    }
                });
            }
        });
        &mut self.packed
    }
}

/// One panel. Rows that do not exist stay zero.
fn fill(tensor: &HostTensor<'_>, halves: u32, panel: u32, out: &mut [u8]) {
    let height = tensor.rows / halves as usize;
    let row_bytes = tensor.format.row_bytes(tensor.columns);
    let strip = panel * PANEL / STRIP;
    let half = (strip % halves) as usize;
    let first = (strip / halves * STRIP + panel * PANEL % STRIP) as usize;
    for lane in 0..(PANEL as usize).min(height.saturating_sub(first)) {
        let row = half * height + first + lane;
        let bytes = &tensor.data[row * row_bytes..(row + 1) * row_bytes];
        match tensor.format {
            Format::F32 => strew(bytes, 16, lane, out),
            Format::F16 | Format::Bf16 => strew(bytes, 8, lane, out),
            Format::Q8 => {
                for (block, out) in bytes.chunks(34).zip(out.chunks_mut(9 * 4 * PANEL as usize)) {
                    let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
                    strew(&block[2..], 4, lane, out);
                    put(&scale.to_le_bytes(), 4, 8, lane, out);
                }
            }
            Format::Q4 => {
                for (block, out) in bytes.chunks(20).zip(out.chunks_mut(5 * 4 * PANEL as usize)) {
                    strew(&block[4..], 4, lane, out);
                    put(&block[..4], 4, 4, lane, out);
                }
            }
        }
    }
}

/// Each piece of `size` bytes of a row to its place among its neighbours'. The last piece may be shorter.
fn strew(row: &[u8], size: usize, lane: usize, out: &mut [u8]) {
    for (at, piece) in row.chunks(size).enumerate() {
        put(piece, size, at, lane, out);
    }
}

fn put(piece: &[u8], size: usize, at: usize, lane: usize, out: &mut [u8]) {
    let start = (at * PANEL as usize + lane) * size;
    out[start..start + piece.len()].copy_from_slice(piece);
}
