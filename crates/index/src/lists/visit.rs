//! Visits to lists: the codes of a list are read once for all queries of a block that look into it.
//!
//! Queries visit their nearest few lists first, as those soon tell how near an answer must be, then the others, each
//! time in the order of the lists' numbers. The order is the same for a query alone and among others, so that scanners
//! which remember what they met find the same either way.

use super::Lists;
use super::coarse::Coarse;
use super::sieve::Sieve;
use crate::search::Stats;
use data::Rows;
use kernels::TopK;
use quant::{Codec, Slab};

/// Lists that a query visits first.
const FIRST: usize = 4;

/// What is found for each query: distances and places, nearest first.
pub(super) type Found = Vec<Vec<(f32, u64)>>;

/// The lists that the queries of a block visit.
pub(super) struct Visits {
    /// Whether the list is one of the others, its number, and the query; ascending.
    pairs: Vec<(bool, u32, u32)>,
}

impl Visits {
    /// Query `i` visits the lists `probes[i]`, of which the nearest come first.
    pub(super) fn new(probes: &[Vec<u32>]) -> Self {
        let each = (0..).zip(probes);
        let visits = |(query, lists): (u32, &'_ Vec<u32>)| {
            lists.iter().enumerate().map(move |(i, &list)| (i >= FIRST, list, query)).collect::<Vec<_>>()
        };
        let mut pairs: Vec<(bool, u32, u32)> = each.flat_map(visits).collect();
        pairs.sort_unstable();
        // A damaged file may have a router name a list twice.
        pairs.dedup();
        Self { pairs }
    }

    /// Each list with the queries that visit it.
    fn lists(&self) -> impl Iterator<Item = (usize, impl Iterator<Item = u32>)> {
        let groups = self.pairs.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1));
        groups.map(|group| (group[0].1 as usize, group.iter().map(|&(.., query)| query)))
    }
}

impl Lists {
    /// The `k` nearest by the code for each query, among the lists that it visits.
    pub(super) fn scan(
        &self,
        queries: Rows<'_, f32>,
        visits: &Visits,
        sieve: Option<&Sieve<'_>>,
        k: usize,
    ) -> (Found, Stats) {
        match self.coarse.as_ref().filter(|_| self.residual()) {
            Some(coarse) => self.scan_residuals(coarse, queries, visits, sieve, k),
            None => self.scan_rows(queries, visits, sieve, k),
        }
    }

    /// Codes of rows: one scanner goes through all lists.
    fn scan_rows(
        &self,
        queries: Rows<'_, f32>,
        visits: &Visits,
        sieve: Option<&Sieve<'_>>,
        k: usize,
    ) -> (Found, Stats) {
        let mut stats = Stats::default();
        let mut scanner = self.codec.scanner(queries, self.metric, k);
        let (mut which, mut live) = (Vec::new(), Vec::new());
        for (list, visitors) in visits.lists() {
            which.clear();
            which.extend(visitors);
            let part = self.sifted(list, sieve, &mut live);
            stats.visited(which.len(), part.found);
            part.scan(&*self.codec, |slab| scanner.scan(slab, &which));
        }
        (scanner.finish(), stats)
    }

    /// A list and those of its rows that pass, whose bits are written to `live`.
    fn sifted<'a>(&'a self, list: usize, sieve: Option<&Sieve<'_>>, live: &'a mut Vec<u64>) -> Part<'a> {
        let (start, len, codes) = self.places.list(list);
        match sieve {
            None => Part { start, len, codes, live: None, found: len },
            Some(sieve) => {
                let found = sieve.live(&self.places, start, len, live);
                Part { start, len, codes, live: Some(live), found }
            }
        }
    }

    /// Codes of residuals: each list has its own scanner, which is told what is known so far.
    fn scan_residuals(
        &self,
        coarse: &Coarse,
        queries: Rows<'_, f32>,
        visits: &Visits,
        sieve: Option<&Sieve<'_>>,
        k: usize,
    ) -> (Found, Stats) {
        let mut stats = Stats::default();
        let mut live = Vec::new();
        let mut tops = vec![TopK::new(k); queries.len()];
        let (mut which, mut all, mut residuals, mut bases) = (vec![], vec![], vec![], vec![]);
        for (list, visitors) in visits.lists() {
            which.clear();
            which.extend(visitors);
            let part = self.sifted(list, sieve, &mut live);
            stats.visited(which.len(), part.found);
            if part.found == 0 {
                continue;
            }
            residuals.clear();
            bases.clear();
            for &query in &which {
                bases.push(coarse.residual(queries.row(query as usize), list, self.metric, &mut residuals));
            }
            let residuals = Rows::new(&residuals, self.dim).expect("a residual is as long as a row");
            let mut scanner = self.codec.scanner(residuals, self.metric, k);
            for (i, (&query, base)) in which.iter().zip(&bases).enumerate() {
                let top = &tops[query as usize];
                let limit = top.threshold().unwrap_or(f32::INFINITY);
                // Sums are rounded: what ties with the limit stays.
                let slack = f32::EPSILON * (limit.abs() + base.abs());
                scanner.expect(i, top.len(), limit - base + slack);
            }
            all.extend(all.len() as u32..which.len() as u32);
            part.scan(&*self.codec, |slab| scanner.scan(slab, &all[..which.len()]));
            for ((found, &query), base) in scanner.finish().into_iter().zip(&which).zip(&bases) {
                found
                    .into_iter()
                    .for_each(|(distance, place)| tops[query as usize].push(distance + base, place));
            }
        }
        (tops.into_iter().map(TopK::into_sorted).collect(), stats)
    }
}

/// A list, and which of its rows may be found.
struct Part<'a> {
    start: u32,
    len: usize,
    codes: &'a [u8],
    live: Option<&'a [u64]>,
    /// Rows that may be found.
    found: usize,
}

impl Part<'_> {
    /// Calls `scan` with the stretches that hold rows which may be found.
    fn scan(&self, codec: &dyn Codec, mut scan: impl FnMut(&Slab<'_>)) {
        /// Rows of a word. All packings have blocks of as many, or of a whole part of as many.
        const WORD: usize = 64;
        /// Where codes lie row by row and fewer than one in as many may be found, each is looked at alone.
        const ALONE: usize = 8;
        let Some(live) = self.live else {
            return scan(&Slab::new(self.codes, self.len, self.start.into()));
        };
        let slab = |first: usize, end: usize, live| Slab {
            packed: &self.codes[codec.packed_len(first)..codec.packed_len(end)],
            len: end - first,
            first: u64::from(self.start) + first as u64,
            live,
        };
        let alone = codec.packed_len(1) == codec.code_len() && self.found * ALONE <= self.len;
        let mut at = 0;
        while let Some(skipped) = live[at..].iter().position(|&word| word != 0) {
            let from = at + skipped;
            if alone {
                let mut word = live[from];
                while word != 0 {
                    let row = from * WORD + word.trailing_zeros() as usize;
                    scan(&slab(row, row + 1, None));
                    word &= word - 1;
                }
                at = from + 1;
            } else {
                let run = live[from..].iter().position(|&word| word == 0);
                at = run.map_or(live.len(), |run| from + run);
                scan(&slab(from * WORD, (at * WORD).min(self.len), Some(&live[from..at])));
            }
        }
    }
}

impl Stats {
    /// Counts visits of `queries` to `len` rows of a list.
    fn visited(&mut self, queries: usize, len: usize) {
        self.lists += queries as u64;
        self.distances += (queries * len) as u64;
    }
}
