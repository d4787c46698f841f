//! Arrays that are ours or lie in a mapped file, both aligned to a cache line.

use bytemuck::Pod;
use data::Map;
use memmap2::MmapMut;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Bytes of a cache line; arrays start on one.
pub(crate) const LINE: usize = 64;

/// Bytes from which an array asks for large pages, which are this long on most machines.
const LARGE: usize = 1 << 21;

/// A fixed array of plain values.
pub(crate) struct Array<T>(Source<T>);

enum Source<T> {
    /// Values from `start` on; those before it only move the start onto a cache line.
    Owned { values: Vec<T>, start: usize },
    /// Memory of whole pages. Searches read arrays in no order, and with small pages nearly each read would also miss
    /// the table of pages: on a million rows they took a fifth longer.
    Large(MmapMut),
    /// The bytes of a map, checked to be whole, aligned values.
    Mapped { map: Arc<Map>, bytes: Range<usize> },
}

impl<T: Pod> Array<T> {
    /// `len` times `value`.
    pub(crate) fn filled(len: usize, value: T) -> Self {
        if let Some(map) = large(len.saturating_mul(size_of::<T>())) {
            let mut array = Self(Source::Large(map));
            // New pages hold zeros already.
            if bytemuck::bytes_of(&value).iter().any(|&byte| byte != 0) {
                array.as_mut().fill(value);
            }
            return array;
        }
        let spare = LINE / size_of::<T>();
        let mut values = vec![value; len + spare];
        // The offset may be unknowable; a start off the line costs time, never a wrong answer.
        let start = values.as_ptr().align_offset(LINE).min(spare);
        values.truncate(start + len);
        Self(Source::Owned { values, start })
    }

    /// A copy of `values`.
    pub(crate) fn copied(values: &[T]) -> Self {
        let mut array = Self::filled(values.len(), T::zeroed());
        array.as_mut().copy_from_slice(values);
        array
    }

    /// The values in `bytes` of `map`; none when the range leaves the map or is not whole, aligned
    /// values.
    pub(crate) fn mapped(map: Arc<Map>, bytes: Range<usize>) -> Option<Self> {
        bytemuck::try_cast_slice::<u8, T>(map.get(bytes.clone())?).ok()?;
        Some(Self(Source::Mapped { map, bytes }))
    }

    /// The values of an array that is ours, to write.
    ///
    /// # Panics
    /// When they lie in a map: only arrays being built are written.
    pub(crate) fn as_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Source::Owned { values, start } => &mut values[*start..],
            Source::Large(map) => bytemuck::cast_slice_mut(map),
            Source::Mapped { .. } => panic!("a mapped array is read-only"),
        }
    }
}

/// Zeros on large pages, if they are many and the system gives them.
fn large(bytes: usize) -> Option<MmapMut> {
    let map = (bytes >= LARGE).then(|| MmapMut::map_anon(bytes).ok()).flatten()?;
    // A wish: where there are no large pages, searches are slower and nothing else.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    Some(map)
}

impl<T: Pod> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Source::Owned { values, start } => &values[*start..],
            Source::Large(map) => bytemuck::cast_slice(map),
            Source::Mapped { map, bytes } => bytemuck::cast_slice(&map[bytes.clone()]),
        }
    }
}
