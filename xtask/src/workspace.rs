//! The workspace as the checks see it: where it lies, what Cargo says of it, and the programs it builds.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The root of the workspace.
pub fn root() -> PathBuf {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map_or(xtask.clone(), PathBuf::from)
}

/// The Cargo that runs this program.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command and fails when it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot start {program}; is it installed?"))?;
    if !status.success() {
        bail!("{program} failed: {status}");
    }
    Ok(())
}

/// Runs a command whose stdout is wanted; its stderr is shown.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start {program}; is it installed?"))?;
    ensure!(output.status.success(), "{program} failed: {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("{program} printed what is not UTF-8"))
}

/// A program that Cargo built.
pub struct Program {
    /// Folder of its package.
    pub package: PathBuf,
    /// Its target's name.
    pub name: String,
    /// Whether it is a test program.
    pub test: bool,
    /// The file.
    pub file: PathBuf,
}

/// Builds all binaries and test programs, with the features that `cargo test --workspace` builds them with, so
/// that nothing is built twice.
pub fn programs() -> Result<Vec<Program>> {
    let build = ["build", "--workspace", "--bins", "--tests", "--message-format=json-render-diagnostics"];
    let messages = output(cargo().args(build).current_dir(root()))?;
    let mut programs = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).context("Cargo's messages are JSON lines")?;
        let Some(file) = message["executable"].as_str() else { continue };
        let manifest = PathBuf::from(message["manifest_path"].as_str().unwrap_or_default());
        programs.push(Program {
            package: manifest.parent().map(PathBuf::from).unwrap_or_default(),
            name: message["target"]["name"].as_str().unwrap_or_default().to_owned(),
            test: message["profile"]["test"].as_bool().unwrap_or_default(),
            file: file.into(),
        });
    }
    Ok(programs)
}
