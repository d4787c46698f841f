//! The exact scan: every row is compared with every query.

use crate::Spec;
use crate::distance::Distance;
use crate::file::{OpenError, Part, PartKind, Sections};
use crate::search::{Effort, Filter, Index, Request, SearchError, Stats};
use crate::vectors::{self, Vectors};
use data::{Hit, Hits, Id, Metric, Rows};
use kernels::TopK;
use rayon::prelude::*;
use std::borrow::Cow;

/// Queries compared at once: each row block is read from memory once for all of them.
const QUERIES: usize = 16;
/// Values of a row block, so that it stays in the second-level cache.
const BLOCK: usize = 1 << 15;
/// Rows one task visits, so that a single query still uses every thread.
const SHARD: usize = 1 << 15;

/// All rows, compared one after another.
pub(crate) struct Scan {
    vectors: Vectors,
    metric: Metric,
}

impl Scan {
    pub(crate) fn new(vectors: Vectors, metric: Metric) -> Self {
        Self { vectors, metric }
    }

    pub(crate) fn open(sections: &Sections<'_>) -> Result<Self, OpenError> {
        Ok(Self::new(sections.vectors()?, sections.metric()))
    }
}

impl Index for Scan {
    fn spec(&self) -> Spec {
        Spec::FLAT
    }

    fn dim(&self) -> usize {
        self.vectors.dim()
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn len(&self) -> usize {
        self.vectors.len()
    }

    fn effort(&self) -> Effort {
        Effort::default()
    }

    fn search_resolved(
        &self,
        queries: Rows<'_, f32>,
        request: &Request<'_>,
        hits: &mut Hits,
    ) -> Result<Stats, SearchError> {
        let distance = Distance::new(self.metric);
        let among = match request.filter {
            Filter::All => Among::All(self.vectors.len()),
            filter => Among::These(filter.passing(self.vectors.len())),
        };
        let k = request.k.get();
        let tops: Vec<Vec<TopK>> = queries
            .as_slice()
            .par_chunks(QUERIES * queries.dim())
            .map(|block| nearest(distance, &self.vectors, block, &among, k))
            .collect();
        for top in tops.into_iter().flatten() {
            hits.push(sorted(top));
        }
        Ok(Stats { distances: (queries.len() * among.len()) as u64, ..Stats::default() })
    }

    fn parts(&self) -> Vec<Part<'_>> {
        vec![Part::new(PartKind::Rows, self.vectors.as_slice())]
    }

    fn keeps_vectors(&self) -> bool {
        true
    }

    fn vectors(&self) -> Option<Vec<f32>> {
        let places = 0..self.vectors.len() as u32;
        self.vectors.unpadded(places)
    }
}

/// The rows a scan visits.
pub(crate) enum Among<'a> {
    /// Rows `0..n`.
    All(usize),
    /// These rows, in ascending order.
    These(Cow<'a, [u32]>),
}

impl Among<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::All(n) => *n,
            Self::These(ids) => ids.len(),
        }
    }
}

/// The pairs kept, as answers.
pub(crate) fn sorted(top: TopK) -> impl Iterator<Item = Hit> {
    top.into_sorted().into_iter().map(|(distance, id)| Hit { id, distance })
}

/// The `k` nearest of the rows in `among` to each of a few `queries` (unpadded, row-major).
pub(crate) fn nearest(
    distance: Distance,
    vectors: &Vectors,
    queries: &[f32],
    among: &Among<'_>,
    k: usize,
) -> Vec<TopK> {
    let padded: Vec<f32> = queries.chunks_exact(vectors.dim()).flat_map(vectors::padded).collect();
    let count = padded.len() / vectors.stride();
    let shards: Vec<Vec<TopK>> = (0..among.len().div_ceil(SHARD))
        .into_par_iter()
        .map(|shard| {
            let mut tops = vec![TopK::new(k); count];
            let rows = shard * SHARD..((shard + 1) * SHARD).min(among.len());
            match among {
                Among::All(_) => scan_block(distance, vectors, &padded, rows, &mut tops),
                Among::These(ids) => scan_ids(distance, vectors, &padded, &ids[rows], &mut tops),
            }
            tops
        })
        .collect();
    let mut tops = vec![TopK::new(k); count];
    for (top, found) in shards.into_iter().flat_map(|shard| shard.into_iter().enumerate()) {
        found.into_sorted().into_iter().for_each(|(d, id)| tops[top].push(d, id));
    }
    tops
}

/// Compares `queries` with the consecutive `rows`.
fn scan_block(
    distance: Distance,
    vectors: &Vectors,
    queries: &[f32],
    rows: std::ops::Range<usize>,
    tops: &mut [TopK],
) {
    let stride = vectors.stride();
    let height = (BLOCK / stride).max(8);
    let mut out = vec![0.0; tops.len() * height];
    for start in rows.clone().step_by(height) {
        let end = (start + height).min(rows.end);
        let out = &mut out[..tops.len() * (end - start)];
        distance.tile(queries, &vectors.as_slice()[start * stride..end * stride], stride, out);
        for (top, found) in tops.iter_mut().zip(out.chunks_exact(end - start)) {
            for (id, &d) in (start as Id..).zip(found) {
                if top.would_keep(d) {
                    top.push(d, id);
                }
            }
        }
    }
}

/// Compares `queries` with the rows `ids`.
fn scan_ids(distance: Distance, vectors: &Vectors, queries: &[f32], ids: &[u32], tops: &mut [TopK]) {
    let mut out = [0.0; 256];
    for ids in ids.chunks(out.len()) {
        for (top, query) in tops.iter_mut().zip(queries.chunks_exact(vectors.stride())) {
            let out = &mut out[..ids.len()];
            distance.at(query, vectors.as_slice(), ids, out);
            for (&id, &d) in ids.iter().zip(out.iter()) {
                if top.would_keep(d) {
                    top.push(d, Id::from(id));
                }
            }
        }
    }
}
