//! Answers a harness: builds once, then searches with what each line of standard input names.
//!
//! Prints `{"bytes": N, "sweep": [{}]}` when built. A request is `{"query", "k", "threads", "params", "out"}`;
//! ids are written to `out` as .ivecs, -1 where nothing was found, and `{"wall_s", "cpu_s"}` of the search
//! alone is printed.

use crate::timing::Clocks;
use data::vectors::{VectorFile, parse_count};
use data::{Metric, Rows};
use quant::{Spec, Training, search};
use serde::Deserialize;
use serde_json::json;
use std::io::{BufRead, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;

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
    /// Vectors to learn from, spread evenly over the base.
    #[arg(long, value_parser = parse_count, default_value = "100K")]
    train: usize,
    /// Everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Deserialize)]
struct Request {
    query: PathBuf,
    k: NonZeroUsize,
    threads: usize,
    out: PathBuf,
}

impl Args {
    /// Serves until standard input ends.
    #[allow(clippy::print_stdout)]
    pub fn run(&self) -> anyhow::Result<()> {
        let file = VectorFile::open(&self.base)?;
        let (len, dim) = (file.len(), file.dim());
        let rows = file.read(0..len)?;
        let step = (len / self.train.max(1)).max(1);
        let sample: Vec<f32> =
            rows.chunks_exact(dim).step_by(step).take(self.train).flatten().copied().collect();
        let (codec, packed) = pool(self.threads)?.install(|| -> anyhow::Result<_> {
            let codec = self.spec.train(Rows::new(&sample, dim)?, &Training::seeded(self.seed))?;
            let packed = codec.pack(codec.encode_all(Rows::new(&rows, dim)?)?);
            Ok((codec, packed))
        })?;
        drop(rows);
        println!("{}", json!({ "bytes": packed.len(), "sweep": [{}] }));
        for line in std::io::stdin().lock().lines() {
            let request: Request = serde_json::from_str(&line?)?;
            let file = VectorFile::open(&request.query)?;
            let queries = file.read(0..file.len())?;
            let pool = pool(request.threads)?;
            let clocks = Clocks::start();
            let queries = Rows::new(&queries, file.dim())?;
            let hits = pool.install(|| search(&*codec, &packed, len, queries, Metric::L2, request.k))?;
            let took = clocks.took(queries.len());
            let mut out = BufWriter::new(std::fs::File::create(&request.out)?);
            for hits in hits.iter() {
                out.write_all(&(request.k.get() as i32).to_le_bytes())?;
                let ids = hits.iter().map(|hit| hit.id as i32).chain(std::iter::repeat(-1));
                for id in ids.take(request.k.get()) {
                    out.write_all(&id.to_le_bytes())?;
                }
            }
            out.flush()?;
            println!("{}", json!({ "wall_s": took.wall, "cpu_s": took.cpu }));
        }
        Ok(())
    }
}

fn pool(threads: usize) -> anyhow::Result<rayon::ThreadPool> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build()?)
}
