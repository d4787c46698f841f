//! `deepembed codes eval`: each code trained, encoded, decoded and searched on one data set.

use super::table::table;
use super::{TRAINING, learn};
use crate::context::Context;
use crate::failure::{Code, Failure, Outcome};
use crate::vectors::{Vectors, metric};
use data::vectors::{GroundTruth, parse_count};
use data::{Hits, Metric, Rows};
use kernels::TopK;
use quant::{Codec, Spec};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Queries searched between two looks at the progress.
const QUERIES: usize = 256;
/// How many of the first found are looked at for the true nearest.
const DEPTHS: [usize; 3] = [1, 10, 100];
/// Nearest that are compared as a set.
const SET: usize = 10;

/// What to measure on what.
#[derive(clap::Args)]
pub struct Args {
    /// Vectors to compress and search.
    #[arg(long)]
    base: PathBuf,
    /// Vectors to search with.
    #[arg(long)]
    queries: PathBuf,
    /// Right answers: .ivecs, .ibin, or ann-benchmarks' .hdf5; without, they are computed.
    #[arg(long, value_name = "FILE")]
    ground_truth: Option<PathBuf>,
    /// Vectors to learn from in place of the base.
    #[arg(long, value_name = "FILE")]
    learn: Option<PathBuf>,
    /// How many vectors to learn from: 10K, 1M.
    #[arg(long, value_name = "N", value_parser = parse_count, default_value_t = TRAINING)]
    train: usize,
    /// Transforms and a code, such as PQ16 or OPQ16,PQ16; may be given several times.
    #[arg(long, required = true)]
    spec: Vec<Spec>,
    /// Neighbours looked for.
    #[arg(long, default_value = "100")]
    k: NonZeroUsize,
    /// What compares vectors: l2, or dot, which is the cosine for vectors of length one.
    #[arg(long, default_value = "l2", value_parser = metric)]
    metric: Metric,
    /// Only this many vectors of the base, from the start: 10K, 1M.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    first: Option<usize>,
}

/// The numbers of one code.
pub struct Measured {
    pub spec: String,
    /// Bytes a vector.
    pub bytes: usize,
    /// Mean squared distance of a vector and what its code decodes to.
    pub distortion: f64,
    /// Of the nearest alone, at each of [`DEPTHS`] that was looked for.
    pub nearest: Vec<(usize, f64)>,
    /// Of the ten nearest among the first ten.
    pub set: Option<f64>,
    pub train_seconds: f64,
    /// Microseconds a vector.
    pub encode_us: f64,
    /// Thousand million codes a second, over all queries.
    pub scan_rate: f64,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let base = Vectors::open(&args.base, args.first)?;
    let queries = Vectors::open(&args.queries, None)?;
    queries.require(base.dim(), &base.path)?;
    if base.len == 0 || queries.len == 0 {
        let empty = if base.len == 0 { &base.path } else { &queries.path };
        return Err(Failure::message(Code::Failed, format!("{} has no vectors", empty.display())));
    }
    let source = match &args.learn {
        Some(path) => Vectors::open(path, None)?,
        None => Vectors::open(&args.base, args.first)?,
    };
    source.require(base.dim(), &base.path)?;
    let rows = queries.file.read(0..queries.len)?;
    let rows = Rows::new(&rows, base.dim()).expect("whole rows were read");
    let truth = truth(context, args, &base, rows)?;
    let sample = source.spread(args.train)?;
    let sample = Rows::new(&sample, base.dim()).expect("whole rows were read");
    let measured = args.spec.iter().map(|spec| measure(context, args, spec, &base, rows, sample, &truth));
    let measured = measured.collect::<Outcome<Vec<_>>>()?;
    let value = json!({
        "base": args.base,
        "rows": base.len,
        "dim": base.dim(),
        "queries": rows.len(),
        "metric": args.metric,
        "k": args.k,
        "trained_on": sample.len(),
        "ground_truth": args.ground_truth,
        "threads": rayon::current_num_threads(),
        "seed": context.seed,
        "codes": measured.iter().map(to_json).collect::<Vec<_>>(),
    });
    Ok(context.talk.result(&value, table(&measured))?)
}

