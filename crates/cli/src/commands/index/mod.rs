//! `deepembed index build|plan|tune|eval|info|verify`.

mod build;
mod evaluate;
mod plan;
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

const EVAL_EXAMPLE: &str = "Example:\n  \
    deepembed index eval --index base.index --queries query.fvecs --ground-truth truth.ivecs --probes 8,16,32";

pub fn run(context: &Context, args: &Args) -> Outcome {
    match args {
        Args::Build(args) => build::run(context, args),
        Args::Plan(args) => plan::run(context, args),
        Args::Tune(args) => tune::run(context, args),
        Args::Eval(args) => evaluate::run(context, args),
        Args::Info { index } => {
            let opened = index::open(index)?;
            let provenance = &opened.provenance;
            let model = provenance.model.as_ref();
            let (source, records) = match model {
                Some(_) => {
                    let (source, records) = payload::read(opened.payload()?, opened.index.len())?;
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
                "tuned": opened.tuned()?,
                "first": records.first(),
            });
            let shown = |(key, value): &(&String, &serde_json::Value)| {
                !["first", "tuned"].contains(&key.as_str()) && !value.is_null()
            };
            let fields = value.as_object().expect("an object").iter().filter(shown);
            let line = |(key, value): (&String, &serde_json::Value)| {
                format!("{key:13} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            };
            let mut text = fields.map(line).collect::<Vec<_>>().join("\n");
            if let Some(tuned) = opened.tuned()? {
                text += &format!("\n\n{}", tune::described(&tuned));
            }
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
