//! Feeds the readers of files with bytes that nobody would write: every target in `fuzz/`, for a while.
//!
//! Needs a nightly compiler and `cargo install cargo-fuzz`. Seeds are the golden files and what fuzzing found before;
//! what runs learn stays in `fuzz/corpus`, what fails goes to `fuzz/artifacts`.

use crate::workspace::{root, run};
use anyhow::{Context, Result, bail};
use std::fs;
use std::process::Command;

/// Folders of files to start from, seen from `fuzz/`.
const SEEDS: [&str; 3] =
    ["../golden/vectors", "../crates/data/tests/hostile", "../crates/index/tests/golden"];

/// Most memory of a target, MiB, and longest input, bytes: the largest golden file fits.
const MEMORY: usize = 1024;
const LONGEST: usize = 96 << 10;

/// Slowest input that is no hang, seconds.
const HANG: usize = 10;

/// Names of all targets.
fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Runs `only`, or all targets, for `seconds` each; goes on after one that finds something, and fails then.
pub fn all(seconds: u32, only: &[String]) -> Result<()> {
    let known = targets()?;
    if let Some(name) = only.iter().find(|name| !known.contains(name)) {
        bail!("there is no target {name}; there are {}", known.join(", "));
    }
    let mut failed = Vec::new();
    for name in if only.is_empty() { &known } else { only } {
        let corpus = root().join("fuzz/corpus").join(name);
        fs::create_dir_all(&corpus).with_context(|| corpus.display().to_string())?;
        // Not the Cargo that runs this program, which is of one tool chain. Nearly all that is fuzzed is safe code,
        // so that the address sanitizer would halve the speed and find nothing.
        let mut command = Command::new("cargo");
        command.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN").current_dir(root().join("fuzz"));
        command.args(["+nightly", "fuzz", "run", "--sanitizer", "none", name]).arg(&corpus).args(SEEDS);
        command.args(["--", &format!("-max_total_time={seconds}"), &format!("-rss_limit_mb={MEMORY}")]);
        command.args([format!("-max_len={LONGEST}"), format!("-timeout={HANG}")]);
        if let Err(error) = run(&mut command) {
            failed.push(format!("{name}: {error}"));
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("\n")) }
}
