//! Writes safetensors files with the names and layouts of Hugging Face's models.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use gpt_plan::{Format, Layout, Plan};
use safetensors::tensor::{Dtype, View};

use super::Weights;
use super::format::{decode, encode};
use super::slice::{TensorSlice, file_shape, slices};
use crate::Error;
use crate::files;

/// Writes all parameters of `plan` to `path` as f32; quantised weights are dequantised. The file is
/// replaced atomically, and tensors are converted one at a time.
///
/// # Errors
/// Weights that cannot be read, or a file that cannot be written.
pub fn save(path: &Path, plan: &Plan, weights: &dyn Weights) -> Result<(), Error> {
    let views: Vec<(String, SliceView<'_>)> = slices(plan)
        .map(|slice| {
            let source = slice.source;
            let shape = file_shape(slice.tensor, source.rows, source.hf_layout);
            let view = SliceView {
                weights,
                shape: shape.into_iter().map(|n| n as usize).collect(),
                slice,
            };
            (source.name_in(&source.hf, view.slice.layer), view)
        })
        .collect();
    // A view cannot fail, so errors of the weights have to be found before anything is written.
    for (_, view) in &views {
        weights.tensor(view.slice.id, view.slice.layer)?;
    }
    files::replace(path, |new| {
        // transformers rejects files without it.
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize_to_file(views, Some(metadata), new).map_err(files::of_safetensors)
    })
}

/// Writes the `config.json` from which transformers builds the model. If no class that `gpt_config`
/// knows describes the spec, it removes the file at `path` and returns `false`.
///
/// # Errors
/// A file that cannot be written or removed.
pub fn save_config(path: &Path, plan: &Plan) -> Result<bool, Error> {
    match gpt_config::config(&plan.spec) {
        Some(config) => files::write(path, &format!("{config:#}\n")).map(|()| true),
        None => match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", path)(error))
            }
            _ => Ok(false),
        },
    }
}

/// A slice of a plan's tensor as a tensor of the file.
struct SliceView<'a> {
    weights: &'a dyn Weights,
    slice: TensorSlice<'a>,
    shape: Vec<usize>,
}

impl SliceView<'_> {
    /// The values in the file's layout.
    fn values(&self) -> Result<Vec<f32>, Error> {
        let tensor = self.weights.tensor(self.slice.id, self.slice.layer)?;
        let (rows, columns) = (self.slice.rows.len(), tensor.columns);
        let mut values = vec![0.0; self.shape.iter().product()];
        let mut row = vec![0.0; columns];
        for (r, bytes) in self.slice.data(&tensor).enumerate() {
            decode(tensor.format, bytes, &mut row);
            let offset = self.slice.source.hf_offset;
            row.iter_mut().for_each(|x| *x -= offset);
            let layout = self.slice.source.hf_layout;
            if layout == Layout::Transposed {
                for (c, value) in row.iter().enumerate() {
                    values[c * rows + r] = *value;
                }
            } else {
                values[layout.file_row(r) * columns..][..columns].copy_from_slice(&row);
            }
        }
        Ok(values)
    }
}

impl View for SliceView<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut data = Vec::with_capacity(self.data_len());
        let values = self.values().expect("`save` has read these weights before");
        encode(Format::F32, &values, &mut data);
        Cow::Owned(data)
    }

    fn data_len(&self) -> usize {
        4 * self.shape.iter().product::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{RandomWeights, open, testing};

    /// A file of a norm with a unit offset holds the scale minus 1.
    #[test]
    fn a_scale_may_be_stored_as_an_offset() {
        let mut spec = testing::llama_spec();
        spec.norm.unit_offset = true;
        let (plan, plain) = (testing::plan(&spec), testing::llama());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let weights = RandomWeights::new(plan, 3, Format::F32);
        save(&path, plan, &weights).unwrap();
        let (opened, stored) =
            (open(&path, plan, None).unwrap(), open(&path, plain, None).unwrap());
        let mut norms = 0;
        for (id, layer) in plan.trained() {
            let tensor = plan.tensor(id);
            let is_scale = tensor.name.ends_with(".gamma");
            norms += u32::from(is_scale);
            let offset = if is_scale { 1.0 } else { 0.0 };
            let ours = testing::values(&weights, id, layer);
            let theirs = testing::values(&stored, id, layer);
            let back = testing::values(&opened, id, layer);
            for ((ours, theirs), back) in ours.iter().zip(theirs).zip(back) {
                assert_eq!(ours - offset, theirs, "{}", tensor.name);
                assert!((back - ours).abs() <= 1e-7, "{}: {back}, {ours}", tensor.name);
            }
        }
        assert_eq!(norms, 2 * spec.layers + 1);
    }

    /// Saved weights read back unchanged, in all layouts of the file.
    #[test]
    fn a_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        for (name, plan) in [("gpt2", testing::gpt2()), ("llama", testing::llama())] {
            let path = folder.path().join(format!("{name}.safetensors"));
            for format in [Format::F32, Format::Q8] {
                let weights = RandomWeights::new(plan, 3, format);
                save(&path, plan, &weights).unwrap();
                let opened = open(&path, plan, None).unwrap();
                for TensorSlice { id, layer, tensor, .. } in slices(plan) {
                    assert_eq!(
                        testing::values(&opened, id, layer),
                        testing::values(&weights, id, layer),
                        "{name}: {} of layer {layer}",
                        tensor.name
                    );
                }
            }
        }
    }
}
