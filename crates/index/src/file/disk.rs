//! What a writer asks of the system, one call after another, so that a test can come between them.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The calls by which index files change.
pub(crate) trait Disk: Send {
    /// Writes `bytes` from byte `start` on; what lies between the file's end and `start` becomes zeros.
    fn write_at(&mut self, path: &Path, start: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file, or makes it longer with zeros; a file that is not there is made.
    fn set_len(&mut self, path: &Path, length: u64) -> io::Result<()>;

    /// Returns when the file's bytes and its length would survive a power cut.
    fn sync(&mut self, path: &Path) -> io::Result<()>;

    /// Gives the file `from` the name `to`, which may be another's.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;

    /// Returns when the names in the folder of `path` would survive a power cut.
    fn sync_folder(&mut self, path: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
}

/// The operating system.
pub(crate) struct System;

impl Disk for System {
    fn write_at(&mut self, path: &Path, start: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.seek(SeekFrom::Start(start))?;
        file.write_all(bytes)
    }

    fn set_len(&mut self, path: &Path, length: u64) -> io::Result<()> {
        OpenOptions::new().write(true).create(true).truncate(false).open(path)?.set_len(length)
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    #[cfg(unix)]
    fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        File::open(folder_of(path))?.sync_all()
    }

    /// Elsewhere a folder cannot be opened as a file, and renames are journalled by the file system.
    #[cfg(not(unix))]
    fn sync_folder(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}
