//! The first page of a file.

use super::{OpenError, PAGE};
use crate::build::MAX_ROWS;
use crate::{ParseSpecError, Spec};
use data::Metric;
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
    /// written, and those that may be ignored. None exists yet.
    pub const REQUIRED: usize = 24;
    pub const GENERATION: usize = 48;
    pub const LENGTH: usize = 56;
    pub const ROWS: usize = 64;
    pub const DIM: usize = 72;
    pub const SECTIONS: usize = 80;
    pub const TABLE: usize = 88;
    pub const SPEC_LENGTH: usize = 120;
    pub const SPEC: usize = 128;
}

/// What the first page says.
pub(super) struct Superblock {
    pub spec: Spec,
    pub metric: Metric,
    /// Values a row.
    pub dim: usize,
    /// Number of rows.
    pub rows: usize,
    /// Bytes of the whole file.
    pub length: u64,
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
        put(at::GENERATION, &1u64.to_le_bytes());
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
            return Err(damaged("its first page does not match its hash"));
        }
        let bits = u64_at(page, at::REQUIRED);
        if bits != 0 {
            return Err(OpenError::Features { path: path.to_path_buf(), bits });
        }
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
        let number = |at, most: usize| {
            let value = usize::try_from(u64_at(page, at)).ok()?;
            (1..=most).contains(&value).then_some(value)
        };
        let sound = u32_at(page, at::BYTE_ORDER) == BYTE_ORDER;
        let sizes =
            (number(at::ROWS, MAX_ROWS), number(at::DIM, u32::MAX as usize), number(at::SECTIONS, 64));
        let (true, (Some(rows), Some(dim), Some(sections))) = (sound, sizes) else {
            return Err(damaged("its first page holds sizes that cannot be"));
        };
        let mut table = [0; 32];
        table.copy_from_slice(&page[at::TABLE..at::TABLE + 32]);
        Ok(Self { spec, metric, dim, rows, length: u64_at(page, at::LENGTH), sections, table })
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
