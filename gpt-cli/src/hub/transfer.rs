//! Downloads files into the cache.
//!
//! A file is written to `blobs/CHECKSUM.incomplete`, where the hub's Python tools look for it, too.
//! It becomes a blob only if its length and checksum are those that the hub lists. If a connection
//! ends early, another one continues the file, as long as each brings more of it; a later command
//! continues it, too. The snapshot of a commit has links to its blobs. The branch points to the
//! commit once all files are there.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use gpt_runtime::Error;
use ring::digest;
use ureq::http::{Response, StatusCode};

use super::client::{Hub, Listing};
use super::files::{Checksum, Remote};
use super::{Folder, Name};
use crate::lock::{self, Lock};
use crate::output::Failure;

/// The most connections for one file.
const CONNECTIONS: u32 = 100;

/// Bytes that are read at a time.
const BUFFER: usize = 256 << 10;

fn io(doing: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::Io { doing, path: path.to_owned(), source }
}

/// The files of a model in the cache.
pub struct Pulled {
    /// The folder of the snapshot.
    pub folder: PathBuf,
    /// Bytes that were there before.
    pub kept: u64,
}

impl Folder {
    /// Downloads `files`. Calls `progress` with the number of their bytes that are in the cache.
    ///
    /// # Errors
    /// Fails if a transfer fails, or if what arrives is not what the hub lists.
    pub fn pull(
        &self,
        hub: &Hub,
        name: &Name,
        listing: &Listing,
        files: &[&Remote],
        progress: &dyn Fn(u64),
    ) -> Result<Pulled, Failure> {
        let folder = self.cache.pointer_path(&listing.commit);
        let (mut done, mut kept) = (0, 0);
        for file in files {
            let pointer = folder.join(&file.name);
            let there = |path: &Path| fs::metadata(path).is_ok_and(|data| data.len() == file.size);
            if there(&pointer) {
                kept += file.size;
            } else {
                let blob = self.root.join(&self.name).join("blobs").join(file.checksum.hex());
                let _lock = self.lock(file)?;
                if there(&blob) {
                    kept += file.size;
                } else {
                    let mut incomplete = Incomplete::open(&blob, file)?;
                    kept += incomplete.len;
                    let source = Source { hub, name, commit: &listing.commit, file };
                    incomplete.complete(&source, &|len| progress(done + len))?;
                    incomplete.publish(&blob)?;
                }
                link(&blob, &pointer, file)?;
            }
            done += file.size;
            progress(done);
        }
        let branch = self.root.join(&self.name).join("refs");
        self.cache.create_ref(&listing.commit).map_err(io("write", &branch))?;
        Ok(Pulled { folder, kept })
    }

    /// Locks `file`, so that only one program downloads it. Waits if another one does.
    fn lock(&self, file: &Remote) -> Result<Lock, Failure> {
        let folder = self.root.join(".locks").join(&self.name);
        fs::create_dir_all(&folder).map_err(io("create", &folder))?;
        let path = folder.join(format!("{}.lock", file.checksum.hex()));
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        match lock::try_lock(opened.map_err(io("write", &path))?).map_err(io("lock", &path))? {
            Ok(lock) => Ok(lock),
            Err(opened) => {
                eprintln!("waiting for another program that downloads {}", file.name);
                Ok(lock::lock(opened).map_err(io("lock", &path))?)
            }
        }
    }
}

/// Links a file of a snapshot to its blob.
fn link(blob: &Path, pointer: &Path, file: &Remote) -> Result<(), Failure> {
    let folder = pointer.parent().unwrap_or(pointer);
    fs::create_dir_all(folder).map_err(io("create", folder))?;
    // Replaces a link whose blob was deleted.
    if pointer.symlink_metadata().is_ok() {
        fs::remove_file(pointer).map_err(io("remove", pointer))?;
    }
    // Relative, so that the cache can be moved: from snapshots/COMMIT/FILE to blobs/CHECKSUM.
    let up = "../".repeat(2 + file.name.matches('/').count());
    let target = PathBuf::from(format!("{up}blobs/{}", file.checksum.hex()));
    Ok(symlink(&target, blob, pointer).map_err(io("write", pointer))?)
}

#[cfg(unix)]
fn symlink(target: &Path, _: &Path, pointer: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, pointer)
}

/// Windows lets few users create links. Without a link the file is moved, as the hub's tools do.
#[cfg(not(unix))]
fn symlink(_target: &Path, blob: &Path, pointer: &Path) -> std::io::Result<()> {
    #[cfg(windows)]
    if std::os::windows::fs::symlink_file(_target, pointer).is_ok() {
        return Ok(());
    }
    fs::rename(blob, pointer)
}

/// Where the bytes of a file come from.
struct Source<'a> {
    hub: &'a Hub,
    name: &'a Name,
    commit: &'a str,
    file: &'a Remote,
}

/// An incomplete file, with the checksum of its bytes so far.
struct Incomplete {
    path: PathBuf,
    out: File,
    size: u64,
    expected: Checksum,
    len: u64,
    sum: digest::Context,
}

fn start_of_sum(file: &Remote) -> digest::Context {
    match file.checksum {
        Checksum::Sha256(_) => digest::Context::new(&digest::SHA256),
        Checksum::Git(_) => {
            let mut sum = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
            sum.update(format!("blob {}\0", file.size).as_bytes());
            sum
        }
    }
}

