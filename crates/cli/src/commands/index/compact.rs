//! `deepembed index compact`: one segment of all rows that live, and nothing else in the file.

use super::growth;
use crate::context::Context;
use crate::failure::Outcome;
use crate::pipeline::watched;
use index::Writer;
use serde_json::json;
use std::path::PathBuf;

/// What to make small.
#[derive(clap::Args)]
pub struct Args {
    /// Index file.
    index: PathBuf,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let mut writer = Writer::open(&args.index)?;
    let before = writer.committed();
    let done = watched(context, "compacting", |watch| writer.compact(watch))?;
    let text = format!("{} bytes before", before.bytes);
    growth::report(context, &args.index, &done, &text, json!({"bytes_before": before.bytes}))
}
