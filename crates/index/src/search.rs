//! What every index answers: the nearest rows of a batch of queries.

pub(crate) use crate::filter::Filter;
use crate::{BuildError, Part, Spec, Watch};
use data::{Hits, Metric, Rows};
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;
use thiserror::Error;

/// How hard to search; `None` leaves the choice to the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effort {
    /// Width of a graph search, rows (`efSearch`); at least `k` is used.
    pub beam: Option<NonZeroUsize>,
    /// Lists visited (`nprobe`); no more than there are.
    pub probes: Option<NonZeroUsize>,
    /// Rows ranked again by a finer code, for each answer wanted (`k_factor`).
    pub rerank: Option<NonZeroUsize>,
}

/// What is asked of an index, the same for every query of a batch.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Answers wanted a query.
    pub k: NonZeroUsize,
    /// Which rows may be returned.
    pub filter: Filter<'a>,
    /// How hard to search.
    pub effort: Effort,
}

impl Request<'_> {
    /// The `k` nearest of all rows, with the index's own effort.
    #[must_use]
    pub fn top(k: NonZeroUsize) -> Self {
        Self { k, filter: Filter::All, effort: Effort::default() }
    }
}

/// What a batch cost; equal inputs give equal counts at any thread count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Distances computed between a query and a row, or a centroid.
    pub distances: u64,
    /// Graph nodes whose links were followed.
    pub hops: u64,
    /// Lists that were visited.
    pub lists: u64,
}

impl std::ops::AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.distances += other.distances;
        self.hops += other.hops;
        self.lists += other.lists;
    }
}

/// Why a search was refused.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SearchError {
    /// The queries have another length than the rows.
    #[error("queries have {got} dimensions, the index has {want}; embed them with the index's own model")]
    Dim {
        /// Values a query.
        got: usize,
        /// Values a row of the index.
        want: usize,
    },
    /// The effort sets a knob that this index does not read.
    #[error("{spec} reads no {knob}; leave it out")]
    UnusedKnob {
        /// The index.
        spec: Box<Spec>,
        /// The knob, as [`Effort`] names it.
        knob: &'static str,
    },
    /// A query holds NaN or an infinity.
    #[error("query {query} holds a value that is not finite")]
    NotFinite {
        /// Position in the batch.
        query: usize,
    },
    /// The ids of a filter are not in order.
    #[error("id {at} of the filter is not above the one before; sort them and drop repetitions")]
    Unsorted {
        /// Position in the filter.
        at: usize,
    },
}

/// A built index: immutable rows with a way to find the nearest.
///
/// Distances follow [`Metric`]: smaller is nearer; ties go to the lower id. Ids are the positions of
/// the rows the index was built from; in one that grew (see [`Writer`](crate::Writer)) they are the ids that the rows
/// were added under, in answers as in filters, and may be any numbers.
pub trait Index: Send + Sync {
    /// How the index was made.
    fn spec(&self) -> Spec;

    /// Values a row.
    fn dim(&self) -> usize;

    /// How rows are compared.
    fn metric(&self) -> Metric;

    /// Number of rows, never zero but in an index that grew and lost them all.
    fn len(&self) -> usize;

    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The effort used where a request names none; a knob that is `None` here is not read.
    fn effort(&self) -> Effort;

    /// Answers a request that [`search`](trait.Index.html#method.search) has checked and completed;
    /// appends one list a query to `hits`.
    ///
    /// # Errors
    /// When the rows cannot be reached.
    fn search_resolved(
        &self,
        queries: Rows<'_, f32>,
        request: &Request<'_>,
        hits: &mut Hits,
    ) -> Result<Stats, SearchError>;

    /// The arrays that a file needs to bring the index back.
    fn parts(&self) -> Vec<Part<'_>>;

    /// The index of the rows `kept`, ascending and at least one, with those of `more` behind them, made by going on with
    /// this one; none where it has to be built anew.
    ///
    /// # Errors
    /// When `watch` stops it.
    fn regrown(
        &self,
        _kept: &[u32],
        _more: Rows<'_, f32>,
        _seed: u64,
        _watch: &Watch<'_>,
    ) -> Result<Option<Box<dyn Index>>, BuildError> {
        Ok(None)
    }

    /// Whether the index holds its rows as they were given, not their codes alone.
    fn keeps_vectors(&self) -> bool {
        false
    }

    /// The rows as they were given, `len x dim`; none where the index holds their codes alone, or of segments.
    fn vectors(&self) -> Option<Vec<f32>> {
        None
    }
}

impl dyn Index + '_ {
    /// Bytes of the arrays that searches read, as in a file.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts().iter().map(Part::len).sum()
    }

    /// Finds the nearest rows of each query; `hits` is emptied, then holds one list a query.
    ///
    /// A list is shorter than `k` only where fewer rows pass the filter, or, without one, lie in the lists that are
    /// visited.
    ///
    /// # Errors
    /// When the queries have another dimension than the rows or hold a value that is not finite, or
    /// the effort sets a knob that this index does not read, or the ids of a filter are not ascending.
    pub fn search(
        &self,
        queries: Rows<'_, f32>,
        request: &Request<'_>,
        hits: &mut Hits,
    ) -> Result<Stats, SearchError> {
        if queries.dim() != self.dim() {
            return Err(SearchError::Dim { got: queries.dim(), want: self.dim() });
        }
        if let Some(query) = queries.iter().position(|row| !row.iter().all(|v| v.is_finite())) {
            return Err(SearchError::NotFinite { query });
        }
        if let Filter::Ids(ids) = request.filter
            && let Some(at) = ids.windows(2).position(|pair| pair[0] >= pair[1])
        {
            return Err(SearchError::Unsorted { at: at + 1 });
        }
        let effort = self.resolve(request.effort)?;
        hits.clear();
        self.search_resolved(queries, &Request { effort, ..*request }, hits)
    }

    /// The effort asked for, with the index's own values in its gaps.
    fn resolve(&self, asked: Effort) -> Result<Effort, SearchError> {
        let own = self.effort();
        let knob = |name, asked: Option<NonZeroUsize>, own: Option<NonZeroUsize>| match (asked, own) {
            (Some(_), None) => Err(SearchError::UnusedKnob { spec: Box::new(self.spec()), knob: name }),
            (asked, own) => Ok(asked.or(own)),
        };
        // Taken apart, so that a new knob cannot be forgotten here.
        let Effort { beam, probes, rerank } = asked;
        Ok(Effort {
            beam: knob("beam", beam, own.beam)?,
            probes: knob("probes", probes, own.probes)?,
            rerank: knob("rerank", rerank, own.rerank)?,
        })
    }
}
