//! One writer at a time: a lock on the file itself, which the system lifts when the process ends.

use super::GrowError;
use crate::OpenError;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// Tries to lock a file that other writers keep putting another in the place of.
const TRIES: usize = 8;

/// A lock on a file, held as long as this lives.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Locks the file at `path`.
    pub(super) fn take(path: &Path) -> Result<Self, GrowError> {
        let failed = |source| OpenError::Io { path: path.to_path_buf(), source };
        for _ in 0..TRIES {
            let file = File::open(path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(GrowError::InUse { path: path.to_path_buf() }),
                Err(TryLockError::Error(source)) => return Err(failed(source).into()),
            }
            // Between opening and locking, a writer may have put a new file in its place.
            if is_at(&file, path).map_err(failed)? {
                return Ok(Self(file));
            }
        }
        Err(GrowError::InUse { path: path.to_path_buf() })
    }

    /// Whether the file is still the one that `path` names.
    pub(super) fn is_at(&self, path: &Path) -> io::Result<bool> {
        is_at(&self.0, path)
    }

    /// Locks a file that nobody else knows yet.
    pub(super) fn take_new(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        file.try_lock().map_err(io::Error::from)?;
        Ok(Self(file))
    }
}

/// Whether `path` still names `file`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (ours, there) = (file.metadata()?, std::fs::metadata(path)?);
    Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
}

/// Elsewhere a file that is open keeps its name.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}
