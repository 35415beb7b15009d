//! The interface between loaders and engines.

use std::borrow::Cow;

use gpt_plan::{Format, TensorId, TensorKind};

use super::format::encode;
use crate::Error;

/// A tensor of the plan, row-major, rows padded to whole blocks of its format.
#[derive(Clone, Debug)]
pub struct HostTensor<'a> {
    /// Storage format; vectors and tables are always [`Format::F32`].
    pub format: Format,
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub columns: usize,
    /// `rows * format.row_bytes(columns)` bytes, little-endian. Borrowed from the file if its
    /// layout and type are canonical.
    pub data: Cow<'a, [u8]>,
}

impl HostTensor<'static> {
    /// A tensor of rows that `fill(number, row)` writes, converted to `format`.
    pub(super) fn from_rows(
        format: Format,
        [rows, columns]: [usize; 2],
        mut fill: impl FnMut(usize, &mut [f32]),
    ) -> HostTensor<'static> {
        let mut row = vec![0.0; columns];
        let mut data = Vec::with_capacity(rows * format.row_bytes(columns));
        for r in 0..rows {
            fill(r, &mut row);
            encode(format, &row, &mut data);
        }
        HostTensor { format, rows, columns, data: Cow::Owned(data) }
    }
}

/// A complete, checked set of weights for one plan.
pub trait Weights: Sync {
    /// The tensor `id` of `layer` (0 for a tensor that no layer repeats).
    ///
    /// # Errors
    /// Fails if the tensor cannot be read or converted to its format.
    fn tensor(&self, id: TensorId, layer: u32) -> Result<HostTensor<'_>, Error>;

    /// The rows of [`tensor`](Self::tensor) in parts that follow each other, each in its own
    /// format. Only a matrix that a file stores in several types has more than one.
    ///
    /// # Errors
    /// See [`tensor`](Self::tensor).
    fn parts(&self, id: TensorId, layer: u32) -> Result<Vec<HostTensor<'_>>, Error> {
        Ok(vec![self.tensor(id, layer)?])
    }

    /// The format and the number of rows of each of the [`parts`](Self::parts), if there are
    /// several.
    fn part_formats(&self, id: TensorId, layer: u32) -> Vec<(Format, usize)> {
        let _ = (id, layer);
        Vec::new()
    }

    /// The format of [`tensor`](Self::tensor)'s result; layers may differ.
    fn format(&self, id: TensorId, layer: u32) -> Format;
}

/// The format of a tensor if matrices are stored as `matrices`: vectors and tables are always f32.
pub(super) fn stored_format(kind: TensorKind, matrices: Format) -> Format {
    match kind {
        TensorKind::Matrix => matrices,
        TensorKind::Table | TensorKind::Vector => Format::F32,
    }
}
