//! An index over the centroids, which finds those near a query without comparing all.
//!
//! How hard it searches follows from the lists wanted: a graph is walked with a beam of twice as many centroids,
//! no narrower than its own; lists of centroids are visited until they hold four times as many on average, no
//! fewer of them than its own. What it finds is near, not always nearest.

use crate::Watch;
use crate::build::{BuildError, build};
use crate::file::{OpenError, Part, Sections, open_index};
use crate::search::{Effort, Filter, Index, Request, SearchError, Stats};
use crate::spec::{Layout, Spec};
use data::{Hits, Metric, Rows};
use std::num::NonZeroUsize;

/// Candidates that a graph holds for each list wanted.
const BEAM: usize = 2;
/// Centroids looked at for each list wanted, where centroids lie in lists themselves.
const LOOKED_AT: usize = 4;

/// An index whose rows are centroids.
pub(super) struct Router {
    index: Box<dyn Index>,
    /// Lists of the index, if it has any.
    lists: usize,
}

impl Router {
    /// Builds the index that `spec` describes over `centroids`.
    pub(super) fn build(
        spec: &Spec,
        centroids: Rows<'_, f32>,
        metric: Metric,
        seed: u64,
        watch: &Watch<'_>,
    ) -> Result<Self, BuildError> {
        Ok(Self::new(build(spec, centroids, metric, seed, watch)?))
    }

    /// Finds the index within that of `sections`, of `lists` centroids.
    pub(super) fn open(spec: &Spec, sections: &Sections<'_>, lists: usize) -> Result<Self, OpenError> {
        Ok(Self::new(open_index(spec, &sections.within(lists))?))
    }

    fn new(index: Box<dyn Index>) -> Self {
        let lists = match index.spec().layout {
            Layout::Lists(spec) => spec.cells.map_or(1, |cells| cells.partition.lists()),
            _ => 1,
        };
        Self { index, lists }
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.index.parts().into_iter().map(Part::within)
    }

    /// How hard to search for `wanted` centroids.
    fn effort(&self, wanted: usize) -> Effort {
        let own = self.index.effort();
        let at_least =
            |least: usize| move |own: NonZeroUsize| own.max(NonZeroUsize::MIN.saturating_add(least - 1));
        let share = LOOKED_AT as f64 * wanted as f64 / self.index.len() as f64;
        let lists = (self.lists as f64 * share).ceil() as usize;
        Effort {
            beam: own.beam.map(at_least(wanted.saturating_mul(BEAM))),
            probes: own.probes.map(at_least(lists.clamp(1, self.lists))),
            rerank: own.rerank,
        }
    }

    /// The `wanted` centroids that it takes for the nearest of each query.
    pub(super) fn nearest(
        &self,
        queries: Rows<'_, f32>,
        wanted: NonZeroUsize,
    ) -> Result<(Hits, Stats), SearchError> {
        let mut hits = Hits::default();
        let request = Request { k: wanted, filter: Filter::All, effort: self.effort(wanted.get()) };
        let stats = self.index.search_resolved(queries, &request, &mut hits)?;
        Ok((hits, stats))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::SplitMix64;

    #[test]
    fn most_of_the_nearest_are_found() {
        let mut random = SplitMix64::new(4);
        let values: Vec<f32> = (0..2000 * 8).map(|_| random.unit() as f32).collect();
        let rows = Rows::new(&values, 8).unwrap();
        for metric in [Metric::L2, Metric::Dot] {
            let truth = build(&Spec::FLAT, rows, metric, 1, &Watch::none()).unwrap();
            for (spec, least) in [("HNSW16", 0.97), ("IVF64,Flat", 0.8), ("SQ8", 0.95)] {
                let router = Router::build(&spec.parse().unwrap(), rows, metric, 1, &Watch::none()).unwrap();
                for wanted in [1, 10, 300, 2000] {
                    let wanted = NonZeroUsize::new(wanted).unwrap();
                    let (found, stats) = router.nearest(rows.slice(0..50), wanted).unwrap();
                    let mut want = Hits::default();
                    truth.search(rows.slice(0..50), &Request::top(wanted), &mut want).unwrap();
                    let right = found.iter().zip(want.iter()).map(|(found, want)| {
                        found.iter().filter(|hit| want.iter().any(|other| other.id == hit.id)).count()
                    });
                    let (right, all): (usize, usize) = (right.sum(), 50 * wanted.get());
                    assert!(right as f64 >= least * all as f64, "{spec} {metric} {wanted}: {right} of {all}");
                    assert!(stats.distances >= all as u64);
                }
            }
        }
    }
}
