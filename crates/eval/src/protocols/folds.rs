//! Folds of classes, and the mean of runs over folds and seeds.
//!
//! A comparison of methods trains each on every fold's complement, with several seeds. The *separated*
//! number of a seed is the mean over its folds' models; the *concatenated* one joins their unit vectors
//! and measures once. The interval is Student's over the seeds, which are what was repeated.
//! Source: Musgrave et al., "A metric learning reality check", ECCV 2020 (four folds of contiguous
//! classes, ten seeds).

use super::ProtocolError;
use super::vehicle_id::Spread;
use crate::{Estimate, EvalError};
use data::Rows;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Which classes fall together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Neighbours in the order of class numbers, as in the paper's code.
    Contiguous,
    /// Dealt out after a shuffle with this seed.
    Shuffled(u64),
}

/// The fold of each picture, `labels.len()`: no class is in two, and folds differ by at most one class.
///
/// # Errors
/// When there are fewer than two folds, or fewer classes than folds.
pub fn class_folds(labels: &[u32], folds: usize, split: Split) -> Result<Vec<usize>, ProtocolError> {
    if folds < 2 {
        return Err(ProtocolError::TooFew { what: "folds", need: 2, got: folds });
    }
    let mut classes = labels.to_vec();
    classes.sort_unstable();
    classes.dedup();
    let count = classes.len();
    if count < folds {
        return Err(ProtocolError::TooFew { what: "classes", need: folds, got: count });
    }
    if let Split::Shuffled(seed) = split {
        classes.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    }
    // The first `count % folds` folds take one class more.
    let (size, longer) = (count / folds, count % folds);
    let fold = |place: usize| {
        let head = longer * (size + 1);
        if place < head { place / (size + 1) } else { longer + (place - head) / size }
    };
    let of_class: BTreeMap<u32, usize> =
        classes.into_iter().enumerate().map(|(place, class)| (class, fold(place))).collect();
    Ok(labels.iter().map(|label| of_class[label]).collect())
}

/// Unit vectors of several models of the same pictures side by side, `pictures x sum of dims`; an inner
/// product of two rows is the sum of the models' cosines. A vector of zeros stays one.
///
/// # Errors
/// When there is no model, or they have different numbers of pictures.
pub fn concatenate(models: &[Rows<'_, f32>]) -> Result<Vec<f32>, ProtocolError> {
    let Some(first) = models.first() else {
        return Err(ProtocolError::TooFew { what: "models", need: 1, got: 0 });
    };
    let pictures = first.len();
    if let Some(other) = models.iter().find(|model| model.len() != pictures) {
        return Err(EvalError::Lengths { what: "vectors of a model", len: other.len(), pictures }.into());
    }
    let mut joined = Vec::with_capacity(pictures * models.iter().map(Rows::dim).sum::<usize>());
    for picture in 0..pictures {
        for model in models {
            let row = model.row(picture);
            let norm = row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
            let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
            joined.extend(row.iter().map(|&value| (f64::from(value) * scale) as f32));
        }
    }
    Ok(joined)
}

/// One number of all runs.
#[derive(Clone, Debug, PartialEq)]
pub struct RealityCheck {
    /// The protocol's id.
    pub protocol: String,
    /// Mean over the folds of each seed, in the order given.
    pub seeds: Vec<f64>,
    /// Mean over the seeds with Student's 95 % interval; with one seed the interval is 0 to 1.
    pub mean: Estimate,
    /// Sample standard deviation over the seeds.
    pub over_seeds: f64,
    /// Mean, over the seeds, of the sample standard deviation over the folds.
    pub over_folds: f64,
}

impl RealityCheck {
    /// The object to store.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "protocol": self.protocol,
            "mean": self.mean.to_json(),
            "over_seeds": self.over_seeds,
            "over_folds": self.over_folds,
            "seeds": self.seeds,
        })
    }
}

/// Sums up a number of 0 to 1 over `runs[seed][fold]`. A concatenated number has one fold a seed.
///
/// # Errors
/// When there are no runs or folds, seeds have different folds, or a number is not finite.
pub fn reality_check(runs: &[Vec<f64>]) -> Result<RealityCheck, ProtocolError> {
    let want = runs.first().map_or(0, Vec::len);
    if want == 0 {
        return Err(ProtocolError::TooFew { what: "runs with folds", need: 1, got: 0 });
    }
    for (run, folds) in runs.iter().enumerate() {
        if folds.len() != want {
            return Err(ProtocolError::Ragged { run, got: folds.len(), want });
        }
        if folds.iter().any(|value| !value.is_finite()) {
            return Err(ProtocolError::NotFinite { what: "a number of run", place: run });
        }
    }
    let spreads: Vec<Spread> = runs.iter().map(|folds| Spread::of(folds)).collect();
    let seeds: Vec<f64> = spreads.iter().map(|spread| spread.mean).collect();
    let all = Spread::of(&seeds);
    let half = match seeds.len() {
        1 => None,
        n => Some(student(n - 1) * all.deviation / (n as f64).sqrt()),
    };
    let mean = match half {
        Some(half) => Estimate { value: all.mean, low: all.mean - half, high: all.mean + half },
        None => Estimate { value: all.mean, low: 0.0, high: 1.0 },
    };
    Ok(RealityCheck {
        protocol: format!("reality-check/{want}-folds/{}-seeds/v1", seeds.len()),
        mean,
        over_seeds: all.deviation,
        over_folds: spreads.iter().map(|spread| spread.deviation).sum::<f64>() / spreads.len() as f64,
        seeds,
    })
}

