//! Rows in tiles, turned into columns where that pays.

use super::{Distances, GROUP};

/// Bytes of columns that all queries visit before the next rows are read: they stay in the L1 cache.
const TILE: usize = 24 << 10;
/// Queries from which dealing rows out to columns always pays, and bytes from which it never pays for fewer.
const WORTH_COLUMNS: usize = 4;
const LONG: usize = 64;

/// Rows in tiles, as columns of words where that pays.
pub(super) struct Tiles<'a> {
    rows: &'a [u8],
    bytes: usize,
    /// Rows of a tile, and words from column to column.
    stride: usize,
    dealt: bool,
    alone: bool,
    scratch: Vec<u64>,
}

/// A tile: `rows` (each of `bytes`) from row `first`, and their columns where they were dealt.
pub(super) struct Tile<'a> {
    pub(super) rows: &'a [u8],
    /// All rows from `first` on, if a single query reads them: they then come from memory, not from the cache.
    pub(super) alone: Option<&'a [u8]>,
    pub(super) bytes: usize,
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) columns: Option<*const u64>,
    pub(super) stride: usize,
}

impl<'a> Tiles<'a> {
    pub(super) fn new<D: Distances>(rows: &'a [u8], bytes: usize, queries: usize) -> Self {
        let words = bytes.div_ceil(8);
        let count = (rows.len() / bytes).next_multiple_of(GROUP);
        let stride = (TILE / (8 * words)).next_multiple_of(GROUP).min(count);
        let dealt = bytes == 8 || queries >= WORTH_COLUMNS || (bytes < LONG && !D::reads_rows(bytes));
        Self { rows, bytes, stride, dealt, alone: queries == 1, scratch: Vec::new() }
    }

    /// The tile that starts at row `first`; its columns are valid until the next call.
    #[inline(always)]
    pub(super) fn at(&mut self, first: usize) -> Tile<'a> {
        let rows = &self.rows[first * self.bytes..];
        let count = (rows.len() / self.bytes).min(self.stride);
        let alone = self.alone.then_some(rows);
        let rows = &rows[..count * self.bytes];
        let mut tile =
            Tile { rows, alone, bytes: self.bytes, first, count, columns: None, stride: self.stride };
        if !self.dealt {
            return tile;
        }
        if self.bytes == 8 && count == self.stride && cfg!(target_endian = "little") {
            tile.columns = Some(rows.as_ptr().cast());
            return tile;
        }
        self.scratch.resize(self.bytes.div_ceil(8) * self.stride, 0);
        match self.bytes {
            8 => deal::<1>(rows, self.stride, &mut self.scratch),
            16 => deal::<2>(rows, self.stride, &mut self.scratch),
            32 => deal::<4>(rows, self.stride, &mut self.scratch),
            _ => deal_any(rows, self.bytes, self.stride, &mut self.scratch),
        }
        tile.columns = Some(self.scratch.as_ptr());
        tile
    }
}

/// Deals rows of `W` words out to columns.
#[inline(always)]
fn deal<const W: usize>(rows: &[u8], stride: usize, columns: &mut [u64]) {
    let (rows, _) = rows.as_chunks::<8>();
    let (rows, _) = rows.as_chunks::<W>();
    for (w, column) in columns.chunks_exact_mut(stride).enumerate().take(W) {
        for (word, row) in column.iter_mut().zip(rows) {
            *word = u64::from_le_bytes(row[w]);
        }
    }
}

/// Deals rows of any number of bytes out to columns.
#[inline(always)]
fn deal_any(rows: &[u8], bytes: usize, stride: usize, columns: &mut [u64]) {
    for (r, row) in rows.chunks_exact(bytes).enumerate() {
        let (whole, rest) = row.as_chunks::<8>();
        for (w, &word) in whole.iter().enumerate() {
            columns[w * stride + r] = u64::from_le_bytes(word);
        }
        if !rest.is_empty() {
            columns[whole.len() * stride + r] = padded(rest);
        }
    }
}

/// At most eight bytes as a word.
#[inline(always)]
pub(super) fn padded(rest: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(word)
}
