//! `deepembed index build`: from pictures or vectors to an index.

use super::plan::Budget;
use crate::context::{Context, Source};
use crate::failure::{Failure, Outcome};
use crate::models::{self, ModelName};
use crate::pipeline;
use crate::vectors::{Vectors, metric};
use data::vectors::parse_count;
use data::{Metric, Rows};
use index::tune::{Extent, Tuned};
use index::{Index, Provenance, Spec};
use serde_json::json;
use std::path::{Path, PathBuf};

/// What to index, and how.
#[derive(clap::Args)]
pub struct Args {
    /// Vectors, the same as --vectors.
    #[arg(value_name = "BASE", group = "rows")]
    base: Option<PathBuf>,
    /// Pictures: a folder of class folders, a CSV file, a folder with manifest.csv, a .tar, or builtin:emoji.
    #[arg(long, required_unless_present = "rows")]
    data: Option<Source>,
    /// Model file, or starter, or pixels.
    #[arg(long, default_value = "starter", conflicts_with = "rows")]
    model: ModelName,
    /// Vectors in place of pictures; `deepembed data info` lists the formats.
    #[arg(long, conflicts_with = "data", group = "rows")]
    vectors: Option<PathBuf>,
    /// What compares vectors: l2, or dot, which is the cosine for vectors of length one. A model has its own.
    #[arg(long, default_value = "l2", value_parser = metric, requires = "rows")]
    metric: Metric,
    /// Only this many vectors from the start: 10K, 1M.
    #[arg(long, value_name = "N", value_parser = parse_count, requires = "rows")]
    first: Option<usize>,
    /// How the index is made: Flat, HNSW16, IVF1024,PQ16, "IVF4096,PQ64x4fs,Refine(Flat)" and others.
    #[arg(long, default_value = "HNSW16")]
    spec: Spec,
    /// Index file.
    #[arg(short, long)]
    out: PathBuf,
}

pub const EXAMPLES: &str = "Examples:\n  \
    deepembed index build --data photos/ --out photos.index\n  \
    deepembed index build --spec 'IVF4096,PQ64x4fs,Refine(Flat)' base.fvecs -o base.index --memory 2G\n\
    With --memory, nothing is begun that would take more; the plan is said first in any case.";

pub fn run(context: &Context, args: &Args) -> Outcome {
    match args.vectors.as_ref().or(args.base.as_ref()) {
        Some(path) => build_vectors(context, args, path),
        None => build_pictures(context, args),
    }
}

fn build_pictures(context: &Context, args: &Args) -> Outcome {
    let Args { data, model, spec, out, .. } = args;
    let data = data.as_ref().expect("the command line asks for it");
    let model = models::open(model)?;
    let dataset = data.open()?;
    let items: Vec<usize> = (0..dataset.len()).collect();
    let (dim, metric) = (model.contract().dim, model.contract().metric);
    let extent = Extent { rows: items.len(), dim, metric, whole: false };
    Budget::measure(context).keep(context, spec, &extent)?;
    let vectors = context.embed(&*model, &dataset, &items, "embedding")?;
    let rows = Rows::new(&vectors, dim).expect("an embedding of every picture");
    let built = pipeline::build_index(context, spec, rows, metric)?;
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

fn build_vectors(context: &Context, args: &Args, path: &Path) -> Outcome {
    let Args { spec, out, .. } = args;
    let vectors = Vectors::open(path, args.first)?;
    let plan = match extent_of(&vectors, args.metric)? {
        Some(extent) => Some(Budget::measure(context).keep(context, spec, &extent)?),
        // No row: what is wrong is said by those who build.
        None => None,
    };
    let values = vectors.file.read(0..vectors.len)?;
    let rows = Rows::new(&values, vectors.dim()).expect("whole rows were read");
    let built = pipeline::build_index(context, spec, rows, args.metric)?;
    save_vectors(context, path, rows, &*built, None, out)?;
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
        "plan": plan,
        "index": out,
    });
    Ok(context.talk.result(&value, text)?)
}

/// What is to be indexed, told by a thousand of the rows; none where there is no row.
pub fn extent_of(vectors: &Vectors, metric: Metric) -> Outcome<Option<Extent>> {
    if vectors.len == 0 {
        return Ok(None);
    }
    let sample = vectors.spread(1000)?;
    let sample = Rows::new(&sample, vectors.dim()).expect("whole rows were read");
    Ok(Some(Extent { rows: vectors.len, ..Extent::of(sample, metric) }))
}

/// BLAKE3 of the values, little-endian, in hexadecimal digits.
pub fn hash_rows(rows: Rows<'_, f32>) -> String {
    let mut hasher = blake3::Hasher::new();
    for row in rows.iter() {
        let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
        hasher.update(&bytes);
    }
    hasher.finalize().to_hex().to_string()
}

/// Saves an index of the vectors in a file.
pub fn save_vectors(
    context: &Context,
    path: &Path,
    rows: Rows<'_, f32>,
    built: &dyn Index,
    tuned: Option<&Tuned>,
    out: &Path,
) -> Outcome {
    let provenance = Provenance { model: None, data_hash: hash_rows(rows), seed: context.seed };
    let source = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let source = source.display().to_string();
    index::save_tuned(out, built, &provenance, source.as_bytes(), tuned, &context.stop).map_err(Failure::from)
}
