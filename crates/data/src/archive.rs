//! Reads a tar in place: entry names to byte ranges, no unpacking.

use crate::dataset::MANIFEST_NAME;
use crate::dataset_error::DatasetError;
use flate2::read::GzDecoder;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Largest manifest that is read, bytes.
const MAX_MANIFEST_BYTES: u64 = 1 << 30;

/// Largest gzipped tar once unpacked, bytes.
const MAX_UNZIPPED_BYTES: u64 = 256 << 20;

#[derive(Debug)]
enum Place {
    File(PathBuf),
    Memory(Vec<u8>),
}

/// A tar whose entries are found by name.
#[derive(Debug)]
pub(crate) struct Archive {
    name: String,
    place: Place,
    len: u64,
    entries: HashMap<String, Range<u64>>,
}

impl Archive {
    /// Lists the tar at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, DatasetError> {
        let file = File::open(path).map_err(|err| DatasetError::io(path, err))?;
        let len = file.metadata().map_err(|err| DatasetError::io(path, err))?.len();
        let name = path.display().to_string();
        let entries = list(file, &name, len)?;
        Ok(Self { name, place: Place::File(path.to_path_buf()), len, entries })
    }

    /// Unpacks a gzipped tar into memory and lists it; for the one that is part of the program.
    pub(crate) fn unzip(name: &str, gzip: &[u8]) -> Result<Self, DatasetError> {
        let mut bytes = Vec::new();
        GzDecoder::new(gzip)
            .take(MAX_UNZIPPED_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|err| DatasetError::Io { path: name.to_owned(), source: err })?;
        let len = bytes.len() as u64;
        let entries = list(Cursor::new(&bytes), name, len)?;
        Ok(Self { name: name.to_owned(), place: Place::Memory(bytes), len, entries })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where the bytes of entry `path` lie.
    pub(crate) fn range(&self, path: &str) -> Option<Range<u64>> {
        self.entries.get(path).cloned()
    }

    /// The bytes of the manifest.
    pub(crate) fn manifest(&self) -> Result<Cow<'_, [u8]>, DatasetError> {
        let wrong = |reason: String| DatasetError::Archive { path: self.name.clone(), reason };
        let range = self.range(MANIFEST_NAME).ok_or_else(|| {
            wrong(format!(
                "the tar holds no {MANIFEST_NAME}; add one at its top level, with columns path,label"
            ))
        })?;
        if range.end - range.start > MAX_MANIFEST_BYTES {
            return Err(wrong(format!("{MANIFEST_NAME} is larger than {MAX_MANIFEST_BYTES} bytes")));
        }
        self.read(&range)
    }

    /// The bytes in `range`; the caller has checked its length.
    pub(crate) fn read(&self, range: &Range<u64>) -> Result<Cow<'_, [u8]>, DatasetError> {
        let fail = |err| DatasetError::Io { path: self.name.clone(), source: err };
        if range.start > range.end || range.end > self.len {
            return Err(fail(io::ErrorKind::UnexpectedEof.into()));
        }
        match &self.place {
            Place::Memory(bytes) => Ok(Cow::Borrowed(&bytes[range.start as usize..range.end as usize])),
            Place::File(path) => {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                File::open(path)
                    .and_then(|mut file| {
                        file.seek(SeekFrom::Start(range.start))?;
                        file.read_exact(&mut bytes)
                    })
                    .map_err(fail)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

/// Names and places of all plain files of a tar of `len` bytes.
fn list(reader: impl Read + Seek, name: &str, len: u64) -> Result<HashMap<String, Range<u64>>, DatasetError> {
    let wrong = |reason: String| DatasetError::Archive { path: name.to_owned(), reason };
    let damaged = |err: io::Error| wrong(format!("not a whole tar: {err}"));
    let mut entries = HashMap::new();
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries_with_seek().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8(entry.path_bytes().into_owned()).map_err(|err| {
            DatasetError::NotUtf8 { path: format!("{name}:{}", String::from_utf8_lossy(err.as_bytes())) }
        })?;
        let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
        let start = entry.raw_file_position();
        let end = start
            .checked_add(entry.size())
            .filter(|&end| end <= len)
            .ok_or_else(|| wrong(format!("not a whole tar: it ends within {path}")))?;
        if entries.insert(path.clone(), start..end).is_some() {
            return Err(wrong(format!("the tar holds {path} twice")));
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_archive_carries_its_licences() {
        let archive = Archive::unzip("emoji", include_bytes!("../builtin/emoji.tar.gz")).unwrap();
        let beside: [(&str, &[u8]); 4] = [
            ("LICENCES.md", include_bytes!("../builtin/LICENCES.md")),
            ("LICENCE-Apache-2.0.txt", include_bytes!("../builtin/LICENCE-Apache-2.0.txt")),
            ("LICENCE-CC-BY-4.0.txt", include_bytes!("../builtin/LICENCE-CC-BY-4.0.txt")),
            ("LICENCE-MIT.txt", include_bytes!("../builtin/LICENCE-MIT.txt")),
        ];
        for (name, want) in beside {
            assert!(archive.read(&archive.range(name).unwrap()).unwrap() == want, "{name} differs");
        }
    }

    #[test]
    fn a_damaged_gzip_is_an_error() {
        let whole = include_bytes!("../builtin/emoji.tar.gz");
        assert!(Archive::unzip("cut", &whole[..whole.len() / 2]).is_err());
        assert!(Archive::unzip("no gzip", b"hello").is_err());
    }
}
