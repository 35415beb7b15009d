//! Dropout.
//!
//! A mask is a function of a key and the index of an element (see [`Dropout`]), so the backward
//! pass recomputes it and no mask is stored.

use gpt_plan::Dropout;

use super::RowsOut;
use crate::cpu::device::CpuDevice;
use gpt_simd::{Kernels, Strided};

/// The mask of one site in one layer.
#[derive(Clone, Copy)]
pub struct DropoutMask {
    pub dropout: Dropout,
    pub key: u32,
}

impl DropoutMask {
    /// Multiplies `row` by the mask of the elements from `first` on.
    pub fn apply(&self, kernels: &Kernels, row: &mut [f32], first: usize) {
        kernels.drop_row(row, first as u32, self.key, &self.dropout);
    }
}

/// `out = scale * mask * dy`; without a mask, `scale * dy`.
pub fn backward(
    device: &CpuDevice,
    rows: usize,
    dy: Strided<'_>,
    mask: Option<DropoutMask>,
    scale: f32,
    out: &RowsOut<'_>,
) {
    device.each_row(rows, |row| {
        // SAFETY: each row is written by one task.
        let to = unsafe { out.row(row) };
        to.copy_from_slice(&dy.data[row * dy.stride..][..out.width]);
        if scale != 1.0 {
            device.kernels.scale(to, scale);
        }
        if let Some(mask) = mask {
            mask.apply(device.kernels, to, row * out.width);
        }
    });
}
