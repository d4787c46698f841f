//! Scorers and scanners of codes whose distance is a sum of looked-up entries.
//!
//! A byte table has 256 entries for each byte of a code: product codes of eight bits have one part a
//! byte, those of four bits two. A nibble table has 16 entries for each half byte.

use crate::{Scanner, Scorer};
use kernels::{Isa, Reservoir, TopK, byte_scan, fast_scan};

/// Entries a byte.
pub(crate) const BYTE: usize = 256;
/// Entries a half byte.
pub(crate) const NIBBLE: usize = 16;
/// Rows numbered from zero at once: row numbers of the kernels have 32 bits. A multiple of all blocks.
const ROWS: usize = 1 << 30;

/// The byte table of a nibble table of `parts x 16`; the low half byte is the even part.
pub(crate) fn pairs(table: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(table.len().div_ceil(2 * NIBBLE) * BYTE);
    for pair in table.chunks(2 * NIBBLE) {
        let (low, high) = pair.split_at(NIBBLE);
        for i in 0..NIBBLE {
            // Without an odd part the high half byte says nothing.
            let high = high.get(i).copied().unwrap_or(0.0);
            out.extend(low.iter().map(|low| low + high));
        }
    }
    out
}

/// Sums of a byte table.
pub(crate) struct ByteScorer {
    /// `code_len x 256`.
    pub(crate) table: Vec<f32>,
    /// Added to every sum.
    pub(crate) bias: f32,
}

impl ByteScorer {
    /// The sum of one code.
    #[inline]
    pub(crate) fn one(&self, code: &[u8]) -> f32 {
        let entries = self.table.as_chunks::<BYTE>().0.iter().zip(code);
        entries.fold(self.bias, |sum, (entries, &byte)| sum + entries[usize::from(byte)])
    }
}

impl Scorer for ByteScorer {
    fn score(&mut self, codes: &[u8], distances: &mut [f32]) {
        /// Sums that run beside each other, which hides the time a look-up takes.
        const TOGETHER: usize = 4;
        let entries = self.table.as_chunks::<BYTE>().0;
        let len = entries.len();
        let mut rows = codes.chunks_exact(TOGETHER * len);
        let mut out = distances.chunks_exact_mut(TOGETHER);
        for (codes, out) in (&mut rows).zip(&mut out) {
            let (a, rest) = codes.split_at(len);
            let (b, rest) = rest.split_at(len);
            let (c, d) = rest.split_at(len);
            let mut sums = [self.bias; TOGETHER];
            for ((((entries, a), b), c), d) in entries.iter().zip(a).zip(b).zip(c).zip(d) {
                for (sum, &byte) in sums.iter_mut().zip([a, b, c, d]) {
                    *sum += entries[usize::from(byte)];
                }
            }
            out.copy_from_slice(&sums);
        }
        for (code, out) in rows.remainder().chunks_exact(len).zip(out.into_remainder()) {
            *out = self.one(code);
        }
    }
}

/// Collects what kernels find by 32-bit row numbers into one list by 64-bit ids.
struct Lists {
    tops: Vec<TopK>,
}

impl Lists {
    fn new(queries: usize, k: usize) -> Self {
        Self { tops: vec![TopK::new(k); queries] }
    }

    fn finish(self) -> Vec<Vec<(f32, u64)>> {
        self.tops.into_iter().map(TopK::into_sorted).collect()
    }
}

/// The nearest of codes packed by [`byte_scan::pack`], exactly.
pub(crate) struct ByteScanner {
    k: usize,
    /// `code_len x 256` of each query.
    tables: Vec<Vec<f32>>,
    biases: Vec<f32>,
    /// Bits of a part beyond a byte.
    low: u32,
    gates: Option<Gates>,
    lists: Lists,
}

/// Which codes are looked at, once as many as are wanted have been.
struct Gates {
    /// One a query.
    codes: Vec<Vec<u8>>,
    /// Bits in which a code may differ.
    limit: u32,
}

impl ByteScanner {
    /// For one byte table and bias a query.
    pub(crate) fn new(scorers: Vec<ByteScorer>, k: usize) -> Self {
        let lists = Lists::new(scorers.len(), k);
        let (tables, biases) = scorers.into_iter().map(|scorer| (scorer.table, scorer.bias)).unzip();
        Self { k, tables, biases, low: 0, gates: None, lists }
    }

    /// For codes packed by [`byte_scan::pack_wide`], and tables of `256 2^low` entries a part.
    pub(crate) fn wide(self, low: u32) -> Self {
        Self { low, ..self }
    }

    /// Leaves out codes, after the first `k`, that differ from the query's of `codes` in more than `limit` bits.
    pub(crate) fn gated(self, codes: Vec<Vec<u8>>, limit: u32) -> Self {
        Self { gates: Some(Gates { codes, limit }), ..self }
    }

