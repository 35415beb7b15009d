//! Safetensors files whose tensors are computed while they are written, one at a time.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::io;
use std::path::Path;

use gpt_plan::Format;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, View};

use super::format::encode;
use crate::{Error, files};

/// A tensor of a file, in f32.
pub struct LazyTensor<'a> {
    /// Its name in the file.
    pub name: String,
    /// Its shape in the file.
    pub shape: Vec<usize>,
    /// Computes its values, in the order of the file.
    pub values: Box<dyn Fn() -> Result<Vec<f32>, Error> + 'a>,
}

/// Writes `tensors` to `path`, which is replaced atomically.
///
/// # Errors
/// Fails if a tensor cannot be computed, or as [`files::replace`] does.
pub fn write(
    path: &Path,
    tensors: Vec<LazyTensor<'_>>,
    metadata: Option<HashMap<String, String>>,
) -> Result<(), Error> {
    // A view cannot return an error. The first one is kept here.
    let failure = OnceCell::new();
    let views: Vec<(String, FileView<'_>)> = tensors
        .into_iter()
        .map(|LazyTensor { name, shape, values }| {
            (name, FileView { shape, values, failure: &failure })
        })
        .collect();
    let written = files::replace(path, |new| {
        safetensors::serialize_to_file(views, metadata, new).map_err(|error| match error {
            SafeTensorError::IoError(error) => error,
            error => io::Error::other(error),
        })?;
        match failure.get() {
            None => Ok(()),
            Some(_) => Err(io::Error::other("a tensor cannot be computed")),
        }
    });
    failure.into_inner().map_or(written, Err)
}

struct FileView<'a> {
    shape: Vec<usize>,
    values: Box<dyn Fn() -> Result<Vec<f32>, Error> + 'a>,
    failure: &'a OnceCell<Error>,
}

impl View for FileView<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        // After a failure the file is discarded, so the rest need not be computed.
        let values = match self.failure.get() {
            None => (self.values)().unwrap_or_else(|error| {
                let _ = self.failure.set(error);
                Vec::new()
            }),
            Some(_) => Vec::new(),
        };
        let mut data = Vec::with_capacity(self.data_len());
        encode(Format::F32, &values, &mut data);
        data.resize(self.data_len(), 0);
        Cow::Owned(data)
    }

    fn data_len(&self) -> usize {
        4 * self.shape.iter().product::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, values: Result<Vec<f32>, &'static str>) -> LazyTensor<'static> {
        let values = move || values.clone().map_err(|text| Error::Input(text.to_owned()));
        LazyTensor { name: name.to_owned(), shape: vec![1, 2], values: Box::new(values) }
    }

    #[test]
    fn a_tensor_that_fails_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.safetensors");
        let good = || tensor("a", Ok(vec![1.0, 2.0]));
        write(&path, vec![good(), tensor("b", Ok(vec![3.0, 4.0]))], None).unwrap();
        let old = std::fs::read(&path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&old).unwrap();
        assert_eq!(file.tensor("b").unwrap().data(), [3.0f32, 4.0].map(f32::to_le_bytes).concat());

        let tensors = vec![good(), tensor("b", Err("the first")), tensor("c", Err("the second"))];
        let error = write(&path, tensors, None).unwrap_err();
        assert!(error.to_string().contains("the first"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), old);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
