//! How much better one model is than another on the same queries.

use crate::interval::ByClass;
use crate::{Estimate, EvalError, Outcome, Retrieval};

/// A score that a single query has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// Whether a right picture is among the k nearest.
    Recall(usize),
    /// Average precision at R.
    MapAtR,
    /// R-precision.
    RPrecision,
}

impl Score {
    pub(crate) fn of(self, outcome: &Outcome) -> f64 {
        match self {
            Self::Recall(k) => f64::from(u8::from(outcome.first_right <= k)),
            Self::MapAtR => outcome.average_precision,
            Self::RPrecision => outcome.r_precision,
        }
    }
}

/// How much better `ours` is than `theirs`, query by query: the mean difference of `score` with its
/// interval over the classes. Pairing removes what both find hard, so it sees smaller differences than
/// two separate intervals do.
///
/// # Errors
/// When the two did not answer the same queries under the same protocol.
pub fn difference(ours: &Retrieval, theirs: &Retrieval, score: Score) -> Result<Estimate, EvalError> {
    let (one, other) = (&ours.protocol, &theirs.protocol);
    let same =
        |(a, b): (&Outcome, &Outcome)| (a.query, a.label, a.relevant) == (b.query, b.label, b.relevant);
    if one.id() != other.id()
        || ours.queries != theirs.queries
        || !ours.per_query.iter().zip(&theirs.per_query).all(same)
    {
        return Err(EvalError::NotComparable { ours: one.id(), theirs: other.id() });
    }
    let pairs = ours.per_query.iter().zip(&theirs.per_query);
    let rows = pairs.map(|(a, b)| (a.label, vec![score.of(a) - score.of(b)]));
    Ok(ByClass::new(1, rows).estimates(one.resamples, one.seed, (-1.0, 1.0))[0])
}
