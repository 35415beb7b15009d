//! The form in which an engine receives a tensor.

use std::borrow::Cow;

use gpt_plan::{Format, TensorId};

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
    /// `rows * format.row_bytes(columns)` bytes, little-endian; borrowed from the mapped file where nothing had to change.
    pub data: Cow<'a, [u8]>,
}

/// A complete, checked set of weights for one plan.
pub trait Weights: Sync {
    /// The tensor `id` of `layer` (0 for a tensor of the model).
    fn tensor(&self, id: TensorId, layer: u32) -> Result<HostTensor<'_>, Error>;

    /// The format that [`tensor`](Self::tensor) will have; layers may differ.
    fn format(&self, id: TensorId, layer: u32) -> Format;
}
