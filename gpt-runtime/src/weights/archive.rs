//! Named tensors in files that are mapped or in memory: the code that safetensors and GGUF share.

use std::collections::BTreeMap;
use std::path::Path;

use memmap2::Mmap;

use super::stored::FileType;
use crate::{Error, files};

/// The bytes of a file: memory-mapped, embedded in the program, or read by the caller.
pub enum Mapped {
    Map(Mmap),
    Embedded(&'static [u8]),
    Read(Vec<u8>),
}

impl Mapped {
    pub fn open(path: &Path) -> Result<Mapped, Error> {
        let io = Error::io("read", path);
        let file = files::open(path).map_err(&io)?;
        if file.metadata().map_err(&io)?.is_dir() {
            return Err(Error::weights(format!(
                "{} is a folder, not a weight file",
                path.display()
            )));
        }
        // SAFETY: the map is read-only and private to this process. If another process truncates
        // the file while it is mapped, a read raises SIGBUS, as it does in every loader that maps
        // weights.
        let map = unsafe { Mmap::map(&file) }.map_err(&io)?;
        Ok(Mapped::Map(map))
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Mapped::Map(map) => map,
            Mapped::Embedded(bytes) => bytes,
            Mapped::Read(bytes) => bytes,
        }
    }
}

/// The location, type and shape of a tensor in a file.
#[derive(Clone, Debug)]
pub struct ArchiveEntry {
    /// Index into [`Archive::files`].
    pub file: usize,
    /// Offset and length in bytes; checked against the file's size.
    pub start: usize,
    pub len: usize,
    pub stored: FileType,
    /// The slowest dimension first.
    pub shape: Vec<u64>,
}

/// All tensors of a set of files.
#[derive(Default)]
pub struct Archive {
    pub files: Vec<Mapped>,
    pub entries: BTreeMap<String, ArchiveEntry>,
}

impl Archive {
    /// Adds the tensors of other files. Messages call them `name`.
    ///
    /// # Errors
    /// Fails if the archive already has one of the tensors.
    pub fn append(&mut self, other: Archive, name: &Path) -> Result<(), Error> {
        let first = self.files.len();
        self.files.extend(other.files);
        for (tensor, entry) in other.entries {
            if self.entries.contains_key(&tensor) {
                return Err(Error::weights(format!(
                    "{} repeats the tensor {tensor} of another part",
                    name.display()
                )));
            }
            self.entries.insert(tensor, ArchiveEntry { file: first + entry.file, ..entry });
        }
        Ok(())
    }

    /// The bytes of `entry`.
    pub fn data(&self, entry: &ArchiveEntry) -> &[u8] {
        &self.files[entry.file].bytes()[entry.start..][..entry.len]
    }
}

/// Bytes of a tensor of this shape. None if the size overflows or a row is not whole blocks.
pub fn tensor_bytes(stored: FileType, shape: &[u64]) -> Option<u64> {
    let columns = shape.last().copied().unwrap_or(1);
    let rows = shape.iter().rev().skip(1).try_fold(1u64, |n, d| n.checked_mul(*d))?;
    stored.row_bytes(columns)?.checked_mul(rows)
}
