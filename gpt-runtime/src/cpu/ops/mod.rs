//! The operations of a model, forward and backward side by side.
//!
//! An operation is a function of a device, operands and sizes. It cuts its work into tasks for the
//! device's pool; the arithmetic is in `gpt-simd`. Nothing here depends on a plan: the interpreters
//! look up the operands of each step.

pub mod attention;
pub mod dropout;
pub mod elements;
pub mod embed;
pub mod loss;
pub mod matmul;
pub mod norm;
#[cfg(feature = "train")]
pub mod optimizer;
pub mod rotary;

use super::pool::Disjoint;

/// Rows that an operation writes: `width` elements each, `stride` apart.
pub struct RowsOut<'a> {
    data: Disjoint<'a>,
    pub width: usize,
    pub stride: usize,
}

impl<'a> RowsOut<'a> {
    pub fn new(data: &'a mut [f32], width: usize, stride: usize) -> RowsOut<'a> {
        RowsOut { data: Disjoint::new(data), width, stride }
    }

    /// Returns row `row`.
    ///
    /// # Safety
    /// See [`part`](Self::part).
    #[allow(clippy::mut_from_ref)]
    // SAFETY: the contract is the caller's.
    pub unsafe fn row(&self, row: usize) -> &mut [f32] {
        // SAFETY: the caller's contract is the same.
        unsafe { self.part(row, 0, self.width) }
    }

    /// Returns the elements `first..first + len` of row `row`.
    ///
    /// # Safety
    /// No other live slice may share an element with this one.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    // SAFETY: the contract is the caller's.
    pub unsafe fn part(&self, row: usize, first: usize, len: usize) -> &mut [f32] {
        // SAFETY: the caller's contract is the same.
        unsafe { self.data.part(row * self.stride + first, len) }
    }

    /// Prefetches the 32 elements of row `row` from `first` on, which will be written soon.
    #[inline(always)]
    pub fn prefetch(&self, row: usize, first: usize) {
        self.data.prefetch(row * self.stride + first);
    }
}
