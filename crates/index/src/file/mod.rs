//! The file of an index: mapped by readers, whole at any moment, never changed where it counts.
//!
//! Little-endian; everything starts on a page of 4096 bytes.
//!
//! | bytes       | holds                                                                                   |
//! |-------------|-----------------------------------------------------------------------------------------|
//! | 0..4096     | superblock A: magic, version, features, sizes, spec, hash of the table, its own           |
//! | 4096..8192  | superblock B, of every second generation: zeros until the file is appended to           |
//! | 8192..      | section table: kind, element, offset, length, BLAKE3 and segment of each section        |
//! | then        | the sections in the order of the table, each padded with zeros                          |
//!
//! The superblock's hash covers the table and the table covers the sections, so it names the content.
//! Opening reads the head, the table, the provenance and the sizes of the rest, however large the
//! file; [`verify`] reads everything. Searches stay safe on what was not verified.
//!
//! A commit (`commit`) appends new sections, the table of all that count, and a copy of the superblock to come; when
//! that is on the disk it writes the superblock that does not count (`pages`). So the file holds the old index until
//! the last page is written, and the new one from then on.

mod commit;
mod disk;
mod error;
mod pages;
mod sections;
mod superblock;

pub(crate) use sections::Sections;
pub use sections::{Part, PartKind};

pub(crate) use commit::{Content, Failed, append, repair, replace};
pub(crate) use disk::{Disk, System};
pub use error::{OpenError, SaveError};

use crate::graph::Graph;
use crate::grow::Segmented;
use crate::lists::Lists;
use crate::scan::Scan;
use crate::symqg::Symqg;
use crate::tune::Tuned;
use crate::{Effort, Index, Layout, MadeBy, Provenance, SegmentInfo, Spec};
use data::{Id, Map, write_atomic};
use sections::Entry;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use superblock::Superblock;

/// Bytes of a page: where superblocks and sections start.
const PAGE: usize = 4096;
/// Bytes between two looks at whether to go on writing.
const PIECE: usize = 1 << 24;

/// An index brought back from its file.
pub struct Opened {
    /// The index, reading its arrays from the mapped file. A commit that comes later changes nothing of it.
    pub index: Box<dyn Index>,
    /// Where its rows came from.
    pub provenance: Provenance,
    segments: Vec<SegmentInfo>,
    id_bound: Id,
    file: Mapped,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("path", &self.file.path).finish_non_exhaustive()
    }
}

impl Opened {
    /// Commits that made the file: 1 for one that never grew.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.file.head.generation
    }

    /// The segments of an index that grew, the first one first; none of one as it was built.
    #[must_use]
    pub fn segments(&self) -> &[SegmentInfo] {
        &self.segments
    }

    /// A number above the ids of all rows, unless the highest that there can be is one of them.
    #[must_use]
    pub fn id_bound(&self) -> Id {
        self.id_bound
    }

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
    let json = to_json(provenance).map_err(failed)?;
    let mut parts = vec![Part::new(PartKind::Provenance, json.as_slice())];
    parts.extend(index.parts());
    let curve = tuned.map(serde_json::to_vec_pretty).transpose().map_err(|error| failed(error.into()))?;
    parts.extend(curve.iter().map(|json| Part::new(PartKind::Tuned, json.as_slice())));
    parts.push(Part::new(PartKind::Payload, payload));
    let (spec, metric, dim, rows) = (index.spec(), index.metric(), index.dim(), index.len());
    let content = Content { spec, metric, dim, rows, parts };
    let written = write_atomic(path, |out| content.write_new(&mut Stoppable { out, stop }));
    written.map_err(|error| if stop.load(Ordering::Relaxed) { SaveError::Cancelled } else { failed(error) })
}

/// A file that is written until someone wants no more of it.
struct Stoppable<'a> {
    out: &'a mut dyn Write,
    stop: &'a AtomicBool,
}

impl Write for Stoppable<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Other.into());
        }
        self.out.write(&bytes[..bytes.len().min(PIECE)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A provenance as its section.
pub(crate) fn to_json(provenance: &Provenance) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec_pretty(provenance)?)
}

/// A mapped file whose head and table are sound.
pub(crate) struct Mapped {
    path: PathBuf,
    map: Arc<Map>,
    head: Superblock,
    /// A first page is torn: the head was found in its copy.
    copied: bool,
    table: Vec<Entry>,
}

impl Mapped {
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        if cfg!(target_endian = "big") {
            return Err(OpenError::ByteOrder);
        }
        let failed = |source| OpenError::Io { path: path.to_path_buf(), source };
        let mut file = File::open(path).map_err(failed)?;
        let pages::Head { superblock: head, copied } = pages::read(path, &mut file)?;
        let map = Arc::new(Map::new(&file).map_err(failed)?);
        if (map.len() as u64) < head.length {
            return Err(OpenError::Length { path: path.into(), got: map.len() as u64, want: head.length });
        }
        let table = sections::read_table(&map, &head)
            .map_err(|what| OpenError::Damaged { path: path.to_path_buf(), what })?;
        let mapped = Self { path: path.to_path_buf(), map, head, copied, table };
        if copied {
            mapped.sections().check_all()?;
        }
        Ok(mapped)
    }

    pub(crate) fn head(&self) -> &Superblock {
        &self.head
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The provenance, which must belong to the rows.
    pub(crate) fn provenance(&self) -> Result<Provenance, OpenError> {
        let sections = self.sections();
        let provenance: Provenance = serde_json::from_slice(sections.checked_bytes(PartKind::Provenance)?)
            .map_err(|error| sections.damaged(&format!("its provenance cannot be read: {error}")))?;
        let fits = |model: &MadeBy| model.contract.dim == self.head.dim && model.has_hash();
        if !provenance.model.as_ref().is_none_or(fits) {
            return Err(sections.damaged("its provenance does not belong to its rows"));
        }
        Ok(provenance)
    }

    pub(crate) fn sections(&self) -> Sections<'_> {
        Sections {
            path: &self.path,
            map: &self.map,
            head: &self.head,
            table: &self.table,
            rows: self.head.rows,
            depth: 0,
            segment: 0,
        }
    }
}

/// Maps an index file. Costs the same for any number of rows.
///
/// # Errors
/// When the file cannot be read, is no index, is damaged where this reads it, or needs a newer program.
pub fn open(path: &Path) -> Result<Opened, OpenError> {
    let file = Mapped::open(path)?;
    let provenance = file.provenance()?;
    let sections = file.sections();
    if !file.head.segmented {
        let index = open_index(&file.head.spec, &sections)?;
        let (segments, id_bound) = (Vec::new(), index.len() as u64);
        return Ok(Opened { index, provenance, segments, id_bound, file });
    }
    let index = Segmented::open(&sections)?;
    let (segments, id_bound) = (index.infos(), index.id_bound());
    Ok(Opened { index: Box::new(index), provenance, segments, id_bound, file })
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
    let Mapped { head, table, copied, .. } = &opened.file;
    let sections = opened.file.sections();
    sections.check_all()?;
    if *copied {
        return Err(
            sections.damaged("a first page does not match its hash, all else does; `index compact` mends it")
        );
    }
    if head.segmented {
        Segmented::open(&sections)?.check().map_err(|what| sections.damaged(&what))?;
    }
    let hash = blake3::hash(&head.encode()).to_hex().to_string();
    Ok(Verified { bytes: head.length, sections: table.len(), hash })
}
