//! Measures an index: seconds of CPU time to build it, bytes a vector, recall@10 and queries per CPU second.
//!
//! `graph_speed BASE.fvecs QUERIES.fvecs TRUTH.ivecs SPEC BEAM...`; searches run on one thread, in one call and one query
//! a call. Prints one line a beam, fields separated by tabs.
#![allow(clippy::print_stdout)]

use cpu_time::ProcessTime;
use data::{Hits, Metric, Rows};
use deepembed_index::{Effort, Filter, Index, Request, Spec, Watch, build};
use std::error::Error;
use std::num::NonZeroUsize;

/// Answers wanted.
const K: usize = 10;
/// Times that the queries are asked; the fastest counts.
const ROUNDS: usize = 5;

/// The words of an fvecs or ivecs file without the lengths, and the length of a row.
fn vectors(path: &str) -> Result<(Vec<u32>, usize), Box<dyn Error + Send + Sync>> {
    let bytes = std::fs::read(path)?;
    let words: Vec<u32> = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let dim = *words.first().ok_or("an empty file")? as usize;
    Ok((words.chunks_exact(dim + 1).flat_map(|row| &row[1..]).copied().collect(), dim))
}

fn floats(path: &str) -> Result<(Vec<f32>, usize), Box<dyn Error + Send + Sync>> {
    let (words, dim) = vectors(path)?;
    Ok((words.into_iter().map(f32::from_bits).collect(), dim))
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [base, queries, truth, spec, beams @ ..] = words.as_slice() else {
        return Err("graph_speed BASE.fvecs QUERIES.fvecs TRUTH.ivecs SPEC BEAM...".into());
    };
    let (queries, dim) = floats(queries)?;
    let queries = Rows::new(&queries, dim)?;
    let (truth, wide) = vectors(truth)?;
    let start = ProcessTime::now();
    let (base, _) = floats(base)?;
    let base = Rows::new(&base, dim)?;
    println!("read {} rows in {:.1} s", base.len(), start.elapsed().as_secs_f64());
    let start = ProcessTime::now();
    let index = build(&spec.parse::<Spec>()?, base, Metric::L2, 1, &Watch::none())?;
    let built = start.elapsed().as_secs_f64();
    let bytes: usize = index.parts().iter().map(deepembed_index::Part::len).sum();
    println!("{spec}\tbuilt in {built:.1} CPU s\t{} bytes a vector", bytes as f64 / base.len() as f64);
    // Searches run within the one thread of a pool, so that no call waits to be handed over to it.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    pool.install(|| search(&*index, base, queries, (&truth, wide), beams))
}

/// Measures searches of each width.
fn search(
    index: &dyn Index,
    base: Rows<'_, f32>,
    queries: Rows<'_, f32>,
    (truth, wide): (&[u32], usize),
    beams: &[String],
) -> Result<(), Box<dyn Error + Send + Sync>> {
    println!("beam\trecall@{K}\tbatch q/s\tsingle q/s\thops\tdistances");
    for beam in beams {
        let effort = Effort { beam: NonZeroUsize::new(beam.parse()?), ..Effort::default() };
        let request = Request { k: NonZeroUsize::new(K).ok_or("no answers")?, filter: Filter::All, effort };
        let mut hits = Hits::default();
        let ask = |queries, hits: &mut Hits| index.search(queries, &request, hits);
        let stats = ask(queries, &mut hits)?;
        let mut right = 0;
        for ((found, nearest), query) in hits.iter().zip(truth.chunks_exact(wide)).zip(queries.iter()) {
            let last = kernels::l2(query, base.row(nearest[K - 1] as usize));
            // Distances of codes are estimates: rows are judged by their own.
            right += found.iter().filter(|hit| kernels::l2(query, base.row(hit.id as usize)) <= last).count();
        }
        let recall = right as f64 / (K * queries.len()) as f64;
        let (mut batch, mut single) = (0f64, 0f64);
        for _ in 0..ROUNDS {
            let start = ProcessTime::now();
            ask(queries, &mut hits)?;
            batch = batch.max(queries.len() as f64 / start.elapsed().as_secs_f64());
            let start = ProcessTime::now();
            for i in 0..queries.len() {
                ask(queries.slice(i..i + 1), &mut hits)?;
            }
            single = single.max(queries.len() as f64 / start.elapsed().as_secs_f64());
        }
        let each = |count: u64| count as f64 / queries.len() as f64;
        println!(
            "{beam}\t{recall:.4}\t{batch:.0}\t{single:.0}\t{:.1}\t{:.1}",
            each(stats.hops),
            each(stats.distances)
        );
    }
    Ok(())
}
