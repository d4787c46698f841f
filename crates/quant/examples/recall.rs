//! Measures codes on a data set: distortion, 1-recall@1, 10 and 100, and seconds of CPU time.
//!
//! `recall l2|dot BASE.fvecs QUERIES.fvecs ROWS TRAINING SPEC...`; truth is found among the first `ROWS` rows.
//! Prints one line a spec, fields separated by tabs.
#![allow(clippy::print_stdout)]

use cpu_time::ProcessTime;
use data::{Metric, Rows};
use deepembed_quant::{Spec, Training, search};
use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Read};
use std::num::NonZeroUsize;

/// Neighbours looked for.
const K: usize = 100;
/// Queries at most.
const QUERIES: usize = 4000;

/// At most `limit` vectors of an fvecs file, and their dimension.
fn fvecs(path: &str, limit: usize) -> Result<(Vec<f32>, usize), Box<dyn Error>> {
    let mut file = BufReader::new(File::open(path)?);
    let (mut rows, mut dim) = (Vec::new(), 0);
    let mut head = [0; 4];
    while rows.len() < limit * dim.max(1) && file.read_exact(&mut head).is_ok() {
        dim = usize::try_from(i32::from_le_bytes(head))?;
        let mut bytes = vec![0; 4 * dim];
        file.read_exact(&mut bytes)?;
        rows.extend(bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)));
    }
    Ok((rows, dim))
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [metric, base, queries, rows, training, specs @ ..] = words.as_slice() else {
        return Err("recall l2|dot BASE.fvecs QUERIES.fvecs ROWS TRAINING SPEC...".into());
    };
    let metric = if metric == "dot" { Metric::Dot } else { Metric::L2 };
    let (base, dim) = fvecs(base, rows.parse()?)?;
    let base = Rows::new(&base, dim)?;
    let (queries, _) = fvecs(queries, QUERIES)?;
    let queries = Rows::new(&queries, dim)?;
    let sample = base.slice(0..base.len().min(training.parse()?));
    let k = NonZeroUsize::new(K).ok_or("no neighbours")?;
    let flat = "Flat".parse::<Spec>()?.train(sample, &Training::seeded(1))?;
    let packed = flat.encode_all(base)?;
    let truth = search(&*flat, &packed, base.len(), queries, metric, NonZeroUsize::MIN)?;
    println!("spec\tbytes\tmse\tr1@1\tr1@10\tr1@100\ttrain_s\tencode_s\tGcodes/s");
    for line in specs {
        let spec: Spec = line.parse()?;
        let start = ProcessTime::now();
        let codec = spec.train(sample, &Training::seeded(1))?;
        let trained = start.elapsed().as_secs_f64();
        let start = ProcessTime::now();
        let codes = codec.encode_all(base)?;
        let encoded = start.elapsed().as_secs_f64();
        let few = 10_000.min(base.len());
        let mut decoded = vec![0.0; few * dim];
        codec.decode(&codes[..few * codec.code_len()], &mut decoded);
        let each = base.iter().zip(decoded.chunks_exact(dim));
        let mse = each.map(|(a, b)| f64::from(kernels::l2(a, b))).sum::<f64>() / few as f64;
        let packed = codec.pack(codes);
        let start = ProcessTime::now();
        let found = search(&*codec, &packed, base.len(), queries, metric, k)?;
        let rate = (base.len() * queries.len()) as f64 / start.elapsed().as_secs_f64() / 1e9;
        let ranks: Vec<Option<usize>> = truth
            .iter()
            .zip(found.iter())
            .map(|(truth, found)| found.iter().position(|hit| hit.id == truth[0].id))
            .collect();
        let recall = |at: usize| {
            let within = ranks.iter().filter(|rank| rank.is_some_and(|rank| rank < at)).count();
            within as f64 / ranks.len() as f64
        };
        println!(
            "{spec}\t{}\t{mse:.1}\t{:.4}\t{:.4}\t{:.4}\t{trained:.1}\t{encoded:.1}\t{rate:.3}",
            codec.code_len(),
            recall(1),
            recall(10),
            recall(100)
        );
    }
    Ok(())
}
