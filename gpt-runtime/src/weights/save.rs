//! Writes safetensors files with the names and layouts of Hugging Face's models.

use std::collections::HashMap;
use std::path::Path;

use gpt_plan::{Layout, Plan};

use super::Weights;
use super::format::decode;
use super::lazy::{self, LazyTensor};
use super::slice::{TensorSlice, file_shape, slices};
use crate::Error;
use crate::files;

/// Writes all parameters of `plan` to `path` as f32; quantised weights are dequantised. The file is
/// replaced atomically, and tensors are converted one at a time.
///
/// # Errors
/// Fails if the weights cannot be read or the file cannot be written.
pub fn save(path: &Path, plan: &Plan, weights: &dyn Weights) -> Result<(), Error> {
    let tensors = slices(plan)
        .map(|slice| {
            let source = slice.source;
            let shape = file_shape(slice.tensor, source.rows, source.hf_layout);
            let shape: Vec<usize> = shape.into_iter().map(|n| n as usize).collect();
            let len = shape.iter().product();
            LazyTensor {
                name: source.name_in(&source.hf, slice.layer),
                shape,
                values: Box::new(move || values(weights, &slice, len)),
            }
        })
        .collect();
    // transformers rejects files without this metadata.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    lazy::write(path, tensors, Some(metadata))
}

/// The `len` values of a slice, in the file's layout. Rows that the model does not have are zero.
fn values(weights: &dyn Weights, slice: &TensorSlice<'_>, len: usize) -> Result<Vec<f32>, Error> {
    let tensor = weights.tensor(slice.id, slice.layer)?;
    let (rows, columns) = (slice.rows.len(), tensor.columns);
    let mut values = vec![0.0; len];
    let mut row = vec![0.0; columns];
    for (r, bytes) in slice.data(&tensor).enumerate() {
        decode(tensor.format, bytes, &mut row);
        row.iter_mut().for_each(|x| *x -= slice.source.hf_offset);
        let layout = slice.source.hf_layout;
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

/// Writes the `config.json` from which transformers builds the model. If no class that `gpt_config`
/// knows describes the spec, removes the file at `path` and returns `false`.
///
/// # Errors
/// Fails if the file cannot be written or removed.
pub fn save_config(path: &Path, plan: &Plan) -> Result<bool, Error> {
    match gpt_config::config(&plan.spec) {
        Some(config) => files::write(path, &format!("{config:#}\n")).map(|()| true),
        None => files::remove(path).map(|()| false),
    }
}

#[cfg(test)]
mod tests {
    use gpt_plan::Format;

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
