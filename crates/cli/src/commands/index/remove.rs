//! `deepembed index remove`: rows taken out of an index by their ids.

use super::growth;
use crate::context::Context;
use crate::failure::Outcome;
use crate::pipeline::watched;
use index::Writer;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What to remove from what.
#[derive(clap::Args)]
pub struct Args {
    /// Index file.
    index: PathBuf,
    /// Ids: a text file with one a line, or 3,17,40.
    #[arg(long, value_name = "FILE|N,N,..")]
    ids: String,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let ids = match growth::parse_ids(&args.ids) {
        Some(ids) => ids,
        None => growth::read_ids(Path::new(&args.ids))?,
    };
    let mut writer = Writer::open(&args.index)?;
    let before = writer.committed().rows;
    let unknown = writer.remove(&ids);
    let done = watched(context, "removing", |watch| writer.commit(watch))?;
    let removed = before - done.rows;
    let mut text = format!("{removed} rows removed");
    if !unknown.is_empty() {
        text += &format!(", {} ids are not in the index (the first: {})", unknown.len(), unknown[0]);
    }
    growth::report(context, &args.index, &done, &text, json!({"removed": removed, "unknown": unknown}))
}
