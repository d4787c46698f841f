//! Right answers that a command is given, and the share of them that were found.

use crate::failure::{Code, Failure, Outcome};
use data::Hits;
use data::vectors::GroundTruth;
use std::num::NonZeroUsize;
use std::path::Path;

/// Opens right answers, which must be at least `k` for each of `queries`.
pub fn open(path: &Path, queries: usize, k: NonZeroUsize) -> Outcome<GroundTruth> {
    let truth = GroundTruth::open(path)?;
    if queries == 0 || truth.len() < queries || truth.k() < k.get() {
        let why = format!(
            "{} has {} answers for {} queries, {k} for {} are needed",
            path.display(),
            truth.k(),
            truth.len(),
            queries.max(1)
        );
        return Err(Failure::message(Code::Failed, why));
    }
    Ok(truth)
}

/// The share of the true `k` nearest that were found, ties by id, and the share of queries whose nearest was.
pub fn recall(truth: &GroundTruth, hits: &Hits, k: NonZeroUsize) -> (f64, f64) {
    let (mut right, mut nearest, mut queries) = (0, 0, 0);
    for (query, hits) in hits.iter().enumerate() {
        let wanted = &truth.ids(query)[..k.get()];
        right += wanted.iter().filter(|&&id| hits.iter().any(|hit| hit.id == u64::from(id))).count();
        nearest += usize::from(hits.iter().any(|hit| hit.id == u64::from(wanted[0])));
        queries += 1;
    }
    let n = f64::from(queries.max(1));
    (right as f64 / (n * k.get() as f64), f64::from(u32::try_from(nearest).unwrap_or(u32::MAX)) / n)
}
