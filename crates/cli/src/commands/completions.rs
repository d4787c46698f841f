//! `deepembed completions SHELL`: a completion script on stdout.

use crate::context::Context;
use crate::failure::Outcome;
use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

/// Print a completion script for a shell.
#[derive(clap::Args)]
pub struct Args {
    /// Shell to complete for.
    shell: Shell,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    // By way of memory: written straight to a closed pipe, the generator would panic.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::Cli::command(), "deepembed", &mut script);
    let script = String::from_utf8_lossy(&script);
    Ok(context.talk.result(&json!({"shell": args.shell.to_string(), "script": script}), &script)?)
}
