//! Dropout: in training, some of what passes is left out, and the rest made larger so that the sum stays as it was.
//!
//! The masks are those of [`Dropout`], which say of each element by its number whether it is left out. As a factor does not depend on what
//! it multiplies, the way back multiplies by the same masks.

use gpt_plan::{Dropout, Site, Spec};

use super::Matrix;

/// What a pass over one sequence of a batch leaves out.
#[derive(Clone, Copy, Debug)]
pub struct Masks {
    /// The masks of the whole batch; none if nothing is left out.
    pub dropout: Option<Dropout>,
    /// Which of the batch's sequences this is, all of one length.
    pub sequence: usize,
}

impl Masks {
    /// Nothing is left out.
    pub const NONE: Masks = Masks {
        dropout: None,
        sequence: 0,
    };

    /// `values` as they leave `site`, a row for each token of the sequence.
    pub fn of_rows(&self, site: Site, layer: u32, values: &Matrix) -> Matrix {
        let first = self.sequence * values.rows;
        self.apply(site, layer, first, values)
    }

    /// The attention weights of head `head`, a row for each query.
    pub fn of_weights(&self, spec: &Spec, layer: u32, head: usize, weights: &Matrix) -> Matrix {
        let first = (self.sequence * spec.heads as usize + head) * weights.rows;
        self.apply(Site::Attention, layer, first, weights)
    }

    /// `values`, whose first row is number `first` of all rows of its site.
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
