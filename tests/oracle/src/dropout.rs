//! Dropout: training zeroes some elements and scales the rest, so the expected sum is unchanged.
//!
//! [`Dropout`] decides for each element by its number. The factors do not depend on the values, so
//! the backward pass multiplies by the same masks.

use gpt_plan::{Dropout, Site, Spec};

use super::Matrix;

/// The masks of one sequence of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Masks {
    /// The masks of the whole batch; none without dropout.
    pub dropout: Option<Dropout>,
    /// The index of the sequence in the batch; all have the same length.
    pub sequence: usize,
}

impl Masks {
    /// No dropout.
    pub const NONE: Masks = Masks { dropout: None, sequence: 0 };

    /// Masks the output of `site`, a row for each token of the sequence.
    pub fn of_rows(&self, site: Site, layer: u32, values: &Matrix) -> Matrix {
        let first = self.sequence * values.rows;
        self.apply(site, layer, first, values)
    }

    /// Masks the attention weights of head `head`, a row for each query.
    pub fn of_weights(&self, spec: &Spec, layer: u32, head: usize, weights: &Matrix) -> Matrix {
        let first = (self.sequence * spec.heads as usize + head) * weights.rows;
        self.apply(Site::Attention, layer, first, weights)
    }

    /// Masks `values`, whose first row is number `first` of the site.
    fn apply(&self, site: Site, layer: u32, first: usize, values: &Matrix) -> Matrix {
        let Some(dropout) = self.dropout else {
            return values.clone();
        };
        let key = Dropout::site_key(dropout.key, site, layer);
        Matrix::from_fn(values.rows, values.columns, |row, column| {
            let number = (first + row) * values.columns + column;
            // Numbers wrap at 2^32.
            f64::from(dropout.factor(key, number as u32)) * values.row(row)[column]
        })
    }
}
