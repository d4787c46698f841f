//! All rows within a distance, by searches for ever more neighbours until one lies beyond.

use crate::{Effort, Filter, Index, Request, SearchError, Stats};
use data::{Hit, Hits, Rows};
use std::num::NonZeroUsize;

/// Neighbours that are asked for first, and how many times as many each next time.
const FIRST: usize = 64;
const GROWTH: usize = 4;

/// What is asked of an index, the same for every query of a batch: rows within a distance.
#[derive(Clone, Copy)]
pub struct Within<'a> {
    /// The largest distance, in the metric's own terms: a squared one, or a negated inner product.
    pub radius: f32,
    /// Answers wanted a query, at most: the nearest.
    pub cap: NonZeroUsize,
    /// Which rows may be returned.
    pub filter: Filter<'a>,
    /// How hard to search.
    pub effort: Effort,
}

/// Why a list of answers is no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It has as many answers as were wanted.
    Full,
    /// No other row may be returned: none is left, none passes the filter, or, as far as the search went, none lies
    /// within the radius.
    Complete,
    /// The rows that were visited hold no more; a greater effort may find some.
    Exhausted,
}

impl dyn Index + '_ {
    /// Why a search gave `found` answers to `request`.
    #[must_use]
    pub fn ending(&self, request: &Request<'_>, found: usize) -> Ending {
        if found >= request.k.get() {
            Ending::Full
        } else if found >= self.len() || !request.filter.is_all() {
            Ending::Complete
        } else {
            Ending::Exhausted
        }
    }

    /// The effort with a beam of twice the answers, where the index reads one: the last of as many answers as a beam
    /// holds are not well found.
    fn wide(&self, effort: Effort, wanted: NonZeroUsize) -> Effort {
        let twice = wanted.saturating_add(wanted.get());
        let beam = self.effort().beam.map(|own| effort.beam.unwrap_or(own).max(twice));
        Effort { beam: beam.or(effort.beam), ..effort }
    }

    /// Finds the rows within a distance of each query, nearest first; `hits` is emptied, then holds one list a query.
    ///
    /// Among the rows that a search of this effort visits nothing is missing: an exact scan finds all rows, lists all
    /// of those visited by the distances of their code, a graph what its beam finds, which grows to twice the
    /// answers. The work is at most a few times that of a search for the answers given.
    ///
    /// # Errors
    /// As for [`search`](trait.Index.html#method.search).
    pub fn within(
        &self,
        queries: Rows<'_, f32>,
        within: &Within<'_>,
        hits: &mut Hits,
    ) -> Result<(Vec<Ending>, Stats), SearchError> {
        let cap = within.cap.get();
        let mut lists: Vec<(Vec<Hit>, Ending)> = vec![(Vec::new(), Ending::Complete); queries.len()];
        let mut open: Vec<usize> = (0..queries.len()).collect();
        let (mut stats, mut k, mut found) = (Stats::default(), FIRST, Hits::default());
        // Asked at least once, so that what is wrong with the queries is told.
        loop {
            // One more than may be given shows whether there is one.
            k = k.min(cap.saturating_add(1));
            let asked: Vec<f32> = open.iter().flat_map(|&query| queries.row(query)).copied().collect();
            let asked = Rows::new(&asked, queries.dim()).expect("whole queries");
            let wanted = NonZeroUsize::MIN.saturating_add(k - 1);
            let request =
                Request { k: wanted, filter: within.filter, effort: self.wide(within.effort, wanted) };
            stats += self.search(asked, &request, &mut found)?;
            let mut still = Vec::new();
            for (list, &query) in found.iter().zip(&open) {
                let inside = list.partition_point(|hit| hit.distance <= within.radius);
                if inside == k && k <= cap {
                    still.push(query);
                    continue;
                }
                let ending = if inside > cap {
                    Ending::Full
                } else if inside < list.len() {
                    Ending::Complete
                } else {
                    self.ending(&request, list.len())
                };
                lists[query] = (list[..inside.min(cap)].to_vec(), ending);
            }
            open = still;
            if open.is_empty() {
                break;
            }
            k = k.saturating_mul(GROWTH);
        }
        hits.clear();
        let (lists, endings): (Vec<_>, Vec<_>) = lists.into_iter().unzip();
        lists.into_iter().for_each(|list| hits.push(list));
        Ok((endings, stats))
    }
}
