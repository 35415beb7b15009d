//! Reads of files that have an end, and atomic writes of files and folders: a write that fails
//! leaves the old content in place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use crate::Error;

/// Opens a regular file.
///
/// # Errors
/// Fails if the file cannot be opened, and for a pipe or a device, which cannot be mapped or read
/// twice. Opening a pipe could wait forever.
pub fn open(path: &Path) -> io::Result<File> {
    match special(path)? {
        Some(what) => Err(not_a_file(what)),
        None => File::open(path),
    }
}

/// Reads the whole file, pipe or terminal at `path`.
///
/// # Errors
/// Fails if it cannot be read, and for other devices, since `/dev/zero` has no end.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    stream(path).and_then(|mut f| f.read_to_end(&mut bytes)).map_err(Error::io("read", path))?;
    Ok(bytes)
}

/// Reads the whole file, pipe or terminal at `path`, which must be UTF-8.
///
/// # Errors
/// Fails as [`read`] does, and if the text is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, Error> {
    String::from_utf8(read(path)?).map_err(|_| {
        let invalid = io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8");
        Error::io("read", path)(invalid)
    })
}

fn stream(path: &Path) -> io::Result<File> {
    match special(path)? {
        None | Some(PIPE) => File::open(path),
        Some(DEVICE) => {
            let file = File::open(path)?;
            if file.is_terminal() { Ok(file) } else { Err(not_a_file(DEVICE)) }
        }
        Some(what) => Err(not_a_file(what)),
    }
}

const PIPE: &str = "a pipe";
const DEVICE: &str = "a device";

fn not_a_file(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a file"))
}

/// What is at `path`, if it is neither a file nor a folder.
#[cfg(unix)]
fn special(path: &Path) -> io::Result<Option<&'static str>> {
    use std::os::unix::fs::FileTypeExt;
    let kind = fs::metadata(path)?.file_type();
    let kinds = [
        (kind.is_fifo(), PIPE),
        (kind.is_char_device(), DEVICE),
        (kind.is_block_device(), "a disk"),
        (kind.is_socket(), "a socket"),
    ];
    Ok(kinds.into_iter().find_map(|(is, what)| is.then_some(what)))
}
#[cfg(not(unix))]
fn special(_: &Path) -> io::Result<Option<&'static str>> {
    Ok(None)
}

/// Calls `write` for a new file beside `path`, syncs it, renames it to `path`, and syncs the
/// folder. If a step up to the renaming fails, the old file at `path` is unchanged.
///
/// # Errors
/// Fails if the file cannot be written or its folder cannot be synced.
pub fn replace(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Error> {
    let new = beside(path);
    // Windows syncs only a file that is open for writing.
    let sync = || OpenOptions::new().write(true).open(&new)?.sync_all();
    let written = write(&new)
        .and_then(|()| sync())
        .and_then(|()| fs::rename(&new, path))
        .and_then(|()| sync_names(parent(path)));
    written.map_err(|source| {
        // If the partial file cannot be removed either, the first error is more useful.
        let _ = fs::remove_file(&new);
        Error::io("write", path)(source)
    })
}

/// Replaces the file at `path` by one with the contents `text`.
///
/// # Errors
/// Fails if the file cannot be written or its folder cannot be synced.
pub fn write(path: &Path, text: &str) -> Result<(), Error> {
    replace(path, |new| fs::write(new, text))
}

/// Removes a file, if it exists.
///
/// # Errors
/// Fails if the file exists and cannot be removed.
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Calls `fill` for a new folder beside `path`, then renames the folder to `path`, which must not
/// exist. `fill` writes files with [`replace`]. Removes the remains of an earlier attempt first.
pub fn create_folder(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let new = beside(path);
    let clean = match fs::remove_dir_all(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(&new),
    };
    clean.map_err(Error::io("write", &new))?;
    let filled = fill(&new).and_then(|()| {
        let named = sync_names(&new)
            .and_then(|()| fs::rename(&new, path))
            .and_then(|()| sync_names(parent(path)));
        named.map_err(Error::io("write", path))
    });
    if filled.is_err() {
        let _ = fs::remove_dir_all(&new);
    }
    filled
}

/// The temporary name of a file or folder that is incomplete.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Syncs the directory entries of `folder`. Does nothing on systems that cannot open a folder.
fn sync_names(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, |new| fs::write(new, "first")).unwrap();
        let failed = replace(&path, |new| {
            fs::write(new, "half of the sec")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.unwrap_err().to_string().contains("the disk is full"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        replace(&path, |new| fs::write(new, "second")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    #[test]
    fn a_folder_is_there_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("of/several");
        let failed = create_folder(&path, |new| {
            write(&new.join("first"), "1")?;
            write(&new.join("no/such/folder"), "2")
        });
        assert!(failed.unwrap_err().to_string().contains("no/such/folder"));
        assert_eq!(fs::read_dir(parent(&path)).unwrap().count(), 0);
        fs::create_dir(beside(&path)).unwrap();
        fs::write(beside(&path).join("left over"), "").unwrap();
        create_folder(&path, |new| write(&new.join("first"), "1")).unwrap();
        let names: Vec<_> = fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["first"]);
        assert_eq!(fs::read_dir(parent(&path)).unwrap().count(), 1);
    }
}
