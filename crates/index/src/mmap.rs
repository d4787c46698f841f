//! The one place that maps files into memory.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;

/// A file's bytes, read when they are touched.
pub(crate) struct Map(memmap2::Mmap);

impl Map {
    /// Maps the whole of `file`.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the map is read-only, and index files are never written in place: `save` renames a
        // finished file over the old one, whose bytes live on for those who mapped it. Whoever
        // truncates or rewrites a mapped file by other means breaks this, as with every mapped file.
        unsafe { memmap2::Mmap::map(file) }.map(Self)
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
