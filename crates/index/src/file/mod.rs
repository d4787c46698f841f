//! The file of an index: written once, mapped, never changed.
//!
//! Little-endian; everything starts on a page of 4096 bytes.
//!
//! | bytes       | holds                                                                          |
//! |-------------|--------------------------------------------------------------------------------|
//! | 0..4096     | superblock A: magic, version, features, sizes, spec, hash of the table, its own |
//! | 4096..8192  | superblock B: zeros; kept for files that are appended to                       |
//! | 8192..      | section table: kind, element, offset, length and BLAKE3 of each section        |
//! | then        | the sections in the order of the table, each padded with zeros                 |
//!
//! The superblock's hash covers the table and the table covers the sections, so it names the content.
//! Opening reads the head, the table, the provenance and the sizes of the rest, however large the
//! file; [`verify`] reads everything. Searches stay safe on what was not verified.

mod sections;
mod superblock;

pub(crate) use sections::Sections;
pub use sections::{Part, PartKind};

use crate::graph::Graph;
use crate::lists::Lists;
use crate::scan::Scan;
use crate::symqg::Symqg;
use crate::tune::Tuned;
use crate::{Effort, Index, Layout, MadeBy, ParseSpecError, Provenance, Spec};
use data::{Map, write_atomic};
use sections::Entry;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use superblock::Superblock;
use thiserror::Error;

/// Bytes of a page: where superblocks and sections start.
const PAGE: usize = 4096;
/// Bytes between two looks at whether to go on writing.
const PIECE: usize = 1 << 24;

/// Why an index could not be written.
#[derive(Debug, Error)]
pub enum SaveError {
    /// The operating system refused.
    #[error("cannot write {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The model's hash is no hash.
    #[error("\"{0}\" is no model hash; 64 hexadecimal digits are needed")]
    ModelHash(String),
    /// The contract is for other vectors.
    #[error("the contract is for {contract} dimensions, the index has {index}")]
    Dim {
        /// Values the contract promises.
        contract: usize,
        /// Values a row of the index.
        index: usize,
    },
    /// Files are little-endian, this machine is not.
    #[error("index files need a little-endian machine")]
    ByteOrder,
    /// The caller stopped it; there is no file.
    #[error("the index was not written: stopped")]
    Cancelled,
}

/// Why a file is no index that can be used here.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The file does not start like an index.
    #[error("{path} is no index file; `deepembed index build` makes one")]
    NotAnIndex {
        /// The file.
        path: PathBuf,
    },
    /// A later program wrote the file.
    #[error(
        "{path} has format {major}, this program reads {}; open it with a newer release",
        superblock::MAJOR
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The format found.
        major: u32,
    },
    /// The file uses features that this program lacks.
    #[error("{path} uses features {bits:#x} that this program lacks; open it with a newer release")]
    Features {
        /// The file.
        path: PathBuf,
        /// Their bits.
        bits: u64,
    },
    /// The file is shorter or longer than it was written.
    #[error("{path} has {got} bytes, {want} were written; copy it again")]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes found.
        got: u64,
        /// Bytes written.
        want: u64,
    },
    /// Bytes changed, or never made sense.
    #[error("{path} is damaged: {what}; restore it from a copy or build it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The spec line is not understood.
    #[error("{path} holds an index of an unknown kind: {source}")]
    Spec {
        /// The file.
        path: PathBuf,
        /// What is wrong with the line.
        source: ParseSpecError,
    },
    /// Files are little-endian, this machine is not.
    #[error("index files need a little-endian machine")]
    ByteOrder,
}

/// An index brought back from its file.
pub struct Opened {
    /// The index, reading its arrays from the mapped file.
    pub index: Box<dyn Index>,
    /// Where its rows came from.
    pub provenance: Provenance,
    file: Mapped,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("path", &self.file.path).finish_non_exhaustive()
    }
}

