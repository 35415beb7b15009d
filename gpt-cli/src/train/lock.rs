//! The lock of a run's folder. Without it, two runs could replace each other's files.
//!
//! The file stays when the lock ends.

use std::fs::OpenOptions;
use std::path::Path;

use gpt_runtime::Error;

use crate::lock;
use crate::output::Failure;

const NAME: &str = "train.lock";

/// A lock that is held until this is dropped.
pub struct Lock(#[expect(dead_code, reason = "dropping it releases the lock")] lock::Lock);

impl Lock {
    /// Locks the folder of an earlier run. None if the folder has no lock file.
    pub fn existing(out: &Path) -> Result<Option<Lock>, Failure> {
        out.join(NAME).exists().then(|| Lock::new(out)).transpose()
    }

    /// Locks the folder `out`, which must exist.
    pub fn new(out: &Path) -> Result<Lock, Failure> {
        let path = out.join(NAME);
        let failed = |source| Error::Io { doing: "write", path: path.clone(), source };
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match lock::try_lock(file).map_err(failed)? {
            Ok(lock) => Ok(Lock(lock)),
            Err(_) => Err(Failure::Input(format!(
                "another gpt train is writing into {}; wait until it ends, or name another folder",
                out.display()
            ))),
        }
    }
}
