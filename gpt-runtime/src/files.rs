//! Files that are written whole or not at all.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::Error;

/// Lets `write` write a new file beside `path`, makes sure that it is on the disk, and puts it in the place of `path`. Whatever goes
/// wrong, what stood at `path` stands there still.
pub fn replace(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let written = write(&new)
        .and_then(|()| File::open(&new)?.sync_all())
        .and_then(|()| std::fs::rename(&new, path));
    written.map_err(|source| {
        // What is left of it is of no use; if it cannot be removed either, the first error says more.
        let _ = std::fs::remove_file(&new);
        Error::Io {
            doing: "write",
            path: path.to_owned(),
            source,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, |new| std::fs::write(new, "first")).unwrap();
        let failed = replace(&path, |new| {
            std::fs::write(new, "half of the sec")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.unwrap_err().to_string().contains("the disk is full"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        replace(&path, |new| std::fs::write(new, "second")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
