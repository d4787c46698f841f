//! The bytes of a file at any place. Reads name their place instead of moving a shared position, so that threads
//! may read one file together, and every length is compared with the file's before memory is taken for it.

use super::VectorFileError;
use crate::Map;
use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;

/// A file, or bytes that are in memory already.
pub(crate) struct Source {
    name: String,
    len: u64,
    store: Store,
}

enum Store {
    File {
        file: File,
        /// Made by the first [`Source::borrow`]; `None` where the system refused.
        map: OnceLock<Option<Map>>,
    },
    Memory(Vec<u8>),
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self, VectorFileError> {
        let name = path.display().to_string();
        let failed = |source| VectorFileError::Io { file: name.clone(), source };
        let file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            let reason = "that is no plain file".to_owned();
            return Err(VectorFileError::Format { file: name, reason });
        }
        Ok(Self { len: about.len(), name, store: Store::File { file, map: OnceLock::new() } })
    }

    pub(crate) fn memory(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), len: bytes.len() as u64, store: Store::Memory(bytes) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `out` from byte `at` on; `what` names the purpose in messages.
    pub(crate) fn read(&self, at: u64, out: &mut [u8], what: &str) -> Result<(), VectorFileError> {
        self.require(at, out.len() as u64, what)?;
        match &self.store {
            Store::File { file, .. } => read_exact_at(file, out, at).map_err(|source| {
                if source.kind() == std::io::ErrorKind::UnexpectedEof {
                    return self.damaged(format!("the file became shorter while {what} was read"));
                }
                VectorFileError::Io { file: self.name.clone(), source }
            }),
            Store::Memory(bytes) => {
                // `require` compared both with the length, which fits.
                let at = at as usize;
                out.copy_from_slice(&bytes[at..at + out.len()]);
                Ok(())
            }
        }
    }

    /// `len` bytes from `at` on without a copy; `None` when they are not there or the system does not map the file.
    pub(crate) fn borrow(&self, at: u64, len: u64) -> Option<&[u8]> {
        let bytes: &[u8] = match &self.store {
            Store::File { file, map } => map.get_or_init(|| Map::new(file).ok()).as_ref()?,
            Store::Memory(bytes) => bytes,
        };
        bytes.get(usize::try_from(at).ok()?..usize::try_from(at.checked_add(len)?).ok()?)
    }

    /// `len` bytes from `at` on.
    pub(crate) fn take(&self, at: u64, len: u64, what: &str) -> Result<Vec<u8>, VectorFileError> {
        self.require(at, len, what)?;
        let mut out =
            vec![0; usize::try_from(len).map_err(|_| self.damaged(format!("{what} is too large")))?];
        self.read(at, &mut out, what)?;
        Ok(out)
    }

    /// Whether `len` bytes from `at` on are there.
    pub(crate) fn require(&self, at: u64, len: u64, what: &str) -> Result<(), VectorFileError> {
        let need = at.saturating_add(len);
        if need > self.len {
            return Err(VectorFileError::Truncated {
                file: self.name.clone(),
                end: self.len,
                what: what.to_owned(),
                need,
            });
        }
        Ok(())
    }

    pub(crate) fn damaged(&self, reason: impl Into<String>) -> VectorFileError {
        VectorFileError::Damaged { file: self.name.clone(), reason: reason.into() }
    }

    pub(crate) fn unsupported(&self, reason: impl Into<String>) -> VectorFileError {
        VectorFileError::Unsupported { file: self.name.clone(), reason: reason.into() }
    }

    /// The part that was asked for is not to be had.
    pub(crate) fn no_part(&self, reason: impl Into<String>, there: &[String]) -> VectorFileError {
        let shown: Vec<&str> = there.iter().take(20).map(String::as_str).collect();
        let more = if there.len() > shown.len() { ", ..." } else { "" };
        let there = if shown.is_empty() { "none".to_owned() } else { shown.join(", ") + more };
        VectorFileError::Part { file: self.name.clone(), reason: reason.into(), there }
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, out: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut out: &mut [u8], mut at: u64) -> std::io::Result<()> {
    while !out.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, out, at)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => {
                out = &mut out[read..];
                at += read as u64;
            }
        }
    }
    Ok(())
}

/// Little-endian fields of a short header, one after another. `None` when the header ends.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.uint(2).map(|value| value as u16)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.uint(4).map(|value| value as u32)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.uint(8)
    }

    /// An unsigned number of `len` bytes, at most 8.
    pub(crate) fn uint(&mut self, len: usize) -> Option<u64> {
        let mut wide = [0; 8];
        wide.get_mut(..len)?.copy_from_slice(self.bytes(len)?);
        Some(u64::from_le_bytes(wide))
    }
}
