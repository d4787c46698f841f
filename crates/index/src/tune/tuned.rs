//! What a file keeps of tuning, and the effort that it gives for a recall.

use super::certificate::Certificate;
use super::sweep::Point;
use crate::Effort;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Standard errors of a recall by which it should be above what is asked for.
const MARGIN: f64 = 1.0;

/// The curve of an index, and what was verified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    /// Answers of a query that the recalls are of.
    pub k: usize,
    /// Points that no other beats in both recall and time, cheapest first.
    pub curve: Vec<Point>,
    /// What was verified by queries that chose nothing.
    pub certificate: Option<Certificate>,
}

/// No point of the curve reaches a recall.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("recall {wanted} was never measured on this index; the highest is {highest:.4}")]
pub struct Unreached {
    /// Recall asked for.
    pub wanted: f64,
    /// Highest recall measured.
    pub highest: f64,
}

impl Tuned {
    /// The cheapest measured point whose recall is `recall` by a standard error more, or, where there is none, at
    /// all. Points were measured where the usual targets lie, so it is seldom far above.
    ///
    /// # Errors
    /// When no measured point reaches it.
    pub fn point(&self, recall: f64) -> Result<&Point, Unreached> {
        let surely = |point: &&Point| point.recall >= (recall + MARGIN * point.error).min(1.0);
        let highest = self.curve.last().map_or(0.0, |point| point.recall);
        let found = self.curve.iter().find(surely);
        found
            .or_else(|| self.curve.iter().find(|point| point.recall >= recall))
            .ok_or(Unreached { wanted: recall, highest })
    }

    /// Whether a file may hold it: numbers that are what they say, in order.
    pub(crate) fn is_sound(&self) -> bool {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let time = |value: f64| value.is_finite() && value >= 0.0;
        self.k > 0
            && self.curve.windows(2).all(|pair| pair[0].recall <= pair[1].recall)
            && self.curve.iter().all(|point| {
                share(point.recall) && time(point.error) && time(point.seconds) && time(point.p95)
            })
            && self.certificate.as_ref().is_none_or(|certificate| {
                share(certificate.recall) && share(certificate.at_least) && share(certificate.risk)
            })
    }

    /// The efforts of the curve, which an index should read.
    pub(crate) fn efforts(&self) -> impl Iterator<Item = Effort> + '_ {
        self.curve.iter().map(|point| point.effort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    fn at(beam: usize, recall: f64, error: f64) -> Point {
        let effort = Effort { beam: NonZeroUsize::new(beam), ..Effort::default() };
        Point { effort, recall, error, seconds: beam as f64, p95: beam as f64 }
    }

    #[test]
    fn the_cheapest_point_that_surely_reaches_a_recall_is_taken() {
        let curve = vec![at(10, 0.90, 0.01), at(20, 0.955, 0.01), at(30, 0.97, 0.005), at(40, 0.99, 0.001)];
        let tuned = Tuned { k: 10, curve, certificate: None };
        let beam = |recall| tuned.point(recall).map(|point| point.effort.beam.unwrap().get());
        assert_eq!(beam(0.5), Ok(10));
        // 0.955 is above 0.95, but not by its error.
        assert_eq!(beam(0.95), Ok(30));
        assert_eq!(beam(0.989), Ok(40));
        // Reached, though not surely.
        assert_eq!(beam(0.99), Ok(40));
        assert_eq!(beam(0.995), Err(Unreached { wanted: 0.995, highest: 0.99 }));
    }

    #[test]
    fn numbers_that_cannot_be_are_told() {
        let sound = Tuned { k: 10, curve: vec![at(10, 0.9, 0.0), at(20, 0.95, 0.0)], certificate: None };
        assert!(sound.is_sound());
        let text = serde_json::to_string(&sound).unwrap();
        assert_eq!(serde_json::from_str::<Tuned>(&text).unwrap(), sound);
        assert!(!Tuned { k: 0, ..sound.clone() }.is_sound());
        assert!(!Tuned { curve: vec![at(10, 1.5, 0.0)], ..sound.clone() }.is_sound());
        assert!(!Tuned { curve: vec![at(10, 0.9, f64::NAN)], ..sound.clone() }.is_sound());
        assert!(!Tuned { curve: vec![at(10, 0.9, 0.0), at(20, 0.8, 0.0)], ..sound }.is_sound());
    }
}
