use super::*;
use proptest::prelude::*;

fn pairs(genuine: &[f32], impostors: &[f32], folds: usize) -> Vec<Pair> {
    let pair = |genuine| move |(i, &distance): (usize, &f32)| Pair { distance, genuine, fold: i % folds };
    genuine.iter().enumerate().map(pair(true)).chain(impostors.iter().enumerate().map(pair(false))).collect()
}

fn rates(rates: &[f64]) -> VerificationOptions {
    VerificationOptions { rates: rates.to_vec(), resamples: 100, ..VerificationOptions::default() }
}

#[test]
fn accepts_at_a_rate_by_hand() {
    // Similarities .9 .8 .3 and .7 .2 .1 as negated distances: one of three impostors may be accepted,
    // that is .7, and .9 and .8 lie above it.
    let list = pairs(&[-0.9, -0.8, -0.3], &[-0.7, -0.2, -0.1], 2);
    let got = verification(&list, &rates(&[1.0 / 3.0, 0.0, 1.0, 0.5])).unwrap();
    let accepted: Vec<f64> = got.at_rates.iter().map(|at| at.accepted.value).collect();
    assert_eq!(accepted, [2.0 / 3.0, 2.0 / 3.0, 1.0, 2.0 / 3.0]);
    assert_eq!(got.at_rates[0].allowed, 1);
    // Two impostors at one distance cannot be told apart: with one allowed, neither is accepted.
    let list = pairs(&[1.0, 3.0, 9.0], &[3.0, 3.0, 5.0, 6.0], 2);
    let got = verification(&list, &rates(&[0.25, 0.5])).unwrap();
    assert_eq!((got.at_rates[0].accepted.value, got.at_rates[0].reached), (1.0 / 3.0, 0.0));
    assert_eq!((got.at_rates[1].accepted.value, got.at_rates[1].reached), (2.0 / 3.0, 0.5));
}

#[test]
fn the_threshold_comes_from_the_other_folds() {
    let pair = |distance, genuine, fold| Pair { distance, genuine, fold };
    let list = [
        pair(1.0, true, 0),
        pair(2.0, true, 0),
        pair(3.0, false, 0),
        pair(1.5, true, 1),
        pair(2.0, false, 1),
        pair(4.0, false, 1),
    ];
    // Fold 0 by fold 1's threshold 1.5: right for 1 and 3. Fold 1 by fold 0's 2: right for 1.5 and 4.
    let got = verification(&list, &rates(&[0.5])).unwrap();
    assert_eq!(got.folds, [2.0 / 3.0, 2.0 / 3.0]);
    assert_eq!(got.protocol, "verification/2-fold/exact-thresholds/v1");
    // The grid: fold 1 is separated first by 1.51, fold 0 by 2.01.
    let grid = VerificationOptions { thresholds: Thresholds::Grid, ..rates(&[0.5]) };
    assert_eq!(verification(&list, &grid).unwrap().folds, [2.0 / 3.0, 2.0 / 3.0]);
}

#[test]
fn equal_error_by_hand() {
    // After 3: one of two genuine rejected, one of two impostors accepted.
    let list = pairs(&[1.0, 4.0], &[3.0, 5.0], 2);
    assert_eq!(verification(&list, &rates(&[])).unwrap().equal_error, 0.5);
    let apart = pairs(&[1.0, 2.0], &[3.0, 4.0], 2);
    let got = verification(&apart, &rates(&[0.0])).unwrap();
    assert_eq!((got.equal_error, got.at_rates[0].accepted.value), (0.0, 1.0));
    assert_eq!(got.curve.len(), 4);
}

#[test]
fn bad_lists_are_refused() {
    let good = pairs(&[1.0, 2.0], &[3.0, 4.0], 2);
    let mut bad = good.clone();
    bad[1].distance = f32::NAN;
    assert!(matches!(verification(&bad, &rates(&[])), Err(ProtocolError::NotFinite { place: 1, .. })));
    bad.clone_from(&good);
    bad[0].fold = usize::MAX;
    assert!(matches!(verification(&bad, &rates(&[])), Err(ProtocolError::TooFew { .. })));
    assert!(matches!(verification(&good[..2], &rates(&[])), Err(ProtocolError::TooFew { .. })));
    assert!(verification(&[], &rates(&[])).is_err());
    assert_eq!(verification(&good, &rates(&[1.5])), Err(ProtocolError::Rate(1.5)));
}

/// Accuracy of a fold, trying every threshold of the others.
fn naive_accuracy(list: &[Pair], fold: usize) -> f64 {
    let right = |pairs: &dyn Fn(&Pair) -> bool, threshold: f32| {
        list.iter().filter(|p| pairs(p)).filter(|p| (p.distance <= threshold) == p.genuine).count()
    };
    let mut thresholds: Vec<f32> = list.iter().filter(|p| p.fold != fold).map(|p| p.distance).collect();
    thresholds.push(f32::NEG_INFINITY);
    thresholds.sort_by(f32::total_cmp);
    let mut best = thresholds[0];
    for &threshold in &thresholds {
        if right(&|p| p.fold != fold, threshold) > right(&|p| p.fold != fold, best) {
            best = threshold;
        }
    }
    right(&|p| p.fold == fold, best) as f64 / list.iter().filter(|p| p.fold == fold).count() as f64
}

/// Share of genuine pairs within the greatest impostor distance that accepts few enough.
fn naive_accepts(list: &[Pair], rate: f64) -> f64 {
    let count = |genuine: bool, accept: &dyn Fn(f32) -> bool| {
        list.iter().filter(|p| p.genuine == genuine && accept(p.distance)).count()
    };
    let allowed = (rate * count(false, &|_| true) as f64 + 1e-9) as usize;
    let impostors = list.iter().filter(|p| !p.genuine).map(|p| p.distance);
    let fits = impostors.clone().filter(|&t| count(false, &|d| d <= t) <= allowed);
    let nearest = impostors.clone().fold(f32::INFINITY, f32::min);
    let accepted = match fits.max_by(f32::total_cmp) {
        Some(threshold) => count(true, &|distance| distance <= threshold),
        None => count(true, &|distance| distance < nearest),
    };
    accepted as f64 / count(true, &|_| true) as f64
}

proptest! {
    #[test]
    fn agrees_with_slow_loops(
        values in prop::collection::vec((0u8..12, any::<bool>()), 4..50), rate in 0.0f64..1.0, threads in 1usize..3,
    ) {
        let list: Vec<Pair> = values
            .iter()
            .enumerate()
            .map(|(i, &(distance, genuine))| Pair { distance: f32::from(distance), genuine, fold: i % 3 })
            .collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let got = match pool.install(|| verification(&list, &rates(&[rate]))) {
            Err(ProtocolError::TooFew { .. }) => return Ok(()),
            got => got.unwrap(),
        };
        for (fold, &accuracy) in got.folds.iter().enumerate() {
            prop_assert_eq!(accuracy, naive_accuracy(&list, fold));
        }
        prop_assert_eq!(got.at_rates[0].accepted.value, naive_accepts(&list, rate));
        prop_assert!(got.at_rates[0].reached <= rate + 1e-9);
        prop_assert!((0.0..=1.0).contains(&got.equal_error));
    }
}
