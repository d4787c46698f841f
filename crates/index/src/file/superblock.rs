//! A superblock: the page that names all the rest.

use super::{OpenError, PAGE};
use crate::build::MAX_ROWS;
use crate::{ParseSpecError, Spec};
use data::Metric;
use std::ops::RangeInclusive;
use std::path::Path;

/// The format that this program writes and reads.
pub(super) const MAJOR: u32 = 1;
/// Additions that older readers may ignore.
const MINOR: u32 = 0;
const MAGIC: &[u8; 8] = b"DEEPEMB1";
/// Reads back otherwise on a machine of another byte order.
const BYTE_ORDER: u32 = 0x0102_0304;
/// Where the page's own hash lies: its last 32 bytes.
const HASH: usize = PAGE - 32;
/// Longest spec line, bytes.
const SPEC: usize = 1024;

/// Where each field lies.
mod at {
    pub const MAJOR: usize = 8;
    pub const MINOR: usize = 12;
    pub const BYTE_ORDER: usize = 16;
    pub const METRIC: usize = 20;
    /// Features without which the file must not be read; then those without which it must not be
    /// written, and those that may be ignored.
    pub const REQUIRED: usize = 24;
    pub const GENERATION: usize = 48;
    pub const LENGTH: usize = 56;
    pub const ROWS: usize = 64;
    pub const DIM: usize = 72;
    pub const SECTIONS: usize = 80;
    pub const TABLE: usize = 88;
    pub const SPEC_LENGTH: usize = 120;
    pub const SPEC: usize = 128;
    /// Where the table starts, of files of segments.
    pub const TABLE_START: usize = SPEC + super::SPEC;
}

/// The feature of files of segments: the table lies anywhere, and so do the sections.
const SEGMENTS: u64 = 1;
/// Most sections of a file without segments, and of one with them.
const SECTIONS: [usize; 2] = [64, 1 << 16];

/// What a superblock says.
#[derive(Clone)]
pub(crate) struct Superblock {
    pub spec: Spec,
    pub metric: Metric,
    /// Values a row.
    pub dim: usize,
    /// Number of rows; of segments, those that live.
    pub rows: usize,
    /// Whether the file holds segments.
    pub segmented: bool,
    /// Commits that made the file, the first among them.
    pub generation: u64,
    /// Bytes of the file; what lies beyond is left over from a commit that did not end.
    pub length: u64,
    /// Where the section table starts.
    pub table_start: u64,
    /// Entries of the section table.
    pub sections: usize,
    /// BLAKE3 of the section table.
    pub table: [u8; 32],
}

impl Superblock {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
        let metric: u32 = match self.metric {
            Metric::L2 => 0,
            Metric::Dot => 1,
        };
        let spec = self.spec.to_string();
        put(0, MAGIC);
        put(at::MAJOR, &MAJOR.to_le_bytes());
        put(at::MINOR, &MINOR.to_le_bytes());
        put(at::BYTE_ORDER, &BYTE_ORDER.to_le_bytes());
        put(at::METRIC, &metric.to_le_bytes());
        if self.segmented {
            put(at::REQUIRED, &SEGMENTS.to_le_bytes());
            put(at::TABLE_START, &self.table_start.to_le_bytes());
        }
        put(at::GENERATION, &self.generation.to_le_bytes());
        put(at::LENGTH, &self.length.to_le_bytes());
        put(at::ROWS, &(self.rows as u64).to_le_bytes());
        put(at::DIM, &(self.dim as u64).to_le_bytes());
        put(at::SECTIONS, &(self.sections as u64).to_le_bytes());
        put(at::TABLE, &self.table);
        put(at::SPEC_LENGTH, &(spec.len() as u64).to_le_bytes());
        put(at::SPEC, spec.as_bytes());
        let hash = blake3::hash(&page[..HASH]);
        page[HASH..].copy_from_slice(hash.as_bytes());
        page
    }

    /// Reads a page; `path` only names it in errors.
    pub(super) fn decode(path: &Path, page: &[u8]) -> Result<Self, OpenError> {
        let damaged = |what: &str| OpenError::Damaged { path: path.to_path_buf(), what: what.to_owned() };
        if &page[..MAGIC.len()] != MAGIC {
            return Err(OpenError::NotAnIndex { path: path.to_path_buf() });
        }
        let major = u32_at(page, at::MAJOR);
        if major != MAJOR {
            return Err(OpenError::Version { path: path.to_path_buf(), major });
        }
        if blake3::hash(&page[..HASH]).as_bytes() != &page[HASH..] {
            return Err(damaged("a superblock does not match its hash"));
        }
        let bits = u64_at(page, at::REQUIRED);
        if bits & !SEGMENTS != 0 {
            return Err(OpenError::Features { path: path.to_path_buf(), bits: bits & !SEGMENTS });
        }
        let segmented = bits & SEGMENTS != 0;
        let metric = match u32_at(page, at::METRIC) {
            0 => Metric::L2,
            1 => Metric::Dot,
            _ => return Err(damaged("its metric is unknown")),
        };
        let spec_length = usize::try_from(u64_at(page, at::SPEC_LENGTH)).unwrap_or(usize::MAX);
        let line = (spec_length <= SPEC).then(|| &page[at::SPEC..at::SPEC + spec_length]);
        let line = line.and_then(|bytes| std::str::from_utf8(bytes).ok());
        let spec = line
            .ok_or_else(|| damaged("its spec is no line of text"))?
            .parse()
            .map_err(|source: ParseSpecError| OpenError::Spec { path: path.to_path_buf(), source })?;
        let number = |at, range: RangeInclusive<usize>| {
            usize::try_from(u64_at(page, at)).ok().filter(|value| range.contains(value))
        };
        let sound = u32_at(page, at::BYTE_ORDER) == BYTE_ORDER;
        // Segments have rows of their own, and all may have been removed.
        let rows = if segmented { 0..=usize::MAX } else { 1..=MAX_ROWS };
        let sizes = (
            number(at::ROWS, rows),
            number(at::DIM, 1..=u32::MAX as usize),
            number(at::SECTIONS, 1..=SECTIONS[usize::from(segmented)]),
        );
        let (true, (Some(rows), Some(dim), Some(sections))) = (sound, sizes) else {
            return Err(damaged("a superblock holds sizes that cannot be"));
        };
        let mut table = [0; 32];
        table.copy_from_slice(&page[at::TABLE..at::TABLE + 32]);
        let (generation, length) = (u64_at(page, at::GENERATION), u64_at(page, at::LENGTH));
        let table_start = if segmented { u64_at(page, at::TABLE_START) } else { 2 * PAGE as u64 };
        Ok(Self { spec, metric, dim, rows, segmented, generation, length, table_start, sections, table })
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}
