//! Scans of 8-bit product-quantization codes, exact in `f32`.
//!
//! A code has `parts` bytes, a query a table of `parts x 256` floats; a row's distance is the query's bias,
//! plus its looked-up entries added in the order of the parts, each sum rounded to `f32`.
//!
//! With AVX-512 VBMI most rows are never added up in `f32`. Let `limit` be the largest distance still
//! wanted and `least` the sum of the bias and of the parts' smallest entries. Entry `t` of part `p` becomes
//! the byte `min(255, floor(254 (t - least_p) / (limit - least)))`. Bytes round down, hence a row whose
//! bytes sum to 255 or more lies beyond the limit; sums of bytes may therefore saturate, which makes one
//! instruction of each addition. A table of 256 bytes fits four registers. The survivors are added up in
//! `f32`, so the result is that of the definition. Bytes are made anew as the limit falls.
//!
//! A query may have a [`Gate`], the filter of polysemous codes: it then looks only at rows whose bytes differ
//! from a code of its own in few bits. Bounds go first, as they leave fewer rows than usual gates, and the gate
//! sees what they leave; where they leave many and the gate does not, it goes first. What is found is the same.
//!
//! Parts may have up to eight further bits ([`Codes::wide`], tables of `parts x 256 2^low`). Bytes are then made
//! of the least entry of each byte, over its further bits: number centroids so that those of a byte are near each
//! other. The further bits are read for survivors alone.
//!
//! Layout: block `b` has rows `64 b ..`, part after part: byte `64 p + r` is part `p` of row `r`.
//! Further bits, a byte a part, follow in each block.
//! Sources: Jégou, Douze and Schmid, TPAMI 2011 (the distance); André, Kermarrec and Le Scouarnec, VLDB
//! 2015 and TPAMI 2021 (saturating tables in registers as a lower bound).

mod gate;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use gate::Gate;

use crate::live::Live;
use crate::{Isa, Reservoir};
use std::ops::Range;

/// Rows of a block.
pub const BLOCK: usize = 64;
/// Entries of a part's table.
const ENTRIES: usize = 256;
/// Rows from which making the bytes pays.
#[cfg(target_arch = "x86_64")]
const WORTH_BOUNDS: usize = 1024;
/// Blocks looked at together: their sums of bytes stay in registers while the tables of the parts pass by.
const GROUP: usize = 8;
/// Bytes of codes that all queries visit before the next ones are read: they stay in the L1 cache beside a
/// query's tables.
const TILE: usize = 16 << 10;

/// Bytes of `rows` packed rows.
///
/// # Panics
/// When the number does not fit in memory's address space.
#[must_use]
pub fn packed_len(rows: usize, parts: usize) -> usize {
    rows.div_ceil(BLOCK).checked_mul(BLOCK * parts).expect("packed codes fit in the address space")
}

/// Packs row-major codes (`rows x parts` bytes) into blocks. Missing rows of the last block are zeros.
///
/// # Panics
/// When `parts` is zero or the codes are not whole rows.
#[must_use]
pub fn pack(codes: &[u8], parts: usize) -> Vec<u8> {
    assert!(parts > 0, "codes need at least one part");
    assert!(codes.len().is_multiple_of(parts), "{} bytes are not codes of {parts} bytes", codes.len());
    let mut packed = vec![0; packed_len(codes.len() / parts, parts)];
    for (row, code) in codes.chunks_exact(parts).enumerate() {
        set(&mut packed, parts, row, code);
    }
    packed
}

/// Writes the row-major `code` over row `row` of packed codes.
///
/// # Panics
/// When `code` is not `parts` bytes or the row lies outside of `packed`.
pub fn set(packed: &mut [u8], parts: usize, row: usize, code: &[u8]) {
    assert_eq!(code.len(), parts, "bytes of a code");
    let block = &mut packed[row / BLOCK * BLOCK * parts..][..BLOCK * parts];
    for (column, &byte) in block.chunks_exact_mut(BLOCK).zip(code) {
        column[row % BLOCK] = byte;
    }
}

/// Reads row `row` of packed codes into the row-major `code`.
///
/// # Panics
/// When `code` is not `parts` bytes or the row lies outside of `packed`.
pub fn get(packed: &[u8], parts: usize, row: usize, code: &mut [u8]) {
    assert_eq!(code.len(), parts, "bytes of a code");
    let block = &packed[row / BLOCK * BLOCK * parts..][..BLOCK * parts];
    for (column, byte) in block.chunks_exact(BLOCK).zip(code) {
        *byte = column[row % BLOCK];
    }
}

