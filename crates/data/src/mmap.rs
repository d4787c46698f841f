//! The one place that maps files into memory.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;

/// A file's bytes, read when they are touched.
///
/// Whoever shortens a mapped file in place ends the process that touches what is gone (SIGBUS), and whoever writes
/// to it changes the bytes under the reader. What this workspace writes it renames into place, which does neither:
/// the old bytes live on for those who mapped them. Index files are also appended to, behind all that readers use, and
/// have two first pages that commits write; those are read from the file, never from a map of it.
#[derive(Debug)]
pub struct Map(memmap2::Mmap);

impl Map {
    /// Maps the whole of `file`.
    ///
    /// # Errors
    /// What the system refuses: a file system that maps nothing, an address space that is full.
    pub fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the map is read-only, and our own files are never written where maps of them are read, see above. Whoever truncates
        // or rewrites a mapped file by other means breaks this, as with every mapped file.
        unsafe { memmap2::Mmap::map(file) }.map(Self)
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
