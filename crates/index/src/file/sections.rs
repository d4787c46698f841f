//! The arrays of a file and the table that names them.

use super::superblock::{Superblock, u32_at, u64_at};
use super::{OpenError, PAGE};
use crate::array::Array;
use crate::vectors::{self, Vectors};
use bytemuck::Pod;
use data::{Map, Metric};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// What a section holds. The numbers are part of the format; those of an index within another are 256 higher,
/// for each index that it is within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PartKind {
    /// [`Provenance`](crate::Provenance) as JSON.
    Provenance = 1,
    /// `n x stride` values (`f32`), each row padded with zeros to 64 bytes.
    Rows = 2,
    /// `n x 2M` links (`u32`) at level 0.
    BaseLinks = 3,
    /// `lists x M` links (`u32`) above level 0.
    UpperLinks = 4,
    /// `n + 1` numbers (`u32`): the first upper list of each node.
    UpperStarts = 5,
    /// The graph's entry and its level (`u32`).
    Entry = 6,
    /// Whatever the writer stored beside the index.
    Payload = 7,
    /// A trained code, as [`quant::to_bytes`] writes it.
    Code = 8,
    /// `lists x dim` values (`f32`): the centroid of each list.
    Centroids = 9,
    /// `lists + 1` numbers (`u32`): the first place of each list, then the number of rows.
    ListStarts = 10,
    /// `lists + 1` numbers (`u64`): the first byte of the codes of each list, then the number of bytes.
    ListOffsets = 11,
    /// `n` numbers (`u32`): the row at each place of the lists.
    ListIds = 12,
    /// Packed codes, list after list.
    ListCodes = 13,
    /// [`Tuned`](crate::tune::Tuned) as JSON; optional, and left out by commits, since it holds for the rows it was
    /// measured on.
    Tuned = 45,
    /// The trained code by which the best rows are ranked again.
    FinerCode = 14,
    /// `n x code_len` bytes in the order of the lists.
    FinerCodes = 15,
    /// `n x stride` words (`u32`): a row each of a fused graph, its vector, then its neighbours' codes.
    FusedRows = 16,
    /// `n` numbers (`f32`) in the order of the lists: what a row adds to its distance beside its code.
    ListTerms = 30,
    /// Of a fused graph (`u32`): the entry, the bytes of a vector's value (1 or 4), the mean and the rotation.
    FusedFrame = 17,
    /// `n x code_len` bytes: the code of each node of a graph.
    NodeCodes = 20,
    /// `n` numbers (`u32`): the row at each node of a graph.
    NodeIds = 21,
    /// Nodes (`u32`), of which a search starts at those nearest to the query.
    StartNodes = 22,
    /// The splits of the trees of a graph (`u32`): of each tree, an axis and the bits of an `f32` a split.
    TreeSplits = 23,
    /// `trees x n` numbers (`u32`): the nodes of a graph in the order of each tree's leaves.
    TreeOrders = 24,
    /// The segments of an index that grew, as JSON.
    Segments = 40,
    /// `n` numbers (`u64`): the id of each row of a segment; absent where ids are positions.
    Ids = 41,
    /// A bit a row of a segment (`u64`), set while the row is not removed; absent where all are.
    Live = 42,
    /// `n x dim` values (`f32`): the rows of a segment that holds their codes alone; no search reads them.
    KeptRows = 43,
    /// `n` numbers (`u32`): the rows of a segment by their ids; absent where these ascend.
    IdOrder = 44,
}

/// One array of an index, as its file holds it.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The kind, and [`WITHIN`] for each index that the part's own is within.
    pub(super) number: u32,
    /// Which segment it belongs to, from 1 on; 0 where there are none.
    pub(super) segment: u32,
    /// Bytes of one value.
    pub(super) element: usize,
    pub(super) bytes: &'a [u8],
    /// Where it lies in its file, if it came from there.
    pub(super) found: Option<&'a Entry>,
}