/// The 97.5 % quantile of Student's distribution.
///
/// A table where few seeds are; beyond it Fisher's expansion about the normal quantile, right to 1e-5.
/// Source: Abramowitz and Stegun, 26.7.5 and table 26.10.
fn student(freedom: usize) -> f64 {
    const TABLE: [f64; 12] = [
        12.706_205, 4.302_653, 3.182_446, 2.776_445, 2.570_582, 2.446_912, 2.364_624, 2.306_004, 2.262_157,
        2.228_139, 2.200_985, 2.178_813,
    ];
    if let Some(&quantile) = TABLE.get(freedom - 1) {
        return quantile;
    }
    let (x, n) = (1.959_963_984_540_054_f64, freedom as f64);
    let g1 = (x.powi(3) + x) / 4.0;
    let g2 = (5.0 * x.powi(5) + 16.0 * x.powi(3) + 3.0 * x) / 96.0;
    let g3 = (3.0 * x.powi(7) + 19.0 * x.powi(5) + 17.0 * x.powi(3) - 15.0 * x) / 384.0;
    let g4 = (79.0 * x.powi(9) + 776.0 * x.powi(7) + 1482.0 * x.powi(5) - 1920.0 * x.powi(3) - 945.0 * x)
        / 92_160.0;
    x + g1 / n + g2 / n.powi(2) + g3 / n.powi(3) + g4 / n.powi(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn student_is_that_of_the_tables() {
        for (freedom, want) in [(1, 12.7062), (9, 2.26216), (13, 2.16037), (20, 2.08596), (120, 1.97993)] {
            assert!((student(freedom) - want).abs() < 2e-5 * want, "{freedom}: {}", student(freedom));
        }
    }

    #[test]
    fn runs_by_hand() {
        // Seeds of means .5 and .7: mean .6, deviation .141421, 12.7062 x .141421 / sqrt(2) = 1.27062.
        let got = reality_check(&[vec![0.4, 0.6], vec![0.7, 0.7]]).unwrap();
        assert_eq!(got.protocol, "reality-check/2-folds/2-seeds/v1");
        assert!((got.mean.value - 0.6).abs() < 1e-12);
        assert!(
            (got.mean.high - 0.6 - 1.270_62).abs() < 1e-4 && (0.6 - got.mean.low - 1.270_62).abs() < 1e-4
        );
        assert!((got.over_seeds - 0.02f64.sqrt()).abs() < 1e-12);
        assert!((got.over_folds - 0.02f64.sqrt() / 2.0).abs() < 1e-12);
        assert_eq!(reality_check(&[vec![0.3]]).unwrap().mean, Estimate { value: 0.3, low: 0.0, high: 1.0 });
        let ragged = reality_check(&[vec![0.1, 0.2], vec![0.1]]);
        assert_eq!(ragged, Err(ProtocolError::Ragged { run: 1, got: 1, want: 2 }));
        assert!(reality_check(&[]).is_err() && reality_check(&[vec![f64::NAN]]).is_err());
    }

    #[test]
    fn contiguous_folds_by_hand() {
        let got = class_folds(&[9, 1, 5, 9, 3, 7], 2, Split::Contiguous).unwrap();
        assert_eq!(got, [1, 0, 0, 1, 0, 1]); // 1 3 5 | 7 9
        assert!(class_folds(&[1, 1], 2, Split::Contiguous).is_err());
        assert!(class_folds(&[1, 2], 1, Split::Contiguous).is_err());
    }

    #[test]
    fn joined_vectors_are_unit_each() {
        let (a, b) = ([3.0, 4.0, 0.0, 2.0], [5.0, -1.0]);
        let got = concatenate(&[Rows::new(&a, 2).unwrap(), Rows::new(&b, 1).unwrap()]).unwrap();
        assert_eq!(got, [0.6, 0.8, 1.0, 0.0, 1.0, -1.0]);
        assert!(concatenate(&[]).is_err());
        assert!(concatenate(&[Rows::new(&a, 2).unwrap(), Rows::new(&a, 1).unwrap()]).is_err());
    }

    proptest! {
        #[test]
        fn no_class_is_in_two_folds(
            labels in prop::collection::vec(0u32..20, 1..80), folds in 2usize..6, seed in prop::option::of(0u64..9),
        ) {
            let split = seed.map_or(Split::Contiguous, Split::Shuffled);
            let Ok(got) = class_folds(&labels, folds, split) else { return Ok(()) };
            let mut classes = vec![std::collections::BTreeSet::new(); folds];
            for (&label, &fold) in labels.iter().zip(&got) {
                classes[fold].insert(label);
            }
            let sizes = classes.iter().map(std::collections::BTreeSet::len);
            prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
            for (a, b) in (0..folds).flat_map(|b| (0..b).map(move |a| (a, b))) {
                prop_assert!(classes[a].is_disjoint(&classes[b]));
            }
        }
    }
}
