//! The forward pass of a projection: a prologue, a matrix, an epilogue.

use super::epilogue::EpilogueFn;
use super::gemm::{GemmInput, gemm};
use super::quantize_inputs::RoundedInputs;
use crate::cpu::device::CpuDevice;
use crate::cpu::ops::RowsOut;
use crate::cpu::ops::norm::forward::{self as norm, NormOperands, RowStatistics};
use crate::cpu::pack::{FloatPanels, Packed, Panels};
use gpt_simd::{PANEL, Strided};

/// The prologue of a projection, which reads its input.
#[derive(Clone, Copy)]
pub enum Prologue<'a> {
    /// Reads the input unchanged.
    Plain,
    /// Applies a norm to each row.
    Norm(NormOperands<'a>),
}

/// Scratch memory of an inference session's projections.
pub struct ProjectScratch {
    /// `[chunk, embed]`: the input of a projection after its norm.
    normed: Vec<f32>,
    /// `[chunk, widest]`: inputs rounded to integers or to pairs of bf16, if the matrix requires
    /// it.
    rounded: RoundedInputs,
}

impl ProjectScratch {
    /// Allocates memory for `rows` rows of a stream of width `embed` and for inputs of a width of
    /// at most `widest`.
    pub fn new(rows: usize, embed: usize, widest: usize) -> ProjectScratch {
        ProjectScratch {
            normed: vec![0.0; rows * embed],
            rounded: RoundedInputs::new(rows, widest),
        }
    }

    /// Fills the memory with values that a trace detects if they are read.
    pub fn poison(&mut self) {
        self.normed.fill(f32::NAN);
        self.rounded.poison();
    }
}

/// Passes `matrix · prologue(x)` to `epilogue`, in tiles, from all threads. `x` has `rows`
/// contiguous rows.
pub fn project(
    device: &CpuDevice,
    scratch: &mut ProjectScratch,
    x: &[f32],
    rows: usize,
    prologue: Prologue<'_>,
    matrix: &Packed,
    epilogue: EpilogueFn<'_>,
) {
    debug_assert_eq!(x.len(), rows * matrix.depth());
    let x = match prologue {
        Prologue::Plain => x,
        Prologue::Norm(norm) => {
            normalize(device, x, rows, norm, &mut scratch.normed);
            &scratch.normed[..x.len()]
        }
    };
    let rounding = matrix.rounding(device.kernels);
    let input = scratch.rounded.round(device, x, rows, rounding);
    if rows == 1 {
        gemv(device, &input, matrix, epilogue)
    } else {
        gemm(device, input, rows, matrix, epilogue);
    }
}

/// Applies `norm` to the `rows` rows of `x` in place. In a post-norm block, a projection then adds
/// its outputs to them.
pub fn normalize_in_place(
    device: &CpuDevice,
    scratch: &mut ProjectScratch,
    x: &mut [f32],
    rows: usize,
    norm: NormOperands<'_>,
) {
    normalize(device, x, rows, norm, &mut scratch.normed);
    x.copy_from_slice(&scratch.normed[..x.len()]);
}

fn normalize(device: &CpuDevice, x: &[f32], rows: usize, norm: NormOperands<'_>, out: &mut [f32]) {
    let width = x.len() / rows;
    let x = Strided { data: x, stride: width };
    let out = RowsOut::new(out, width, width);
    norm::forward(device, rows, norm, x, RowStatistics::Discard, None, &out);
}

/// Multiplies one row of input. The matrix is read once, from beginning to end.
fn gemv(device: &CpuDevice, input: &GemmInput<'_>, matrix: &Packed, epilogue: EpilogueFn<'_>) {
    let kernels = device.kernels;
    device.pool.run(matrix.count(), &|index, _| {
        let ((format, panel), mut tile) = (matrix.panel(index), [[0.0; PANEL]]);
        let [outputs] = &mut tile;
        match input {
            GemmInput::Plain(row) => kernels.gemv(format, row.data, panel, outputs),
            GemmInput::Pairs(row) => {
                kernels.gemv_pairs(row.data, bytemuck::cast_slice(panel), outputs)
            }
            GemmInput::Integers(row) => kernels.integer_row(format, row, panel, outputs),
        }
        epilogue(0, index, &mut tile);
    });
}

/// The training version of [`project`]. The norm is a separate operation. If the matrix requires
/// inputs in bf16, each task rounds a block of rows just before multiplying it.
pub fn project_floats(
    device: &CpuDevice,
    x: Strided<'_>,
    rows: usize,
    matrix: &FloatPanels<'_>,
    epilogue: EpilogueFn<'_>,
) {
    gemm(device, GemmInput::Plain(x), rows, matrix, epilogue);
}