    /// The gate of a query whose list has `held` rows.
    fn gate(&self, query: usize, held: usize) -> Option<byte_scan::Gate<'_>> {
        let gates = self.gates.as_ref()?;
        Some(byte_scan::Gate { code: &gates.codes[query], limit: gates.limit, open: self.k - held })
    }
}

impl Scanner for ByteScanner {
    fn scan(&mut self, packed: &[u8], len: usize, first: u64) {
        let Some(parts) = self.tables.first().map(|table| table.len() / (BYTE << self.low)) else { return };
        let chunk = byte_scan::packed_len(ROWS, parts) * if self.low > 0 { 2 } else { 1 };
        let isa = Isa::current();
        for (start, packed) in (0..len).step_by(ROWS).zip(packed.chunks(chunk)) {
            let rows = ROWS.min(len - start);
            let codes = match self.low {
                0 => byte_scan::Codes::new(packed, parts, rows),
                low => byte_scan::Codes::wide(packed, parts, low, rows),
            };
            let mut found: Vec<Reservoir> = vec![Reservoir::new(self.k); self.tables.len()];
            for (found, top) in found.iter_mut().zip(&self.lists.tops) {
                found.lower_limit(top.threshold().unwrap_or(f32::INFINITY));
            }
            let queries = found.iter_mut().enumerate().map(|(query, found)| byte_scan::Query {
                table: &self.tables[query],
                bias: self.biases[query],
                gate: self.gate(query, self.lists.tops[query].len()),
                found,
            });
            let mut queries: Vec<_> = queries.collect();
            isa.byte_scan(&codes, 0, &mut queries);
            for (found, top) in found.into_iter().zip(&mut self.lists.tops) {
                let base = first + start as u64;
                found.into_sorted().into_iter().for_each(|(d, row)| top.push(d, base + u64::from(row)));
            }
        }
    }

    fn finish(self: Box<Self>) -> Vec<Vec<(f32, u64)>> {
        self.lists.finish()
    }
}

/// A nibble table as bytes: `entry = floor(scale (t - least_p) + 1/2)`, so a distance is about
/// `sum / scale + base`.
pub(crate) struct Rounded {
    table: fast_scan::Table,
    scale: f32,
    base: f32,
}

impl Rounded {
    /// Rounds `table`, `parts x 16`, of which no sum may pass 16 bits.
    pub(crate) fn new(table: &[f32], bias: f32) -> Self {
        let parts = table.len() / NIBBLE;
        let least = |part: &[f32]| part.iter().copied().fold(f32::INFINITY, f32::min);
        let most = |part: &[f32]| part.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let spans = table.chunks_exact(NIBBLE).map(|part| most(part) - least(part));
        let (widest, sum) = spans.fold((0f32, 0f32), |(widest, sum), span| (widest.max(span), sum + span));
        // Each entry may be rounded up, hence the room.
        let room = f32::from(u16::MAX) - parts as f32;
        let scale = (255.0 / widest).min(room / sum);
        // Without a scale (entries of one value, or that overflow) all sums are zero.
        let usable = scale.is_finite() && scale > 0.0;
        let mut base = bias;
        let mut entries = Vec::with_capacity(table.len());
        for part in table.chunks_exact(NIBBLE) {
            let least = least(part);
            base += least;
            let rounded = |value: &f32| if usable { (scale * (value - least) + 0.5) as u8 } else { 0 };
            entries.extend(part.iter().map(rounded));
        }
        let scale = if usable { scale } else { 1.0 };
        Self { table: fast_scan::Table::new(&entries), scale, base }
    }
}

/// The nearest of codes packed by [`fast_scan::pack`], by tables rounded to bytes.
pub(crate) struct NibbleScanner {
    k: usize,
    parts: usize,
    tables: Vec<Rounded>,
    lists: Lists,
}

impl NibbleScanner {
    /// For one table a query, all of `parts`.
    pub(crate) fn new(tables: Vec<Rounded>, parts: usize, k: usize) -> Self {
        let lists = Lists::new(tables.len(), k);
        Self { k, parts, tables, lists }
    }
}

impl Scanner for NibbleScanner {
    fn scan(&mut self, packed: &[u8], len: usize, first: u64) {
        let isa = Isa::current();
        let chunk = fast_scan::packed_len(ROWS, self.parts);
        for (start, packed) in (0..len).step_by(ROWS).zip(packed.chunks(chunk)) {
            let codes = fast_scan::Codes::new(packed, self.parts, ROWS.min(len - start));
            let mut found = vec![fast_scan::SumReservoir::new(self.k); self.tables.len()];
            for ((found, top), table) in found.iter_mut().zip(&self.lists.tops).zip(&self.tables) {
                // Sums that round to the worst distance kept are let in; the list itself decides.
                let limit = top.threshold().map_or(f32::INFINITY, |t| (t - table.base) * table.scale + 1.0);
                found.lower_limit(limit as u16);
            }
            let mut queries: Vec<_> = found
                .iter_mut()
                .zip(&self.tables)
                .map(|(found, rounded)| fast_scan::Query { table: &rounded.table, bias: 0, found })
                .collect();
            isa.fast_scan(&codes, 0, &mut queries);
            let base = first + start as u64;
            for ((found, top), table) in found.into_iter().zip(&mut self.lists.tops).zip(&self.tables) {
                for (sum, row) in found.into_sorted() {
                    top.push(f32::from(sum) / table.scale + table.base, base + u64::from(row));
                }
            }
        }
    }

