//! How much of the truth an index finds.

use crate::{Effort, Filter, Index, Request, SearchError};
use data::{Hits, Rows};
use std::num::NonZeroUsize;

/// Recall at `k`: the share of the `k` nearest rows (by `exact`) that `index` returns with `effort`,
/// a mean over queries.
///
/// A returned row counts when it is no farther than the last true one, so ties are worth the same
/// whichever of them is returned.
///
/// # Errors
/// When either index refuses the search.
///
/// # Panics
/// When there is no query.
pub fn recall(
    index: &dyn Index,
    exact: &dyn Index,
    queries: Rows<'_, f32>,
    k: NonZeroUsize,
    effort: Effort,
) -> Result<f64, SearchError> {
    assert!(!queries.is_empty(), "recall needs a query");
    let (mut found, mut truth) = (Hits::default(), Hits::default());
    index.search(queries, &Request { k, filter: Filter::All, effort }, &mut found)?;
    exact.search(queries, &Request::top(k), &mut truth)?;
    let (mut right, mut all) = (0usize, 0usize);
    for (found, truth) in found.iter().zip(truth.iter()) {
        let last = truth.last().map_or(f32::NEG_INFINITY, |hit| hit.distance);
        right += found.iter().filter(|hit| hit.distance.total_cmp(&last).is_le()).count();
        all += truth.len();
    }
    Ok(right as f64 / all as f64)
}
