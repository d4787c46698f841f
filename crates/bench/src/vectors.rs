//! The vectors of a comparison: base, queries, right answers, and the sample that is learned from.

use anyhow::ensure;
use data::Rows;
use data::vectors::{GroundTruth, VectorFile, parse_count};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Vectors whose error is measured: not those that were learned from.
const HELD_OUT: usize = 10_000;

/// Which vectors, as .fvecs files, which every peer reads.
#[derive(clap::Args)]
pub struct Args {
    /// Vectors to compress and search.
    #[arg(long)]
    base: PathBuf,
    /// Vectors to search with.
    #[arg(long)]
    queries: PathBuf,
    /// Right answers, .ivecs; without, they are computed.
    #[arg(long)]
    ground_truth: Option<PathBuf>,
    /// Only this many vectors of the base: 200K, 1M.
    #[arg(long, value_parser = parse_count)]
    first: Option<usize>,
    /// Vectors to learn from, spread evenly over the base.
    #[arg(long, value_parser = parse_count, default_value = "100K")]
    train: usize,
}

/// All of them in memory.
pub struct Vectors {
    base: Vec<f32>,
    queries: Vec<f32>,
    sample: Vec<f32>,
    dim: usize,
    /// The id of each query's nearest.
    pub nearest: Vec<u32>,
    /// Rows whose error is measured.
    pub held_out: Vec<usize>,
}

impl Args {
    /// Reads them.
    pub fn read(&self) -> anyhow::Result<Vectors> {
        let (base, queries) = (VectorFile::open(&self.base)?, VectorFile::open(&self.queries)?);
        ensure!(base.dim() == queries.dim(), "base and queries differ in dimension");
        let (dim, len) = (base.dim(), base.len().min(self.first.unwrap_or(usize::MAX)));
        let (base, queries) = (base.read(0..len)?, queries.read(0..queries.len())?);
        let step = (len / self.train.max(1)).max(1);
        let picked = base.chunks_exact(dim).step_by(step).take(self.train);
        let sample: Vec<f32> = picked.flatten().copied().collect();
        let nearest: Vec<u32> = match &self.ground_truth {
            Some(path) => {
                let truth = GroundTruth::open(path)?;
                (0..truth.len()).map(|query| truth.ids(query)[0]).collect()
            }
            None => kernels::l2_nearest(&queries, &base, dim, 1).into_iter().map(|list| list[0].1).collect(),
        };
        ensure!(nearest.iter().all(|&id| (id as usize) < len), "an answer is not among the {len} vectors");
        let held_out = (step / 2..len).step_by((len / HELD_OUT.min(len)).max(step)).collect();
        Ok(Vectors { base, queries, sample, dim, nearest, held_out })
    }

    /// What a peer needs to read the same.
    pub fn request(&self, threads: usize) -> Value {
        json!({
            "do": "load", "base": self.base, "queries": self.queries, "threads": threads,
            "first": self.first.unwrap_or(usize::MAX >> 1), "train": self.train,
        })
    }
}

impl Vectors {
    /// What is compressed.
    pub fn base(&self) -> Rows<'_, f32> {
        self.rows(&self.base)
    }

    /// What is searched with.
    pub fn queries(&self) -> Rows<'_, f32> {
        self.rows(&self.queries)
    }

    /// What is learned from.
    pub fn sample(&self) -> Rows<'_, f32> {
        self.rows(&self.sample)
    }

    fn rows<'a>(&self, values: &'a [f32]) -> Rows<'a, f32> {
        Rows::new(values, self.dim).expect("whole rows were read")
    }

    /// The share of queries whose nearest is among the first `depth` of their `found`.
    pub fn recall<'a>(&self, found: impl Iterator<Item = &'a [u32]>, depth: usize) -> f64 {
        let right =
            self.nearest.iter().zip(found).filter(|(id, ids)| ids[..depth.min(ids.len())].contains(id));
        right.count() as f64 / self.nearest.len() as f64
    }
}
