//! What every loss must hold to, whatever it computes.

use super::checks::{Given, random, run};
use super::{LossConfig, Sees};

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
