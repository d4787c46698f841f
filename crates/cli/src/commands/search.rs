//! `deepembed search`: the nearest pictures of an index.

use crate::context::Context;
use crate::failure::{Code, Failure, Outcome};
use crate::models::{self, ModelName};
use crate::payload;
use data::{Hits, Limits, Rows, decode};
use index::{Effort, Filter, Request};
use serde_json::json;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Find the pictures nearest to some pictures.
#[derive(clap::Args)]
pub struct Args {
    /// Pictures to search with.
    #[arg(required = true)]
    pictures: Vec<PathBuf>,
    /// Index file.
    #[arg(long)]
    index: PathBuf,
    /// The model that the index was built with: a file, or starter, or pixels.
    #[arg(long)]
    model: ModelName,
    /// Answers a picture.
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
    let model = models::open(&args.model)?;
    opened.provenance.accepts(&*model)?;
    let (_, records) = payload::read(opened.payload()?, opened.index.len())?;
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
    let effort = Effort { beam: args.beam, probes: args.probes, rerank: args.rerank };
    let request = Request { k: args.k, filter: Filter::All, effort };
    let mut hits = Hits::default();
    let stats = opened.index.search(queries, &request, &mut hits)?;
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
    let value = json!({"answers": answers, "distances": stats.distances, "hops": stats.hops});
    Ok(context.talk.result(&value, lines.join("\n"))?)
}
