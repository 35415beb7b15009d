//! Matrices as the kernels read them.
//!
//! A matrix of the plan is `[rows, columns]`; each row is an output feature. A kernel reads, for
//! each input feature, the weights of 32 outputs. So rows are cut into panels of 32, and a panel is
//! stored column by column. Panels follow each other, so a thread that takes some of them reads
//! memory from beginning to end.
//!
//! The first matrix of a gated MLP has 16 gate rows and the 16 up rows that they gate in one panel,
//! so that one tile holds both factors of a product. Missing rows at the end are zeros.
//!
//! [`Packed`] has weights for inference in their storage format, [`FloatPanels`] weights for
//! training in f32. Both are [`Panels`], which a GEMM reads.

mod float;
mod packed;
#[cfg(test)]
mod tests;

use gpt_plan::Format;

pub use float::{FloatPanels, Transposed};
pub use packed::Packed;

use gpt_simd::{Bf16Pair, Kernels, PANEL, Rounding, Wide};

/// The assignment of rows to panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// 32 consecutive rows.
    Straight,
    /// 16 rows of the first half of the matrix, and the corresponding 16 of the second half.
    Gated,
}

/// The shape of a packed matrix.
#[derive(Clone, Copy, Debug)]
pub struct PanelLayout {
    /// Outputs, without padding.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    pub order: Order,
}

impl PanelLayout {
    /// Number of panels.
    pub fn panels(&self) -> usize {
        match self.order {
            Order::Straight => self.rows.div_ceil(PANEL),
            Order::Gated => (self.rows / 2).div_ceil(PANEL / 2),
        }
    }

    /// The lanes of a panel that hold rows of the matrix, as `(lane, row)`.
    pub fn rows_of(&self, panel: usize) -> impl Iterator<Item = (usize, usize)> {
        let layout = *self;
        (0..PANEL).filter_map(move |lane| Some((lane, layout.row_of(panel, lane)?)))
    }

    /// The row in `lane` of `panel`; `None` in padding.
    fn row_of(&self, panel: usize, lane: usize) -> Option<usize> {
        match self.order {
            Order::Straight => Some(panel * PANEL + lane).filter(|&row| row < self.rows),
            Order::Gated => {
                let (half, within) = (lane / (PANEL / 2), lane % (PANEL / 2));
                let hidden = self.rows / 2;
                let row = panel * (PANEL / 2) + within;
                (row < hidden).then_some(half * hidden + row)
            }
        }
    }

    /// Calls `f` with the index of each element in f32 panels and its index in `[rows, columns]`.
    pub fn each_element(&self, mut f: impl FnMut(usize, usize)) {
        let columns = self.columns;
        for panel in 0..self.panels() {
            for (lane, row) in self.rows_of(panel) {
                let start = panel * columns * PANEL;
                for column in 0..columns {
                    f(start + element(column, lane, 1), row * columns + column);
                }
            }
        }
    }
}

/// Index of element `column` of the output in `lane` of a panel whose columns are interleaved by
/// `group`.
fn element(column: usize, lane: usize, group: usize) -> usize {
    (column / group * PANEL + lane) * group + column % group
}

/// Index of an element in f32 panels in [`Order::Straight`].
pub fn panel_element(row: usize, column: usize, columns: usize) -> usize {
    row / PANEL * columns * PANEL + element(column, row % PANEL, 1)
}

/// The `i`th of `n` equal parts (`[i, n]`) of `bytes`.
fn part_of(bytes: &[u8], [i, n]: [usize; 2]) -> &[u8] {
    &bytes[bytes.len() * i / n..bytes.len() * (i + 1) / n]
}

/// A matrix as a GEMM reads it: for each element of an input row, the weights of 32 outputs.
pub trait Panels: Sync {
    /// Number of panels. The last one may be padded.
    fn count(&self) -> usize;
    /// The depth of a product: the width of the input.
    fn depth(&self) -> usize;
    /// The rounding of a product's inputs.
    fn rounding(&self, kernels: &Kernels) -> Rounding;
    /// Returns the indices of depth `from..to` of a panel (`from` is a multiple of 32) in the form
    /// that the kernels multiply. If they are stored in another form, they are converted in
    /// `scratch`, which has room for whole blocks of 32 indices in the form of the result.
    fn slice<'a>(
        &'a self,
        kernels: &Kernels,
        panel: usize,
        from: usize,
        to: usize,
        scratch: &'a mut [f32],
    ) -> PanelSlice<'a>;
    /// The `i`th of `n` parts (`[i, n]`) of the memory that [`slice`](Self::slice) reads, for
    /// prefetching. The parts need not cover all of it.
    fn stored(&self, panel: usize, from: usize, to: usize, part: [usize; 2]) -> &[u8];
}

/// A matrix whose rows are looked up.
pub trait Lookup: Sync {
    /// Writes row `row` to `out` in f32.
    fn row(&self, row: usize, out: &mut [f32]);
}

/// Consecutive indices of depth of a panel, in the form that the kernels multiply.
#[derive(Clone, Copy)]
pub enum PanelSlice<'a> {
    /// `[depth][32]`.
    Plain(&'a [f32]),
    /// `[depth / 2][32]`, rounded up. If the depth is odd, the last index is paired with zeros.
    Pairs(&'a [Bf16Pair]),
    /// Blocks in their storage format, and the output of [`Kernels::widen`] for them.
    Integers(Format, &'a [u8], Wide<'a>),
}

#[cfg(test)]
mod layout_tests {
    use super::*;

    #[test]
    fn a_gated_panel_holds_gates_and_the_rows_they_gate() {
        let layout = PanelLayout { rows: 40, columns: 1, order: Order::Gated };
        assert_eq!(layout.row_of(0, 3), Some(3));
        assert_eq!(layout.row_of(0, 19), Some(23));
        assert_eq!(layout.row_of(1, 4), None);
        assert_eq!(layout.row_of(1, 16), Some(36));
    }
}
