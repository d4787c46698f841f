//! Times the evaluator and the map on clouds: `speed [pictures] [dim] [threads] [megabytes]`.
//!
//! Clouds of 50 pictures overlap, so that lists are as mixed as those of a real model.
#![allow(clippy::print_stdout)]

use data::{Metric, Rows};
use deepembed_eval::{Options, Task, TsneOptions, retrieval, tsne};
use rand::{RngExt, SeedableRng};
use std::time::Instant;

fn main() {
    let arguments: Vec<usize> =
        std::env::args().skip(1).map(|word| word.parse().expect("whole numbers")).collect();
    let argument = |place: usize, default| arguments.get(place).copied().unwrap_or(default);
    let (n, dim, threads) = (argument(0, 20_000), argument(1, 128), argument(2, 2));
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let labels: Vec<u32> = (0..n).map(|i| (i / 50) as u32).collect();
    let centres: Vec<f32> = (0..n.div_ceil(50) * dim).map(|_| rng.random_range(-1.0..1.0)).collect();
    let values: Vec<f32> =
        (0..n * dim).map(|i| centres[i / dim / 50 * dim + i % dim] + rng.random_range(-2.0..2.0)).collect();
    let all: Vec<usize> = (0..n).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    for metric in [Metric::Dot, Metric::L2] {
        let task = Task {
            rows: Rows::new(&values, dim).expect("whole rows"),
            metric,
            labels: &labels,
            families: None,
            queries: &all,
            gallery: &all,
            zero_shot: true,
        };
        for clusterings in [0, 1] {
            let options = Options { memory: argument(3, 64) << 20, clusterings, ..Options::default() };
            let start = Instant::now();
            let got = pool.install(|| retrieval(&task, &options, &|_, _| ())).expect("a sound task");
            let seconds = start.elapsed().as_secs_f64();
            println!(
                "{metric}, {clusterings} clusterings: {seconds:.2} s, MAP@R {:.4}, recall@1 {:.4}",
                got.map_at_r.value, got.recall[0].1.value
            );
        }
    }
    let places = Rows::new(&values[..n.min(2000) * dim], dim).expect("whole rows");
    let start = Instant::now();
    pool.install(|| tsne(places, &TsneOptions::default(), &mut |_, _| ())).expect("finite rows");
    println!("t-SNE of {} rows: {:.2} s", places.len(), start.elapsed().as_secs_f64());
}