/// The first `rows` rows of packed codes, row-major.
///
/// # Panics
/// When `packed` has fewer rows.
#[must_use]
pub fn unpack(packed: &[u8], parts: usize, rows: usize) -> Vec<u8> {
    let mut codes = vec![0; rows * parts];
    for (row, code) in codes.chunks_exact_mut(parts.max(1)).enumerate() {
        get(packed, parts, row, code);
    }
    codes
}

/// Packs numbers of `8 + low` bits, row-major, `rows x parts`, for [`Codes::wide`]: twice [`packed_len`] bytes.
///
/// # Panics
/// When `parts` is zero, the numbers are not whole rows, or `low` is not from 1 to 8.
#[must_use]
pub fn pack_wide(numbers: &[u16], parts: usize, low: u32) -> Vec<u8> {
    assert!(
        parts > 0 && numbers.len().is_multiple_of(parts),
        "{} numbers are not rows of {parts}",
        numbers.len()
    );
    assert!((1..=8).contains(&low), "1 to 8 further bits, not {low}");
    let half = BLOCK * parts;
    let mut packed = vec![0; 2 * packed_len(numbers.len() / parts, parts)];
    for (row, numbers) in numbers.chunks_exact(parts).enumerate() {
        let block = &mut packed[row / BLOCK * 2 * half..][..2 * half];
        for (part, number) in numbers.iter().enumerate() {
            block[part * BLOCK + row % BLOCK] = (number >> low) as u8;
            block[half + part * BLOCK + row % BLOCK] = (number & ((1 << low) - 1)) as u8;
        }
    }
    packed
}

/// Packed codes to scan.
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a> {
    packed: &'a [u8],
    parts: usize,
    /// Bits of a part beyond a byte.
    low: u32,
    live: Live<'a, u64>,
}

impl<'a> Codes<'a> {
    /// Views `packed` as `rows` rows of `parts` bytes (see [`pack`]).
    ///
    /// # Panics
    /// When `parts` is zero or `packed` is shorter than [`packed_len`].
    #[must_use]
    pub fn new(packed: &'a [u8], parts: usize, rows: usize) -> Self {
        assert!(parts > 0, "codes need at least one part");
        let len = packed_len(rows, parts);
        assert!(packed.len() >= len, "{rows} rows of {parts} parts take {len} bytes, not {}", packed.len());
        Self { packed: &packed[..len], parts, low: 0, live: Live::all(rows) }
    }

    /// Views `packed` as `rows` rows of `parts` numbers of `8 + low` bits (see [`pack_wide`]).
    ///
    /// # Panics
    /// When `parts` is zero, `packed` is shorter than twice [`packed_len`], or `low` is not from 1 to 8.
    #[must_use]
    pub fn wide(packed: &'a [u8], parts: usize, low: u32, rows: usize) -> Self {
        assert!(parts > 0 && (1..=8).contains(&low), "codes need a part, and 1 to 8 further bits, not {low}");
        let len = 2 * packed_len(rows, parts);
        assert!(packed.len() >= len, "{rows} rows of {parts} parts take {len} bytes, not {}", packed.len());
        Self { packed: &packed[..len], parts, low, live: Live::all(rows) }
    }

    /// Only rows whose bit is set: bit `r % 64` of word `r / 64`.
    ///
    /// # Panics
    /// When there are fewer words than blocks.
    #[must_use]
    pub fn only(self, live: &'a [u64]) -> Self {
        Self { live: self.live.only(live), ..self }
    }

    fn blocks(&self, blocks: Range<usize>) -> &'a [u8] {
        &self.packed[blocks.start * self.stride()..blocks.end * self.stride()]
    }

    /// Bytes of a block.
    fn stride(&self) -> usize {
        BLOCK * self.parts * if self.low > 0 { 2 } else { 1 }
    }

    /// The columns of the bytes of a block, and those of the further bits.
    fn columns(&self, block: usize) -> (&'a [[u8; BLOCK]], &'a [[u8; BLOCK]]) {
        self.blocks(block..block + 1).as_chunks().0.split_at(self.parts)
    }

    /// Entries of a part's table.
    fn entries(&self) -> usize {
        ENTRIES << self.low
    }
}

