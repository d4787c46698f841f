//! How much of the truth an index finds.

use crate::{Effort, Filter, Index, Request, SearchError};
use data::{Hits, Id, Rows};
use std::collections::HashSet;
use std::num::NonZeroUsize;

/// Recall at `k`: the share of the `k` nearest rows (by `exact`) that `index` returns with `effort`,
/// a mean over queries.
///
/// A returned row counts when `exact` puts it no farther than the last true one, so ties are worth the same
/// whichever of them is returned (of as many ties as there are other answers). Distances that `index` gives
/// are not looked at: those of codes are estimates.
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
    exact.search(
        queries,
        &Request::top(k.saturating_mul(NonZeroUsize::MIN.saturating_add(1))),
        &mut truth,
    )?;
    let (mut right, mut all) = (0usize, 0usize);
    for (found, truth) in found.iter().zip(truth.iter()) {
        let wanted = truth.len().min(k.get());
        let last = truth[..wanted].last().map_or(f32::NEG_INFINITY, |hit| hit.distance);
        let true_ids: HashSet<Id> =
            truth.iter().take_while(|hit| hit.distance <= last).map(|hit| hit.id).collect();
        right += found.iter().filter(|hit| true_ids.contains(&hit.id)).count();
        all += wanted;
    }
    Ok(right as f64 / all as f64)
}
