//! The rules of `deny.toml`: licences, sources, bans and advisories of every dependency.

use crate::checks::Verdict;
use crate::workspace::{cargo, root, run};
use anyhow::{Context, Result};
use std::process::{Command, Stdio};

/// The program that knows the rules, a subcommand of Cargo, installed where it is missing.
const PROGRAM: &str = "cargo-deny";
const VERSION: &str = "0.20.2";

/// Checks the rules. Advisories need their database from the network; without it the rest is checked.
pub fn check() -> Result<Verdict> {
    install()?;
    let mut rules = vec!["check", "bans", "licenses", "sources"];
    let fetched = run(deny().args(["fetch", "db"])).is_ok();
    if fetched {
        rules.push("advisories");
    }
    run(deny().args(rules))?;
    Ok(match fetched {
        true => Verdict::Passed,
        false => Verdict::Partly(
            "the advisory database cannot be fetched, so advisories were not checked".to_owned(),
        ),
    })
}

fn deny() -> Command {
    let mut command = cargo();
    command.arg("deny").current_dir(root());
    command
}

/// Builds the program into Cargo's folder of programs. Without optimisation: it runs for seconds and builds for
/// minutes.
fn install() -> Result<()> {
    let found = deny().arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    println!("installing {PROGRAM} {VERSION}; this happens once and takes some minutes");
    let install = ["install", "--locked", "--debug", "--version", VERSION, PROGRAM];
    run(cargo().args(install)).with_context(|| format!("cargo {}", install.join(" ")))
}
