//! Scorers and scanners of codes whose distance is a sum of looked-up entries.
//!
//! A byte table has 256 entries for each byte of a code: product codes of eight bits have one part a
//! byte, those of four bits two. A nibble table has 16 entries for each half byte.

use crate::{Scanner, Scorer, Slab};
use kernels::fast_scan::SumReservoir;
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

/// The halves of each word, the lower first.
pub(crate) fn half_words(words: &[u64]) -> Vec<u32> {
    words.iter().flat_map(|&word| [word as u32, (word >> 32) as u32]).collect()
}

/// A pass over the elements at ascending positions, to change them.
fn at_mut<'a, T>(items: &'a mut [T], which: &'a [u32]) -> impl Iterator<Item = &'a mut T> {
    let (mut rest, mut next) = (items, 0);
    which.iter().map(move |&at| {
        let (item, behind) = std::mem::take(&mut rest)[at as usize - next..]
            .split_first_mut()
            .expect("positions are those of queries, ascending");
        (rest, next) = (behind, at as usize + 1);
        item
    })
}

/// What collects rows of 32-bit numbers for one query.
trait Collector {
    /// The rows collected, at distances.
    fn take(&mut self) -> Vec<(f32, u32)>;
    /// Leaves out what lies beyond `limit` from now on.
    fn lower(&mut self, limit: f32);
}

/// What is found for each query, and under which numbers: row `r` of a collector has the id `base + r`.
struct Lists<C> {
    found: Vec<C>,
    base: u64,
    /// What was found under other bases.
    tops: Vec<TopK>,
}

impl<C: Collector> Lists<C> {
    fn new(found: Vec<C>, k: usize) -> Self {
        Self { tops: vec![TopK::new(k); found.len()], found, base: 0 }
    }

    /// The number that the row with id `first` gets; those of `rows` rows from it on have 32 bits.
    fn number(&mut self, first: u64, rows: usize) -> u32 {
        let fits = first.checked_sub(self.base).is_some_and(|at| at + rows as u64 <= u64::from(u32::MAX));
        if !fits {
            self.flush();
            self.base = first;
        }
        (first - self.base) as u32
    }

    /// Empties the collectors.
    fn flush(&mut self) {
        for (found, top) in self.found.iter_mut().zip(&mut self.tops) {
            found.take().into_iter().for_each(|(d, row)| top.push(d, self.base + u64::from(row)));
            found.lower(top.threshold().unwrap_or(f32::INFINITY));
        }
    }

    fn finish(mut self) -> Vec<Vec<(f32, u64)>> {
        if self.tops.iter().all(TopK::is_empty) {
            let base = self.base;
            let list = |found: &mut C| {
                let mut list: Vec<_> =
                    found.take().into_iter().map(|(d, row)| (d, base + u64::from(row))).collect();
                // Different sums may round to one distance.
                let order = |a: &(f32, u64), b: &(f32, u64)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
                if !list.is_sorted_by(|a, b| order(a, b).is_le()) {
                    list.sort_by(order);
                }
                list
            };
            return self.found.iter_mut().map(list).collect();
        }
        self.flush();
        self.tops.into_iter().map(TopK::into_sorted).collect()
    }
}

/// Rows by their exact distance.
struct Exact {
    k: usize,
    found: Reservoir,
    /// Vectors that the query knows from elsewhere.
    held: usize,
}

impl Collector for Exact {
    fn take(&mut self) -> Vec<(f32, u32)> {
        let limit = self.found.limit();
        let found = std::mem::replace(&mut self.found, Reservoir::new(self.k));
        self.found.lower_limit(limit);
        found.into_sorted()
    }

    fn lower(&mut self, limit: f32) {
        self.found.lower_limit(limit);
    }
}

/// Rows by the sum of a rounded table.
struct Sums {
    k: usize,
    found: SumReservoir,
    table: Rounded,
}

impl Collector for Sums {
    fn take(&mut self) -> Vec<(f32, u32)> {
        let limit = self.found.limit();
        let found = std::mem::replace(&mut self.found, SumReservoir::new(self.k));
        self.found.lower_limit(limit);
        let distance = |sum: u16| f32::from(sum) / self.table.scale + self.table.base;
        found.into_sorted().into_iter().map(|(sum, row)| (distance(sum), row)).collect()
    }

