//! What every loss must hold to, whatever it computes.

use super::checks::{Given, random, run};
use super::{LossConfig, Sees};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Batches that break careless arithmetic.
fn extremes() -> Vec<(&'static str, Given)> {
    let (a, b): (&[f64], &[f64]) = (&[0.3, -0.4, 0.5], &[-0.7, 0.1, 0.2]);
    let long: &[f64] = &[1e4, -2e4, 5e3];
    vec![
        ("all one point", Given::new(&[a, a, a, a], &[0, 0, 1, 1])),
        ("all zero", Given::new(&[&[0.0; 3], &[0.0; 3], &[0.0; 3]], &[0, 0, 1])),
        ("one class", Given::new(&[a, b, a], &[0, 0, 0])),
        ("every picture alone", Given::new(&[a, b, long], &[0, 1, 2])),
        ("one picture", Given::new(&[a], &[0])),
        ("duplicates across classes", Given::new(&[a, b, a, b], &[0, 0, 1, 1])),
        ("opposite", Given::new(&[&[1.0, 0.0, 0.0], &[-1.0, 0.0, 0.0], a], &[0, 0, 1])),
        ("long and short", Given::new(&[long, &[1e-6, 0.0, 1e-7], a, b], &[0, 0, 1, 1])),
    ]
}

#[test]
fn values_and_gradients_stay_finite() {
    for config in LossConfig::every() {
        for (name, given) in extremes() {
            for step in [0, 5000] {
                let got = run(config.init().as_ref(), &given.clone().at_step(step));
                assert!(got.is_finite(), "{}: {name} at step {step}: {}", config.name(), got.value);
            }
        }
    }
}

#[test]
fn the_order_of_a_batch_does_not_matter() {
    for config in LossConfig::every() {
        // The first two of a class are not the first two of another order.
        if config.name() == "n-pair" {
            continue;
        }
        for seed in 0..20 {
            let given = random(seed);
            let order: Vec<usize> = (0..given.count()).rev().collect();
            let raw: Vec<&[f64]> = order.iter().map(|&i| given.raw[i].as_slice()).collect();
            let classes: Vec<u32> = order.iter().map(|&i| given.classes[i]).collect();
            let loss = config.init();
            let (one, other) =
                (run(loss.as_ref(), &given).value, run(loss.as_ref(), &Given::new(&raw, &classes)).value);
            assert!((one - other).abs() < 1e-3 * one.abs().max(1.0), "{}: {one} {other}", config.name());
        }
    }
}

#[test]
fn a_lone_class_has_nothing_to_be_told_from() {
    for config in LossConfig::every() {
        let loss = config.init();
        if loss.sees() == Sees::Triplets || loss.sees() == Sees::Relation {
            let given = Given::new(&[&[0.3, 0.1], &[0.2, -0.4]], &[0, 0]);
            let got = run(loss.as_ref(), &given);
            assert!(got.value == 0.0 && got.raw.iter().all(|v| *v == 0.0), "{}", config.name());
        }
    }
}

#[test]
fn settings_survive_a_recipe_and_bad_ones_are_named() {
    for config in LossConfig::every() {
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<LossConfig>(&text).unwrap(), config, "{text}");
        let defaults: LossConfig = toml::from_str(&format!("name = \"{}\"", config.name())).unwrap();
        assert_eq!(defaults, config);
        let error = toml::from_str::<LossConfig>(&format!("{text}\nmargins = 1")).unwrap_err().to_string();
        assert!(error.contains("margins"), "{error}");
        assert!(config.init().above_zero().iter().all(|(_, value)| *value > 0.0), "{text}");
    }
}

/// Eight classes of four points at random: moved along each loss's slope, three quarters of the
/// points at least have one of their class nearest, of which chance would give a tenth.
#[test]
fn every_loss_brings_classes_together() {
    const STEPS: usize = 400;
    let mut missed = Vec::new();
    for config in LossConfig::every() {
        let loss = config.init();
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let draw = |_| -> f64 {
            f64::from(<StandardNormal as Distribution<f32>>::sample(&StandardNormal, &mut rng))
        };
        // The N-pair loss looks at two pictures a class.
        let each = if config.name() == "n-pair" { 2 } else { 4 };
        let values: Vec<f64> = (0..64 * each).map(draw).collect();
        let rows: Vec<&[f64]> = values.chunks(8).collect();
        let count = rows.len();
        let classes: Vec<u32> = (0..count as u32).map(|item| item / each).collect();
        let mut given = Given::new(&rows, &classes).completed(loss.as_ref());
        let mut squares = vec![0.0; given.numbers().len()];
        for step in 0..STEPS {
            let slopes = run(loss.as_ref(), &given.clone().at_step(step)).all();
            // Each number moves by about the same, whatever the loss's scale, and less and less.
            let rate = 0.05 * (STEPS - step) as f64 / STEPS as f64;
            for ((number, slope), square) in given.numbers().into_iter().zip(slopes).zip(&mut squares) {
                *square = 0.9 * *square + 0.1 * slope * slope;
                *number -= rate * slope / (*square + 1e-16).sqrt();
            }
        }
        let hits = (0..count).filter(|&i| {
            let others = (0..count).filter(|&j| j != i);
            let nearest = others.max_by(|&a, &b| given.cosine(i, a).total_cmp(&given.cosine(i, b)));
            classes[nearest.unwrap()] == classes[i]
        });
        let hits = hits.count();
        if hits < count * 3 / 4 {
            missed.push((config.name(), hits, count));
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}
