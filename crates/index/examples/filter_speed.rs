//! Measures filtered searches beside brute force over the rows that pass: recall@10 and microseconds of CPU time a query.
//!
//! `filter_speed BASE.fvecs QUERIES.fvecs SPEC [PROBES]`; a share of the rows passes at random. Recall is that among
//! the rows that pass; searches run on one thread, one query a call, with a bitmap, and for few rows with their ids.
#![allow(clippy::print_stdout)]

use cpu_time::ProcessTime;
use data::{Hits, Metric, Rows};
use deepembed_index::{Effort, Filter, Index, Request, Spec, Watch, build};
use kernels::{SplitMix64, TopK};
use std::error::Error;
use std::num::NonZeroUsize;

/// Answers wanted.
const K: NonZeroUsize = NonZeroUsize::new(10).unwrap();
/// Shares of the rows that pass.
const SHARES: [f64; 10] = [1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 0.9, 1.0];
/// Times that the queries are asked; the fastest counts.
const ROUNDS: usize = 3;

type Failure = Box<dyn Error + Send + Sync>;

fn vectors(path: &str) -> Result<(Vec<f32>, usize), Failure> {
    let bytes = std::fs::read(path)?;
    let words: Vec<u32> = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let dim = *words.first().ok_or("an empty file")? as usize;
    Ok((
        words.chunks_exact(dim + 1).flat_map(|row| &row[1..]).map(|&word| f32::from_bits(word)).collect(),
        dim,
    ))
}

/// The least microseconds a query of a few rounds.
fn timed(queries: usize, mut round: impl FnMut()) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = ProcessTime::now();
        round();
        least = least.min(start.elapsed().as_secs_f64() * 1e6 / queries as f64);
    }
    least
}

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [base, queries, spec, probes @ ..] = words.as_slice() else {
        return Err("filter_speed BASE.fvecs QUERIES.fvecs SPEC [PROBES]".into());
    };
    let probes = probes.first().map(|probes| probes.parse()).transpose()?;
    let ((base, dim), (queries, _)) = (vectors(base)?, vectors(queries)?);
    let (base, queries) = (Rows::new(&base, dim)?, Rows::new(&queries, dim)?);
    let queries = queries.slice(0..queries.len().min(500));
    let index = build(&spec.parse::<Spec>()?, base, Metric::L2, 1, &Watch::none())?;
    let effort = Effort { probes, ..Effort::default() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    println!("share\trows\trecall@10\tbitmap us\tids us\tbrute force us");
    pool.install(|| SHARES.iter().try_for_each(|&share| measure(&*index, base, queries, effort, share)))
}

fn measure(
    index: &dyn Index,
    base: Rows<'_, f32>,
    queries: Rows<'_, f32>,
    effort: Effort,
    share: f64,
) -> Result<(), Failure> {
    let mut random = SplitMix64::new(5);
    let ids: Vec<u32> = (0..base.len() as u32).filter(|_| random.unit() < share).collect();
    let mut words = vec![0u64; base.len().div_ceil(64)];
    ids.iter().for_each(|&id| words[id as usize / 64] |= 1 << (id % 64));
    let mut truth = Vec::new();
    let brute = timed(queries.len(), || {
        truth.clear();
        let mut distances = vec![0.0; ids.len()];
        for query in queries.iter() {
            kernels::l2s_at(query, base.as_slice(), &ids, &mut distances);
            let mut top = TopK::new(K.get());
            for (&id, &distance) in ids.iter().zip(&distances) {
                if top.would_keep(distance) {
                    top.push(distance, id.into());
                }
            }
            truth.push(top.into_sorted());
        }
    });
    let ask = |filter, found: &mut Vec<Hits>| -> Result<(), Failure> {
        found.clear();
        for i in 0..queries.len() {
            let mut hits = Hits::default();
            index.search(queries.slice(i..i + 1), &Request { k: K, filter, effort }, &mut hits)?;
            found.push(hits);
        }
        Ok(())
    };
    let (mut found, mut result) = (Vec::new(), Ok(()));
    let by_ids = timed(queries.len(), || result = ask(Filter::Ids(&ids), &mut found));
    result?;
    let mut result = Ok(());
    let by_bits = timed(queries.len(), || result = ask(Filter::Bitmap(&words), &mut found));
    result?;
    let (mut right, mut all) = (0, 0);
    for ((found, truth), query) in found.iter().zip(&truth).zip(queries.iter()) {
        let last = truth.last().map_or(f32::NEG_INFINITY, |pair| pair.0);
        let near = found.of(0).iter().filter(|hit| kernels::l2(query, base.row(hit.id as usize)) <= last);
        right += near.count();
        all += truth.len();
    }
    let recall = right as f64 / all.max(1) as f64;
    println!("{share}\t{}\t{recall:.4}\t{by_bits:.1}\t{by_ids:.1}\t{brute:.1}", ids.len());
    Ok(())
}
