//! `deepembed index build|add|remove|merge|compact|eval|info|verify`.

mod add;
mod compact;
mod evaluate;
mod growth;
mod merge;
mod remove;

use crate::context::{Context, Source};
use crate::failure::{Failure, Outcome};
use crate::models::{self, ModelName};
use crate::vectors::{Vectors, metric};
use crate::{payload, pipeline};
use data::vectors::parse_count;
use data::{Metric, Rows};
use index::{Provenance, Spec};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Build an index, or look at one.
#[derive(clap::Subcommand)]
pub enum Args {
    /// Embed pictures and index the vectors, or index vectors from a file.
    #[command(after_help = BUILD_EXAMPLES)]
    Build(Build),
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

/// What to index, and how.
#[derive(clap::Args)]
pub struct Build {
    /// Pictures: a folder of class folders, a CSV file, a folder with manifest.csv, a .tar, or builtin:emoji.
    #[arg(long, required_unless_present = "vectors")]
    data: Option<Source>,
    /// Model file, or starter, or pixels.
    #[arg(long, default_value = "starter", conflicts_with = "vectors")]
    model: ModelName,
    /// Vectors in place of pictures; `deepembed data info` lists the formats.
    #[arg(long, conflicts_with = "data")]
    vectors: Option<PathBuf>,
    /// What compares vectors: l2, or dot, which is the cosine for vectors of length one. A model has its own.
    #[arg(long, default_value = "l2", value_parser = metric, requires = "vectors")]
    metric: Metric,
    /// Only this many vectors from the start: 10K, 1M.
    #[arg(long, value_name = "N", value_parser = parse_count, requires = "vectors")]
    first: Option<usize>,
    /// How the index is made: Flat, HNSW16, IVF1024,PQ16, "IVF4096,PQ64x4fs,Refine(Flat)" and others.
    #[arg(long, default_value = "HNSW16")]
    spec: Spec,
    /// Index file.
    #[arg(long)]
    out: PathBuf,
}

const BUILD_EXAMPLES: &str = "Examples:\n  \
    deepembed index build --data photos/ --out photos.index\n  \
    deepembed index build --vectors base.fvecs --spec 'IVF4096,PQ64x4fs,Refine(Flat)' --out base.index";

const ADD_EXAMPLE: &str = "Examples:\n  \
    deepembed index add base.index --vectors more.fvecs\n  \
    deepembed index add base.index --vectors changed.npy --ids changed.txt --update";

const EVAL_EXAMPLE: &str = "Example:\n  \
    deepembed index eval --index base.index --queries query.fvecs --ground-truth truth.ivecs --probes 8,16,32";

pub fn run(context: &Context, args: &Args) -> Outcome {
    match args {
        Args::Build(args) => match &args.vectors {
            Some(path) => build_vectors(context, args, path),
            None => build_pictures(context, args),
        },
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
                "first": records.first(),
            });
            let shown = |(key, value): &(&String, &serde_json::Value)| {
                !["first", "segments"].contains(&key.as_str()) && !value.is_null()
            };
            let fields = value.as_object().expect("an object").iter().filter(shown);
            let line = |(key, value): (&String, &serde_json::Value)| {
                format!("{key:13} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            };
            let mut lines = fields.map(line).collect::<Vec<_>>();
            if !opened.segments().is_empty() {
                lines.push(format!("{:13} {}", "segments", growth::list(opened.segments())));
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

fn build_pictures(context: &Context, args: &Build) -> Outcome {
    let Build { data, model, spec, out, .. } = args;
    let data = data.as_ref().expect("the command line asks for it");
    let model = models::open(model)?;
    let dataset = data.open()?;
    let items: Vec<usize> = (0..dataset.len()).collect();
    let vectors = context.embed(&*model, &dataset, &items, "embedding")?;
    let rows = Rows::new(&vectors, model.contract().dim).expect("an embedding of every picture");
    let built = pipeline::build_index(context, spec, rows, model.contract().metric)?;
    let hash = dataset.manifest_hash()?;
    pipeline::save_index(&dataset, data, &*model, &hash, context.seed, &*built, out)?;
    let text = format!("{spec} over {} x {} vectors in {}", rows.len(), rows.dim(), out.display());
    let value = json!({
        "spec": spec.to_string(),
        "rows": rows.len(),
        "dim": rows.dim(),
        "model_hash": model.model_hash(),
        "index": out,
    });
    Ok(context.talk.result(&value, text)?)
}

fn build_vectors(context: &Context, args: &Build, path: &Path) -> Outcome {
    let Build { spec, out, .. } = args;
    let vectors = Vectors::open(path, args.first)?;
    let values = vectors.file.read(0..vectors.len)?;
    let rows = Rows::new(&values, vectors.dim()).expect("whole rows were read");
    let built = pipeline::build_index(context, spec, rows, args.metric)?;
    let mut hasher = blake3::Hasher::new();
    for row in rows.iter() {
        let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
        hasher.update(&bytes);
    }
    let data_hash = hasher.finalize().to_hex().to_string();
    let provenance = Provenance { model: None, data_hash, seed: context.seed };
    let source = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    index::save(out, &*built, &provenance, source.display().to_string().as_bytes()).map_err(Failure::from)?;
    let text = format!(
        "{spec} over {} x {} vectors in {}, {:.1} bytes a vector",
        rows.len(),
        rows.dim(),
        out.display(),
        built.bytes() as f64 / rows.len() as f64
    );
    let value = json!({
        "spec": spec.to_string(),
        "rows": rows.len(),
        "dim": rows.dim(),
        "metric": args.metric,
        "bytes": built.bytes(),
        "seed": context.seed,
        "index": out,
    });
    Ok(context.talk.result(&value, text)?)
}
