//! Lists by nearest centroid.

use super::bounds::CENTROID_SAMPLE;
use super::coarse::sample;
use super::router::Router;
use crate::array::Array;
use crate::build::BuildError;
use crate::file::{OpenError, Part, PartKind, Sections};
use crate::search::{SearchError, Stats};
use crate::spec::Spec;
use crate::{Phase, Watch};
use data::{Metric, Rows};
use kernels::{KMeansConfig, Method, Panels, Reservoir, Seeds, kmeans_until};
use rayon::prelude::*;
use std::num::NonZeroUsize;
use std::sync::OnceLock;

/// Rounds of k-means; more change lists little.
pub(super) const ROUNDS: usize = 10;
/// Lists beyond which centroids are learnt on two levels.
const ONE_LEVEL: usize = 1 << 14;
/// Lists up to which rows are compared with every centroid, even where there is a router.
const COMPARED: usize = 1 << 16;
/// Centroids that a router is asked for when a row is put into the first of them.
const CONSIDERED: NonZeroUsize = NonZeroUsize::new(8).unwrap();
/// Queries, and centroids, whose scores exist at once: they stay in the second-level cache.
const GROUP: usize = 32;
const WIDTH: usize = 1024;
/// Rows that one task puts into lists.
const CHUNK: usize = 256;

/// One centroid a list.
pub(super) struct Nearest {
    /// `lists x dim`.
    centroids: Array<f32>,
    dim: usize,
    router: Option<Router>,
    /// Made when centroids are first compared: their size again.
    panels: OnceLock<Panels>,
}

impl Nearest {
    /// Learns a centroid for each list from a sample of `rows`.
    pub(super) fn train(
        lists: usize,
        router: Option<&Spec>,
        rows: Rows<'_, f32>,
        metric: Metric,
        seed: u64,
        watch: &Watch<'_>,
    ) -> Result<Self, BuildError> {
        let dim = rows.dim();
        let sample = sample(rows, lists.saturating_mul(CENTROID_SAMPLE), seed);
        let config = KMeansConfig {
            rounds: ROUNDS,
            seeds: Seeds::Random,
            method: if lists > ONE_LEVEL { Method::TwoLevel } else { Method::Lloyd },
            // Rows that are compared by direction lie in lists by direction.
            spherical: metric == Metric::Dot,
            ..KMeansConfig::new(lists, seed)
        };
        let learnt = kmeans_until(&sample, dim, &config, watch.stop).ok_or(BuildError::Cancelled)?.centroids;
        watch.step(Phase::Training, 1, 1)?;
        let view = Rows::new(&learnt, dim).expect("whole centroids");
        let router = router.map(|spec| Router::build(spec, view, metric, seed, watch)).transpose()?;
        let mut centroids = Array::filled(learnt.len(), 0.0);
        centroids.as_mut().copy_from_slice(&learnt);
        Ok(Self { centroids, dim, router, panels: OnceLock::new() })
    }

    pub(super) fn open(
        lists: usize,
        router: Option<&Spec>,
        sections: &Sections<'_>,
    ) -> Result<Self, OpenError> {
        let dim = sections.dim();
        let centroids = sections.array(PartKind::Centroids, lists.checked_mul(dim))?;
        let router = router.map(|spec| Router::open(spec, sections, lists)).transpose()?;
        Ok(Self { centroids, dim, router, panels: OnceLock::new() })
    }

