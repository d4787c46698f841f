//! `deepembed bench serve`: answers a harness, which can so measure our indexes beside other programs.
//!
//! Prints `{"bytes": N, "sweep": [{..}, ..]}` when built, with the efforts that suit the index. A request is a line of
//! `{"query", "k", "threads", "single", "params", "out"}`, where `params` may set `beam`, `probes` and `rerank`; with
//! `single`, queries are asked one at a time. Ids are written to `out` as .ivecs, -1 where nothing was found, and
//! `{"wall_s", "cpu_s"}` of the search alone is printed.

use crate::context::{Context, write_file};
use crate::failure::{Code, Failure, Outcome};
use crate::pipeline;
use crate::vectors::{Vectors, metric};
use cpu_time::ProcessTime;
use data::{Hits, Metric, Rows};
use index::{Effort, Filter, Index, Request, SearchError, Spec};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::BufRead;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Widths of a graph search that are tried.
const BEAMS: [usize; 12] = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 400, 640];
/// Numbers of lists that are tried.
const PROBES: [usize; 12] = [4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256];

/// Build an index once, then answer searches over standard input and output, for a comparison harness.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// Vectors to search.
    #[arg(long)]
    base: PathBuf,
    /// What to build.
    #[arg(long)]
    spec: Spec,
    /// Rows ranked again for each answer, of an index with a finer code; may be given several times.
    #[arg(long)]
    rerank: Vec<NonZeroUsize>,
    /// What compares vectors: l2 or dot.
    #[arg(long, default_value = "l2", value_parser = metric)]
    metric: Metric,
}

const EXAMPLE: &str = "Example:\n  \
    deepembed bench serve --base base.fvecs --spec HNSW16 --threads 1\n\
Then a line of standard input a request:\n  \
    {\"query\": \"query.fvecs\", \"k\": 10, \"threads\": 1, \"single\": false, \"params\": {\"beam\": 64}, \"out\": \"ids.ivecs\"}";

#[derive(Deserialize)]
struct Question {
    query: PathBuf,
    k: NonZeroUsize,
    threads: NonZeroUsize,
    #[serde(default)]
    single: bool,
    params: Params,
    out: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Params {
    beam: Option<NonZeroUsize>,
    probes: Option<NonZeroUsize>,
    rerank: Option<NonZeroUsize>,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let base = Vectors::open(&args.base, None)?;
    let values = base.file.read(0..base.len)?;
    let rows = Rows::new(&values, base.dim()).expect("whole rows were read");
    let index = pipeline::build_index(context, &args.spec, rows, args.metric)?;
    context.talk.line(&json!({ "bytes": index.bytes(), "sweep": args.sweep(&*index) }))?;
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.map_err(|error| Failure::new(Code::Failed, error))?;
        let question: Question = serde_json::from_str(&line).map_err(|error| {
            let text =
                format!("request {}: {error}; see deepembed bench serve --help for an example", number + 1);
            Failure::message(Code::Failed, text)
        })?;
        context.talk.line(&answer(&*index, &args.base, &question)?)?;
        if context.stopped() {
            return Err(Failure::interrupted());
        }
    }
    Ok(())
}

/// Searches as asked, writes the ids and tells what it took.
fn answer(index: &dyn Index, base: &Path, question: &Question) -> Outcome<Value> {
    let asked = Vectors::open(&question.query, None)?;
    asked.require(index.dim(), base)?;
    let queries = asked.file.read(0..asked.len)?;
    let queries = Rows::new(&queries, index.dim()).expect("whole rows were read");
    let Params { beam, probes, rerank } = question.params;
    let request = Request { k: question.k, filter: Filter::All, effort: Effort { beam, probes, rerank } };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(question.threads.get()).build();
    let pool = pool.map_err(|error| Failure::new(Code::Failed, error))?;
    let mut hits = Hits::default();
    let (wall, cpu) = (Instant::now(), ProcessTime::now());
    if question.single {
        hits = pool.install(|| one_by_one(index, queries, &request))?;
    } else {
        pool.install(|| index.search(queries, &request, &mut hits))?;
    }
    let took = json!({ "wall_s": wall.elapsed().as_secs_f64(), "cpu_s": cpu.elapsed().as_secs_f64() });
    write_file(&question.out, &ids(&hits, question.k.get()))?;
    Ok(took)
}

impl Args {
    /// The efforts that a harness should try.
    fn sweep(&self, index: &dyn Index) -> Vec<Value> {
        let own = index.effort();
        let widths: Vec<Value> = match own {
            Effort { beam: Some(_), .. } => BEAMS.iter().map(|beam| json!({ "beam": beam })).collect(),
            Effort { probes: Some(_), .. } => {
                PROBES.iter().map(|probes| json!({ "probes": probes })).collect()
            }
            _ => vec![json!({})],
        };
        if own.rerank.is_none() || self.rerank.is_empty() {
            return widths;
        }
        let each = self.rerank.iter().flat_map(|rerank| {
            widths.iter().cloned().map(move |mut width| {
                width["rerank"] = json!(rerank);
                width
            })
        });
        each.collect()
    }
}

/// Asks each query alone.
fn one_by_one(index: &dyn Index, queries: Rows<'_, f32>, asked: &Request<'_>) -> Result<Hits, SearchError> {
    let (mut all, mut hits) = (Hits::default(), Hits::default());
    for query in 0..queries.len() {
        index.search(queries.slice(query..query + 1), asked, &mut hits)?;
        all.push(hits.of(0).iter().copied());
    }
    Ok(all)
}

/// Ids as .ivecs, `k` a query.
fn ids(hits: &Hits, k: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(hits.len() * (k + 1) * size_of::<i32>());
    for hits in hits.iter() {
        let ids = hits.iter().map(|hit| hit.id as i32).chain(std::iter::repeat(-1)).take(k);
        std::iter::once(k as i32).chain(ids).for_each(|value| out.extend(value.to_le_bytes()));
    }
    out
}