impl Opened {
    /// The bytes that the writer stored beside the index, checked against their hash (which reads
    /// them all: call once and keep them).
    ///
    /// # Errors
    /// When they are damaged.
    pub fn payload(&self) -> Result<&[u8], OpenError> {
        let sections = self.file.sections();
        sections.check(PartKind::Payload)?;
        sections.bytes(PartKind::Payload)
    }

    /// The curve and the certificate, where the index was tuned.
    ///
    /// # Errors
    /// When they are damaged, or do not belong to the index.
    pub fn tuned(&self) -> Result<Option<Tuned>, OpenError> {
        let sections = self.file.sections();
        if !sections.has(PartKind::Tuned) {
            return Ok(None);
        }
        let tuned: Tuned = serde_json::from_slice(sections.checked_bytes(PartKind::Tuned)?)
            .map_err(|error| sections.damaged(&format!("its curve cannot be read: {error}")))?;
        let own = self.index.effort();
        let reads = |effort: Effort| {
            (effort.beam.is_none() || own.beam.is_some())
                && (effort.probes.is_none() || own.probes.is_some())
                && (effort.rerank.is_none() || own.rerank.is_some())
        };
        if !tuned.is_sound() || !tuned.efforts().all(reads) {
            return Err(sections.damaged("its curve is not of this index"));
        }
        Ok(Some(tuned))
    }
}

/// What [`verify`] read and found whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Bytes read.
    pub bytes: u64,
    /// Sections checked.
    pub sections: usize,
    /// BLAKE3 of the head, which names all of the content: 64 hexadecimal digits.
    pub hash: String,
}

/// Writes an index with its provenance and a `payload` of the caller's to `path`.
///
/// The file appears whole or not at all: it is written beside `path`, flushed to the disk and renamed
/// over it. Equal indexes give equal bytes.
///
/// # Errors
/// When the file cannot be written, or the provenance does not belong to the index.
pub fn save(
    path: &Path,
    index: &dyn Index,
    provenance: &Provenance,
    payload: &[u8],
) -> Result<(), SaveError> {
    save_tuned(path, index, provenance, payload, None, &AtomicBool::new(false))
}

/// As [`save`], with the curve of a tuned index; nothing is written once `stop` is set from elsewhere.
///
/// # Errors
/// As [`save`], and when it is stopped.
pub fn save_tuned(
    path: &Path,
    index: &dyn Index,
    provenance: &Provenance,
    payload: &[u8],
    tuned: Option<&Tuned>,
    stop: &AtomicBool,
) -> Result<(), SaveError> {
    if cfg!(target_endian = "big") {
        return Err(SaveError::ByteOrder);
    }
    if let Some(model) = &provenance.model {
        if !model.has_hash() {
            return Err(SaveError::ModelHash(model.hash.clone()));
        }
        if model.contract.dim != index.dim() {
            return Err(SaveError::Dim { contract: model.contract.dim, index: index.dim() });
        }
    }
    let failed = |source| SaveError::Io { path: path.to_path_buf(), source };
    let json = serde_json::to_vec_pretty(provenance).map_err(|error| failed(error.into()))?;
    let mut parts = vec![Part::new(PartKind::Provenance, json.as_slice())];
    parts.extend(index.parts());
    let curve = tuned.map(serde_json::to_vec_pretty).transpose().map_err(|error| failed(error.into()))?;
    parts.extend(curve.iter().map(|json| Part::new(PartKind::Tuned, json.as_slice())));
    parts.push(Part::new(PartKind::Payload, payload));
    let written = write_atomic(path, |out| write_file(out, index, &parts, stop));
    written.map_err(|error| if stop.load(Ordering::Relaxed) { SaveError::Cancelled } else { failed(error) })
}

/// The whole file.
fn write_file(
    out: &mut dyn Write,
    index: &dyn Index,
    parts: &[Part<'_>],
    stop: &AtomicBool,
) -> io::Result<()> {
    let (table, length) = sections::lay_out(parts, 2 * PAGE);
    let head = Superblock {
        spec: index.spec(),
        metric: index.metric(),
        dim: index.dim(),
        rows: index.len(),
        length,
        sections: parts.len(),
        table: *blake3::hash(&table).as_bytes(),
    };
    out.write_all(&head.encode())?;
    for bytes in [&[0; PAGE][..], &table].into_iter().chain(parts.iter().map(|part| part.bytes)) {
        for bytes in bytes.chunks(PIECE) {
            if stop.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Other.into());
            }
            out.write_all(bytes)?;
        }
        out.write_all(&[0; PAGE][..bytes.len().next_multiple_of(PAGE) - bytes.len()])?;
    }
    Ok(())
}