/// One query of a scan.
#[derive(Debug)]
pub struct Query<'a> {
    /// `parts x 256` entries; `parts x 256 2^low` for wide codes.
    pub table: &'a [f32],
    /// Added to every distance.
    pub bias: f32,
    /// Only rows that pass it are taken.
    pub gate: Option<Gate<'a>>,
    /// Takes the rows.
    pub found: &'a mut Reservoir,
}

impl Query<'_> {
    /// Offers the rows of `masks`, a word for each of `blocks`, that are live.
    fn offer(&mut self, codes: &Codes<'_>, blocks: Range<usize>, first: u32, masks: &[u64; GROUP]) {
        /// Rows of a block up to which each is added up for itself.
        const FEW: usize = 12;
        let mut few = [0; FEW * GROUP];
        let mut count = 0;
        for (block, &mask) in blocks.zip(masks) {
            if mask == 0 {
                continue;
            }
            let live = mask & codes.live.of(block);
            let (mut mask, start) = (live, count);
            while mask != 0 && count - start < FEW {
                few[count] = (block * BLOCK) as u32 + mask.trailing_zeros();
                count += 1;
                mask &= mask - 1;
            }
            if mask != 0 {
                count = start;
                let number = first + (block * BLOCK) as u32;
                self.offer_many(codes, block, number, live);
            }
        }
        if count > 0 {
            self.offer_few(codes, first, &few[..count]);
        }
    }

    /// Offers rows one for one.
    fn offer_few(&mut self, codes: &Codes<'_>, first: u32, rows: &[u32]) {
        /// Sums that run beside each other, which hides the time a look-up takes.
        const TOGETHER: usize = 4;
        for rows in rows.chunks(TOGETHER) {
            // Missing ones are the first again.
            let row = |i: usize| *rows.get(i).unwrap_or(&rows[0]) as usize;
            let four = [row(0), row(1), row(2), row(3)];
            let [(a, i), (b, j), (c, k), (d, l)] =
                four.map(|row| (codes.columns(row / BLOCK).0, row % BLOCK));
            let mut sums = [self.bias; TOGETHER];
            if codes.low > 0 {
                let blocks = four.map(|row| codes.columns(row / BLOCK));
                for (part, entries) in self.table.chunks_exact(codes.entries()).enumerate() {
                    for ((sum, row), (high, low)) in sums.iter_mut().zip(four).zip(&blocks) {
                        let high = usize::from(high[part][row % BLOCK]);
                        *sum += entries
                            [(high << codes.low | usize::from(low[part][row % BLOCK])) & (entries.len() - 1)];
                    }
                }
            } else {
                let parts = self.table.as_chunks::<ENTRIES>().0.iter();
                for ((((entries, a), b), c), d) in parts.zip(a).zip(b).zip(c).zip(d) {
                    for (sum, code) in sums.iter_mut().zip([a[i], b[j], c[k], d[l]]) {
                        *sum += entries[usize::from(code)];
                    }
                }
            }
            for (&row, &distance) in rows.iter().zip(&sums) {
                self.found.push(distance, first + row);
            }
        }
    }

    /// Offers the rows of `mask`, after adding up all of the block.
    fn offer_many(&mut self, codes: &Codes<'_>, block: usize, first: u32, mut mask: u64) {
        let distances = if codes.low > 0 {
            wide_distances(codes, block, self.table, self.bias)
        } else {
            distances(codes.blocks(block..block + 1), self.table, self.bias)
        };
        while mask != 0 {
            let row = mask.trailing_zeros();
            self.found.push(distances[row as usize], first + row);
            mask &= mask - 1;
        }
    }
}

/// The distances of a block's rows; eight sums at once hide the time a look-up takes.
fn distances(block: &[u8], table: &[f32], bias: f32) -> [f32; BLOCK] {
    const AT_ONCE: usize = 8;
    let mut out = [bias; BLOCK];
    for (group, sums) in out.chunks_exact_mut(AT_ONCE).enumerate() {
        let mut running = [bias; AT_ONCE];
        for (column, entries) in block.chunks_exact(BLOCK).zip(table.chunks_exact(ENTRIES)) {
            for (sum, &code) in running.iter_mut().zip(&column[group * AT_ONCE..][..AT_ONCE]) {
                *sum += entries[usize::from(code)];
            }
        }
        sums.copy_from_slice(&running);
    }
    out
}

