//! How a file changes: by an addition that counts from its last page on, or by another file in its place.

use super::disk::Disk;
use super::pages::place_of;
use super::sections::{self, Part};
use super::superblock::Superblock;
use super::{Mapped, PAGE, PartKind};
use crate::Spec;
use data::Metric;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes gathered before they go to the system.
const BUFFER: usize = 1 << 20;

/// What a file is to hold.
pub(crate) struct Content<'a> {
    pub(crate) spec: Spec,
    pub(crate) metric: Metric,
    pub(crate) dim: usize,
    /// Rows that live.
    pub(crate) rows: usize,
    pub(crate) parts: Vec<Part<'a>>,
}

/// Why a file was not changed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It holds what it held.
    Before(io::Error),
    /// It holds the old or the new: only opening it again tells.
    Unsure(io::Error),
}

impl Content<'_> {
    fn superblock(&self, table: &[u8]) -> Superblock {
        Superblock {
            spec: self.spec.clone(),
            metric: self.metric,
            dim: self.dim,
            rows: self.rows,
            segmented: self.parts.iter().any(|part| part.is(PartKind::Segments)),
            generation: 1,
            length: 0,
            table_start: 2 * PAGE as u64,
            sections: self.parts.len(),
            table: *blake3::hash(table).as_bytes(),
        }
    }

    /// The whole of a new file.
    pub(super) fn write_new(&self, out: &mut dyn Write) -> io::Result<()> {
        let (table, length) = sections::lay_out(&self.parts, 2 * PAGE);
        out.write_all(&Superblock { length, ..self.superblock(&table) }.encode())?;
        for bytes in [&[0; PAGE][..], &table].into_iter().chain(self.parts.iter().map(|part| part.bytes)) {
            out.write_all(bytes)?;
            out.write_all(&[0; PAGE][..bytes.len().next_multiple_of(PAGE) - bytes.len()])?;
        }
        Ok(())
    }

    /// Bytes of a new file, and of this one when the content is appended to it.
    pub(crate) fn lengths(&self, file: &Mapped) -> (u64, u64) {
        let pages = |parts: &mut dyn Iterator<Item = &Part<'_>>| -> usize {
            parts.map(|part| part.bytes.len().next_multiple_of(PAGE)).sum()
        };
        let all = pages(&mut self.parts.iter());
        let new = pages(&mut self.parts.iter().filter(|part| part.found.is_none()));
        (all as u64, file.head.length + new as u64)
    }
}

/// Makes `content`, whose parts lie in `file` or are new, the next generation of `file`.
///
/// What is appended is on the disk before the superblock names it, and nothing that the other superblock names is
/// written.
pub(crate) fn append(disk: &mut dyn Disk, file: &Mapped, content: &Content<'_>) -> Result<(), Failed> {
    let (path, old) = (file.path(), file.head());
    let addition = sections::add_to(&content.parts, old.length);
    let head = Superblock {
        generation: old.generation + 1,
        length: addition.length,
        table_start: addition.table_start,
        ..content.superblock(&addition.table)
    };
    let page = head.encode();
    let added = (|| {
        // Nothing is left over from a failure, so that gaps between sections are zeros.
        if std::fs::metadata(path)?.len() != old.length {
            disk.set_len(path, old.length)?;
        }
        for &(start, bytes) in addition.parts.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            disk.write_at(path, start, bytes)?;
        }
        disk.write_at(path, addition.table_start, &addition.table)?;
        disk.write_at(path, addition.length - PAGE as u64, &page)?;
        disk.sync(path)
    })();
    if let Err(error) = added {
        // The space may be needed. If it cannot be given back now, the next writer does it.
        let _ = disk.set_len(path, old.length);
        return Err(Failed::Before(error));
    }
    disk.write_at(path, place_of(head.generation), &page).map_err(Failed::Unsure)?;
    disk.sync(path).map_err(Failed::Unsure)
}

/// Puts a new file that holds `content` in the place of `path`. `ready` is called with the name of the new file when it
/// is whole and before it gets its place.
pub(crate) fn replace<T>(
    disk: &mut dyn Disk,
    path: &Path,
    content: &Content<'_>,
    ready: impl FnOnce(&Path) -> io::Result<T>,
) -> Result<T, Failed> {
    let new = beside(path);
    let written = (|| {
        disk.set_len(&new, 0)?;
        let mut out = io::BufWriter::with_capacity(BUFFER, Stream { disk, path: &new, at: 0 });
        content.write_new(&mut out)?;
        out.flush()?;
        drop(out);
        disk.sync(&new)?;
        let result = ready(&new)?;
        disk.rename(&new, path)?;
        Ok(result)
    })();
    match written {
        Ok(result) => disk.sync_folder(path).map(|()| result).map_err(Failed::Unsure),
        Err(error) => {
            // If it stays, the next writer removes it.
            let _ = disk.remove(&new);
            Err(Failed::Before(error))
        }
    }
}

/// Makes a file that a crash left in the middle of a commit hold what it was read as, and nothing else.
pub(crate) fn repair(disk: &mut dyn Disk, file: &Mapped) -> io::Result<()> {
    let (path, head) = (file.path(), file.head());
    let new = beside(path);
    if new.exists() {
        disk.remove(&new)?;
    }
    if file.copied {
        disk.write_at(path, place_of(head.generation), &head.encode())?;
        disk.sync(path)?;
    }
    if std::fs::metadata(path)?.len() > head.length {
        disk.set_len(path, head.length)?;
        disk.sync(path)?;
    }
    Ok(())
}

/// Where the next file of an index is written: one name, so that a crash leaves at most one.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".next.tmp");
    path.with_file_name(name)
}

/// A file that is written from its start on.
struct Stream<'a> {
    disk: &'a mut dyn Disk,
    path: &'a Path,
    at: u64,
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write_at(self.path, self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