impl<'a> Part<'a> {
    pub(crate) fn new<T: Pod>(kind: PartKind, values: &'a [T]) -> Self {
        let bytes = bytemuck::cast_slice(values);
        Self { number: kind as u32, segment: 0, element: size_of::<T>(), bytes, found: None }
    }

    /// The same of an index within another.
    pub(crate) fn within(self) -> Self {
        Self { number: self.number + WITHIN, ..self }
    }

    /// The same of a segment.
    pub(crate) fn of_segment(self, segment: u32) -> Self {
        Self { segment, ..self }
    }

    pub(crate) fn is(&self, kind: PartKind) -> bool {
        self.number == kind as u32
    }

    /// Bytes of the array.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the array has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// What the numbers of an index within another are higher by.
const WITHIN: u32 = 256;
/// Bytes of an entry: kind and element (u32), offset and length (u64), hash, segment (u32), zeros.
const ENTRY: usize = 64;

/// A section's entry of the table.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    number: u32,
    segment: u32,
    element: usize,
    bytes: Range<usize>,
    hash: [u8; 32],
}

impl Entry {
    /// The entry of a part that lies at `start`. The hash of one that came from a file is the file's: bytes that were
    /// damaged there must not be taken for whole here.
    fn of(part: &Part<'_>, start: usize) -> Self {
        Self {
            number: part.number,
            segment: part.segment,
            element: part.element,
            bytes: start..start + part.bytes.len(),
            hash: part.found.map_or_else(|| *blake3::hash(part.bytes).as_bytes(), |entry| entry.hash),
        }
    }

    fn encode(&self, table: &mut Vec<u8>) {
        table.extend(self.number.to_le_bytes());
        table.extend((self.element as u32).to_le_bytes());
        table.extend((self.bytes.start as u64).to_le_bytes());
        table.extend((self.bytes.len() as u64).to_le_bytes());
        table.extend(self.hash);
        table.extend(self.segment.to_le_bytes());
        table.extend([0; 4]);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (number, element) = (u32_at(bytes, 0), u32_at(bytes, 4) as usize);
        let start = usize::try_from(u64_at(bytes, 8)).ok()?;
        let end = start.checked_add(usize::try_from(u64_at(bytes, 16)).ok()?)?;
        let mut hash = [0; 32];
        hash.copy_from_slice(&bytes[24..56]);
        Some(Self { number, segment: u32_at(bytes, 56), element, bytes: start..end, hash })
    }
}

/// The table of a new file whose table starts at `start`, and the file's length.
pub(super) fn lay_out(parts: &[Part<'_>], start: usize) -> (Vec<u8>, u64) {
    let mut table = Vec::with_capacity(parts.len() * ENTRY);
    let mut offset = start + (parts.len() * ENTRY).next_multiple_of(PAGE);
    for part in parts {
        Entry::of(part, offset).encode(&mut table);
        offset += part.bytes.len().next_multiple_of(PAGE);
    }
    (table, offset as u64)
}

/// What a commit adds to a file of `end` bytes.
pub(super) struct Addition<'a> {
    /// New parts and where they go.
    pub(super) parts: Vec<(u64, &'a [u8])>,
    pub(super) table: Vec<u8>,
    pub(super) table_start: u64,
    /// Bytes of the file then; the last page of them is for a copy of the superblock.
    pub(super) length: u64,
}

/// Places parts that are not in the file yet behind its `end`, then the table of all.
pub(super) fn add_to<'a>(parts: &[Part<'a>], end: u64) -> Addition<'a> {
    let mut offset = end as usize;
    let (mut table, mut added) = (Vec::with_capacity(parts.len() * ENTRY), Vec::new());
    for part in parts {
        if let Some(entry) = part.found {
            Entry::of(part, entry.bytes.start).encode(&mut table);
        } else {
            Entry::of(part, offset).encode(&mut table);
            added.push((offset as u64, part.bytes));
            offset += part.bytes.len().next_multiple_of(PAGE);
        }
    }
    let length = offset + table.len().next_multiple_of(PAGE) + PAGE;
    Addition { parts: added, table, table_start: offset as u64, length: length as u64 }
}

