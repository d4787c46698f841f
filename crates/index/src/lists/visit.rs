//! Visits to lists: the codes of a list are read once for all queries of a block that look into it.
//!
//! Queries visit their nearest few lists first, as those soon tell how near an answer must be, then the others, each
//! time in the order of the lists' numbers. The order is the same for a query alone and among others, so that scanners
//! which remember what they met find the same either way.

use super::Lists;
use super::coarse::Coarse;
use crate::search::Stats;
use data::Rows;
use kernels::TopK;
use quant::Slab;

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
    pub(super) fn scan(&self, queries: Rows<'_, f32>, visits: &Visits, k: usize) -> (Found, Stats) {
        match self.coarse.as_ref().filter(|_| self.residual()) {
            Some(coarse) => self.scan_residuals(coarse, queries, visits, k),
            None => self.scan_rows(queries, visits, k),
        }
    }

    /// Codes of rows: one scanner goes through all lists.
    fn scan_rows(&self, queries: Rows<'_, f32>, visits: &Visits, k: usize) -> (Found, Stats) {
        let mut stats = Stats::default();
        let mut scanner = self.codec.scanner(queries, self.metric, k);
        let mut which = Vec::new();
        for (list, visitors) in visits.lists() {
            which.clear();
            which.extend(visitors);
            let (start, len, codes) = self.places.list(list);
            stats.visited(which.len(), len);
            scanner.scan(&Slab::new(codes, len, start.into()), &which);
        }
        (scanner.finish(), stats)
    }

    /// Codes of residuals: each list has its own scanner, which is told what is known so far.
    fn scan_residuals(
        &self,
        coarse: &Coarse,
        queries: Rows<'_, f32>,
        visits: &Visits,
        k: usize,
    ) -> (Found, Stats) {
        let mut stats = Stats::default();
        let mut tops = vec![TopK::new(k); queries.len()];
        let (mut which, mut all, mut residuals, mut bases) = (vec![], vec![], vec![], vec![]);
        for (list, visitors) in visits.lists() {
            which.clear();
            which.extend(visitors);
            let (start, len, codes) = self.places.list(list);
            stats.visited(which.len(), len);
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
            scanner.scan(&Slab::new(codes, len, start.into()), &all[..which.len()]);
            for ((found, &query), base) in scanner.finish().into_iter().zip(&which).zip(&bases) {
                found
                    .into_iter()
                    .for_each(|(distance, place)| tops[query as usize].push(distance + base, place));
            }
        }
        (tops.into_iter().map(TopK::into_sorted).collect(), stats)
    }
}

impl Stats {
    /// Counts visits of `queries` to a list of `len` rows.
    fn visited(&mut self, queries: usize, len: usize) {
        self.lists += queries as u64;
        self.distances += (queries * len) as u64;
    }
}
