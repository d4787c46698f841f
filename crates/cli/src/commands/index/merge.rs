//! `deepembed index merge`: the rows of several indexes in one file, under their ids.

use crate::context::Context;
use crate::failure::Outcome;
use serde_json::json;
use std::path::PathBuf;

/// What to merge.
#[derive(clap::Args)]
pub struct Args {
    /// Index files; the spec is that of the first.
    #[arg(required = true, num_args = 2..)]
    indexes: Vec<PathBuf>,
    /// New index file.
    #[arg(long, short)]
    out: PathBuf,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let rows = index::merge(&args.indexes, &args.out)?;
    let text = format!("{rows} rows of {} indexes in {}", args.indexes.len(), args.out.display());
    Ok(context.talk.result(&json!({"rows": rows, "indexes": args.indexes.len(), "index": args.out}), text)?)
}
