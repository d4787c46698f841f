//! What a training run leaves behind.

use crate::common::{HEAD, SMALL, demo, fresh, good, json, pictures};
use crate::words;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The measures of one model on one split.
fn whole_marks(marks: &Value, what: &str) {
    for key in ["recall@1", "recall@2", "recall@4", "recall@8", "map@r", "r_precision", "nmi"] {
        let number = |part: &str| {
            marks[key][part].as_f64().unwrap_or_else(|| panic!("{what}: {key}.{part} in {marks}"))
        };
        let (low, value, high) = (number("low"), number("value"), number("high"));
        assert!((0.0..=1.0).contains(&value), "{what}: {key} = {value}");
        assert!(low <= value + 1e-9 && value <= high + 1e-9, "{what}: {key} = {value} of [{low}, {high}]");
    }
    for key in ["queries", "dropped_queries", "ties"] {
        assert!(marks[key].is_u64(), "{what}: {key} in {marks}");
    }
}

fn whole_metrics(metrics: &Value) {
    assert!(metrics["protocol"].as_str().unwrap().starts_with("zero-shot/"), "{}", metrics["protocol"]);
    whole_marks(&metrics["test"], "test");
    for baseline in ["pixels", "untrained", "starter"] {
        whole_marks(&metrics["baseline"][baseline], baseline);
    }
    for key in ["images_per_second", "seconds", "peak_rss_bytes"] {
        assert!(metrics["train"][key].as_f64().unwrap() > 0.0, "train.{key}");
    }
}

fn whole_folder(run: &Path, head: usize) {
    for name in
        ["recipe.toml", "run.json", "manifest.csv", "metrics.jsonl", "model.safetensors", "metrics.json"]
    {
        assert!(fs::metadata(run.join(name)).unwrap().len() > 0, "{name}");
    }
    let names = || fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names().filter(|name| name.starts_with("events.out.tfevents.")).count(), 1);
    assert!(names().all(|name| !name.ends_with(".tmp")), "nothing temporary is left");
    let checkpoints = fs::read_dir(run.join("checkpoints")).unwrap().count();
    assert!(checkpoints > 0, "checkpoints are kept");
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let steps: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(steps.iter().filter(|line| line["loss"].is_f64()).count(), head + 3, "{log}");
    assert_eq!(
        steps.iter().filter(|line| line["validation_recall@1"].is_f64()).count(),
        1 + head.min(1),
        "{log}"
    );
    let html = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(html.contains("</html>") && !html.contains("src=\"http"), "the report stands alone");
}

fn a_recipe_runs(recipe: &str, head: usize) {
    let folder = fresh();
    let data = pictures(folder.path(), 12, 4);
    let run = folder.path().join("run");
    let arguments = words!["train", "metric", "--data", &data, "-c", recipe, "--out", &run, "--seed", "5"];
    let printed = json(arguments.into_iter().chain(SMALL.iter().chain(&HEAD[..head]).map(Into::into)));
    whole_folder(&run, head);
    whole_metrics(&printed);
    assert_eq!(printed["seed"], 5);
    let kept: Value = serde_json::from_slice(&fs::read(run.join("metrics.json")).unwrap()).unwrap();
    assert_eq!(kept, printed);
    // The resolved recipe is a recipe.
    let again = words![
        "train",
        "metric",
        "--data",
        &data,
        "-c",
        run.join("recipe.toml"),
        "--out",
        &run,
        "--seed",
        "5"
    ];
    let said = good(again);
    assert!(said.err.contains("not trained again"), "{}", said.err);
    assert!(said.out.contains("trained    recall@1"), "{}", said.out);
}

#[test]
fn the_starter_recipe_runs() {
    a_recipe_runs("starter", 2);
}

#[test]
fn the_quick_recipe_runs() {
    a_recipe_runs("quick", 2);
}

#[test]
fn the_scratch_recipe_runs() {
    a_recipe_runs("scratch", 0);
}

#[test]
fn the_demo_measures_its_index_too() {
    let demo = demo();
    whole_folder(&demo.run, 2);
    whole_metrics(&demo.metrics);
    assert_eq!(demo.metrics["index"]["spec"], "HNSW16");
    assert!(demo.metrics["index"]["recall@10"].as_f64().unwrap() > 0.9);
    assert!(demo.metrics["index"]["qps_single"].as_f64().unwrap() > 0.0);
    assert!(demo.index().is_file() && demo.run.join("map.json").is_file());
}

#[test]
fn the_starter_tells_the_drawn_classes_apart() {
    // 12 classes of a colour and a shape: features that see neither would get about one in four right.
    let value = json(words!["eval", "--data", &demo().data]);
    assert!(value["recall@1"]["value"].as_f64().unwrap() > 0.7, "{value}");
}
