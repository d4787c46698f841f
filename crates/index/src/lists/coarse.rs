//! The centroids of lists.

use crate::array::Array;
use crate::file::{OpenError, Part, PartKind, Sections};
use data::{Metric, Rows};
use kernels::{KMeansConfig, Panels, Seeds, SplitMix64, kmeans};
use rayon::prelude::*;

/// Rows a list that centroids are learnt from, at most.
const ROWS_A_LIST: usize = 64;
/// Rounds of k-means; more change lists little.
const ROUNDS: usize = 10;
/// Rows that one task puts into lists.
const CHUNK: usize = 256;

/// One centroid a list.
pub(super) struct Coarse {
    /// `lists x dim`.
    centroids: Array<f32>,
    dim: usize,
}

impl Coarse {
    /// Learns `lists` centroids from a sample of `rows`.
    pub(super) fn train(rows: Rows<'_, f32>, lists: usize, metric: Metric, seed: u64) -> Self {
        let dim = rows.dim();
        let sample = sample(rows, lists.saturating_mul(ROWS_A_LIST), seed);
        let config = KMeansConfig {
            rounds: ROUNDS,
            seeds: Seeds::Random,
            // Rows that are compared by direction lie in lists by direction.
            spherical: metric == Metric::Dot,
            ..KMeansConfig::new(lists, seed)
        };
        let learnt = kmeans(&sample, dim, &config).centroids;
        let mut centroids = Array::filled(learnt.len(), 0.0);
        centroids.as_mut().copy_from_slice(&learnt);
        Self { centroids, dim }
    }

    pub(super) fn open(sections: &Sections<'_>, lists: usize) -> Result<Self, OpenError> {
        let dim = sections.dim();
        let centroids = sections.array(PartKind::Centroids, lists.checked_mul(dim))?;
        Ok(Self { centroids, dim })
    }

    pub(super) fn part(&self) -> Part<'_> {
        Part::new(PartKind::Centroids, &self.centroids)
    }

    /// The list of each row.
    pub(super) fn assign(&self, rows: Rows<'_, f32>, metric: Metric) -> Vec<u32> {
        let panels = match metric {
            Metric::L2 => Panels::new(&self.centroids, self.dim),
            Metric::Dot => {
                let zeros = vec![0.0; self.centroids.len() / self.dim];
                Panels::with_starts(&self.centroids, self.dim, &zeros)
            }
        };
        let mut lists = vec![0; rows.len()];
        lists.par_chunks_mut(CHUNK).zip(rows.as_slice().par_chunks(CHUNK * self.dim)).for_each(
            |(lists, rows)| {
                panels.nearest(rows, lists, &mut vec![0.0; lists.len()]);
            },
        );
        lists
    }

    /// The `probes` nearest lists of each query, nearest first.
    pub(super) fn nearest(&self, queries: Rows<'_, f32>, metric: Metric, probes: usize) -> Vec<Vec<u32>> {
        let nearest = match metric {
            Metric::L2 => kernels::l2_nearest,
            Metric::Dot => kernels::dot_nearest,
        };
        let found = nearest(queries.as_slice(), &self.centroids, self.dim, probes);
        found.into_iter().map(|lists| lists.into_iter().map(|(_, list)| list).collect()).collect()
    }

    /// The centroid of a list.
    pub(super) fn centroid(&self, list: usize) -> &[f32] {
        &self.centroids[list * self.dim..][..self.dim]
    }

    /// What to look for among the residuals of a list, and what to add to their distances.
    pub(super) fn residual(&self, query: &[f32], list: usize, metric: Metric) -> (Vec<f32>, f32) {
        let centroid = self.centroid(list);
        match metric {
            Metric::L2 => (query.iter().zip(centroid).map(|(q, c)| q - c).collect(), 0.0),
            Metric::Dot => (query.to_vec(), -kernels::dot(query, centroid)),
        }
    }
}

/// At most `most` different rows, in their order.
pub(crate) fn sample(rows: Rows<'_, f32>, most: usize, seed: u64) -> Vec<f32> {
    if rows.len() <= most {
        return rows.as_slice().to_vec();
    }
    // One of each stretch, so that rows in order of their class are all met.
    let mut random = SplitMix64::named(seed, 0x6c69_7374);
    let place = |i: usize| (i as u128 * rows.len() as u128 / most as u128) as usize;
    (0..most).flat_map(|i| rows.row(place(i) + random.below(place(i + 1) - place(i)))).copied().collect()
}