/// The ids of each query's nearest, nearest first, at least one.
fn truth(context: &Context, args: &Args, base: &Vectors, queries: Rows<'_, f32>) -> Outcome<Vec<Vec<u64>>> {
    let Some(path) = &args.ground_truth else {
        context.talk.say("no --ground-truth: comparing every query with every vector");
        return exact(context, args.metric, base, queries);
    };
    let truth = GroundTruth::open(path)?;
    let wrong = |why: String| Failure::message(Code::Failed, format!("{}: {why}", path.display()));
    if truth.len() < queries.len() {
        return Err(wrong(format!("answers for {} queries, there are {}", truth.len(), queries.len())));
    }
    let ids = |query: usize| -> Outcome<Vec<u64>> {
        let ids = truth.ids(query);
        if let Some(id) = ids.iter().find(|&&id| id as usize >= base.len) {
            let why = format!("query {query} has vector {id} for an answer, there are {}", base.len);
            return Err(wrong(why + "; leave --ground-truth out to compute answers"));
        }
        Ok(ids.iter().map(|&id| id.into()).collect())
    };
    (0..queries.len()).map(ids).collect()
}

/// Right answers by comparing everything with everything.
fn exact(
    context: &Context,
    metric: Metric,
    base: &Vectors,
    queries: Rows<'_, f32>,
) -> Outcome<Vec<Vec<u64>>> {
    let nearest = match metric {
        Metric::L2 => kernels::l2_nearest,
        Metric::Dot => kernels::dot_nearest,
    };
    let bar = context.talk.bar("exact answers", base.len);
    let mut tops = vec![TopK::new(SET); queries.len()];
    for chunk in base.chunks() {
        if context.stopped() {
            return Err(Failure::interrupted());
        }
        let rows = base.file.read(chunk.clone())?;
        let found = nearest(queries.as_slice(), &rows, base.dim(), SET);
        for (top, found) in tops.iter_mut().zip(found) {
            let first = chunk.start as u64;
            found.into_iter().for_each(|(distance, row)| top.push(distance, first + u64::from(row)));
        }
        bar.set(chunk.end, base.len, "");
    }
    bar.finish(&format!("{} queries", queries.len()));
    Ok(tops.into_iter().map(|top| top.into_sorted().into_iter().map(|(_, id)| id).collect()).collect())
}

fn measure(
    context: &Context,
    args: &Args,
    spec: &Spec,
    base: &Vectors,
    queries: Rows<'_, f32>,
    sample: Rows<'_, f32>,
    truth: &[Vec<u64>],
) -> Outcome<Measured> {
    let start = Instant::now();
    let codec = learn(context, spec, sample)?;
    let train_seconds = start.elapsed().as_secs_f64();
    let (codes, distortion, encoding) = encode(context, spec, &*codec, base)?;
    let packed = codec.pack(codes);
    let (found, scanning) = search(context, args, spec, &*codec, &packed, base.len, queries)?;
    let depths = DEPTHS.into_iter().filter(|&depth| depth <= args.k.get());
    Ok(Measured {
        spec: spec.to_string(),
        bytes: codec.code_len(),
        distortion,
        nearest: depths.map(|depth| (depth, recall(truth, &found, 1, depth).unwrap_or(0.0))).collect(),
        set: if args.k.get() < SET { None } else { recall(truth, &found, SET, SET) },
        train_seconds,
        encode_us: encoding.as_secs_f64() * 1e6 / base.len as f64,
        scan_rate: base.len as f64 * queries.len() as f64 / scanning.as_secs_f64() / 1e9,
    })
}

/// The codes of the base, the mean squared error of what they decode to, and the time that encoding took.
fn encode(
    context: &Context,
    spec: &Spec,
    codec: &dyn Codec,
    base: &Vectors,
) -> Outcome<(Vec<u8>, f64, Duration)> {
    let bar = context.talk.bar(&format!("encoding {spec}"), base.len);
    let (mut codes, mut error, mut time) = (Vec::new(), 0.0, Duration::ZERO);
    for chunk in base.chunks() {
        if context.stopped() {
            return Err(Failure::interrupted());
        }
        let rows = base.file.read(chunk.clone())?;
        let rows = Rows::new(&rows, base.dim()).expect("whole rows were read");
        let start = Instant::now();
        let here = codec.encode_all(rows)?;
        time += start.elapsed();
        error += square_error(codec, rows, &here);
        codes.extend(here);
        bar.set(chunk.end, base.len, "");
    }
    bar.finish(&format!("{} vectors", base.len));
    Ok((codes, error / base.len as f64, time))
}

