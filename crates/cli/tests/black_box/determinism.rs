//! The same input gives the same bytes: at any number of threads, and whether a run was stopped or not.

use crate::common::{HEAD, SMALL, bad, demo, fresh, good, pictures};
use crate::words;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// A small training run into `out`; gives the bytes of its model.
fn train(data: &Path, recipe: &str, out: &Path, more: &[&str]) -> Vec<u8> {
    let arguments = words!["train", "metric", "--data", data, "-c", recipe, "--out", out, "--quiet"];
    let more = SMALL.iter().chain(more).map(OsString::from);
    good(arguments.into_iter().chain(more));
    fs::read(out.join("model.safetensors")).unwrap()
}

fn a_seed_decides(recipe: &str, head: &[&str]) {
    let folder = fresh();
    let data = pictures(folder.path(), 12, 4);
    let run =
        |name: &str, more: &[&str]| train(&data, recipe, &folder.path().join(name), &[head, more].concat());
    let one = run("one", &["--seed", "7", "--threads", "1"]);
    assert!(one == run("again", &["--seed", "7", "--threads", "1"]), "the same run again");
    assert!(one == run("two", &["--seed", "7", "--threads", "2"]), "two threads");
    assert!(one != run("other", &["--seed", "8", "--threads", "2"]), "another seed");
}

#[test]
fn a_seed_decides_a_fine_tuned_model() {
    a_seed_decides("starter", &HEAD);
}

#[test]
fn a_seed_decides_a_trained_head() {
    a_seed_decides("quick", &HEAD);
}

#[test]
fn a_seed_decides_a_model_from_scratch() {
    a_seed_decides("scratch", &[]);
}

#[test]
fn an_index_has_the_same_bytes_at_any_number_of_threads() {
    let demo = demo();
    let folder = fresh();
    let build = |name: &str, more: &[&str]| {
        let out = folder.path().join(name);
        let arguments =
            words!["index", "build", "--data", &demo.data, "--model", demo.model(), "--out", &out];
        good(arguments.into_iter().chain(more.iter().map(OsString::from)));
        fs::read(out).unwrap()
    };
    let one = build("one", &["--threads", "1"]);
    for threads in ["2", "3"] {
        assert!(one == build(threads, &["--threads", threads]), "{threads} threads");
    }
    assert!(one == fs::read(demo.index()).unwrap(), "the demo's own");
    assert!(one != build("other", &["--seed", "2"]), "the seed is part of the file");
}

/// Stops a run of `steps` steps, enough that Ctrl-C comes in time, and lets it go on.
#[cfg(unix)]
fn a_stopped_run_goes_on(recipe: &str, long: &[&str], steps: u64) {
    use crate::common::Running;
    let folder = fresh();
    let data = pictures(folder.path(), 12, 4);
    let through = train(&data, recipe, &folder.path().join("through"), long);

    let run = folder.path().join("run");
    let arguments = words!["train", "metric", "--data", &data, "-c", recipe, "--out", &run];
    let arguments: Vec<OsString> =
        arguments.into_iter().chain(SMALL.iter().chain(long).map(OsString::from)).collect();
    let mut running = Running::start(&arguments);
    let checkpoints = || fs::read_dir(run.join("checkpoints")).map_or(0, Iterator::count);
    while checkpoints() == 0 {
        assert!(running.0.try_wait().unwrap().is_none(), "the run ended without a checkpoint");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    running.interrupt();
    assert_eq!(running.code(), 130);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut running.0.stderr.take().unwrap(), &mut said).unwrap();
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("error: stopped after step ") && last.contains("--resume"), "{said}");
    assert!(checkpoints() > 0 && !run.join("model.safetensors").exists(), "stopped before its end");

    let facts = fs::read(run.join("run.json")).unwrap();
    let other_seed = arguments.iter().cloned().chain(words!["--resume", "--seed", "9"]);
    bad(1, &["seed 1 (now 9)", "another folder"], other_seed);
    assert!(fs::read(run.join("run.json")).unwrap() == facts, "a refusal changes nothing");
    let said = good(arguments.into_iter().chain(words!["--resume"]));
    assert!(said.err.contains("going on after step"), "{}", said.err);
    assert!(fs::read(run.join("model.safetensors")).unwrap() == through, "the same model");
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let logged: Vec<u64> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter_map(|line| line["loss"].is_f64().then(|| line["step"].as_u64().unwrap()))
        .collect();
    assert_eq!(logged, (1..=steps).collect::<Vec<_>>(), "each step is in the log once");
}

#[cfg(unix)]
#[test]
fn a_stopped_run_goes_on_to_the_same_bytes() {
    a_stopped_run_goes_on("scratch", &["-o", "schedule.steps=60"], 60);
}

#[cfg(unix)]
#[test]
fn a_run_of_two_phases_goes_on_to_the_same_bytes() {
    a_stopped_run_goes_on("starter", &["-o", "head.steps=40", "-o", "schedule.steps=10"], 50);
}

#[test]
fn a_split_depends_on_the_seed_alone() {
    let folder = fresh();
    let data = pictures(folder.path(), 12, 2);
    let import = |name: &str, seed: &str, threads: &str| {
        let to = folder.path().join(name);
        good(words!["data", "import", &data, &to, "--seed", seed, "--threads", threads]);
        fs::read(to.join("manifest.csv")).unwrap()
    };
    let first = import("a", "1", "1");
    assert!(first == import("b", "1", "2"));
    assert!(first != import("c", "2", "2"));
}
