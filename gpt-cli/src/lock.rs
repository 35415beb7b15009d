//! Locks of files between programs.
//!
//! The system releases a lock when its file is closed, however the program ends.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};

/// Locks `file`, and returns whether that succeeded: not if another program has the lock. Some file
/// systems have no locks; there it succeeds without one.
///
/// # Errors
/// Fails if the system fails.
pub fn try_lock(file: &File) -> io::Result<bool> {
    is_free(file.try_lock())
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
        let [first, second] = [(); 2].map(|()| File::create(&path).unwrap());
        assert!(try_lock(&first).unwrap());
        assert!(!try_lock(&second).unwrap());
        drop(first);
        assert!(try_lock(&second).unwrap());
    }

    #[test]
    fn a_file_system_without_locks_is_accepted() {
        let failed = |kind: ErrorKind| is_free(Err(TryLockError::Error(kind.into())));
        assert!(failed(ErrorKind::Unsupported).unwrap());
        assert!(failed(ErrorKind::PermissionDenied).is_err());
    }
}
