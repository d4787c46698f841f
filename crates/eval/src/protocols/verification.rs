//! Pairs: the same or not? Ten-fold accuracy, true accepts at a false accept rate, equal error rate.
//!
//! A pair is accepted when its distance is at most a threshold (smaller is nearer, as everywhere).
//! - *Accuracy* (LFW): for each fold the threshold that is right most often on the other folds is tried
//!   on it. With [`Thresholds::Exact`] any threshold may be chosen, the least among equals; with
//!   [`Thresholds::Grid`] those of facenet's script, `0, 0.01 .. 3.99` over squared distances of unit
//!   vectors, where a pair is accepted when its distance is *less*, the first among equals.
//! - *TAR at a FAR*: the threshold is the greatest distance of an impostor at which at most
//!   `floor(FAR x impostors)` impostors are accepted; when not even one may be, everything nearer than the
//!   nearest impostor is. Equal distances are accepted together or not at all. With 3,000 impostors a
//!   FAR of 0.001 is three pairs: read the interval.
//! - *EER*: where false accepts and false rejects are equally frequent, linear between operating points.
//!
//! Intervals resample whole folds, whose persons differ.
//! Source: Huang et al., "Labeled faces in the wild", 2007; facenet's `calculate_roc`.

use super::ProtocolError;
use super::vehicle_id::Spread;
use crate::Estimate;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde_json::{Value, json};

/// One pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Distance of the two; smaller is nearer.
    pub distance: f32,
    /// Whether they are the same person.
    pub genuine: bool,
    /// Its fold, from 0.
    pub fold: usize,
}

/// Which thresholds accuracy may choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thresholds {
    /// Any.
    Exact,
    /// Those of facenet's script.
    Grid,
}

/// How to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct VerificationOptions {
    /// Which thresholds accuracy may choose from.
    pub thresholds: Thresholds,
    /// False accept rates, each 0 to 1.
    pub rates: Vec<f64>,
    /// Resamples of folds behind each interval.
    pub resamples: usize,
    /// Seed of the resampling.
    pub seed: u64,
}

impl Default for VerificationOptions {
    fn default() -> Self {
        Self { thresholds: Thresholds::Exact, rates: vec![1e-3, 1e-2, 1e-1], resamples: 2000, seed: 0 }
    }
}

/// True accepts at a false accept rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtRate {
    /// The rate asked for.
    pub rate: f64,
    /// Impostors that it allows.
    pub allowed: usize,
    /// Share of genuine pairs accepted.
    pub accepted: Estimate,
    /// Share of impostors that were accepted, at most `rate`.
    pub reached: f64,
}

/// An operating point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Pairs at this distance or less are accepted.
    pub threshold: f32,
    /// Share of impostors accepted.
    pub false_accepts: f64,
    /// Share of genuine pairs accepted.
    pub true_accepts: f64,
}

/// The numbers of one model on one list of pairs.
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    /// The protocol's id.
    pub protocol: String,
    /// Accuracy of each fold.
    pub folds: Vec<f64>,
    /// Mean accuracy and its sample standard deviation over folds.
    pub accuracy: Spread,
    /// `accuracy.deviation / sqrt(folds)`, what LFW reports after the sign of plus and minus.
    pub standard_error: f64,
    /// In the order of the options.
    pub at_rates: Vec<AtRate>,
    /// Equal error rate.
    pub equal_error: f64,
    /// A point for every distance that occurs, nearest first.
    pub curve: Vec<Point>,
    /// Genuine pairs.
    pub genuine: usize,
    /// Impostors.
    pub impostors: usize,
    /// Seed of the resampling.
    pub seed: u64,
}

impl Verification {
    /// The object to store, without the curve.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let rates = self.at_rates.iter().map(|at| {
            json!({"far": at.rate, "allowed": at.allowed, "tar": at.accepted.to_json(), "reached": at.reached})
        });
        json!({
            "protocol": self.protocol,
            "accuracy": self.accuracy.to_json(),
            "standard_error": self.standard_error,
            "folds": self.folds,
            "tar_at_far": rates.collect::<Vec<_>>(),
            "eer": self.equal_error,
            "genuine": self.genuine,
            "impostors": self.impostors,
            "seed": self.seed,
        })
    }
}

