//! `deepembed search`: the nearest pictures, or vectors, of an index.

mod vectors;

use super::index::knobs;
use crate::context::Context;
use crate::failure::{Code, Failure, Outcome};
use crate::models::{self, ModelName};
use crate::vectors::metric;
use crate::{amounts, payload};
use data::{Hits, Limits, Metric, Rows, decode};
use index::{Effort, Filter, Opened, Request};
use serde_json::json;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Find the pictures nearest to some pictures, or the vectors nearest to some vectors.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The index, then vectors or pictures to search with; pictures alone with --index.
    #[arg(value_name = "INDEX QUERIES")]
    places: Vec<PathBuf>,
    /// Vectors to search with, for an index of vectors.
    #[arg(long, conflicts_with = "model")]
    queries: Option<PathBuf>,
    /// Where the ids of vectors that were found go, a row a query: .ivecs, .ibin and others; -1 stands where fewer
    /// were found.
    #[arg(short, long, conflicts_with = "model")]
    out: Option<PathBuf>,
    /// Index file.
    #[arg(long)]
    index: Option<PathBuf>,
    /// The model that the index was built with: a file, or starter, or pixels. Pictures need it.
    #[arg(long)]
    model: Option<ModelName>,
    /// Answers a picture, or a vector.
    #[arg(short, default_value = "10")]
    k: NonZeroUsize,
    /// Width of the graph search; only a graph index reads it.
    #[arg(long)]
    beam: Option<NonZeroUsize>,
    /// Lists visited; only an index with lists reads it. Of IMI the pairs of centroids, most of which hold few rows:
    /// take hundreds.
    #[arg(long)]
    probes: Option<NonZeroUsize>,
    /// Rows ranked again for each answer; only an index with a finer code reads it.
    #[arg(long)]
    rerank: Option<NonZeroUsize>,
    /// Search as hard as this recall takes, such as 0.97, by the curve that `index tune` left in the index.
    #[arg(long, value_name = "R", value_parser = amounts::share, conflicts_with_all = ["beam", "probes", "rerank"])]
    target_recall: Option<f64>,
    /// Right answers, to tell the recall: .ivecs, .ibin, or ann-benchmarks' .hdf5.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "filter_ids", "radius"])]
    ground_truth: Option<PathBuf>,
    /// Only these rows may be found: a .txt file of numbers, or .ivecs, .npy and others.
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    filter_ids: Option<PathBuf>,
    /// All rows within this distance, in place of the nearest: squared for l2, the negated product for dot, as
    /// `distance` in --json.
    #[arg(long, value_name = "DISTANCE", allow_negative_numbers = true, conflicts_with = "model")]
    radius: Option<f32>,
    /// Most answers within the radius.
    #[arg(long, default_value = "1000", requires = "radius")]
    cap: NonZeroUsize,
    /// What the vectors are to be compared by, l2 or dot: an index that compares otherwise is refused.
    #[arg(long, value_parser = metric, conflicts_with = "model")]
    metric: Option<Metric>,
}

const EXAMPLES: &str = "Examples:\n  \
    deepembed search photo.jpg --index photos.index --model starter\n  \
    deepembed search base.index query.fvecs -k 10 --target-recall 0.97 --ground-truth truth.ivecs -o found.ivecs\n\
    A list is short because no other row may be found (complete), or because the rows that were visited hold no more\n\
    (exhausted): then --beam or --probes find more.";

pub fn run(context: &Context, args: &Args) -> Outcome {
    let usage = |text: &str| Err(Failure::message(Code::Usage, text));
    let (path, asked) = match (&args.index, args.places.split_first()) {
        (Some(path), _) => (path, args.places.as_slice()),
        (None, Some((path, asked))) => (path, asked),
        (None, None) => return usage("name an index, and vectors or pictures to search with"),
    };
    let vectors = match (&args.queries, &args.model, asked) {
        (Some(queries), _, []) => Some(queries),
        (Some(_), ..) => return usage("give --queries or pictures, not both"),
        (None, Some(_), []) => return usage("name pictures to search with"),
        (None, Some(_), _) => None,
        (None, None, [queries]) if args.index.is_none() => Some(queries),
        (None, None, []) => return usage("name vectors to search with, or pictures with --model"),
        (None, None, _) => return usage("name the --model that the index was built with"),
    };
    let opened = index::open(path)?;
    let effort = match args.target_recall {
        Some(recall) => tuned_effort(context, &opened, path, recall)?,
        None => Effort { beam: args.beam, probes: args.probes, rerank: args.rerank },
    };
    match (vectors, &args.model) {
        (None, Some(model)) => {
            let request = Request { k: args.k, filter: Filter::All, effort };
            by_pictures(context, asked, &opened, &request, model)
        }
        (queries, _) => {
            let queries = queries.expect("there are vectors where there is no model");
            vectors::run(context, args, &opened, path, effort, queries)
        }
    }
}

/// How hard the index has to search for a recall, by its curve.
fn tuned_effort(context: &Context, opened: &Opened, path: &Path, recall: f64) -> Outcome<Effort> {
    let Some(tuned) = opened.tuned()? else {
        let text = format!(
            "{} was not tuned, so nothing is known of its recall; `deepembed index tune` builds one that was, or set \
             --beam, --probes and --rerank",
            path.display()
        );
        return Err(Failure::message(Code::Failed, text));
    };
    let point = tuned.point(recall)?;
    context.talk.say(format!(
        "{:28} {}: recall@{} {:.4} when it was tuned",
        "searching with",
        knobs(point.effort),
        tuned.k,
        point.recall
    ));
    Ok(point.effort)
}

fn by_pictures(
    context: &Context,
    pictures: &[PathBuf],
    opened: &Opened,
    request: &Request<'_>,
    model: &ModelName,
) -> Outcome {
    let model = models::open(model)?;
    opened.provenance.accepts(&*model)?;
    let (_, records) = payload::read(opened.payload()?, opened.id_bound())?;
    let background = model.contract().preprocess.background;
    let mut images = Vec::new();
    for path in pictures {
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
    for (path, hits) in pictures.iter().zip(hits.iter()) {
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
