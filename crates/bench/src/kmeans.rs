//! k-means on the whole base, ours and faiss's.

use crate::peer::Peer;
use crate::timing::Clocks;
use crate::vectors;
use kernels::{KMeansConfig, Seeds, kmeans};
use serde_json::json;
use std::path::PathBuf;

/// Compare k-means with faiss: the same rounds from random rows, CPU seconds on one thread.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    vectors: vectors::Args,
    /// Cells.
    #[arg(long, default_value_t = 4096)]
    cells: usize,
    /// Rounds.
    #[arg(long, default_value_t = 25)]
    rounds: usize,
    /// Everything random of either side.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A Python with faiss-cpu; without one only our side runs.
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

impl Args {
    /// Prints a JSON object a side.
    #[allow(clippy::print_stdout)]
    pub fn run(&self) -> anyhow::Result<()> {
        let vectors = self.vectors.read()?;
        let base = vectors.base();
        let config = KMeansConfig {
            rounds: self.rounds,
            seeds: Seeds::Random,
            ..KMeansConfig::new(self.cells, self.seed)
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
        let clocks = Clocks::start();
        let found = pool.install(|| kmeans(base.as_slice(), base.dim(), &config));
        let took = clocks.took(base.len());
        let ours = json!({
            "name": "deepembed", "cpu_s": took.cpu, "error": found.inertia / base.len() as f64,
            "rows": base.len(), "cells": self.cells, "rounds": found.rounds,
        });
        println!("{ours}");
        let Some(python) = &self.python else { return Ok(()) };
        let mut peer = Peer::start(python, "faiss_peer.py", 1)?;
        peer.ask(&self.vectors.request(1))?;
        let theirs = peer
            .ask(&json!({ "do": "kmeans", "cells": self.cells, "rounds": self.rounds, "seed": self.seed }))?;
        println!("{}", json!({ "name": peer.name, "cpu_s": theirs.cpu_s, "error": theirs.error }));
        println!("ratio {:.2}", theirs.cpu_s / took.cpu);
        Ok(())
    }
}
