//! Arrays that are ours or lie in a mapped file, both aligned to a cache line.

use bytemuck::Pod;
use data::Map;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Bytes of a cache line; arrays start on one.
pub(crate) const LINE: usize = 64;

/// A fixed array of plain values.
pub(crate) struct Array<T>(Source<T>);

enum Source<T> {
    /// Values from `start` on; those before it only move the start onto a cache line.
    Owned { values: Vec<T>, start: usize },
    /// The bytes of a map, checked to be whole, aligned values.
    Mapped { map: Arc<Map>, bytes: Range<usize> },
}

impl<T: Pod> Array<T> {
    /// `len` times `value`.
    pub(crate) fn filled(len: usize, value: T) -> Self {
        let spare = LINE / size_of::<T>();
        let mut values = vec![value; len + spare];
        // The offset may be unknowable; a start off the line costs time, never a wrong answer.
        let start = values.as_ptr().align_offset(LINE).min(spare);
        values.truncate(start + len);
        Self(Source::Owned { values, start })
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
            Source::Mapped { .. } => panic!("a mapped array is read-only"),
        }
    }
}

impl<T: Pod> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Source::Owned { values, start } => &values[*start..],
            Source::Mapped { map, bytes } => bytemuck::cast_slice(&map[bytes.clone()]),
        }
    }
}
