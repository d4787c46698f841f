//! `deepembed completions SHELL`: a completion script on stdout.

use crate::failure::Outcome;
use clap::CommandFactory;
use clap_complete::Shell;

/// Print a completion script for a shell.
#[derive(clap::Args)]
pub struct Args {
    /// Shell to complete for.
    shell: Shell,
}

pub fn run(args: &Args) -> Outcome {
    clap_complete::generate(args.shell, &mut crate::Cli::command(), "deepembed", &mut std::io::stdout());
    Ok(())
}
