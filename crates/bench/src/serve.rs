//! Answers a harness: builds an index once, then searches with what each line of standard input names.
//!
//! Prints `{"bytes": N, "sweep": [{..}, ..]}` when built, with the efforts that suit the index. A request is
//! `{"query", "k", "threads", "single", "params", "out"}`, where `params` may set `beam`, `probes` and `rerank`; with
//! `single`, queries are asked one at a time. Ids are written to `out` as .ivecs, -1 where nothing was found, and
//! `{"wall_s", "cpu_s"}` of the search alone is printed.

use crate::timing::Clocks;
use data::vectors::VectorFile;
use data::{Hits, Metric, Rows};
use index::{Effort, Filter, Index, Request, Spec, Watch, build};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{BufRead, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Widths of a graph search that are tried.
const BEAMS: [usize; 12] = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 400, 640];
/// Numbers of lists that are tried.
const PROBES: [usize; 12] = [4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256];

/// Serve searches to a comparison harness over standard input and output.
#[derive(clap::Args)]
pub struct Args {
    /// Vectors to search.
    #[arg(long)]
    base: PathBuf,
    /// Threads that build.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// What to build.
    #[arg(long)]
    spec: Spec,
    /// Rows ranked again for each answer, of an index with a finer code; may be given several times.
    #[arg(long)]
    rerank: Vec<NonZeroUsize>,
    /// Everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Deserialize)]
struct Question {
    query: PathBuf,
    k: NonZeroUsize,
    threads: usize,
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

impl Args {
    /// Serves until standard input ends.
    #[allow(clippy::print_stdout)]
    pub fn run(&self) -> anyhow::Result<()> {
        let file = VectorFile::open(&self.base)?;
        let rows = file.read(0..file.len())?;
        let rows = Rows::new(&rows, file.dim())?;
        let index =
            pool(self.threads)?.install(|| build(&self.spec, rows, Metric::L2, self.seed, &Watch::none()))?;
        println!("{}", json!({ "bytes": index.bytes(), "sweep": self.sweep(&*index) }));
        for line in std::io::stdin().lock().lines() {
            let request: Question = serde_json::from_str(&line?)?;
            let file = VectorFile::open(&request.query)?;
            let queries = file.read(0..file.len())?;
            let queries = Rows::new(&queries, file.dim())?;
            let Params { beam, probes, rerank } = request.params;
            let asked =
                Request { k: request.k, filter: Filter::All, effort: Effort { beam, probes, rerank } };
            let mut hits = Hits::default();
            let pool = pool(request.threads)?;
            let clocks = Clocks::start();
            if request.single {
                hits = pool.install(|| one_by_one(&*index, queries, &asked))?;
            } else {
                pool.install(|| index.search(queries, &asked, &mut hits))?;
            }
            let took = clocks.took(queries.len());
            write_ids(&request.out, &hits, request.k.get())?;
            println!("{}", json!({ "wall_s": took.wall, "cpu_s": took.cpu }));
        }
        Ok(())
    }

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
fn one_by_one(
    index: &dyn Index,
    queries: Rows<'_, f32>,
    asked: &Request<'_>,
) -> Result<Hits, index::SearchError> {
    let (mut all, mut hits) = (Hits::default(), Hits::default());
    for query in 0..queries.len() {
        index.search(queries.slice(query..query + 1), asked, &mut hits)?;
        all.push(hits.of(0).iter().copied());
    }
    Ok(all)
}

fn write_ids(path: &Path, hits: &Hits, k: usize) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::fs::File::create(path)?);
    for hits in hits.iter() {
        out.write_all(&(k as i32).to_le_bytes())?;
        let ids = hits.iter().map(|hit| hit.id as i32).chain(std::iter::repeat(-1));
        for id in ids.take(k) {
            out.write_all(&id.to_le_bytes())?;
        }
    }
    Ok(out.flush()?)
}

fn pool(threads: usize) -> anyhow::Result<rayon::ThreadPool> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build()?)
}
