//! The one command that runs every check and makes every shipped file.
#![forbid(unsafe_code)]

#[cfg(feature = "assets")]
mod emoji;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Checks the workspace and makes the files that it ships.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make data files that are committed.
    Data {
        #[command(subcommand)]
        set: Set,
    },
}

#[derive(Subcommand)]
enum Set {
    /// Draw the built-in emoji set: crates/data/builtin/emoji.tar.gz.
    Emoji {
        /// Folder with the npm packages installed (a `node_modules`); without it they are installed by npm
        /// into a temporary folder.
        #[arg(long)]
        packages: Option<PathBuf>,
        /// Where to write instead.
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

fn main() -> Result<()> {
    match Args::parse().verb {
        Verb::Data { set: Set::Emoji { packages, out } } => emoji(packages.as_deref(), out.as_deref()),
    }
}

/// The root of the workspace.
fn root() -> PathBuf {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map_or(xtask.clone(), PathBuf::from)
}

#[cfg(feature = "assets")]
fn emoji(packages: Option<&Path>, out: Option<&Path>) -> Result<()> {
    let builtin = root().join("crates/data/builtin");
    let out = out.map_or_else(|| builtin.join("emoji.tar.gz"), Path::to_path_buf);
    emoji::make(packages, &builtin, &out)
}

/// Drawing needs crates that no check needs, so this command builds itself once more with them.
#[cfg(not(feature = "assets"))]
fn emoji(packages: Option<&Path>, out: Option<&Path>) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--release", "--package", "xtask", "--features", "assets", "--", "data", "emoji"]);
    for (flag, value) in [("--packages", packages), ("--out", out)] {
        if let Some(value) = value {
            command.arg(flag).arg(std::path::absolute(value)?);
        }
    }
    run(command.current_dir(root()))
}

/// Runs a command and fails when it fails.
fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot start {program}; is it installed?"))?;
    if !status.success() {
        bail!("{program} failed: {status}");
    }
    Ok(())
}