/// A mapped file whose head and table are sound.
struct Mapped {
    path: PathBuf,
    map: Arc<Map>,
    head: Superblock,
    table: Vec<Entry>,
}

impl Mapped {
    fn open(path: &Path) -> Result<Self, OpenError> {
        if cfg!(target_endian = "big") {
            return Err(OpenError::ByteOrder);
        }
        let failed = |source| OpenError::Io { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(failed)?;
        let not_an_index = || OpenError::NotAnIndex { path: path.to_path_buf() };
        if file.metadata().map_err(failed)?.len() < 2 * PAGE as u64 {
            return Err(not_an_index());
        }
        let map = Arc::new(Map::new(&file).map_err(failed)?);
        let (a, b) = (&map[..PAGE], &map[PAGE..2 * PAGE]);
        let head = Superblock::decode(path, a)?;
        if head.length != map.len() as u64 {
            return Err(OpenError::Length { path: path.into(), got: map.len() as u64, want: head.length });
        }
        let damaged = |what: &str| OpenError::Damaged { path: path.to_path_buf(), what: what.to_owned() };
        if b.iter().any(|&byte| byte != 0) {
            return Err(damaged("the second superblock is not empty"));
        }
        let table = sections::read_table(&map, 2 * PAGE, &head).map_err(|what| damaged(&what))?;
        Ok(Self { path: path.to_path_buf(), map, head, table })
    }

    fn sections(&self) -> Sections<'_> {
        Sections {
            path: &self.path,
            map: &self.map,
            head: &self.head,
            table: &self.table,
            rows: self.head.rows,
            depth: 0,
        }
    }
}

/// Maps an index file. Costs the same for any number of rows.
///
/// # Errors
/// When the file cannot be read, is no index, is damaged where this reads it, or needs a newer program.
pub fn open(path: &Path) -> Result<Opened, OpenError> {
    let file = Mapped::open(path)?;
    let sections = file.sections();
    sections.check(PartKind::Provenance)?;
    let provenance: Provenance = serde_json::from_slice(sections.bytes(PartKind::Provenance)?)
        .map_err(|error| sections.damaged(&format!("its provenance cannot be read: {error}")))?;
    let fits = |model: &MadeBy| model.contract.dim == file.head.dim && model.has_hash();
    if !provenance.model.as_ref().is_none_or(fits) {
        return Err(sections.damaged("its provenance does not belong to its rows"));
    }
    let index = open_index(&file.head.spec, &sections)?;
    Ok(Opened { index, provenance, file })
}

/// The index that `spec` describes, from its sections.
pub(crate) fn open_index(spec: &Spec, sections: &Sections<'_>) -> Result<Box<dyn Index>, OpenError> {
    Ok(match &spec.layout {
        Layout::Scan => Box::new(Scan::open(sections)?),
        Layout::Graph(graph) => Box::new(Graph::open(graph, sections)?),
        Layout::Lists(lists) => Box::new(Lists::open(lists, sections)?),
        &Layout::Symqg(shape) => Box::new(Symqg::open(shape, sections)?),
    })
}

/// Reads every byte of an index file and compares all hashes.
///
/// # Errors
/// As for [`open`], and when any byte differs from what was written.
pub fn verify(path: &Path) -> Result<Verified, OpenError> {
    let opened = open(path)?;
    let sections = opened.file.sections();
    sections.check_all()?;
    let hash = blake3::hash(&opened.file.map[..PAGE]).to_hex().to_string();
    Ok(Verified { bytes: opened.file.map.len() as u64, sections: opened.file.table.len(), hash })
}