/// Measures a list of pairs, on the caller's rayon pool. Uses about `50 x pairs` bytes.
///
/// # Errors
/// When a distance is not finite, there are fewer than two folds, genuine pairs or impostors lack, a
/// fold is empty, or a rate is not one.
pub fn verification(pairs: &[Pair], options: &VerificationOptions) -> Result<Verification, ProtocolError> {
    let folds = check(pairs, options)?;
    let mut sorted = pairs.to_vec();
    // Equals stand in one group below, so their order cannot matter.
    sorted.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance));
    let accuracies: Vec<f64> = match options.thresholds {
        Thresholds::Exact => (0..folds).map(|fold| exact_accuracy(&sorted, fold)).collect(),
        Thresholds::Grid => (0..folds).map(|fold| grid_accuracy(&sorted, fold)).collect(),
    };
    let accuracy = Spread::of(&accuracies);
    let genuine = pairs.iter().filter(|pair| pair.genuine).count();
    let curve = curve(&sorted, &vec![1; folds]);
    Ok(Verification {
        protocol: format!(
            "verification/{folds}-fold/{}/v1",
            match options.thresholds {
                Thresholds::Exact => "exact-thresholds",
                Thresholds::Grid => "grid-thresholds",
            }
        ),
        standard_error: accuracy.deviation / (folds as f64).sqrt(),
        folds: accuracies,
        accuracy,
        at_rates: at_rates(&sorted, folds, pairs.len() - genuine, options),
        equal_error: equal_error(&curve),
        curve,
        genuine,
        impostors: pairs.len() - genuine,
        seed: options.seed,
    })
}

/// Number of folds.
fn check(pairs: &[Pair], options: &VerificationOptions) -> Result<usize, ProtocolError> {
    if let Some(place) = pairs.iter().position(|pair| !pair.distance.is_finite()) {
        return Err(ProtocolError::NotFinite { what: "the distance of pair", place });
    }
    if let Some(&rate) = options.rates.iter().find(|rate| !(0.0..=1.0).contains(*rate)) {
        return Err(ProtocolError::Rate(rate));
    }
    let folds = pairs.iter().map(|pair| pair.fold).max().map_or(0, |last| last.saturating_add(1));
    // Every fold has a pair, so there are at most as many: nothing is allocated for what a bad list names.
    let mut seen = vec![false; folds.min(pairs.len())];
    for pair in pairs {
        if let Some(seen) = seen.get_mut(pair.fold) {
            *seen = true;
        }
    }
    let filled = seen.iter().filter(|seen| **seen).count();
    if filled < folds.max(2) {
        return Err(ProtocolError::TooFew { what: "folds with pairs", need: folds.max(2), got: filled });
    }
    let genuine = pairs.iter().filter(|pair| pair.genuine).count();
    for (what, got) in [("genuine pairs", genuine), ("impostor pairs", pairs.len() - genuine)] {
        if got == 0 {
            return Err(ProtocolError::TooFew { what, need: 1, got });
        }
    }
    Ok(folds)
}

/// Share of the fold's pairs for which `accept` is right.
fn share_right(pairs: &[Pair], fold: usize, accept: impl Fn(f32) -> bool) -> f64 {
    let mine = pairs.iter().filter(|pair| pair.fold == fold);
    let right = mine.clone().filter(|pair| accept(pair.distance) == pair.genuine).count();
    right as f64 / mine.count() as f64
}

fn exact_accuracy(sorted: &[Pair], fold: usize) -> f64 {
    let others: Vec<&Pair> = sorted.iter().filter(|pair| pair.fold != fold).collect();
    // Accepting none is the first candidate: right for every impostor.
    let (mut best, mut threshold) = (0i64, f32::NEG_INFINITY);
    let mut gain = 0i64;
    for (i, pair) in others.iter().enumerate() {
        gain += if pair.genuine { 1 } else { -1 };
        let last_of_equals = others.get(i + 1).is_none_or(|next| next.distance != pair.distance);
        if last_of_equals && gain > best {
            (best, threshold) = (gain, pair.distance);
        }
    }
    share_right(sorted, fold, |distance| distance <= threshold)
}

fn grid_accuracy(sorted: &[Pair], fold: usize) -> f64 {
    let others: Vec<&Pair> = sorted.iter().filter(|pair| pair.fold != fold).collect();
    let mut gains = vec![0i64; others.len() + 1];
    for (i, pair) in others.iter().enumerate() {
        gains[i + 1] = gains[i] + if pair.genuine { 1 } else { -1 };
    }
    let gain = |threshold: f64| gains[others.partition_point(|pair| f64::from(pair.distance) < threshold)];
    let mut best = 0.0;
    for step in 1..400 {
        let threshold = f64::from(step) * 0.01;
        if gain(threshold) > gain(best) {
            best = threshold;
        }
    }
    share_right(sorted, fold, |distance| f64::from(distance) < best)
}

