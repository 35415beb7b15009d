//! Operands of inner loops: memory aligned to a cache line, matrices in panels, rows of integers.

use bytemuck::{Pod, Zeroable};
use gpt_runtime::Format;
use gpt_simd::{BLOCK, Integers, IntegersMut, Isa, PANEL};

use crate::weights::plain;

/// A cache line, for alignment.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u32; 16]);

/// Memory aligned to a cache line, filled with numbers.
pub struct Memory(Vec<Line>);

impl Memory {
    pub fn new(bytes: usize) -> Memory {
        let line = |i: u32| Line(std::array::from_fn(|j| plain(16 * i + j as u32)));
        Memory((0..bytes.div_ceil(64) as u32).map(line).collect())
    }

    pub fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }

    pub fn floats(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    pub fn floats_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Bytes of all matrices of a measurement: more than a cache holds, as in a model.
const WORKING_SET: usize = 96 << 20;

/// Matrices of one shape that are read in rotation, in panels of 32 rows like the engine's.
pub struct Panels {
    memory: Memory,
    panel_bytes: usize,
    /// Panels of one matrix.
    each: usize,
    /// Panels of all matrices.
    all: usize,
}

impl Panels {
    pub fn new(format: Format, rows: usize, depth: usize) -> Panels {
        let panel_bytes = depth.div_ceil(format.block()) * format.packed_bytes() * PANEL;
        let each = rows.div_ceil(PANEL);
        let matrices = (WORKING_SET / (each * panel_bytes)).max(1);
        Panels {
            memory: Memory::new(matrices * each * panel_bytes),
            panel_bytes,
            each,
            all: matrices * each,
        }
    }

    /// The panels of the matrix that iteration `iteration` of a benchmark multiplies.
    pub fn matrix(&self, iteration: usize) -> impl Iterator<Item = &[u8]> {
        let first = iteration * self.each % self.all;
        (first..first + self.each).map(|i| {
            let start = i * self.panel_bytes;
            &self.memory.bytes()[start..start + self.panel_bytes]
        })
    }
}

/// Rows of inputs, rounded to integers.
pub struct Rounded {
    quants: Vec<u8>,
    scales: Vec<f32>,
    sums: Vec<f32>,
    starts: Vec<i32>,
    halves: Vec<i32>,
    blocks: usize,
}

impl Rounded {
    /// Rows of width `depth`.
    pub fn new(x: &[f32], depth: usize) -> Rounded {
        let kernels = Isa::available()[0].kernels().expect("an available set");
        let (rows, blocks) = (x.len() / depth, depth.div_ceil(BLOCK));
        let row_bytes = blocks * BLOCK * kernels.quant_bytes();
        let mut quants = vec![0; rows * row_bytes];
        let (mut scales, mut sums) = (vec![0.0; rows * blocks], vec![0.0; rows * blocks]);
        let (mut starts, mut halves) = (vec![0; rows * blocks], vec![0; 2 * rows * blocks]);
        for (row, x) in x.chunks(depth).enumerate() {
            let at = row * blocks..(row + 1) * blocks;
            let out = IntegersMut {
                quants: &mut quants[row * row_bytes..][..row_bytes],
                scales: &mut scales[at.clone()],
                sums: &mut sums[at.clone()],
                starts: &mut starts[at],
                halves: &mut halves[2 * row * blocks..][..2 * blocks],
            };
            kernels.quantise(x, out);
        }
        Rounded { quants, scales, sums, starts, halves, blocks }
    }

    pub fn rows(&self) -> Integers<'_> {
        Integers {
            quants: &self.quants,
            scales: &self.scales,
            sums: &self.sums,
            starts: &self.starts,
            halves: &self.halves,
            blocks: self.blocks,
        }
    }
}
