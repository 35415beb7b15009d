//! Splits a plan's tensors into the tensors of a file, which may store a fused matrix as several.

use std::ops::Range;

use gpt_plan::{FileTensor, Layout, Plan, Tensor, TensorId, TensorKind};

use super::HostTensor;

/// The rows of a plan's tensor that one tensor of a file holds.
#[derive(Clone)]
pub struct TensorSlice<'a> {
    pub id: TensorId,
    pub layer: u32,
    pub tensor: &'a Tensor,
    /// The tensor of the file.
    pub source: &'a FileTensor,
    pub rows: Range<usize>,
}

/// All slices of a plan's tensors, in the order of the plan.
pub fn slices(plan: &Plan) -> impl Iterator<Item = TensorSlice<'_>> {
    plan.tensors.iter().enumerate().flat_map(|(i, tensor)| {
        let layers = tensor.layers(plan.spec.layers);
        layers.flat_map(move |layer| {
            let mut end = 0;
            tensor.sources.iter().map(move |source| {
                let start = end;
                end += source.rows as usize;
                TensorSlice { id: TensorId(i as u16), layer, tensor, source, rows: start..end }
            })
        })
    })
}

impl TensorSlice<'_> {
    /// The bytes of each row, given the whole tensor.
    pub fn data<'t>(&self, tensor: &'t HostTensor<'_>) -> impl Iterator<Item = &'t [u8]> {
        let row_bytes = tensor.format.row_bytes(tensor.columns);
        let bytes = self.rows.start * row_bytes..self.rows.end * row_bytes;
        tensor.data[bytes].chunks(row_bytes)
    }
}

/// The shape of a tensor of a file that holds `rows` rows of `tensor`, slowest dimension first.
pub fn file_shape(tensor: &Tensor, rows: u32, layout: Layout) -> Vec<u64> {
    let rows = u64::from(rows) + u64::from(layout.unused_rows());
    let columns = u64::from(tensor.columns);
    match (tensor.kind, layout) {
        (TensorKind::Vector, _) => vec![rows],
        (_, Layout::Transposed) => vec![columns, rows],
        _ => vec![rows, columns],
    }
}
