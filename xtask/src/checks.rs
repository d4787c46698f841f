//! `cargo xtask test`: every check in order, until one fails.

use crate::workspace::{cargo, programs, root, run as must};
use crate::{book, golden, policy};
use anyhow::{Result, bail};
use std::process::{Command, ExitCode};
use std::time::Instant;

/// How a check ended, when it did not fail.
pub enum Verdict {
    /// All of it was done.
    Passed,
    /// All was done but this part, which cannot be done here.
    Partly(String),
    /// Nothing could be done here, for this reason.
    Skipped(String),
}

/// One check.
struct Check {
    name: &'static str,
    /// Whether `--fast` leaves it out.
    slow: bool,
    run: fn(fast: bool) -> Result<Verdict>,
}

/// Cheap ones first; whatever a later one runs, an earlier one has built.
const CHECKS: [Check; 8] = [
    Check { name: "format", slow: false, run: |_| cargo_must(&["fmt", "--all", "--check"]) },
    Check { name: "lints", slow: false, run: lints },
    Check { name: "tests", slow: false, run: tests },
    Check { name: "avx2", slow: false, run: |_| instruction_set("avx2") },
    Check { name: "scalar", slow: false, run: |_| instruction_set("scalar") },
    Check { name: "book", slow: false, run: |_| book::run().map(|()| Verdict::Passed) },
    Check { name: "golden", slow: true, run: |_| golden::check() },
    Check { name: "dependencies", slow: true, run: |_| policy::check() },
];

/// Crates whose arithmetic has a version for each instruction set.
const BY_INSTRUCTION_SET: [&str; 2] = ["kernels", "index"];

/// Names of the checks, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().map(|check| check.name)
}

/// Runs the checks, or those that `only` names, and says how many passed.
pub fn run(fast: bool, only: &[String]) -> ExitCode {
    let start = Instant::now();
    let (mut passed, mut failed, mut skipped) = (0, 0, Vec::new());
    let wanted = |check: &&Check| match only {
        [] => !(fast && check.slow),
        only => only.iter().any(|name| name == check.name),
    };
    for check in CHECKS.iter().filter(wanted) {
        println!("\n=== {} ===", check.name);
        let began = Instant::now();
        match (check.run)(fast) {
            Ok(Verdict::Passed) => passed += 1,
            Ok(Verdict::Partly(what)) => {
                passed += 1;
                skipped.push(format!("{}: {what}", check.name));
            }
            Ok(Verdict::Skipped(why)) => skipped.push(format!("{}: {why}", check.name)),
            Err(error) => {
                println!("FAILED {}: {error:#}", check.name);
                failed += 1;
                break;
            }
        }
        println!("=== {} took {:.0} s ===", check.name, began.elapsed().as_secs_f64());
    }
    println!("\nall in all {:.0} s", start.elapsed().as_secs_f64());
    for check in CHECKS.iter().filter(|check| !wanted(check)) {
        println!("LEFT OUT, as asked: {}", check.name);
    }
    skipped.iter().for_each(|what| println!("NOT DONE: {what}"));
    let skips = if skipped.is_empty() { String::new() } else { format!(", {} skipped", skipped.len()) };
    println!("checks: {passed} passed, {failed} failed{skips}");
    ExitCode::from(u8::from(failed > 0))
}

/// Runs Cargo at the root.
fn cargo_must(arguments: &[&str]) -> Result<Verdict> {
    must(cargo().args(arguments).current_dir(root()))?;
    Ok(Verdict::Passed)
}

/// Clippy over everything; the programs that make committed files are of it unless `fast`.
fn lints(fast: bool) -> Result<Verdict> {
    let mut arguments = vec!["clippy", "--workspace", "--all-targets"];
    if !fast {
        arguments.extend(["--features", "xtask/assets"]);
    }
    arguments.extend(["--", "-D", "warnings"]);
    cargo_must(&arguments)
}

/// Unit, property, integration, command-line and documentation tests.
fn tests(fast: bool) -> Result<Verdict> {
    let mut tests = cargo();
    tests.args(["test", "--workspace"]).current_dir(root());
    if fast {
        tests.env("DEEPEMBED_SKIP_BROWSER", "1");
    }
    must(&mut tests)?;
    Ok(Verdict::Passed)
}

/// The tests of the numeric crates once more, held to one instruction set. Their programs are run as they are:
/// Cargo would build them again for a part of the workspace.
fn instruction_set(name: &str) -> Result<Verdict> {
    if name == "avx2" && !has_avx2() {
        return Ok(Verdict::Skipped("this processor has no AVX2".to_owned()));
    }
    let (mut tests, crates) = (0, root().join("crates"));
    for program in programs()? {
        let held = BY_INSTRUCTION_SET.iter().any(|folder| program.package == crates.join(folder));
        if held && program.test {
            println!("{name}: {}", program.name);
            must(Command::new(&program.file).env("DEEPEMBED_ISA", name).current_dir(&program.package))?;
            tests += 1;
        }
    }
    if tests == 0 {
        bail!("no test program of {} was built", BY_INSTRUCTION_SET.join(" or "));
    }
    Ok(Verdict::Passed)
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}