    fn lower(&mut self, limit: f32) {
        if limit.is_nan() {
            return;
        }
        // Sums that round to the limit are let in.
        self.found.lower_limit(((limit - self.table.base) * self.table.scale + 1.0) as u16);
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
    lists: Lists<Exact>,
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
        let exact = |_: &ByteScorer| Exact { k, found: Reservoir::new(k), held: 0 };
        let lists = Lists::new(scorers.iter().map(exact).collect(), k);
        let (tables, biases) = scorers.into_iter().map(|scorer| (scorer.table, scorer.bias)).unzip();
        Self { k, tables, biases, low: 0, gates: None, lists }
    }

    /// For codes packed by [`byte_scan::pack_wide`], and tables of `256 2^low` entries a part.
    pub(crate) fn wide(self, low: u32) -> Self {
        Self { low, ..self }
    }

    /// Leaves out codes, after the first `k`, that differ from the query's in more than `limit` bits. The query's has
    /// the byte of the least entry of each part.
    pub(crate) fn gated(self, limit: u32) -> Self {
        let least = |entries: &[f32; BYTE]| {
            let low = entries.iter().copied().fold(f32::INFINITY, f32::min);
            entries.iter().position(|&entry| entry == low).unwrap_or(0) as u8
        };
        let code = |table: &Vec<f32>| table.as_chunks().0.iter().map(least).collect();
        let codes = self.tables.iter().map(code).collect();
        Self { gates: Some(Gates { codes, limit }), ..self }
    }
}

impl Scanner for ByteScanner {
    fn scan(&mut self, slab: &Slab<'_>, which: &[u32]) {
        let Some(parts) = self.tables.first().map(|table| table.len() / (BYTE << self.low)) else { return };
        let chunk = byte_scan::packed_len(ROWS, parts) * if self.low > 0 { 2 } else { 1 };
        let isa = Isa::current();
        for (start, packed) in (0..slab.len).step_by(ROWS).zip(slab.packed.chunks(chunk)) {
            let rows = ROWS.min(slab.len - start);
            let mut codes = match self.low {
                0 => byte_scan::Codes::new(packed, parts, rows),
                low => byte_scan::Codes::wide(packed, parts, low, rows),
            };
            if let Some(live) = slab.live {
                codes = codes.only(&live[start / 64..]);
            }
            let first = self.lists.number(slab.first + start as u64, rows);
            let Lists { found, tops, .. } = &mut self.lists;
            let queries = at_mut(found, which).zip(which).map(|(exact, &query)| {
                let query = query as usize;
                // The first rows pass a gate whatever they are; which of them live is not known there.
                let gates = self.gates.as_ref().filter(|_| slab.live.is_none());
                let held = exact.held + tops[query].len() + exact.found.len();
                let gate = gates.map(|gates| byte_scan::Gate {
                    code: &gates.codes[query],
                    limit: gates.limit,
                    open: self.k.saturating_sub(held),
                });
                let (table, bias) = (&self.tables[query], self.biases[query]);
                byte_scan::Query { table, bias, gate, found: &mut exact.found }
            });
            let mut queries: Vec<_> = queries.collect();
            isa.byte_scan(&codes, first, &mut queries);
        }
    }

    fn expect(&mut self, query: usize, held: usize, limit: f32) {
        let exact = &mut self.lists.found[query];
        exact.held = held;
        exact.lower(limit);
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
        let parts = table.as_chunks::<NIBBLE>().0;
        let (mut widest, mut sum) = (0f32, 0f32);
        let mut leasts = Vec::with_capacity(parts.len());
        for part in parts {
            let (least, most) = extremes(part);
            leasts.push(least);
            (widest, sum) = (widest.max(most - least), sum + (most - least));
        }
        // Each entry may be rounded up, hence the room.
        let room = f32::from(u16::MAX) - parts.len() as f32;
        let scale = (255.0 / widest).min(room / sum);
        // Without a scale (entries of one value, or that overflow) all sums are zero.
        let usable = scale.is_finite() && scale > 0.0;
        let mut base = bias;
        let mut entries = vec![0; table.len()];
        for ((part, least), out) in parts.iter().zip(leasts).zip(entries.as_chunks_mut::<NIBBLE>().0) {
            base += least;
            if usable {
                // Integers of 32 bits come of registers, bytes one by one.
                let rounded: [i32; NIBBLE] =
                    std::array::from_fn(|i| (scale * (part[i] - least) + 0.5) as i32);
                *out = rounded.map(|value| value.clamp(0, 255) as u8);
            }
        }
        let scale = if usable { scale } else { 1.0 };
        Self { table: fast_scan::Table::new(&entries), scale, base }
    }
}

