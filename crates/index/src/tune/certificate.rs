//! What a measured recall allows to be said of queries that were not measured.
//!
//! Recall at `k` of a query is a mean of `k` answers that depend on each other, so `k` answers of `m` queries are not
//! `k m` trials. One true neighbour of each query, drawn by the seed, is a trial: it is found or not, trials of
//! different queries are independent, and the chance to be found is the expected recall at `k` itself. The bound is
//! the exact one of Clopper and Pearson (Biometrika 1934) over these `m` trials, one-sided: it does not use the other
//! `k - 1` answers, and so is conservative.

use crate::Effort;
use kernels::SplitMix64;
use serde::{Deserialize, Serialize};

/// Chance that all that is certified of an index is wrong, at most.
pub const RISK: f64 = 0.05;
/// Points that are verified at most; each takes its share of the risk.
pub(super) const ATTEMPTS: usize = 3;

/// What was verified, and on what grounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Answers of a query.
    pub k: usize,
    /// How hard the index was asked to search.
    pub effort: Effort,
    /// Mean recall at `k` of the queries that verified it, which chose nothing before.
    pub recall: f64,
    /// Recall of queries drawn like them is at least this, unless with chance `risk`.
    pub at_least: f64,
    /// Chance that `at_least` is wrong.
    pub risk: f64,
    /// Queries that verified it, and drawn neighbours that were found.
    pub queries: usize,
    /// Drawn neighbours that were found.
    pub found: usize,
    /// The bound, by name.
    pub bound: String,
    /// 95th percentile of the seconds of a query alone.
    pub p95: f64,
    /// Where the queries came from.
    pub drawn_from: String,
    /// Which machine, and when.
    pub measured_on: String,
    /// What it does not say.
    pub caveat: String,
}

/// The bound, by name.
pub(super) const BOUND: &str =
    "Clopper-Pearson, one-sided, over one true neighbour of each query, drawn by the seed";
/// What a certificate does not say.
pub(super) const CAVEAT: &str = "holds for queries drawn as these were, against these rows: when queries or rows \
                                 drift, tune again; times hold for this machine and its load";

/// Of each query, given which of its true neighbours were found, whether a drawn one was: how many.
pub(super) fn drawn(found: &[Vec<bool>], seed: u64) -> usize {
    let hit = |(query, found): (usize, &Vec<bool>)| {
        !found.is_empty() && found[SplitMix64::named(seed, query as u64).below(found.len())]
    };
    found.iter().enumerate().filter(|&pair| hit(pair)).count()
}

/// The lower bound of Clopper and Pearson: the chance of success for which `successes` or more of `trials` have the
/// chance `risk`. Zero without a success.
///
/// # Panics
/// When there are more successes than trials.
#[must_use]
pub fn clopper_pearson(successes: usize, trials: usize, risk: f64) -> f64 {
    assert!(successes <= trials, "{successes} of {trials}");
    if successes == 0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    // The tail rises with the chance; sixty halvings leave nothing of an f64.
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if tail(successes, trials, middle) < risk {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// The chance of `successes` or more of `trials`, each with chance `p`.
fn tail(successes: usize, trials: usize, p: f64) -> f64 {
    // From the first term, by logarithms: it may be smaller than any f64, and later ones not.
    let mut log = (0..successes).map(|i| ((trials - i) as f64 / (i + 1) as f64).ln()).sum::<f64>()
        + successes as f64 * p.ln()
        + (trials - successes) as f64 * (1.0 - p).ln();
    let odds = (p / (1.0 - p)).ln();
    let mut sum = 0.0;
    for i in successes..=trials {
        sum += log.exp();
        log += ((trials - i) as f64 / (i + 1) as f64).ln() + odds;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_tables() {
        // All of n found: the bound is risk^(1/n). Others from tables of the beta distribution.
        for (x, n, risk, want) in [
            (10, 10, 0.05, 0.741_134),
            (9, 10, 0.05, 0.605_836),
            (9, 10, 0.025, 0.554_984),
            (95, 100, 0.025, 0.887_166),
            (1, 10, 0.05, 0.005_116),
            (0, 10, 0.05, 0.0),
        ] {
            assert!(
                (clopper_pearson(x, n, risk) - want).abs() < 1e-5,
                "{x} of {n}: {}",
                clopper_pearson(x, n, risk)
            );
        }
        let many = clopper_pearson(95_000, 100_000, 0.05);
        assert!((0.9488..0.9490).contains(&many), "{many}");
    }

    #[test]
    fn the_bound_holds_as_often_as_it_says() {
        // 400 studies of 100 queries, of whose neighbours 0.9 are found: at most a twentieth bound it above 0.9,
        // 20 of 400, and hardly ever 34 (three deviations more).
        let mut random = SplitMix64::new(3);
        let wrong = (0..400).filter(|&study| {
            let found: Vec<Vec<bool>> =
                (0..100).map(|_| (0..10).map(|_| random.unit() < 0.9).collect()).collect();
            clopper_pearson(drawn(&found, study), 100, 0.05) > 0.9
        });
        let wrong = wrong.count();
        assert!(wrong < 34, "{wrong}");
    }

    #[test]
    fn answers_of_one_query_are_one_trial() {
        // Queries whose neighbours are all found or all missed: a bound over k times as many trials would be wrong
        // far more often than it says.
        let found: Vec<Vec<bool>> = (0..50).map(|i| vec![i % 10 != 0; 10]).collect();
        assert_eq!(drawn(&found, 1), 45);
        assert_eq!(drawn(&[vec![], vec![true]], 1), 1);
    }
}
