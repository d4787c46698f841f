//! `deepembed bench`: indexes measured here, or by a harness that measures others too.

mod ann;
mod serve;

use crate::context::Context;
use crate::failure::Outcome;

/// Measure indexes beside each other.
#[derive(clap::Subcommand)]
pub enum Args {
    Ann(ann::Args),
    Serve(serve::Args),
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    match args {
        Args::Ann(args) => ann::run(context, args),
        Args::Serve(args) => serve::run(context, args),
    }
}