    pub(super) fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = vec![Part::new(PartKind::Centroids, &self.centroids[..])];
        parts.extend(self.router.iter().flat_map(Router::parts));
        parts
    }

    fn lists(&self) -> usize {
        self.centroids.len() / self.dim
    }

    /// Writes the list of each row: that of its nearest centroid, or, among more than [`COMPARED`], of the one that the
    /// router finds.
    pub(super) fn assign(&self, rows: Rows<'_, f32>, metric: Metric, watch: &Watch<'_>, lists: &mut [u32]) {
        let router = self.router.as_ref().filter(|_| self.lists() > COMPARED);
        let panels = router.is_none().then(|| self.panels(metric));
        lists.par_chunks_mut(CHUNK).zip(rows.as_slice().par_chunks(CHUNK * self.dim)).for_each(
            |(lists, rows)| match (panels, router) {
                _ if watch.stopped() => {}
                (Some(panels), _) => panels.nearest(rows, lists, &mut vec![0.0; lists.len()]),
                (None, Some(router)) => routed(router, Rows::new(rows, self.dim).expect("whole rows"), lists),
                (None, None) => {}
            },
        );
    }

    /// The lists whose centroids are nearest each query, at most `probes`: all of them, or those that the router
    /// finds.
    pub(super) fn nearest(
        &self,
        queries: Rows<'_, f32>,
        metric: Metric,
        probes: NonZeroUsize,
    ) -> Result<(Vec<Vec<u32>>, Stats), SearchError> {
        if probes.get() >= self.lists() {
            // Nothing is to be chosen.
            let all: Vec<u32> = (0..self.lists() as u32).collect();
            return Ok((vec![all; queries.len()], Stats::default()));
        }
        if let Some(router) = &self.router {
            let (hits, stats) = router.nearest(queries, probes)?;
            return Ok((
                hits.iter().map(|list| list.iter().map(|hit| hit.id as u32).collect()).collect(),
                stats,
            ));
        }
        let lists = self.least(queries, metric, probes.get());
        let distances = (queries.len() * self.lists()) as u64;
        Ok((lists, Stats { distances, ..Stats::default() }))
    }

    /// The centroids side by side, with what scores start from.
    fn panels(&self, metric: Metric) -> &Panels {
        self.panels.get_or_init(|| match metric {
            Metric::L2 => Panels::new(&self.centroids, self.dim),
            Metric::Dot => Panels::with_starts(&self.centroids, self.dim, &vec![0.0; self.lists()]),
        })
    }

    /// The `count` lists of least score for each query, nearest first; ties go to the lower list.
    fn least(&self, queries: Rows<'_, f32>, metric: Metric, count: usize) -> Vec<Vec<u32>> {
        let panels = self.panels(metric);
        let mut lists = Vec::with_capacity(queries.len());
        let (mut scores, mut low) = (Vec::new(), Vec::new());
        for queries in queries.as_slice().chunks(GROUP * self.dim) {
            let mut found = vec![Reservoir::new(count); queries.len() / self.dim];
            for first in (0..panels.padded()).step_by(WIDTH) {
                let width = WIDTH.min(panels.padded() - first);
                scores.resize(found.len() * width, 0.0);
                panels.scores(queries, first, width, &mut scores);
                let here = width.min(panels.len() - first);
                for (scores, found) in scores.chunks_exact(width).zip(&mut found) {
                    // Scores that are no numbers come last.
                    if found.limit() == f32::INFINITY {
                        (first as u32..)
                            .zip(&scores[..here])
                            .for_each(|(list, &score)| found.push(score, list));
                    } else {
                        low.clear();
                        kernels::below(&scores[..here], found.limit(), 0, &mut low);
                        low.iter().for_each(|&at| found.push(scores[at as usize], first as u32 + at));
                    }
                }
            }
            let sorted = found.into_iter().map(|found| found.into_sorted().into_iter().map(|(_, list)| list));
            lists.extend(sorted.map(Iterator::collect::<Vec<u32>>));
        }
        lists
    }

    /// The centroid of a list.
    pub(super) fn centroid(&self, list: usize) -> &[f32] {
        &self.centroids[list * self.dim..][..self.dim]
    }
}

/// Writes the list that `router` finds for each row; the first where it finds none.
fn routed(router: &Router, rows: Rows<'_, f32>, lists: &mut [u32]) {
    let Ok((hits, _)) = router.nearest(rows, CONSIDERED) else { return };
    for (list, hits) in lists.iter_mut().zip(hits.iter()) {
        *list = hits.first().map_or(0, |hit| hit.id as u32);
    }
}