    fn finish(self: Box<Self>) -> Vec<Vec<(f32, u64)>> {
        self.lists.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::SplitMix64;

    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::new(seed);
        (0..n).map(|_| random.unit() as f32 * 3.0 - 1.0).collect()
    }

    fn bytes(n: usize, seed: u64) -> Vec<u8> {
        let mut random = SplitMix64::new(seed);
        (0..n).map(|_| random.bits() as u8).collect()
    }

    #[test]
    fn pairs_add_both_halves() {
        let table = noise(3 * NIBBLE, 1);
        let got = pairs(&table);
        assert_eq!(got.len(), 2 * BYTE);
        assert_eq!(got[0x5a], table[0xa] + table[NIBBLE + 5]);
        assert_eq!(got[BYTE + 0x73], table[2 * NIBBLE + 3]);
    }

    #[test]
    fn scans_in_pieces_rank_as_the_scorer_does() {
        let codes = bytes(500 * 3, 2);
        let table = noise(3 * BYTE, 3);
        let mut scorer = ByteScorer { table: table.clone(), bias: 0.5 };
        let mut distances = vec![0.0; 500];
        scorer.score(&codes, &mut distances);
        for (code, &distance) in codes.chunks(3).zip(&distances) {
            let by_hand =
                code.iter().enumerate().fold(0.5, |sum, (i, &c)| sum + table[i * BYTE + usize::from(c)]);
            assert_eq!(distance, by_hand);
        }
        let mut want: Vec<(f32, u64)> = distances.iter().copied().zip(7..).collect();
        want.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        want.truncate(9);
        let mut scanner = ByteScanner::new(vec![ByteScorer { table: table.clone(), bias: 0.5 }], 9);
        // The later piece first: ids decide ties, not the order of scans.
        scanner.scan(&byte_scan::pack(&codes[128 * 3..], 3), 500 - 128, 7 + 128);
        scanner.scan(&byte_scan::pack(&codes[..128 * 3], 3), 128, 7);
        assert_eq!(Box::new(scanner).finish(), [want]);
    }

    #[test]
    fn rounded_tables_find_what_is_near() {
        let codes = bytes(700 * 4, 4);
        let table = noise(8 * NIBBLE, 5);
        let mut exact = vec![0.0; 700];
        ByteScorer { table: pairs(&table), bias: 2.0 }.score(&codes, &mut exact);
        let mut scanner = NibbleScanner::new(vec![Rounded::new(&table, 2.0)], 8, 10);
        scanner.scan(&fast_scan::pack(&codes[..320 * 4], 8), 320, 0);
        scanner.scan(&fast_scan::pack(&codes[320 * 4..], 8), 380, 320);
        let found = Box::new(scanner).finish().remove(0);
        let mut sorted = exact.clone();
        sorted.sort_by(f32::total_cmp);
        // Each of 8 entries is off by half a step of 3 / 255 at most.
        let slack = 8.0 * 0.5 * 3.0 / 255.0;
        for (i, &(distance, id)) in found.iter().enumerate() {
            assert!((distance - exact[id as usize]).abs() <= slack * 1.001);
            assert!(exact[id as usize] <= sorted[i] + 2.0 * slack);
        }
        assert_eq!(found.len(), 10);
    }

    #[test]
    fn tables_of_one_value_are_no_error() {
        let mut scanner = NibbleScanner::new(vec![Rounded::new(&[4.0; 2 * NIBBLE], 0.0)], 2, 3);
        scanner.scan(&fast_scan::pack(&[0; 5], 2), 5, 0);
        assert_eq!(Box::new(scanner).finish(), [[(8.0, 0), (8.0, 1), (8.0, 2)]]);
        // Overflow in many parts must not make sums pass 16 bits.
        let mut wild = vec![0.0; 300 * NIBBLE];
        wild.iter_mut().step_by(3).for_each(|entry| *entry = f32::INFINITY);
        let mut scanner = NibbleScanner::new(vec![Rounded::new(&wild, 0.0)], 300, 3);
        scanner.scan(&fast_scan::pack(&[0xff; 5 * 150], 300), 5, 0);
        assert_eq!(Box::new(scanner).finish()[0].len(), 3);
    }
}
