//! The folder in which inputs become files.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder in memory if the system has one. After an abort, the file `input` is still in it.
pub struct Place {
    folder: TempDir,
    seen: RefCell<HashSet<u64>>,
}

impl Place {
    /// A new folder for the inputs of a target.
    ///
    /// # Panics
    /// If the folder cannot be made.
    pub fn new(target: &str) -> Place {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new()
            .prefix(&format!("gpt-fuzz-{target}-"))
            .tempdir_in(parent)
            .expect("a folder for temporary files");
        Place { folder, seen: RefCell::default() }
    }

    /// The path of a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and returns its path.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("a folder that can be written");
        path
    }

    /// Writes a file that is the same for all inputs, unless it exists.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn keep(&self, name: &str, bytes: impl FnOnce() -> Vec<u8>) -> PathBuf {
        let path = self.path(name);
        if !path.exists() {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
            std::fs::write(&path, bytes()).expect("a folder that can be written");
        }
        path
    }

    /// Whether an expensive step is due for `thing`: about one in `n` things is chosen, the first
    /// time that it occurs here.
    pub fn is_due(&self, thing: &str, n: u64) -> bool {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        thing.hash(&mut hasher);
        let hash = hasher.finish();
        hash.is_multiple_of(n) && self.seen.borrow_mut().insert(hash)
    }
}
