//! A scan by any code's scorer: one block of codes at a time, no packing.

use crate::{Codec, Scanner, Scorer};
use data::{Metric, Rows};
use kernels::TopK;

/// Codes scored at once: their distances stay in the cache.
const BLOCK: usize = 256;

/// The scanner of codes that are scanned in the order they are stored.
pub struct ByScore<'a> {
    code_len: usize,
    queries: Vec<(Box<dyn Scorer + 'a>, TopK)>,
}

impl<'a> ByScore<'a> {
    /// Scans with the scorers of `codec`.
    #[must_use]
    pub fn new(codec: &'a dyn Codec, queries: Rows<'_, f32>, metric: Metric, k: usize) -> Self {
        let queries = queries.iter().map(|query| (codec.scorer(query, metric), TopK::new(k))).collect();
        Self { code_len: codec.code_len(), queries }
    }
}

impl Scanner for ByScore<'_> {
    fn scan(&mut self, packed: &[u8], len: usize, first: u64) {
        let mut distances = [0.0; BLOCK];
        let mut id = first;
        for codes in packed[..len * self.code_len].chunks(BLOCK * self.code_len) {
            let distances = &mut distances[..codes.len() / self.code_len];
            for (scorer, top) in &mut self.queries {
                scorer.score(codes, distances);
                for (id, &distance) in (id..).zip(&*distances) {
                    if top.would_keep(distance) {
                        top.push(distance, id);
                    }
                }
            }
            id += distances.len() as u64;
        }
    }

    fn finish(self: Box<Self>) -> Vec<Vec<(f32, u64)>> {
        self.queries.into_iter().map(|(_, top)| top.into_sorted()).collect()
    }
}