/// The sum over `rows` of the squared distance to what their codes decode to.
fn square_error(codec: &dyn Codec, rows: Rows<'_, f32>, codes: &[u8]) -> f64 {
    /// Rows that one task decodes.
    const TASK: usize = 256;
    let (dim, len) = (codec.dim(), codec.code_len());
    let tasks = rows.as_slice().par_chunks(TASK * dim).zip(codes.par_chunks(TASK * len));
    let errors = tasks.map(|(rows, codes)| {
        let mut decoded = vec![0.0; rows.len()];
        codec.decode(codes, &mut decoded);
        let pairs = rows.chunks_exact(dim).zip(decoded.chunks_exact(dim));
        pairs.map(|(row, decoded)| f64::from(kernels::l2(row, decoded))).sum::<f64>()
    });
    // Summed in order, so that threads change no digit.
    errors.collect::<Vec<f64>>().into_iter().sum()
}

/// What is found for every query, and the time that it took.
fn search(
    context: &Context,
    args: &Args,
    spec: &Spec,
    codec: &dyn Codec,
    packed: &[u8],
    len: usize,
    queries: Rows<'_, f32>,
) -> Outcome<(Vec<Vec<u64>>, Duration)> {
    let bar = context.talk.bar(&format!("searching {spec}"), queries.len());
    let (mut found, mut time) = (Vec::with_capacity(queries.len()), Duration::ZERO);
    for first in (0..queries.len()).step_by(QUERIES) {
        if context.stopped() {
            return Err(Failure::interrupted());
        }
        let end = (first + QUERIES).min(queries.len());
        let start = Instant::now();
        let hits: Hits = quant::search(codec, packed, len, queries.slice(first..end), args.metric, args.k)?;
        time += start.elapsed();
        found.extend(hits.iter().map(|hits| hits.iter().map(|hit| hit.id).collect::<Vec<u64>>()));
        bar.set(end, queries.len(), "");
    }
    bar.finish(&format!("{} queries", queries.len()));
    Ok((found, time))
}

/// The share of the `nearest` true ones that are among the first `depth` found; none where fewer are known.
fn recall(truth: &[Vec<u64>], found: &[Vec<u64>], nearest: usize, depth: usize) -> Option<f64> {
    let mut right = 0;
    for (truth, found) in truth.iter().zip(found) {
        let found = &found[..depth.min(found.len())];
        right += truth.get(..nearest)?.iter().filter(|id| found.contains(id)).count();
    }
    Some(right as f64 / (nearest * truth.len()) as f64)
}

fn to_json(measured: &Measured) -> Value {
    let mut value = json!({
        "spec": measured.spec,
        "bytes": measured.bytes,
        "distortion": measured.distortion,
    });
    for (depth, recall) in &measured.nearest {
        value[format!("1-recall@{depth}")] = json!(recall);
    }
    value["10-recall@10"] = json!(measured.set);
    value["train_seconds"] = json!(measured.train_seconds);
    value["encode_us"] = json!(measured.encode_us);
    value["scan_gcodes_per_second"] = json!(measured.scan_rate);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recalls_by_hand() {
        let truth = [vec![4, 5, 6], vec![1, 2, 3]];
        let found = [vec![5, 4], vec![9, 8, 3, 1]];
        assert_eq!(recall(&truth, &found, 1, 1), Some(0.0));
        assert_eq!(recall(&truth, &found, 1, 2), Some(0.5)); // 4
        assert_eq!(recall(&truth, &found, 1, 100), Some(1.0)); // 4 and 1
        assert_eq!(recall(&truth, &found, 3, 3), Some(0.5)); // 4, 5 and 3 of six
        assert_eq!(recall(&truth, &found, 4, 4), None);
    }
}