/// Reads the table. Sections cannot overlap each other or the pages of the head, nor leave the file; without
/// segments they follow each other to its end. Gives what is wrong otherwise.
pub(super) fn read_table(map: &Map, head: &Superblock) -> Result<Vec<Entry>, String> {
    let start = usize::try_from(head.table_start).unwrap_or(usize::MAX);
    let bytes = start..start.saturating_add(head.sections * ENTRY);
    let table = map.get(bytes.clone()).ok_or("its section table is cut off")?;
    if blake3::hash(table).as_bytes() != &head.table {
        return Err("its section table does not match its hash".into());
    }
    let entries: Option<Vec<Entry>> = table.chunks_exact(ENTRY).map(Entry::decode).collect();
    let entries = entries.ok_or("a section ends nowhere")?;
    let mut names: Vec<_> = entries.iter().map(|entry| (entry.segment, entry.number)).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("section {} occurs twice", pair[0].1));
    }
    let mut places: Vec<_> = entries.iter().map(|entry| (entry.bytes.clone(), entry.number)).collect();
    places.push((bytes, 0));
    places.sort_by_key(|(bytes, _)| (bytes.start, bytes.end));
    let mut expected = 2 * PAGE;
    for (bytes, number) in &places {
        let whole = bytes.start.is_multiple_of(PAGE) && bytes.end as u64 <= head.length;
        let follows = bytes.start == expected || (head.segmented && bytes.start > expected);
        if !(whole && follows) {
            return Err(format!("section {number} does not lie where it may"));
        }
        expected = bytes.end.next_multiple_of(PAGE);
    }
    if !head.segmented {
        require_zeros(map, start + table.len()..(start + table.len()).next_multiple_of(PAGE))?;
        if expected as u64 != head.length {
            return Err("its sections do not fill the file".into());
        }
    }
    Ok(entries)
}

fn require_zeros(map: &Map, range: Range<usize>) -> Result<(), String> {
    match map.get(range) {
        Some(gap) if gap.iter().all(|&byte| byte == 0) => Ok(()),
        _ => Err("the space between sections is not empty".into()),
    }
}

/// The sections of a mapped file.
#[derive(Clone, Copy)]
pub(crate) struct Sections<'a> {
    pub(super) path: &'a Path,
    pub(super) map: &'a Arc<Map>,
    pub(super) head: &'a Superblock,
    pub(super) table: &'a [Entry],
    /// Rows of the index whose sections are looked for, and the indexes that it is within.
    pub(super) rows: usize,
    pub(super) depth: u32,
    /// The segment whose sections are looked for.
    pub(super) segment: u32,
}

impl<'a> Sections<'a> {
    /// The sections of the index of `rows` rows within this one.
    pub(crate) fn within(&self, rows: usize) -> Self {
        Self { rows, depth: self.depth + 1, ..*self }
    }

    /// The sections of a segment of `rows` rows.
    pub(crate) fn of_segment(&self, segment: u32, rows: usize) -> Self {
        Self { segment, rows, depth: 0, ..*self }
    }

    /// The error that the file is damaged.
    pub(crate) fn damaged(&self, what: &str) -> OpenError {
        OpenError::Damaged { path: self.path.to_path_buf(), what: what.to_owned() }
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Values a row.
    pub(crate) fn dim(&self) -> usize {
        self.head.dim
    }

    /// The bytes of a section, compared with their hash.
    pub(crate) fn checked_bytes(&self, kind: PartKind) -> Result<&'a [u8], OpenError> {
        self.check(kind)?;
        self.bytes(kind)
    }

    /// The trained code in `bytes`, which must be the one that the index names.
    pub(crate) fn codec(
        &self,
        bytes: &[u8],
        spec: &quant::Spec,
        dim: usize,
    ) -> Result<Box<dyn quant::Codec>, OpenError> {
        let (found, codec) =
            quant::from_bytes(self.path, bytes).map_err(|error| self.damaged(&error.to_string()))?;
        if &found != spec || codec.dim() != dim {
            return Err(self.damaged(&format!("its code is {found} of {} values", codec.dim())));
        }
        Ok(codec)
    }

