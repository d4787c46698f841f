//! The true neighbours of some queries, found block by block of the rows.

use crate::distance::Distance;
use crate::scan::{self, Among};
use crate::vectors::Vectors;
use crate::{BuildError, Watch};
use data::{Hit, Metric, Rows};
use kernels::TopK;
use rayon::prelude::*;

/// Rows copied and compared at once; bounds the memory.
pub(super) const BLOCK: usize = 1 << 14;
/// Queries that one task compares.
const QUERIES: usize = 16;

/// What each query should find.
#[derive(Clone)]
pub(super) struct Truth {
    /// For each query its nearest rows, and those as far as the last of them.
    near: Vec<Vec<u64>>,
    /// Answers that a query should have.
    wanted: usize,
    /// The row that each query is itself, which is no answer.
    pub(super) own: Option<Vec<u64>>,
}

impl Truth {
    /// Compares all `queries` with all `rows`. Where `own` names the row that a query is, it is left out.
    pub(super) fn find(
        rows: Rows<'_, f32>,
        metric: Metric,
        queries: Rows<'_, f32>,
        k: usize,
        own: Option<Vec<u64>>,
        watch: &Watch<'_>,
    ) -> Result<Self, BuildError> {
        // As many again, so that ties with the last are among them.
        let kept = (2 * k + 1).min(rows.len());
        let wanted = k.min(rows.len() - usize::from(own.is_some()));
        let mut tops = vec![TopK::new(kept); queries.len()];
        for (block, values) in rows.as_slice().chunks(BLOCK * rows.dim()).enumerate() {
            watch.go_on()?;
            let vectors = Vectors::copy(Rows::new(values, rows.dim()).expect("whole rows"));
            let chunks =
                tops.par_chunks_mut(QUERIES).zip(queries.as_slice().par_chunks(QUERIES * queries.dim()));
            chunks.for_each(|(tops, queries)| {
                let among = Among::All(vectors.len());
                let found = scan::nearest(Distance::new(metric), &vectors, queries, &among, kept);
                for (top, found) in tops.iter_mut().zip(found) {
                    for (distance, id) in found.into_sorted() {
                        top.push(distance, id + (block * BLOCK) as u64);
                    }
                }
            });
        }
        let near = tops.into_iter().enumerate().map(|(query, top)| {
            let mut sorted = top.into_sorted();
            sorted.retain(|&(_, id)| own.as_ref().is_none_or(|own| own[query] != id));
            let last = sorted.get(wanted.max(1) - 1).map_or(f32::INFINITY, |pair| pair.0);
            sorted.into_iter().take_while(|pair| pair.0 <= last).map(|pair| pair.1).collect()
        });
        Ok(Self { near: near.collect(), wanted, own })
    }

    /// Which of the answers that a query should have are in `hits`: as many are true as there are among the first `k`
    /// that are not the query itself.
    pub(super) fn found(&self, query: usize, hits: &[Hit], k: usize) -> Vec<bool> {
        let own = self.own.as_ref().map(|own| own[query]);
        let answers = hits.iter().filter(|hit| Some(hit.id) != own).take(k);
        let ids: Vec<u64> = answers.map(|hit| hit.id).collect();
        let near = &self.near[query];
        let mut found: Vec<bool> = near.iter().take(self.wanted).map(|id| ids.contains(id)).collect();
        // A row as far as the last is worth as much as it.
        let ties = near.iter().skip(self.wanted).filter(|id| ids.contains(id)).count();
        found.iter_mut().rev().filter(|found| !**found).take(ties).for_each(|found| *found = true);
        found
    }

    /// Queries.
    pub(super) fn len(&self) -> usize {
        self.near.len()
    }

    /// The truth of the queries `which`.
    pub(super) fn of(&self, which: &[usize]) -> Self {
        Self {
            near: which.iter().map(|&query| self.near[query].clone()).collect(),
            wanted: self.wanted,
            own: self.own.as_ref().map(|own| which.iter().map(|&query| own[query]).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_and_the_query_itself_does_not() {
        // Distances from 0: 0, 1, 1, 4, 9; the query is row 0.
        let values = [0.0, 1.0, -1.0, 2.0, 3.0];
        let rows = Rows::new(&values, 1).unwrap();
        let hit = |id| Hit { id, distance: 0.0 };
        let own = Some(vec![0]);
        let truth = Truth::find(rows, Metric::L2, rows.slice(0..1), 1, own, &Watch::none()).unwrap();
        assert_eq!(truth.found(0, &[hit(0), hit(2)], 1), [true]);
        assert_eq!(truth.found(0, &[hit(0), hit(3), hit(1)], 1), [false]);
        let truth = Truth::find(rows, Metric::L2, rows.slice(0..1), 9, None, &Watch::none()).unwrap();
        assert_eq!(truth.found(0, &[hit(0), hit(4)], 9), [true, false, false, false, true]);
    }
}
