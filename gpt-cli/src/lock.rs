//! Locks of files between programs.
//!
//! A lock ends when its value is dropped, or when the process ends, however it ends.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};

/// A lock of a file. Dropping it releases the lock.
///
/// The lock belongs to the open file, which a child process shares until it has started its own
/// program. Closing the file would therefore not always release the lock at once.
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Where this fails, closing the file releases the lock.
        let _ = self.0.unlock();
    }
}

/// Locks `file`, or returns the file if another program has the lock. Some file systems have no
/// locks; there it succeeds without one.
///
/// # Errors
/// Fails if the system fails.
pub fn try_lock(file: File) -> io::Result<Result<Lock, File>> {
    Ok(if is_free(file.try_lock())? { Ok(Lock(file)) } else { Err(file) })
}

/// Locks `file`, and waits for other programs that have the lock.
///
/// # Errors
/// Fails if the system fails.
#[cfg(feature = "hub")]
pub fn lock(file: File) -> io::Result<Lock> {
    file.lock()?;
    Ok(Lock(file))
}

fn is_free(locked: Result<(), TryLockError>) -> io::Result<bool> {
    match locked {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_program_has_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let open = || File::create(&path).unwrap();
        let first = try_lock(open()).unwrap().expect("nobody has the lock");
        // A child process that has not yet started its program has a copy like this one.
        let shared = first.0.try_clone().unwrap();
        assert!(try_lock(open()).unwrap().is_err());
        drop(first);
        assert!(try_lock(open()).unwrap().is_ok());
        drop(shared);
    }

    #[test]
    fn a_file_system_without_locks_is_accepted() {
        let failed = |kind: ErrorKind| is_free(Err(TryLockError::Error(kind.into())));
        assert!(failed(ErrorKind::Unsupported).unwrap());
        assert!(failed(ErrorKind::PermissionDenied).is_err());
    }
}
