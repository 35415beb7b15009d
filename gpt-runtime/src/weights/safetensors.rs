//! Reads Hugging Face's safetensors: one file, or an index with its shards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

use super::archive::{Archive, ArchiveEntry, Mapped};
use super::stored::FileType;
use crate::Error;

/// The file name of a sharded model's index.
pub const INDEX: &str = "model.safetensors.index.json";

/// Maps the tensors of `path`: a `.safetensors` file, or an index with its shards beside it.
pub fn open(path: &Path) -> Result<Archive, Error> {
    let shards = if path.extension().is_some_and(|e| e == "json") {
        shards(path)?
    } else {
        vec![path.to_owned()]
    };
    let mut archive = Archive { files: Vec::new(), entries: BTreeMap::new() };
    for shard in shards {
        read(&mut archive, &shard)?;
    }
    Ok(archive)
}

fn read(archive: &mut Archive, path: &Path) -> Result<(), Error> {
    let mapped = Mapped::open(path)?;
    let bytes = mapped.bytes();
    // The crate checks that offsets are ascending, without gaps, and end at the end of the file.
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| {
        Error::weights(format!(
            "{} is not a safetensors file that can be read: {error}",
            path.display()
        ))
        .caused_by(error)
    })?;
    let file = archive.files.len();
    for (name, view) in tensors.iter() {
        let stored = match view.dtype() {
            Dtype::F32 => FileType::F32,
            Dtype::F16 => FileType::F16,
            Dtype::BF16 => FileType::Bf16,
            // Masks and counters of old checkpoints. A parameter of such a type is reported as
            // missing.
            _ => continue,
        };
        let data = view.data();
        let entry = ArchiveEntry {
            file,
            start: data.as_ptr() as usize - bytes.as_ptr() as usize,
            len: data.len(),
            stored,
            shape: view.shape().iter().map(|&d| d as u64).collect(),
        };
        if archive.entries.insert(name.to_owned(), entry).is_some() {
            return Err(Error::weights(format!(
                "{} repeats the tensor {name} of another shard",
                path.display()
            )));
        }
    }
    archive.files.push(mapped);
    Ok(())
}

fn shards(index: &Path) -> Result<Vec<PathBuf>, Error> {
    let text = std::fs::read_to_string(index).map_err(Error::io("read", index))?;
    let wrong = |what: String| {
        Error::weights(format!("{} is not an index of shards: {what}", index.display()))
    };
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let map = json
        .get("weight_map")
        .and_then(|m| m.as_object())
        .ok_or_else(|| wrong("it has no weight_map".to_owned()))?;
    let mut names = BTreeSet::new();
    for name in map.values() {
        let name = name.as_str().ok_or_else(|| wrong("a shard is not a file name".to_owned()))?;
        if Path::new(name).components().count() != 1 || name.contains(['/', '\\']) || name == ".." {
            return Err(wrong(format!("the shard {name:?} is not beside it")));
        }
        names.insert(name);
    }
    if names.is_empty() {
        return Err(wrong("it names no shard".to_owned()));
    }
    let folder = index.parent().unwrap_or(Path::new("."));
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}