/// As [`distances`], of wide codes.
fn wide_distances(codes: &Codes<'_>, block: usize, table: &[f32], bias: f32) -> [f32; BLOCK] {
    const AT_ONCE: usize = 8;
    let mut out = [bias; BLOCK];
    let (high, low) = codes.columns(block);
    for (group, sums) in out.as_chunks_mut::<AT_ONCE>().0.iter_mut().enumerate() {
        for ((entries, high), low) in table.chunks_exact(codes.entries()).zip(high).zip(low) {
            let (high, low) = (&high[group * AT_ONCE..][..AT_ONCE], &low[group * AT_ONCE..][..AT_ONCE]);
            // Within the entries, also where the bytes were not made by `pack_wide`.
            let within = entries.len() - 1;
            for ((sum, high), low) in sums.iter_mut().zip(high).zip(low) {
                *sum += entries[(usize::from(*high) << codes.low | usize::from(*low)) & within];
            }
        }
    }
    out
}

/// Adds up every row of `blocks` that passes the query's gate.
fn scan_exactly(isa: Isa, codes: &Codes<'_>, blocks: Range<usize>, first: u32, query: &mut Query<'_>) {
    for group in groups(blocks) {
        let mut masks = [u64::MAX; GROUP];
        if let Some(gate) = &query.gate {
            gate.passed(isa, codes, group.clone(), &mut masks);
        }
        query.offer(codes, group, first, &masks);
    }
}

impl Isa {
    /// Offers every row of `codes` to every query; rows are numbered from `first`. The result is that of
    /// the definition, to the bit, on every instruction set. Memory: `256 parts` bytes a query, five times that for wide codes.
    ///
    /// # Panics
    /// When a table is not as large as the codes want, a gate has no code of `parts` bytes or meets wide codes, or
    /// row numbers pass `u32`.
    pub fn byte_scan(self, codes: &Codes<'_>, first: u32, queries: &mut [Query<'_>]) {
        let last = (first as usize).checked_add(codes.live.rows());
        assert!(last.is_some_and(|last| last <= u32::MAX as usize), "row numbers fit in 32 bits");
        for query in &*queries {
            let entries = codes.entries();
            assert_eq!(query.table.len(), codes.parts * entries, "{entries} entries a part");
            assert!(query.gate.is_none() || codes.low == 0, "gates are for codes of bytes");
            assert!(
                query.gate.is_none_or(|gate| gate.code.len() == codes.parts),
                "bytes of a gate and of a row"
            );
        }
        let blocks = codes.live.blocks();
        let step = (TILE / codes.stride()).max(1);
        #[cfg(target_arch = "x86_64")]
        if codes.live.rows() >= WORTH_BOUNDS
            && let Some(level) = self.vbmi()
        {
            let alone = queries.len() == 1;
            let mut bounds: Vec<_> =
                queries.iter().map(|query| x86::Bounds::new(level, codes, query, alone)).collect();
            for tile in tiles(blocks, step) {
                for (query, bounds) in queries.iter_mut().zip(&mut bounds) {
                    bounds.scan(codes, tile.clone(), first, query);
                }
            }
            return;
        }
        for tile in tiles(blocks, step) {
            for query in &mut *queries {
                scan_exactly(self, codes, tile.clone(), first, query);
            }
        }
    }
}

/// `0..blocks` in ranges of `step`.
fn tiles(blocks: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..blocks).step_by(step).map(move |start| start..(start + step).min(blocks))
}

/// `blocks` in ranges of [`GROUP`].
fn groups(blocks: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    blocks.clone().step_by(GROUP).map(move |start| start..(start + GROUP).min(blocks.end))
}

/// The distances of the first `out.len()` rows of `packed` for one query.
///
/// # Panics
/// When `table` is not whole parts or `packed` has fewer rows.
pub fn score(packed: &[u8], table: &[f32], bias: f32, out: &mut [f32]) {
    assert!(!table.is_empty() && table.len().is_multiple_of(ENTRIES), "256 entries a part");
    let parts = table.len() / ENTRIES;
    let packed = &packed[..packed_len(out.len(), parts)];
    for (block, out) in packed.chunks_exact(BLOCK * parts).zip(out.chunks_mut(BLOCK)) {
        out.copy_from_slice(&distances(block, table, bias)[..out.len()]);
    }
}
