//! k-means on the vectors of an .fvecs file: `kmeans_speed FILE CELLS ROUNDS METHOD`, on the threads of
//! `RAYON_NUM_THREADS`. Time it as a process: it does nothing else but read the file.

use deepembed_kernels::{KMeansConfig, Method, Seeds, kmeans};
use std::time::Instant;

#[allow(clippy::print_stdout)]
fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [file, cells, rounds, method] = words.as_slice() else { panic!("FILE CELLS ROUNDS METHOD") };
    let bytes = std::fs::read(file).expect("the file can be read");
    let dim = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")) as usize;
    let rows: Vec<f32> = bytes
        .chunks_exact(4 + 4 * dim)
        .flat_map(|record| record[4..].as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)))
        .collect();
    let method = match method.as_str() {
        "lloyd" => Method::Lloyd,
        "balanced" => Method::Balanced { step: 1.0 },
        "minibatch" => Method::MiniBatch { rows: 100_000 },
        "twolevel" => Method::TwoLevel,
        "graph" => Method::Graph { neighbours: 32 },
        other => panic!("no method {other}"),
    };
    let cells = cells.parse().expect("a number of cells");
    let rounds = rounds.parse().expect("a number of rounds");
    let config = KMeansConfig { rounds, seeds: Seeds::Random, method, ..KMeansConfig::new(cells, 1) };
    let start = Instant::now();
    let found = kmeans(&rows, dim, &config);
    println!(
        "inertia {:.6e}  rounds {}  imbalance {:.3}  {:.1} s",
        found.inertia,
        found.rounds,
        found.imbalance(),
        start.elapsed().as_secs_f64()
    );
}
