//! `deepembed index build|plan|tune|add|remove|merge|compact|eval|info|verify`.

mod add;
mod build;
mod compact;
mod evaluate;
mod growth;
mod merge;
mod plan;
mod remove;
mod tune;

pub use build::hash_rows;
pub use tune::knobs;

use crate::context::Context;
use crate::failure::Outcome;
use crate::payload;
use serde_json::json;
use std::path::PathBuf;

/// Build an index, or look at one.
#[derive(clap::Subcommand)]
pub enum Args {
    /// Embed pictures and index the vectors, or index vectors from a file.
    #[command(after_help = build::EXAMPLES)]
    Build(build::Args),
    /// Say what an index would take: memory, bytes of the file, seconds.
    #[command(after_help = plan::EXAMPLE)]
    Plan(plan::Args),
    /// Find, build and verify the index that reaches a recall in the memory and the time that there are.
    #[command(after_help = tune::EXAMPLE)]
    Tune(tune::Args),
    /// Add vectors to an index of vectors, or replace some.
    #[command(after_help = ADD_EXAMPLE)]
    Add(add::Args),
    /// Remove rows from an index by their ids.
    Remove(remove::Args),
    /// Put the rows of several indexes into a new one, under their ids.
    Merge(merge::Args),
    /// Write an index anew without what was removed or replaced, as one segment.
    Compact(compact::Args),
    /// Measure recall and speed of an index of vectors, at one effort or several.
    #[command(after_help = EVAL_EXAMPLE)]
    Eval(evaluate::Args),
    /// Say what an index holds and which model it belongs to.
    Info {
        /// Index file.
        index: PathBuf,
    },
    /// Read every byte of an index and compare all checksums.
    Verify {
        /// Index file.
        index: PathBuf,
    },
}

const ADD_EXAMPLE: &str = "Examples:\n  \
    deepembed index add base.index --vectors more.fvecs\n  \
    deepembed index add base.index --vectors changed.npy --ids changed.txt --update";

const EVAL_EXAMPLE: &str = "Example:\n  \
    deepembed index eval --index base.index --queries query.fvecs --ground-truth truth.ivecs --probes 8,16,32";

pub fn run(context: &Context, args: &Args) -> Outcome {
    match args {
        Args::Build(args) => build::run(context, args),
        Args::Plan(args) => plan::run(context, args),
        Args::Tune(args) => tune::run(context, args),
        Args::Add(args) => add::run(context, args),
        Args::Remove(args) => remove::run(context, args),
        Args::Merge(args) => merge::run(context, args),
        Args::Compact(args) => compact::run(context, args),
        Args::Eval(args) => evaluate::run(context, args),
        Args::Info { index } => {
            let opened = index::open(index)?;
            let provenance = &opened.provenance;
            let model = provenance.model.as_ref();
            let (source, records) = match model {
                Some(_) => {
                    let (source, records) = payload::read(opened.payload()?, opened.id_bound())?;
                    (source.to_string(), records)
                }
                None => (String::from_utf8_lossy(opened.payload()?).into_owned(), Vec::new()),
            };
            let value = json!({
                "spec": opened.index.spec().to_string(),
                "rows": opened.index.len(),
                "dim": opened.index.dim(),
                "metric": opened.index.metric().to_string(),
                "bytes": opened.index.bytes(),
                "model_hash": model.map(|model| &model.hash),
                "architecture": model.map(|model| &model.contract.architecture),
                "data": source,
                "data_hash": provenance.data_hash,
                "seed": provenance.seed,
                "generation": opened.generation(),
                "segments": opened.segments(),
                "tuned": opened.tuned()?,
                "first": records.first(),
            });
            let shown = |(key, value): &(&String, &serde_json::Value)| {
                !["first", "segments", "tuned"].contains(&key.as_str()) && !value.is_null()
            };
            let fields = value.as_object().expect("an object").iter().filter(shown);
            let line = |(key, value): (&String, &serde_json::Value)| {
                format!("{key:13} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            };
            let mut lines = fields.map(line).collect::<Vec<_>>();
            if !opened.segments().is_empty() {
                lines.push(format!("{:13} {}", "segments", growth::list(opened.segments())));
            }
            if let Some(tuned) = opened.tuned()? {
                lines.push(format!("\n{}", tune::described(&tuned)));
            }
            let text = lines.join("\n");
            Ok(context.talk.result(&value, text)?)
        }
        Args::Verify { index } => {
            let verified = index::verify(index)?;
            let text = format!(
                "{} is whole: {} bytes in {} sections",
                index.display(),
                verified.bytes,
                verified.sections
            );
            let value =
                json!({"bytes": verified.bytes, "sections": verified.sections, "hash": verified.hash});
            Ok(context.talk.result(&value, text)?)
        }
    }
}
