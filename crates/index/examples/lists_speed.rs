//! Measures lists: seconds of CPU time to build them, bytes a vector, recall@10 and queries per CPU second.
//!
//! `lists_speed BASE.fvecs QUERIES.fvecs TRUTH.ivecs FILE SPEC PROBES[:RERANK]...`; the index is read from FILE, which
//! is written where it does not exist. Searches run on one thread, in one call and one query a call. Prints one line
//! an effort, fields separated by tabs.
#![allow(clippy::print_stdout)]

use cpu_time::ProcessTime;
use data::{Hits, Metric, Rows};
use deepembed_index::{Effort, Filter, Index, Provenance, Request, Spec, Watch, build, open, save};
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::Path;

/// Answers wanted.
const K: usize = 10;
/// Times that the queries are asked; the fastest counts.
const ROUNDS: usize = 5;

type Failure = Box<dyn Error + Send + Sync>;

/// The words of an fvecs or ivecs file without the lengths, and the length of a row.
fn vectors(path: &str) -> Result<(Vec<u32>, usize), Failure> {
    let bytes = std::fs::read(path)?;
    let words: Vec<u32> = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let dim = *words.first().ok_or("an empty file")? as usize;
    Ok((words.chunks_exact(dim + 1).flat_map(|row| &row[1..]).copied().collect(), dim))
}

fn floats(path: &str) -> Result<(Vec<f32>, usize), Failure> {
    let (words, dim) = vectors(path)?;
    Ok((words.into_iter().map(f32::from_bits).collect(), dim))
}

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [base, queries, truth, file, spec, efforts @ ..] = words.as_slice() else {
        return Err("lists_speed BASE.fvecs QUERIES.fvecs TRUTH.ivecs FILE SPEC PROBES[:RERANK]...".into());
    };
    let (queries, dim) = floats(queries)?;
    let (truth, wide) = vectors(truth)?;
    let (base, _) = floats(base)?;
    let (queries, base) = (Rows::new(&queries, dim)?, Rows::new(&base, dim)?);
    let spec: Spec = spec.parse()?;
    let file = Path::new(file);
    if !file.exists() {
        let start = ProcessTime::now();
        let index = build(&spec, base, Metric::L2, 1, &Watch::none())?;
        println!("{spec}\tbuilt in {:.1} CPU s", start.elapsed().as_secs_f64());
        let provenance = Provenance { model: None, data_hash: "0".repeat(64), seed: 1 };
        save(file, &*index, &provenance, &[])?;
    }
    let opened = open(file)?;
    let index = &*opened.index;
    if index.spec() != spec {
        return Err(format!("{} holds {}", file.display(), index.spec()).into());
    }
    println!("{spec}\t{:.1} bytes a vector", index.bytes() as f64 / base.len() as f64);
    // Searches run within the one thread of a pool, so that no call waits to be handed over to it.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    pool.install(|| search(index, base, queries, (&truth, wide), efforts))
}

/// Measures searches of each effort.
fn search(
    index: &dyn Index,
    base: Rows<'_, f32>,
    queries: Rows<'_, f32>,
    (truth, wide): (&[u32], usize),
    efforts: &[String],
) -> Result<(), Failure> {
    println!("effort\trecall@{K}\tbatch q/s\tsingle q/s\tlists\tdistances");
    for effort in efforts {
        let (probes, rerank) = effort.split_once(':').map_or((&**effort, None), |(a, b)| (a, Some(b)));
        let number = |text: &str| text.parse().map(NonZeroUsize::new);
        let rerank = rerank.map(number).transpose()?.flatten();
        let knobs = Effort { probes: number(probes)?, rerank, ..Effort::default() };
        let request =
            Request { k: NonZeroUsize::new(K).ok_or("no answers")?, filter: Filter::All, effort: knobs };
        let mut hits = Hits::default();
        let ask = |queries, hits: &mut Hits| index.search(queries, &request, hits);
        let stats = ask(queries, &mut hits)?;
        let mut right = 0;
        for ((found, nearest), query) in hits.iter().zip(truth.chunks_exact(wide)).zip(queries.iter()) {
            let last = kernels::l2(query, base.row(nearest[K - 1] as usize));
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
            "{effort}\t{recall:.4}\t{batch:.0}\t{single:.0}\t{:.1}\t{:.1}",
            each(stats.lists),
            each(stats.distances)
        );
    }
    Ok(())
}
