//! `deepembed search`: the nearest pictures, or vectors, of an index.

use crate::context::Context;
use crate::failure::{Code, Failure, Outcome};
use crate::models::{self, ModelName};
use crate::payload;
use crate::vectors::Vectors;
use data::vectors::{Element, VectorWriter};
use data::{Hits, Limits, Rows, decode};
use index::{Effort, Filter, Opened, Request};
use serde_json::json;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Find the pictures nearest to some pictures, or the vectors nearest to some vectors.
#[derive(clap::Args)]
pub struct Args {
    /// Pictures to search with.
    #[arg(required_unless_present = "queries")]
    pictures: Vec<PathBuf>,
    /// Vectors to search with, for an index of vectors.
    #[arg(long, conflicts_with_all = ["pictures", "model"])]
    queries: Option<PathBuf>,
    /// Where the ids of vectors that were found go, a row a query: .ivecs, .ibin and others.
    #[arg(long, requires = "queries")]
    out: Option<PathBuf>,
    /// Index file.
    #[arg(long)]
    index: PathBuf,
    /// The model that the index was built with: a file, or starter, or pixels.
    #[arg(long, required_unless_present = "queries")]
    model: Option<ModelName>,
    /// Answers a picture, or a vector.
    #[arg(short, default_value = "10")]
    k: NonZeroUsize,
    /// Width of the graph search; only a graph index reads it.
    #[arg(long)]
    beam: Option<NonZeroUsize>,
    /// Lists visited; only an index with lists reads it.
    #[arg(long)]
    probes: Option<NonZeroUsize>,
    /// Rows ranked again for each answer; only an index with a finer code reads it.
    #[arg(long)]
    rerank: Option<NonZeroUsize>,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let opened = index::open(&args.index)?;
    let effort = Effort { beam: args.beam, probes: args.probes, rerank: args.rerank };
    let request = Request { k: args.k, filter: Filter::All, effort };
    match (&args.queries, &args.model) {
        (Some(queries), _) => by_vectors(context, args, &opened, &request, queries),
        (None, Some(model)) => by_pictures(context, args, &opened, &request, model),
        (None, None) => Err(Failure::message(Code::Usage, "name the --model that the index was built with")),
    }
}

fn by_vectors(
    context: &Context,
    args: &Args,
    opened: &Opened,
    request: &Request<'_>,
    path: &Path,
) -> Outcome {
    if let Some(model) = &opened.provenance.model {
        let why = format!(
            "the index was made by model {} ({}); query it with pictures and that model",
            model.hash, model.contract.architecture
        );
        return Err(Failure::message(Code::Failed, why));
    }
    let queries = Vectors::open(path, None)?;
    queries.require(opened.index.dim(), &args.index)?;
    let values = queries.file.read(0..queries.len)?;
    let rows = Rows::new(&values, queries.dim()).expect("whole rows were read");
    let mut hits = Hits::default();
    let stats = opened.index.search(rows, request, &mut hits)?;
    if let Some(out) = &args.out {
        if opened.id_bound() > i32::MAX as u64 {
            let why =
                format!("{} holds numbers below 2^31, the index higher ids; leave --out away", out.display());
            return Err(Failure::message(Code::Failed, why));
        }
        let k = args.k.get().min(opened.index.len()).max(1);
        let mut writer = VectorWriter::create(out, Element::I32, k)?;
        for hits in hits.iter() {
            // -1 stands where fewer were found.
            let ids = hits.iter().map(|hit| hit.id as i32).chain(std::iter::repeat(-1)).take(k);
            writer.push_bytes(&ids.flat_map(i32::to_le_bytes).collect::<Vec<u8>>())?;
        }
        writer.finish()?;
        let text = format!("{} answers for each of {} queries in {}", k, rows.len(), out.display());
        let value = json!({
            "queries": rows.len(), "k": k, "out": out, "distances": stats.distances, "hops": stats.hops,
            "lists": stats.lists,
        });
        return Ok(context.talk.result(&value, text)?);
    }
    let metric = opened.index.metric();
    let (mut lines, mut answers) = (Vec::new(), Vec::new());
    for (query, hits) in hits.iter().enumerate() {
        let found = hits.iter().map(|hit| format!("{} ({})", hit.id, digits(metric.score(hit.distance))));
        lines.push(format!("{query}: {}", found.collect::<Vec<_>>().join(" ")));
        let found = hits
            .iter()
            .map(|hit| json!({"id": hit.id, "score": metric.score(hit.distance), "distance": hit.distance}));
        answers.push(json!({"query": query, "hits": found.collect::<Vec<_>>()}));
    }
    let value = json!({
        "answers": answers, "distances": stats.distances, "hops": stats.hops, "lists": stats.lists,
    });
    Ok(context.talk.result(&value, lines.join("\n"))?)
}

/// Four digits of a score, where they stand: those of vectors that are not of length one lie near zero.
fn digits(score: f32) -> String {
    if score != 0.0 && score.abs() < 1e-3 { format!("{score:.3e}") } else { format!("{score:.4}") }
}

fn by_pictures(
    context: &Context,
    args: &Args,
    opened: &Opened,
    request: &Request<'_>,
    model: &ModelName,
) -> Outcome {
    let model = models::open(model)?;
    opened.provenance.accepts(&*model)?;
    let (_, records) = payload::read(opened.payload()?, opened.id_bound())?;
    let background = model.contract().preprocess.background;
    let mut images = Vec::new();
    for path in &args.pictures {
        let bytes = std::fs::read(path).map_err(|error| {
            Failure::new(Code::Failed, anyhow::Error::new(error).context(path.display().to_string()))
        })?;
        let image = decode(&bytes, background, &Limits::default());
        images.push(image.map_err(|e| Failure::message(Code::Corrupt, format!("{}: {e}", path.display())))?);
    }
    let vectors = model.embed(&images)?;
    let queries = Rows::new(&vectors, model.contract().dim).expect("an embedding of every picture");
    let mut hits = Hits::default();
    let stats = opened.index.search(queries, request, &mut hits)?;
    let metric = opened.index.metric();
    let (mut lines, mut answers) = (Vec::new(), Vec::new());
    for (path, hits) in args.pictures.iter().zip(hits.iter()) {
        lines.push(format!("{}", path.display()));
        let mut found = Vec::new();
        for hit in hits {
            let record = &records[usize::try_from(hit.id).expect("ids are rows")];
            let score = metric.score(hit.distance);
            lines.push(format!("  {score:.4}  {:30} {}", record.class, record.path));
            found.push(json!({"id": hit.id, "score": score, "record": record}));
        }
        answers.push(json!({"query": path, "hits": found}));
    }
    let value = json!({
        "answers": answers, "distances": stats.distances, "hops": stats.hops, "lists": stats.lists,
    });
    Ok(context.talk.result(&value, lines.join("\n"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_scores_keep_their_digits() {
        assert_eq!(digits(0.123_456), "0.1235");
        assert_eq!(digits(-0.5), "-0.5000");
        assert_eq!(digits(0.0), "0.0000");
        assert_eq!(digits(0.000_031_56), "3.156e-5");
    }
}
