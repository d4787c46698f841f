//! Scans of codes in the order they are stored: by any code's scorer, or by decoding.

use crate::{Codec, Scanner, Scorer, Slab};
use data::{Metric, Rows};
use kernels::{Isa, TopK};

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
    fn scan(&mut self, slab: &Slab<'_>, which: &[u32]) {
        let mut distances = [0.0; BLOCK];
        let mut start = 0;
        for codes in slab.packed[..slab.len * self.code_len].chunks(BLOCK * self.code_len) {
            let distances = &mut distances[..codes.len() / self.code_len];
            for &query in which {
                let (scorer, top) = &mut self.queries[query as usize];
                scorer.score(codes, distances);
                offer(top, slab, start, distances);
            }
            start += distances.len();
        }
    }

    fn finish(self: Box<Self>) -> Vec<Vec<(f32, u64)>> {
        self.queries.into_iter().map(|(_, top)| top.into_sorted()).collect()
    }
}

/// Vectors decoded at once: they stay in the second cache.
const DECODED: usize = 64;

/// Writes the distances of `queries` to `rows`, both row-major: all rows of the first query first.
fn measure(queries: &[f32], rows: &[f32], dim: usize, metric: Metric, distances: &mut [f32]) {
    let isa = Isa::current();
    match metric {
        Metric::L2 => isa.l2_tile(queries, rows, dim, distances),
        Metric::Dot => {
            isa.dot_tile(queries, rows, dim, distances);
            distances.iter_mut().for_each(|distance| *distance = -*distance);
        }
    }
}

/// The scorer of codes that decode fast: distances to the decoded vectors.
pub struct Decoded<'a> {
    codec: &'a dyn Codec,
    query: Vec<f32>,
    metric: Metric,
    rows: Vec<f32>,
}

impl<'a> Decoded<'a> {
    /// Scores codes of `codec` for `query`.
    #[must_use]
    pub fn new(codec: &'a dyn Codec, query: &[f32], metric: Metric) -> Self {
        Self { codec, query: query.to_vec(), metric, rows: vec![0.0; DECODED * codec.dim()] }
    }
}

impl Scorer for Decoded<'_> {
    fn score(&mut self, codes: &[u8], distances: &mut [f32]) {
        let (dim, code_len) = (self.codec.dim(), self.codec.code_len());
        for (codes, distances) in codes.chunks(DECODED * code_len).zip(distances.chunks_mut(DECODED)) {
            let rows = &mut self.rows[..distances.len() * dim];
            self.codec.decode(codes, rows);
            measure(&self.query, rows, dim, self.metric, distances);
        }
    }
}

/// The scanner of codes that decode fast: each is decoded once for all queries. Finds what
/// [`Decoded`] says, to the bit.
pub struct ByDecoding<'a> {
    codec: &'a dyn Codec,
    queries: Vec<f32>,
    metric: Metric,
    rows: Vec<f32>,
    /// The queries of one slab.
    asked: Vec<f32>,
    tops: Vec<TopK>,
}

impl<'a> ByDecoding<'a> {
    /// Scans codes of `codec`.
    #[must_use]
    pub fn new(codec: &'a dyn Codec, queries: Rows<'_, f32>, metric: Metric, k: usize) -> Self {
        let tops = vec![TopK::new(k); queries.len()];
        let rows = vec![0.0; DECODED * codec.dim()];
        Self { codec, queries: queries.as_slice().to_vec(), metric, rows, asked: Vec::new(), tops }
    }
}

impl Scanner for ByDecoding<'_> {
    fn scan(&mut self, slab: &Slab<'_>, which: &[u32]) {
        let (dim, code_len) = (self.codec.dim(), self.codec.code_len());
        self.asked.clear();
        which.iter().for_each(|&query| self.asked.extend(&self.queries[query as usize * dim..][..dim]));
        let mut distances = vec![0.0; which.len() * DECODED];
        let mut start = 0;
        for codes in slab.packed[..slab.len * code_len].chunks(DECODED * code_len) {
            let count = codes.len() / code_len;
            let rows = &mut self.rows[..count * dim];
            self.codec.decode(codes, rows);
            let distances = &mut distances[..which.len() * count];
            measure(&self.asked, rows, dim, self.metric, distances);
            for (&query, distances) in which.iter().zip(distances.chunks_exact(count)) {
                offer(&mut self.tops[query as usize], slab, start, distances);
            }
            start += count;
        }
    }

    fn finish(self: Box<Self>) -> Vec<Vec<(f32, u64)>> {
        self.tops.into_iter().map(TopK::into_sorted).collect()
    }
}

/// Offers `distances`, the first of which is that of vector `start` of the slab.
fn offer(top: &mut TopK, slab: &Slab<'_>, start: usize, distances: &[f32]) {
    for (i, &distance) in (start..).zip(distances) {
        if top.would_keep(distance) && slab.lives(i) {
            top.push(distance, slab.first + i as u64);
        }
    }
}
