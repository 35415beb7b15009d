//! Weights to a safetensors file, in the names and the order of Hugging Face's models, so that others can load it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use gpt_plan::{FileTensor, Format, Layout, Plan, Tensor, TensorId, TensorKind};
use safetensors::tensor::{Dtype, View};

use super::format::{decode, encode};
use super::{Weights, describe, interleaved};
use crate::Error;
use crate::files;

/// Writes every parameter of `plan` to `path`, f32 (what is quantised is written as the f32 it stands for). The file is replaced as a
/// whole; tensors are made one at a time.
///
/// # Errors
/// Weights that cannot be read, or a file that cannot be written.
pub fn save(path: &Path, plan: &Plan, weights: &dyn Weights) -> Result<(), Error> {
    let mut pieces = Vec::new();
    for (i, tensor) in plan.tensors.iter().enumerate() {
        for layer in tensor.layers(plan.spec.layers) {
            let mut first = 0;
            for source in tensor.sources.iter() {
                let piece = Piece::new(weights, tensor, TensorId(i as u16), layer, source, first);
                pieces.push((source.name_in(&source.hf, layer), piece));
                first += source.rows as usize;
            }
        }
    }
    // Whether the weights can be read at all shows before anything is written: a view cannot fail.
    for (_, piece) in &pieces {
        weights.tensor(piece.id, piece.layer)?;
    }
    files::replace(path, |new| {
        // What transformers insists on.
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize_to_file(pieces, Some(metadata), new).map_err(std::io::Error::other)
    })
}

/// Writes the `config.json` with which transformers builds the model: as GPT-2, the first GPT or a Llama. Returns whether there is one: a spec
/// that is none of them has no such file, and then none is left at `path`.
pub fn save_config(path: &Path, plan: &Plan) -> Result<bool, Error> {
    match describe::config(&plan.spec) {
        Some(config) => files::write(path, &format!("{config:#}\n")).map(|()| true),
        None => match std::fs::remove_file(path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::Io {
                doing: "remove",
                path: path.to_owned(),
                source,
            }),
            _ => Ok(false),
        },
    }
}

/// One tensor of the file: some rows of one of ours.
struct Piece<'a> {
    weights: &'a dyn Weights,
    id: TensorId,
    layer: u32,
    first: usize,
    rows: usize,
    columns: usize,
    layout: Layout,
    shape: Vec<usize>,
}

impl<'a> Piece<'a> {
    fn new(
        weights: &'a dyn Weights,
        tensor: &Tensor,
        id: TensorId,
        layer: u32,
        source: &FileTensor,
        first: usize,
    ) -> Piece<'a> {
        let (rows, columns) = (source.rows as usize, tensor.columns as usize);
        let shape = match (tensor.kind, source.hf_layout) {
            (TensorKind::Vector, _) => vec![rows],
            (_, Layout::Transposed) => vec![columns, rows],
            _ => vec![rows, columns],
        };
        Piece {
            weights,
            id,
            layer,
            first,
            rows,
            columns,
            layout: source.hf_layout,
            shape,
        }
    }

    fn values(&self) -> Result<Vec<f32>, Error> {
        let tensor = self.weights.tensor(self.id, self.layer)?;
        let row_bytes = tensor.format.row_bytes(self.columns);
        let mut values = vec![0.0; self.rows * self.columns];
        let mut row = vec![0.0; self.columns];
        for r in 0..self.rows {
            let bytes = &tensor.data[(self.first + r) * row_bytes..][..row_bytes];
            decode(tensor.format, bytes, &mut row);
            match self.layout {
                Layout::Transposed => {
                    for (c, value) in row.iter().enumerate() {
                        values[c * self.rows + r] = *value;
                    }
                }
                Layout::RowMajor | Layout::RotaryHalves { .. } => {
                    let place = match self.layout {
                        Layout::RotaryHalves { head_dim } => interleaved(r, head_dim as usize),
                        _ => r,
                    };
                    values[place * self.columns..][..self.columns].copy_from_slice(&row);
                }
            }
        }
        Ok(values)
    }
}

impl View for Piece<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut data = Vec::with_capacity(self.data_len());
        let values = self
            .values()
            .expect("the weights could be read a moment ago");
        encode(Format::F32, &values, &mut data);
        Cow::Owned(data)
    }

    fn data_len(&self) -> usize {
        4 * self.rows * self.columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{RandomWeights, open, testing};

    /// What is saved and opened again is what was saved, whatever the layout of a tensor in the file.
    #[test]
    fn a_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        for (name, plan) in [("gpt2", testing::gpt2()), ("llama", testing::llama())] {
            let path = folder.path().join(format!("{name}.safetensors"));
            for format in [Format::F32, Format::Q8] {
                let weights = RandomWeights::new(plan, 3, format);
                save(&path, plan, &weights).unwrap();
                let opened = open(&path, plan, None).unwrap();
                for (i, tensor) in plan.tensors.iter().enumerate() {
                    let id = TensorId(i as u16);
                    for layer in tensor.layers(plan.spec.layers) {
                        let values = |weights: &dyn Weights| {
                            let tensor = weights.tensor(id, layer).unwrap();
                            let bytes = tensor.format.row_bytes(tensor.columns);
                            let mut values = vec![0.0; tensor.rows * tensor.columns];
                            let rows = values
                                .chunks_mut(tensor.columns)
                                .zip(tensor.data.chunks(bytes));
                            rows.for_each(|(row, bytes)| decode(tensor.format, bytes, row));
                            values
                        };
                        assert_eq!(
                            values(&opened),
                            values(&weights),
                            "{name}: {} of layer {layer}",
                            tensor.name
                        );
                    }
                }
            }
        }
    }
}
