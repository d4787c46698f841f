//! Scans of lists too short to be scanned one by one: the codes of many are picked up and scored together.

use super::Lists;
use super::product::Product;
use super::sieve::{Sieve, lists_of, within};
use super::visit::Found;
use crate::search::Stats;
use data::{Metric, Rows};
use kernels::Reservoir;
use quant::Scorer;

/// Codes scored at once.
const BATCH: usize = 256;
/// Lists whose codes are asked for before they are picked up.
const AHEAD: usize = 16;

/// Rows of one list.
struct Run {
    start: u32,
    len: u32,
    /// What the list adds to their distances.
    base: f32,
}

/// Codes that wait to be scored.
struct Batch<'a> {
    scorer: Box<dyn Scorer + 'a>,
    /// What rows add to distances made of products; none where distances are those of codes.
    terms: Option<&'a [f32]>,
    codes: Vec<u8>,
    rows: Vec<(u32, f32)>,
    distances: Vec<f32>,
    found: Reservoir,
}

impl Batch<'_> {
    /// Takes the row at a place, whose list adds `base`.
    #[inline]
    fn take(&mut self, place: u32, base: f32, code: &[u8]) {
        self.codes.extend_from_slice(code);
        self.rows.push((place, base));
        if self.rows.len() == BATCH {
            self.score();
        }
    }

    fn score(&mut self) {
        self.distances.resize(self.rows.len(), 0.0);
        self.scorer.score(&self.codes, &mut self.distances);
        for (&(place, base), &distance) in self.rows.iter().zip(&self.distances) {
            let distance = match self.terms {
                Some(terms) => base + terms[place as usize] + 2.0 * distance,
                None => base + distance,
            };
            self.found.push(distance, place);
        }
        self.codes.clear();
        self.rows.clear();
    }
}

impl Lists {
    /// As [`Lists::gather`], for each query.
    pub(super) fn gather_all(
        &self,
        product: &Product,
        queries: Rows<'_, f32>,
        probes: usize,
        sieve: Option<&Sieve<'_>>,
        k: usize,
    ) -> (Found, Stats) {
        let mut stats = Stats::default();
        let each = queries.iter().map(|query| {
            let (found, cost) = self.gather(product, query, probes, sieve, k);
            stats += cost;
            found
        });
        (each.collect(), stats)
    }

    /// The `k` nearest by the code among the rows of the `probes` nearest lists that pass; among all that pass where
    /// the sieve lists them.
    fn gather(
        &self,
        product: &Product,
        query: &[f32],
        probes: usize,
        sieve: Option<&Sieve<'_>>,
        k: usize,
    ) -> (Vec<(f32, u64)>, Stats) {
        let sides = product.distances(query, self.metric);
        let lists = match sieve {
            Some(Sieve::Listed(places)) => lists_of(places, &self.places),
            _ => sides.nearest(probes),
        };
        let run = |&list: &u32| {
            let (start, len) = self.places.span(list as usize);
            let base = if self.residual() { sides.of(list) } else { 0.0 };
            (len > 0).then_some(Run { start, len, base })
        };
        let runs: Vec<Run> = lists.iter().filter_map(run).collect();
        // See `product`: products with residuals and a term a row make distances.
        let (metric, terms) = match &self.terms {
            Some(terms) => (Metric::Dot, Some(&terms[..])),
            None => (self.metric, None),
        };
        let mut batch = Batch {
            scorer: self.codec.scorer(query, metric),
            terms,
            codes: Vec::with_capacity(BATCH * self.codec.code_len()),
            rows: Vec::with_capacity(BATCH),
            distances: Vec::new(),
            found: Reservoir::new(k),
        };
        let scored = self.pick(&runs, sieve, &mut batch);
        batch.score();
        let found = batch.found.into_sorted().into_iter().map(|(distance, place)| (distance, place.into()));
        let distances = sides.computed() + scored;
        (found.collect(), Stats { distances, lists: lists.len() as u64, ..Stats::default() })
    }

    /// Hands the rows of all runs that pass to `batch`; gives their number.
    fn pick(&self, runs: &[Run], sieve: Option<&Sieve<'_>>, batch: &mut Batch<'_>) -> u64 {
        let size = self.codec.code_len();
        let codes = |place: u32, rows: usize| {
            let at = place as usize * size;
            self.places.codes.get(at..at + rows * size).unwrap_or_default()
        };
        let mut scored = 0;
        for (i, run) in runs.iter().enumerate() {
            if let Some(next) = runs.get(i + AHEAD) {
                kernels::prefetch(codes(next.start, next.len as usize));
            }
            let places = run.start..run.start + run.len;
            let each = places.clone().zip(codes(run.start, run.len as usize).chunks_exact(size));
            let here = match sieve {
                Some(Sieve::Listed(listed)) => within(listed, run.start, run.len as usize),
                _ => &[],
            };
            for (place, code) in each {
                let passes = match sieve {
                    None => true,
                    Some(Sieve::Asked(filter)) => filter.passes(self.places.ids[place as usize].into()),
                    Some(Sieve::Listed(_)) => here.binary_search(&place).is_ok(),
                };
                if passes {
                    batch.take(place, run.base, code);
                    scored += 1;
                }
            }
        }
        scored
    }
}
