//! Reads Hugging Face's safetensors: one file, or an index with its shards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

use super::archive::{Archive, ArchiveEntry, Mapped};
use super::stored::FileType;
use crate::Error;

/// The file name of a sharded model's index.
pub const INDEX: &str = "model.safetensors.index.json";

/// The key of an index that maps names of tensors to names of files.
pub const MAP: &str = "weight_map";

/// Maps the tensors of some files.
pub fn open(paths: impl IntoIterator<Item = PathBuf>) -> Result<Archive, Error> {
    let mut archive = Archive::default();
    for path in paths {
        archive.append(read(&path)?, &path)?;
    }
    Ok(archive)
}

fn read(path: &Path) -> Result<Archive, Error> {
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
    let mut entries = BTreeMap::new();
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
            file: 0,
            start: data.as_ptr() as usize - bytes.as_ptr() as usize,
            len: data.len(),
            stored,
            shape: view.shape().iter().map(|&d| d as u64).collect(),
        };
        entries.insert(name.to_owned(), entry);
    }
    Ok(Archive { files: vec![mapped], entries })
}

/// The shards that an index names, which are beside it. `json` is its contents.
pub fn shards(index: &Path, json: &[u8]) -> Result<Vec<PathBuf>, Error> {
    let wrong = |what: String| {
        Error::weights(format!("{} is not an index of shards: {what}", index.display()))
    };
    let json = json.strip_prefix("\u{feff}".as_bytes()).unwrap_or(json);
    let json: serde_json::Value = serde_json::from_slice(json).map_err(|e| wrong(e.to_string()))?;
    let map = json
        .get(MAP)
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
    let paths: Vec<PathBuf> = names.iter().map(|name| index.with_file_name(name)).collect();
    match paths.iter().find(|path| !path.exists()) {
        Some(path) => Err(Error::weights(format!(
            "{} is missing; {} names it as one of {} shards",
            path.display(),
            index.display(),
            paths.len()
        ))),
        None => Ok(paths),
    }
}
