//! Every recipe in the binary runs, and goes on after a stop to the same bytes.

use data::Dataset;
use deepembed_neural::{Event, RECIPES, Recipe, SamplerConfig, Session, TrainError, train};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Twelve classes of the built-in set, in two categories and three cameras.
fn pictures() -> Dataset {
    let mut dataset = Dataset::emoji().unwrap();
    dataset.items.retain(|item| item.label < 12);
    for (number, item) in dataset.items.iter_mut().enumerate() {
        item.category = Some(format!("half {}", item.label % 2));
        item.camera = Some(format!("camera {}", number % 3));
    }
    dataset
}

/// A recipe cut down to a small net, tiny batches and few steps.
fn small(text: &str) -> Recipe {
    let full = Recipe::parse(text, &[]).unwrap();
    let mut overrides: Vec<&str> = vec![
        "model.backbone=small-resnet",
        "model.start=random",
        "model.dim=8",
        "model.frozen=0",
        "input.size=16",
        "input.train_size=0",
        "head.steps=0",
        "schedule.steps=5",
        "schedule.cached_views=0",
        "schedule.checkpoint_every=2",
    ];
    overrides.extend(match full.sampler {
        SamplerConfig::Plain(_) => &["sampler.size=8"][..],
        _ => &["sampler.classes=4", "sampler.images=2"],
    });
    if text.contains("\"daml\"") {
        overrides.extend(["loss.hidden=8", "loss.pretrain=1", "loss.joint=3"]);
    }
    if text.contains("\"deepid2\"") {
        overrides.push("loss.every=2");
    }
    if full.memory.is_some() {
        overrides.extend(["memory.size=12", "memory.start=1"]);
    }
    Recipe::parse(text, &overrides.into_iter().map(str::to_owned).collect::<Vec<_>>()).unwrap()
}

/// Trains, or stops after step `until`; the model's bytes.
fn run(
    dataset: &Dataset,
    recipe: &Recipe,
    folder: &Path,
    until: Option<usize>,
    resume: bool,
) -> Result<Vec<u8>, TrainError> {
    let stop = AtomicBool::new(false);
    let observe = |event: &Event| {
        if let Event::Step(step) = event {
            assert!(step.loss.is_finite() && (0.0..=1.0).contains(&step.active), "{step:?}");
            stop.store(until == Some(step.step), Ordering::Relaxed);
        }
    };
    let session = Session {
        recipe,
        dataset,
        data_hash: "fixture",
        checkpoints: folder,
        seed: 7,
        resume,
        stop: &stop,
        validate: &|_| Ok(0.0),
        observe: &observe,
    };
    train(&session).map(|trained| trained.model.to_bytes())
}

#[test]
fn every_recipe_runs_and_resumes_to_the_same_bytes() {
    let dataset = pictures();
    for (name, text) in RECIPES {
        let recipe = small(text);
        let (whole, halves) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let want =
            run(&dataset, &recipe, whole.path(), None, false).unwrap_or_else(|e| panic!("{name}: {e}"));
        let stopped = run(&dataset, &recipe, halves.path(), Some(3), false);
        assert!(matches!(stopped, Err(TrainError::Interrupted { step: 3, .. })), "{name}");
        assert!(
            run(&dataset, &recipe, halves.path(), None, true).unwrap() == want,
            "{name}: other bytes after a stop"
        );
    }
}
