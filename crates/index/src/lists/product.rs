//! The inverted multi-index: a list for each pair of centroids, of a first and a second half of the values.
//!
//! `2^b` centroids a half make `2^(2 b)` lists `i 2^b + j`, most of them of few rows or none. Codes lie row by row, so
//! that short lists take no more bytes than their rows; a search picks the codes of the lists it visits and scores many
//! lists at once. With residuals and distances, `|q - x|^2 = |q - c|^2 + t - 2 <q, r>`, where `r` is the coded residual
//! and `t = |c + r|^2 - |c|^2` is kept for each row: one table serves all lists.
//! Source: Babenko and Lempitsky, CVPR 2012.

use super::bounds::CENTROID_SAMPLE;
use super::coarse::sample;
use super::multi_sequence::least_cells;
use super::nearest::ROUNDS;
use crate::array::Array;
use crate::build::BuildError;
use crate::distance::Distance;
use crate::file::{OpenError, Part, PartKind, Sections};
use crate::{Phase, Watch};
use data::{Metric, Rows};
use kernels::{KMeansConfig, Panels, Seeds, kmeans_until};
use rayon::prelude::*;

/// Rows that one task puts into lists.
const CHUNK: usize = 256;

/// Centroids of both halves.
pub(super) struct Product {
    /// `count x first`, then `count x (dim - first)`.
    centroids: Array<f32>,
    /// Centroids a half.
    count: usize,
    dim: usize,
}

/// Values of the first half.
fn first(dim: usize) -> usize {
    dim.div_ceil(2)
}

/// The halves of all rows, each half by itself.
fn halves(rows: &[f32], dim: usize) -> [Vec<f32>; 2] {
    let cut = first(dim);
    let half = |range: std::ops::Range<usize>| {
        rows.chunks_exact(dim).flat_map(|row| &row[range.clone()]).copied().collect()
    };
    [half(0..cut), half(cut..dim)]
}

impl Product {
    pub(super) fn train(
        bits: u32,
        rows: Rows<'_, f32>,
        metric: Metric,
        seed: u64,
        watch: &Watch<'_>,
    ) -> Result<Self, BuildError> {
        let (count, dim) = (1 << bits, rows.dim());
        if dim < 2 {
            return Err(BuildError::Halves);
        }
        if rows.len() < count {
            return Err(BuildError::TooFew { rows: rows.len(), lists: count });
        }
        let sample = sample(rows, count * CENTROID_SAMPLE, seed);
        let config = KMeansConfig {
            rounds: ROUNDS,
            seeds: Seeds::Random,
            spherical: metric == Metric::Dot,
            ..KMeansConfig::new(count, seed)
        };
        let mut centroids = Array::filled(count * dim, 0.0);
        let mut rest = centroids.as_mut();
        for (half, width) in halves(&sample, dim).iter().zip([first(dim), dim - first(dim)]) {
            let (to, left) = rest.split_at_mut(count * width);
            watch.step(Phase::Training, 0, 1)?;
            let cut = kmeans_until(half, width, &config, watch.stop).ok_or(BuildError::Cancelled)?;
            to.copy_from_slice(&cut.centroids);
            rest = left;
        }
        Ok(Self { centroids, count, dim })
    }

    pub(super) fn open(bits: u32, sections: &Sections<'_>) -> Result<Self, OpenError> {
        let (count, dim) = (1usize << bits, sections.dim());
        if dim < 2 {
            return Err(sections.damaged("rows of one value have no halves"));
        }
        Ok(Self { centroids: sections.array(PartKind::Centroids, count.checked_mul(dim))?, count, dim })
    }

    pub(super) fn part(&self) -> Part<'_> {
        Part::new(PartKind::Centroids, &self.centroids[..])
    }

    /// The centroids of each half with the values of one.
    fn sides(&self) -> [(&[f32], usize); 2] {
        let cut = first(self.dim);
        let (a, b) = self.centroids.split_at(self.count * cut);
        [(a, cut), (b, self.dim - cut)]
    }

    pub(super) fn assign(&self, rows: Rows<'_, f32>, metric: Metric, watch: &Watch<'_>, lists: &mut [u32]) {
        let panels = self.sides().map(|(centroids, width)| match metric {
            Metric::L2 => Panels::new(centroids, width),
            Metric::Dot => Panels::with_starts(centroids, width, &vec![0.0; self.count]),
        });
        let chunks = lists.par_chunks_mut(CHUNK).zip(rows.as_slice().par_chunks(CHUNK * self.dim));
        chunks.for_each(|(lists, rows)| {
            if watch.stopped() {
                return;
            }
            let [a, b] = halves(rows, self.dim);
            let (mut second, mut scores) = (vec![0; lists.len()], vec![0.0; lists.len()]);
            panels[0].nearest(&a, lists, &mut scores);
            panels[1].nearest(&b, &mut second, &mut scores);
            lists.iter_mut().zip(second).for_each(|(list, j)| *list = *list * self.count as u32 + j);
        });
    }

    /// The centroid of a list: its halves.
    pub(super) fn centroid(&self, list: usize) -> [&[f32]; 2] {
        let [(a, first), (b, second)] = self.sides();
        let (i, j) = (list / self.count, list % self.count);
        [&a[i * first..][..first], &b[j * second..][..second]]
    }

    /// What each half of a query adds to the distance of a list.
    pub(super) fn distances(&self, query: &[f32], metric: Metric) -> Sides {
        let distance = Distance::new(metric);
        let (head, tail) = query.split_at(first(self.dim));
        let [(a, first), (b, second)] = self.sides();
        let mut sides = Sides { u: vec![0.0; self.count], v: vec![0.0; self.count] };
        distance.tile(head, a, first, &mut sides.u);
        distance.tile(tail, b, second, &mut sides.v);
        sides
    }
}

/// The distances of a query to the centroids of both halves.
pub(super) struct Sides {
    u: Vec<f32>,
    v: Vec<f32>,
}

impl Sides {
    /// The distance to the centroid of a list.
    #[inline]
    pub(super) fn of(&self, list: u32) -> f32 {
        let count = self.v.len();
        self.u[list as usize / count] + self.v[list as usize % count]
    }

    /// The `probes` nearest lists, ascending.
    pub(super) fn nearest(&self, probes: usize) -> Vec<u32> {
        least_cells(&self.u, &self.v, probes)
    }

    /// Distances that were computed.
    pub(super) fn computed(&self) -> u64 {
        (self.u.len() + self.v.len()) as u64
    }
}
