//! Files that are either whole or absent: written beside their place, flushed, then renamed.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes gathered before they go to the system.
const BUFFER: usize = 1 << 18;

/// Writes `path` through `write` so that a reader, or a crash, never meets half a file.
///
/// The bytes go to a temporary file in the same folder, which is flushed to disk, renamed over `path`,
/// and made durable by flushing the folder. When anything fails the temporary file is removed and an
/// older `path` stays as it was.
///
/// # Errors
/// Whatever `write` returns, any failure to create, flush or rename, and a `path` that is a folder or a device.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    write(&mut file)?;
    file.commit()
}

/// A file that gets its name with [`AtomicFile::commit`]; dropped before, it is removed.
pub(crate) struct AtomicFile {
    out: BufWriter<File>,
    path: PathBuf,
    temporary: Temporary,
}

impl AtomicFile {
    /// Starts a temporary file beside `path`.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        if fs::metadata(path).is_ok_and(|about| !about.is_file()) {
            // A rename would replace a device such as /dev/null for everyone.
            let text = format!("{} is there and is not a plain file; give another name", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let (file, temporary) = create_beside(path)?;
        let temporary = Temporary(Some(temporary));
        Ok(Self { out: BufWriter::with_capacity(BUFFER, file), path: path.to_path_buf(), temporary })
    }

    /// Flushes the file to disk and renames it over its path.
    pub(crate) fn commit(self) -> io::Result<()> {
        let Self { out, path, mut temporary } = self;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        if let Some(name) = &temporary.0 {
            fs::rename(name, &path)?;
        }
        temporary.0 = None;
        flush_folder(&folder_of(&path))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, place: SeekFrom) -> io::Result<u64> {
        self.out.seek(place)
    }
}

/// The name of a file that is removed unless it got another.
struct Temporary(Option<PathBuf>);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(name) = &self.0 {
            // The first failure is the one worth reporting; what is left over has a name that shows its origin.
            let _ = fs::remove_file(name);
        }
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// A new file in the folder of `path`; its name holds the process and a counter, so writers never share one.
fn create_beside(path: &Path) -> io::Result<(File, PathBuf)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{} does not name a file", path.display()))
    })?;
    loop {
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let temporary = folder_of(path).join(temporary);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((file, temporary)),
            // Left by a crashed process of the same number: try the next name.
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            Err(err) => return Err(err),
        }
    }
}

#[cfg(unix)]
fn flush_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file, and renames are journalled by the file system.
#[cfg(not(unix))]
fn flush_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_the_old_file_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomic(&path, |out| out.write_all(b"old")).unwrap();
        let failed = write_atomic(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_success_replaces_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomic(&path, |out| out.write_all(b"a long first text")).unwrap();
        write_atomic(&path, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_target_that_is_a_folder_is_an_error_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir_all(path.join("inside")).unwrap();
        assert!(write_atomic(&path, |out| out.write_all(b"x")).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
