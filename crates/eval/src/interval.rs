//! Intervals by resampling whole classes.
//!
//! Queries of one class share pictures, a photographer, a background: they are not independent, and an
//! interval that treats them so is too narrow. The cluster bootstrap draws classes with replacement,
//! keeps all queries of each class drawn, and takes the 2.5th and 97.5th percentile of the mean over
//! the resamples. With few classes (below about 20) even this interval is somewhat too narrow.
//! Source: Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A number with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Estimate {
    /// `{"value": .., "low": .., "high": ..}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"value": self.value, "low": self.low, "high": self.high})
    }

    /// `value` with the percentiles of its resamples; `widest` when there are not two of them.
    pub(crate) fn of_resamples(value: f64, resamples: &mut [f64], widest: (f64, f64)) -> Self {
        if resamples.len() < 2 {
            return Self { value, low: widest.0, high: widest.1 };
        }
        resamples.sort_unstable_by(f64::total_cmp);
        Self { value, low: quantile(resamples, 0.025), high: quantile(resamples, 0.975) }
    }
}

/// Measurements summed within each class.
pub(crate) struct ByClass {
    columns: usize,
    counts: Vec<f64>,
    /// `classes x columns`.
    sums: Vec<f64>,
}

impl ByClass {
    /// Groups `rows` of `columns` measurements each by the class beside them.
    pub(crate) fn new(columns: usize, rows: impl Iterator<Item = (u32, Vec<f64>)>) -> Self {
        let mut classes = BTreeMap::<u32, (f64, Vec<f64>)>::new();
        for (class, row) in rows {
            let (count, sums) = classes.entry(class).or_insert_with(|| (0.0, vec![0.0; columns]));
            *count += 1.0;
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        let counts = classes.values().map(|(count, _)| *count).collect();
        let sums = classes.into_values().flat_map(|(_, sums)| sums).collect();
        Self { columns, counts, sums }
    }

    /// Number of classes.
    pub(crate) fn classes(&self) -> usize {
        self.counts.len()
    }

    fn mean(&self, draw: impl Iterator<Item = usize>) -> Vec<f64> {
        let (mut count, mut means) = (0.0, vec![0.0; self.columns]);
        for class in draw {
            count += self.counts[class];
            let sums = &self.sums[class * self.columns..(class + 1) * self.columns];
            means.iter_mut().zip(sums).for_each(|(mean, sum)| *mean += sum);
        }
        means.iter_mut().for_each(|mean| *mean /= count);
        means
    }

    /// The mean of every column with its interval; `widest` is the interval of what one class, or no
    /// resampling, cannot bound.
    pub(crate) fn estimates(&self, resamples: usize, seed: u64, widest: (f64, f64)) -> Vec<Estimate> {
        let classes = self.classes();
        let means = self.mean(0..classes);
        if classes < 2 || resamples < 2 {
            return means.iter().map(|&value| Estimate { value, low: widest.0, high: widest.1 }).collect();
        }
        let draws: Vec<Vec<f64>> = (0..resamples)
            .into_par_iter()
            .map(|resample| {
                // A stream per resample: the draw does not depend on which thread makes it.
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(resample as u64 + 1);
                self.mean((0..classes).map(|_| rng.random_range(0..classes)))
            })
            .collect();
        let interval = |column: usize| {
            let mut values: Vec<f64> = draws.iter().map(|draw| draw[column]).collect();
            values.sort_by(f64::total_cmp);
            (quantile(&values, 0.025), quantile(&values, 0.975))
        };
        means
            .iter()
            .enumerate()
            .map(|(column, &value)| {
                let (low, high) = interval(column);
                Estimate { value, low, high }
            })
            .collect()
    }
}

/// The `share` quantile of sorted values, linear between neighbours.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_class(values: &[(u32, f64)]) -> ByClass {
        ByClass::new(1, values.iter().map(|&(class, value)| (class, vec![value])))
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[0.0, 1.0, 2.0, 3.0, 4.0], 0.5), 2.0);
        assert!((quantile(&[0.0, 10.0], 0.025) - 0.25).abs() < 1e-12);
        assert_eq!(quantile(&[7.0], 0.975), 7.0);
    }

    #[test]
    fn a_class_weighs_as_much_as_its_queries() {
        let got = by_class(&[(4, 1.0), (4, 1.0), (4, 1.0), (9, 0.0)]).estimates(200, 0, (0.0, 1.0));
        assert_eq!(got[0].value, 0.75);
    }

    #[test]
    fn copies_within_a_class_do_not_narrow_the_interval() {
        // Ten classes, half all right and half all wrong: a hundred queries a class tell no more than one.
        let values = |copies: u32| -> Vec<(u32, f64)> {
            (0..10 * copies).map(|i| (i % 10, f64::from(i % 10 % 2))).collect()
        };
        let one = by_class(&values(1)).estimates(500, 3, (0.0, 1.0))[0];
        let hundred = by_class(&values(100)).estimates(500, 3, (0.0, 1.0))[0];
        assert!((one.low - hundred.low).abs() < 1e-9 && (one.high - hundred.high).abs() < 1e-9);
        assert!(one.low >= 0.1 && one.low <= 0.3, "{one:?}"); // 0.5 - 1.96 * 0.5 / sqrt(10) = 0.19
        assert!(one.high >= 0.7 && one.high <= 0.9, "{one:?}");
    }

    #[test]
    fn one_class_bounds_nothing() {
        let got = by_class(&[(1, 1.0), (1, 0.0)]).estimates(100, 0, (0.0, 1.0));
        assert_eq!(got, [Estimate { value: 0.5, low: 0.0, high: 1.0 }]);
    }

    #[test]
    fn the_seed_decides() {
        let values: Vec<_> = (0..40u32).map(|i| (i / 4, f64::from(i * 7 % 5))).collect();
        let run = |threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| by_class(&values).estimates(300, seed, (0.0, 1.0)))
        };
        assert_eq!(run(1, 5), run(2, 5));
        assert_ne!(run(2, 5), run(2, 6));
    }
}