/// Operating points of pairs that count as often as their fold was drawn; `sorted` by distance.
fn curve(sorted: &[Pair], drawn: &[u32]) -> Vec<Point> {
    let weight = |pair: &Pair| f64::from(drawn[pair.fold]);
    let total = |genuine: bool| -> f64 { sorted.iter().filter(|p| p.genuine == genuine).map(weight).sum() };
    let (genuine, impostors) = (total(true), total(false));
    let (mut accepted, mut wrongly) = (0.0, 0.0);
    sorted
        .chunk_by(|a, b| a.distance == b.distance)
        .map(|equals| {
            for pair in equals {
                *(if pair.genuine { &mut accepted } else { &mut wrongly }) += weight(pair);
            }
            Point {
                threshold: equals[0].distance,
                false_accepts: wrongly / impostors,
                true_accepts: accepted / genuine,
            }
        })
        .collect()
}

/// Share of genuine pairs accepted, and of impostors, at each rate; `None` where a draw has no genuine
/// pairs or no impostors.
fn accepts(sorted: &[Pair], drawn: &[u32], rates: &[f64]) -> Option<Vec<(f64, f64)>> {
    let mut totals = [0u64; 2];
    sorted.iter().for_each(|pair| totals[usize::from(pair.genuine)] += u64::from(drawn[pair.fold]));
    if totals.contains(&0) {
        return None;
    }
    let mut found = vec![(0u64, 0u64); rates.len()];
    let allowed: Vec<u64> = rates.iter().map(|&rate| allowed(rate, totals[0])).collect();
    let (mut accepted, mut wrongly) = (0, 0);
    for equals in sorted.chunk_by(|a, b| a.distance == b.distance) {
        let before = accepted;
        let more: u64 = equals.iter().filter(|p| !p.genuine).map(|p| u64::from(drawn[p.fold])).sum();
        accepted += equals.iter().filter(|p| p.genuine).map(|p| u64::from(drawn[p.fold])).sum::<u64>();
        wrongly += more;
        for (found, &allowed) in found.iter_mut().zip(&allowed) {
            if more > 0 && wrongly <= allowed {
                *found = (accepted, wrongly);
            } else if more > 0 && wrongly == more {
                // Not even the nearest impostor may be accepted: all that is nearer.
                *found = (before, 0);
            }
        }
    }
    let share = |(accepted, wrongly)| (accepted as f64 / totals[1] as f64, wrongly as f64 / totals[0] as f64);
    Some(found.into_iter().map(share).collect())
}

/// `floor(rate x impostors)`, where a product that misses a whole number by rounding counts as it.
fn allowed(rate: f64, impostors: u64) -> u64 {
    (rate * impostors as f64 + 1e-9).floor() as u64
}

fn at_rates(sorted: &[Pair], folds: usize, impostors: usize, options: &VerificationOptions) -> Vec<AtRate> {
    let Some(found) = accepts(sorted, &vec![1; folds], &options.rates) else { return Vec::new() };
    let resamples: Vec<Vec<(f64, f64)>> = (0..options.resamples)
        .into_par_iter()
        .filter_map(|resample| {
            let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
            rng.set_stream(resample as u64 + 1);
            let mut drawn = vec![0u32; folds];
            (0..folds).for_each(|_| drawn[rng.random_range(0..folds)] += 1);
            accepts(sorted, &drawn, &options.rates)
        })
        .collect();
    let at_rate = |(i, (&rate, &(value, reached))): (usize, (&f64, &(f64, f64)))| {
        let mut values: Vec<f64> = resamples.iter().map(|found| found[i].0).collect();
        let accepted = Estimate::of_resamples(value, &mut values, (0.0, 1.0));
        AtRate { rate, allowed: allowed(rate, impostors as u64) as usize, accepted, reached }
    };
    options.rates.iter().zip(&found).enumerate().map(at_rate).collect()
}

fn equal_error(curve: &[Point]) -> f64 {
    let (mut accepts, mut rejects) = (0.0, 1.0);
    for point in curve {
        let (more, fewer) = (point.false_accepts, 1.0 - point.true_accepts);
        if more >= fewer {
            // Between two points both errors are linear in t: accepts + t (more - accepts) =
            // rejects + t (fewer - rejects).
            let t = (rejects - accepts) / ((more - accepts) + (rejects - fewer));
            return accepts + t * (more - accepts);
        }
        (accepts, rejects) = (more, fewer);
    }
    accepts
}

#[cfg(test)]
#[path = "verification_tests.rs"]
mod tests;