/// The least and the largest entry; NaN counts as neither.
fn extremes(part: &[f32; NIBBLE]) -> (f32, f32) {
    let (mut low, mut high) = (*part, *part);
    let mut width = NIBBLE / 2;
    while width > 0 {
        for i in 0..width {
            low[i] = low[i].min(low[i + width]);
            high[i] = high[i].max(high[i + width]);
        }
        width /= 2;
    }
    (low[0], high[0])
}

/// The nearest of codes packed by [`fast_scan::pack`], by tables rounded to bytes.
pub(crate) struct NibbleScanner {
    parts: usize,
    lists: Lists<Sums>,
}

impl NibbleScanner {
    /// For one table a query, all of `parts`.
    pub(crate) fn new(tables: Vec<Rounded>, parts: usize, k: usize) -> Self {
        let sums = |table| Sums { k, found: SumReservoir::new(k), table };
        Self { parts, lists: Lists::new(tables.into_iter().map(sums).collect(), k) }
    }
}

impl Scanner for NibbleScanner {
    fn scan(&mut self, slab: &Slab<'_>, which: &[u32]) {
        let isa = Isa::current();
        let chunk = fast_scan::packed_len(ROWS, self.parts);
        let live = slab.live.map(half_words);
        for (start, packed) in (0..slab.len).step_by(ROWS).zip(slab.packed.chunks(chunk)) {
            let rows = ROWS.min(slab.len - start);
            let mut codes = fast_scan::Codes::new(packed, self.parts, rows);
            if let Some(live) = &live {
                codes = codes.only(&live[start / 32..]);
            }
            let first = self.lists.number(slab.first + start as u64, rows);
            let queries = at_mut(&mut self.lists.found, which);
            let mut queries: Vec<_> = queries
                .map(|Sums { table, found, .. }| fast_scan::Query { table: &table.table, bias: 0, found })
                .collect();
            isa.fast_scan(&codes, first, &mut queries);
        }
    }

    fn expect(&mut self, query: usize, _: usize, limit: f32) {
        self.lists.found[query].lower(limit);
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
        scanner.scan(&Slab::new(&byte_scan::pack(&codes[128 * 3..], 3), 500 - 128, 7 + 128), &[0]);
        scanner.scan(&Slab::new(&byte_scan::pack(&codes[..128 * 3], 3), 128, 7), &[0]);
        assert_eq!(Box::new(scanner).finish(), [want]);
    }

    #[test]
    fn rounded_tables_find_what_is_near() {
        let codes = bytes(700 * 4, 4);
        let table = noise(8 * NIBBLE, 5);
        let mut exact = vec![0.0; 700];
        ByteScorer { table: pairs(&table), bias: 2.0 }.score(&codes, &mut exact);
        let mut scanner = NibbleScanner::new(vec![Rounded::new(&table, 2.0)], 8, 10);
        scanner.scan(&Slab::new(&fast_scan::pack(&codes[..320 * 4], 8), 320, 0), &[0]);
        scanner.scan(&Slab::new(&fast_scan::pack(&codes[320 * 4..], 8), 380, 320), &[0]);
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
        scanner.scan(&Slab::new(&fast_scan::pack(&[0; 5], 2), 5, 0), &[0]);
        assert_eq!(Box::new(scanner).finish(), [[(8.0, 0), (8.0, 1), (8.0, 2)]]);
        // Overflow in many parts must not make sums pass 16 bits.
        let mut wild = vec![0.0; 300 * NIBBLE];
        wild.iter_mut().step_by(3).for_each(|entry| *entry = f32::INFINITY);
        let mut scanner = NibbleScanner::new(vec![Rounded::new(&wild, 0.0)], 300, 3);
        scanner.scan(&Slab::new(&fast_scan::pack(&[0xff; 5 * 150], 300), 5, 0), &[0]);
        assert_eq!(Box::new(scanner).finish()[0].len(), 3);
    }
}