impl Incomplete {
    /// Opens the file, with what an earlier command left of `blob`.
    fn open(blob: &Path, file: &Remote) -> Result<Incomplete, Failure> {
        let folder = blob.parent().unwrap_or(blob);
        fs::create_dir_all(folder).map_err(io("create", folder))?;
        let path = folder.join(format!("{}.incomplete", file.checksum.hex()));
        let options =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let mut incomplete = Incomplete {
            out: options.map_err(io("write", &path))?,
            size: file.size,
            expected: file.checksum.clone(),
            len: 0,
            sum: start_of_sum(file),
            path,
        };
        let mut buffer = vec![0; BUFFER];
        loop {
            let n = incomplete.out.read(&mut buffer).map_err(io("read", &incomplete.path))?;
            incomplete.len += n as u64;
            if n == 0 {
                break;
            } else if incomplete.len > file.size {
                incomplete.restart(file)?;
                break;
            }
            incomplete.sum.update(&buffer[..n]);
        }
        Ok(incomplete)
    }

    fn restart(&mut self, file: &Remote) -> Result<(), Failure> {
        (self.len, self.sum) = (0, start_of_sum(file));
        let emptied = self.out.set_len(0).and_then(|()| self.out.seek(SeekFrom::Start(0)));
        emptied.map_err(io("write", &self.path))?;
        Ok(())
    }

    /// Receives the rest of the file. Opens another connection after one that ends early, as long
    /// as each brings more.
    fn complete(&mut self, source: &Source<'_>, progress: &dyn Fn(u64)) -> Result<(), Failure> {
        let (mut longest, size) = (self.len, self.size);
        for _ in 0..CONNECTIONS {
            if self.len == size {
                return Ok(());
            }
            let ended = self.receive(source, progress)?;
            if self.len < size && self.len <= longest {
                return Err(Failure::Failed(format!(
                    "the transfer of {} ended after {} of {size} bytes: {ended}; the same command continues it",
                    source.file.name, self.len
                )));
            }
            longest = longest.max(self.len);
        }
        match self.len == size {
            true => Ok(()),
            false => Err(Failure::Failed(format!(
                "the transfer of {} was interrupted {CONNECTIONS} times; the same command continues it",
                source.file.name
            ))),
        }
    }

    /// Receives on one connection. Returns why it ended.
    fn receive(&mut self, source: &Source<'_>, progress: &dyn Fn(u64)) -> Result<String, Failure> {
        let Source { hub, name, commit, file } = source;
        let response = match hub.file(name, commit, file, self.len) {
            Ok(response) => response,
            Err(cause) => return Ok(cause),
        };
        match response.status() {
            // The server sends the file from its beginning.
            StatusCode::OK => self.restart(file)?,
            StatusCode::PARTIAL_CONTENT => {
                let range = header(&response, "content-range").unwrap_or_default();
                let expected = format!("bytes {}-{}/{}", self.len, self.size - 1, self.size);
                if range != expected {
                    return Err(Failure::Failed(format!(
                        "{} was asked for {expected} of {} and sent {range:?}; try again later",
                        hub.endpoint, file.name
                    )));
                }
            }
            status => return Err(hub.refused(name, status)),
        }
        let wrong = |len: u64, more: &str| {
            Failure::Failed(format!(
                "{} sends {len} bytes{more} of {}, and lists {}; try again later",
                hub.endpoint, file.name, file.size
            ))
        };
        let length = header(&response, "content-length").and_then(|n| n.parse().ok());
        if let Some(rest) =
            length.filter(|rest: &u64| self.len.checked_add(*rest) != Some(self.size))
        {
            return Err(wrong(self.len.saturating_add(rest), ""));
        }
        let mut reader = response.into_body().into_reader();
        let mut buffer = vec![0; BUFFER];
        loop {
            let n = match reader.read(&mut buffer) {
                Ok(0) => return Ok("the connection was closed".to_owned()),
                Ok(n) => n,
                Err(error) => return Ok(hub.cause(&error.into())),
            };
            if n as u64 > self.size - self.len {
                let error = wrong(self.len + n as u64, " or more");
                // The earlier bytes may be wrong, too.
                self.restart(file)?;
                return Err(error);
            }
            self.out.write_all(&buffer[..n]).map_err(io("write", &self.path))?;
            self.sum.update(&buffer[..n]);
            self.len += n as u64;
            progress(self.len);
        }
    }

    /// Makes the complete file a blob if its checksum is right, and otherwise deletes it.
    fn publish(self, blob: &Path) -> Result<(), Failure> {
        let found: String = self.sum.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect();
        if found != self.expected.hex() {
            fs::remove_file(&self.path).map_err(io("remove", &self.path))?;
            return Err(Failure::Failed(format!(
                "the download is damaged: its checksum is {found} and should be {}; run the same command again",
                self.expected.hex()
            )));
        }
        self.out.sync_all().map_err(io("write", &self.path))?;
        drop(self.out);
        Ok(fs::rename(&self.path, blob).map_err(io("write", blob))?)
    }
}

fn header<'a, B>(response: &'a Response<B>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}
