//! `deepembed index build|info|verify`.

use crate::context::{Context, Source};
use crate::failure::Outcome;
use crate::models::{self, ModelName};
use crate::{payload, pipeline};
use data::Rows;
use index::Spec;
use serde_json::json;
use std::path::PathBuf;

/// Build an index, or look at one.
#[derive(clap::Subcommand)]
pub enum Args {
    /// Embed pictures and index the vectors.
    Build {
        /// Pictures: a folder of class folders, a CSV file, a folder with manifest.csv, a .tar, or builtin:emoji.
        #[arg(long)]
        data: Source,
        /// Model file, or starter, or pixels.
        #[arg(long, default_value = "starter")]
        model: ModelName,
        /// Kind of index: Flat, HNSW16, HNSW32_efc400.
        #[arg(long, default_value = "HNSW16")]
        spec: Spec,
        /// Index file.
        #[arg(long)]
        out: PathBuf,
    },
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

pub fn run(context: &Context, args: &Args) -> Outcome {
    match args {
        Args::Build { data, model, spec, out } => {
            let model = models::open(model)?;
            let dataset = data.open()?;
            let items: Vec<usize> = (0..dataset.len()).collect();
            let vectors = context.embed(&*model, &dataset, &items, "embedding")?;
            let rows = Rows::new(&vectors, model.contract().dim).expect("an embedding of every picture");
            let built = pipeline::build_index(context, spec, rows, &*model)?;
            let hash = dataset.manifest_hash()?;
            pipeline::save_index(&dataset, data, &*model, &hash, context.seed, &*built, out)?;
            let text = format!("{spec} over {} x {} vectors in {}", rows.len(), rows.dim(), out.display());
            let value = json!({"spec": spec.to_string(), "rows": rows.len(), "dim": rows.dim(), "model_hash": model.model_hash(), "index": out});
            Ok(context.talk.result(&value, text)?)
        }
        Args::Info { index } => {
            let opened = index::open(index)?;
            let (source, records) = payload::read(opened.payload()?, opened.index.len())?;
            let provenance = &opened.provenance;
            let value = json!({
                "spec": opened.index.spec().to_string(),
                "rows": opened.index.len(),
                "dim": opened.index.dim(),
                "metric": opened.index.metric().to_string(),
                "model_hash": provenance.model_hash,
                "architecture": provenance.contract.architecture,
                "data": source.to_string(),
                "data_hash": provenance.data_hash,
                "seed": provenance.seed,
                "first": records.first(),
            });
            let fields = value.as_object().expect("an object").iter().filter(|(key, _)| *key != "first");
            let line = |(key, value): (&String, &serde_json::Value)| {
                format!("{key:13} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            };
            let text = fields.map(line).collect::<Vec<_>>().join("\n");
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
