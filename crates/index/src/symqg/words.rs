//! The rows of all nodes: memory of our own on large pages, or a mapped file.
//!
//! Rows are visited in no order, and with pages of 4096 bytes nearly each visit would also miss the table of pages.

use crate::array::Array;
use memmap2::MmapMut;
use std::io;
use std::ops::Deref;

pub(super) enum Words {
    Owned(MmapMut),
    Mapped(Array<u32>),
}

impl Words {
    /// `len` zeros, at least one.
    pub(super) fn zeros(len: usize) -> io::Result<Self> {
        let bytes = len.checked_mul(size_of::<u32>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let map = MmapMut::map_anon(bytes)?;
        // A wish: where there are no large pages, walks are slower and nothing else.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Self::Owned(map))
    }

    /// The words, to write.
    ///
    /// # Panics
    /// When they lie in a file: only rows being built are written.
    pub(super) fn as_mut(&mut self) -> &mut [u32] {
        match self {
            Self::Owned(map) => bytemuck::cast_slice_mut(map),
            Self::Mapped(_) => panic!("mapped rows are read-only"),
        }
    }
}

impl Deref for Words {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match self {
            Self::Owned(map) => bytemuck::cast_slice(map),
            Self::Mapped(array) => array,
        }
    }
}