    /// The superblock of the file.
    pub(crate) fn head(&self) -> &'a Superblock {
        self.head
    }

    /// How the rows are compared.
    pub(crate) fn metric(&self) -> Metric {
        self.head.metric
    }

    /// Rows, and values a row.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.rows, self.head.dim)
    }

    /// The rows.
    pub(crate) fn vectors(&self) -> Result<Vectors, OpenError> {
        let (rows, dim) = self.sizes();
        let values = self.array(PartKind::Rows, rows.checked_mul(vectors::stride(dim)))?;
        Vectors::from_padded(values, dim).ok_or_else(|| self.damaged("its rows are not whole"))
    }

    /// A section of exactly `len` values; no length can be right when `len` is none.
    pub(crate) fn array<T: Pod>(&self, kind: PartKind, len: Option<usize>) -> Result<Array<T>, OpenError> {
        let array = self.list(kind)?;
        if len != Some(array.len()) {
            return Err(
                self.damaged(&format!("{kind:?} holds {} values, not those of its rows", array.len()))
            );
        }
        Ok(array)
    }

    /// A section of any number of values.
    pub(crate) fn list<T: Pod>(&self, kind: PartKind) -> Result<Array<T>, OpenError> {
        let entry = self.entry(kind)?;
        (entry.element == size_of::<T>())
            .then(|| Array::mapped(Arc::clone(self.map), entry.bytes.clone()))
            .flatten()
            .ok_or_else(|| self.damaged(&format!("{kind:?} does not hold whole values")))
    }

    /// The bytes of a section.
    pub(crate) fn bytes(&self, kind: PartKind) -> Result<&'a [u8], OpenError> {
        let map: &'a Map = self.map;
        Ok(&map[self.entry(kind)?.bytes.clone()])
    }

    /// Compares one section with its hash.
    pub(crate) fn check(&self, kind: PartKind) -> Result<(), OpenError> {
        self.check_entry(self.entry(kind)?)
    }

    /// Compares all sections with their hashes, and the space behind each with zeros.
    pub(crate) fn check_all(&self) -> Result<(), OpenError> {
        for entry in self.table {
            self.check_entry(entry)?;
            let gap = entry.bytes.end..entry.bytes.end.next_multiple_of(PAGE);
            require_zeros(self.map, gap).map_err(|what| self.damaged(&what))?;
        }
        Ok(())
    }

    /// Compares all sections of the segment with their hashes.
    pub(crate) fn check_segment(&self) -> Result<(), OpenError> {
        self.table
            .iter()
            .filter(|entry| entry.segment == self.segment)
            .try_for_each(|entry| self.check_entry(entry))
    }

    /// The sections of the segment, as they lie in the file.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part<'a>> + use<'a> {
        let (map, segment): (&'a Map, _) = (self.map, self.segment);
        self.table.iter().filter(move |entry| entry.segment == segment).map(move |entry| Part {
            number: entry.number,
            segment,
            element: entry.element,
            bytes: &map[entry.bytes.clone()],
            found: Some(entry),
        })
    }

    /// Whether the segment has such a section.
    pub(crate) fn has(&self, kind: PartKind) -> bool {
        self.entry(kind).is_ok()
    }

    fn check_entry(&self, entry: &Entry) -> Result<(), OpenError> {
        if blake3::hash(&self.map[entry.bytes.clone()]).as_bytes() != &entry.hash {
            return Err(self.damaged(&format!("section {} does not match its hash", entry.number)));
        }
        Ok(())
    }

    fn entry(&self, kind: PartKind) -> Result<&'a Entry, OpenError> {
        let number = kind as u32 + WITHIN * self.depth;
        let entry = self.table.iter().find(|entry| entry.number == number && entry.segment == self.segment);
        entry.ok_or_else(|| self.damaged(&format!("it has no {kind:?}")))
    }
}
