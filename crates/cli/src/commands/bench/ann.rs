//! `deepembed bench ann`: recall against speed of several indexes in one run.

use crate::amounts;
use crate::commands::index::{hash_rows, knobs};
use crate::context::{Context, write_file};
use crate::failure::{Code, Failure, Outcome};
use crate::pipeline;
use crate::run_folder::{forget_peak_memory, hardware, peak_memory};
use crate::truth;
use crate::vectors::{Vectors, metric};
use cpu_time::ProcessTime;
use data::vectors::{GroundTruth, parse_count};
use data::{Hits, Metric, Rows};
use eval::pareto_chart;
use eval::plots::Series;
use index::{Effort, Filter, Index, Request, Spec};
use serde::Serialize;
use serde_json::{Value, json};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

/// Build indexes of the same vectors, and measure recall and speed at one effort after another.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// Vectors to index.
    #[arg(long)]
    vectors: PathBuf,
    /// Vectors to search with.
    #[arg(long)]
    queries: PathBuf,
    /// Right answers; without, every query is compared with every vector first.
    #[arg(long, value_name = "FILE")]
    ground_truth: Option<PathBuf>,
    /// An index; give several.
    #[arg(long, required = true)]
    spec: Vec<Spec>,
    /// Answers a query.
    #[arg(short, default_value = "10")]
    k: NonZeroUsize,
    /// What compares vectors: l2 or dot.
    #[arg(long, default_value = "l2", value_parser = metric)]
    metric: Metric,
    /// Only this many vectors from the start: 10K, 1M.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    first: Option<usize>,
    /// Times that each effort is measured, all indexes in turn; the median is told.
    #[arg(long, default_value = "3")]
    rounds: NonZeroUsize,
    /// Folder for curves.json and curves.svg.
    #[arg(short, long)]
    out: PathBuf,
}

const EXAMPLE: &str = "Example:\n  \
    deepembed bench ann --vectors base.fvecs --queries query.fvecs --ground-truth truth.ivecs --spec HNSW16 --spec SymQG32 --out curves/";

/// Gains of recall below this are none, and recall beyond which nothing is to be gained.
const GAIN: f64 = 0.0005;
const ENOUGH: f64 = 0.9995;
/// Recall that a curve goes far by, and the least that a chart of such curves shows.
const FAR: f64 = 0.95;
const SHOWN: f64 = 0.8;
/// Widest beam and most lists.
const WIDEST: usize = 8192;
/// Rows ranked again for each answer.
const RERANK: [usize; 4] = [1, 4, 10, 40];

/// One index and what was measured of it.
struct Contender {
    spec: Spec,
    index: Box<dyn Index>,
    build_seconds: f64,
    build_cpu_seconds: f64,
    peak_bytes: Option<u64>,
    points: Vec<Point>,
}

/// One effort; a rate for each round.
#[derive(Clone, Serialize)]
struct Point {
    effort: Effort,
    recall: f64,
    queries_per_second: Vec<f64>,
    queries_per_cpu_second: Vec<f64>,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let base = Vectors::open(&args.vectors, args.first)?;
    let asked = Vectors::open(&args.queries, None)?;
    asked.require(base.dim(), &args.vectors)?;
    if base.len == 0 || asked.len == 0 {
        let empty = if base.len == 0 { &args.vectors } else { &args.queries };
        return Err(Failure::message(Code::Failed, format!("{} has no vectors", empty.display())));
    }
    if args.k.get() > base.len {
        let text = format!("{} answers are wanted of {} vectors; ask for fewer", args.k, base.len);
        return Err(Failure::message(Code::Failed, text));
    }
    let values = base.file.read(0..base.len)?;
    let rows = Rows::new(&values, base.dim()).expect("whole rows were read");
    let queries = asked.file.read(0..asked.len)?;
    let queries = Rows::new(&queries, base.dim()).expect("whole rows were read");
    let truth = right_answers(context, args, rows, queries)?;
    let mut contenders = Vec::new();
    for spec in &args.spec {
        contenders.push(built(context, args, spec, rows)?);
    }
    for round in 0..args.rounds.get() {
        for contender in &mut contenders {
            context.talk.say(format!("{:28} {}", format!("round {}", round + 1), contender.spec));
            let measure = Measure { context, queries, truth: &truth, k: args.k };
            match round {
                0 => contender.points = measure.sweep(&*contender.index)?,
                _ => measure.again(contender)?,
            }
        }
    }
    for contender in &mut contenders {
        contender.points = worthwhile(std::mem::take(&mut contender.points));
    }
    let protocol = protocol(context, args, rows, queries);
    let curves: Vec<Value> = contenders.iter().map(|contender| to_json(contender, rows.len())).collect();
    let value = json!({"protocol": protocol, "indexes": curves});
    let text = serde_json::to_string_pretty(&value).expect("numbers and words");
    write_file(&args.out.join("curves.json"), text.as_bytes())?;
    write_file(&args.out.join("curves.svg"), chart(args, &contenders, rows).as_bytes())?;
    let table = format!("{}\n{}", table(&contenders, args.k, rows.len()), words(&protocol));
    Ok(context.talk.result(&value, table)?)
}

fn right_answers(
    context: &Context,
    args: &Args,
    rows: Rows<'_, f32>,
    queries: Rows<'_, f32>,
) -> Outcome<GroundTruth> {
    if let Some(path) = &args.ground_truth {
        return truth::open(path, queries.len(), args.k);
    }
    context.talk.say("no --ground-truth: comparing every query with every vector");
    let exact = pipeline::build_index(context, &Spec::FLAT, rows, args.metric)?;
    let mut hits = Hits::default();
    exact.search(queries, &Request::top(args.k), &mut hits)?;
    let ids = hits.iter().flatten().map(|hit| hit.id as u32).collect();
    Ok(GroundTruth::new(args.k.get(), ids, None).expect("a scan finds as many as are wanted"))
}

fn built(context: &Context, args: &Args, spec: &Spec, rows: Rows<'_, f32>) -> Outcome<Contender> {
    forget_peak_memory();
    let (wall, cpu) = (Instant::now(), ProcessTime::now());
    let index = pipeline::build_index(context, spec, rows, args.metric)?;
    Ok(Contender {
        spec: spec.clone(),
        index,
        build_seconds: wall.elapsed().as_secs_f64(),
        build_cpu_seconds: cpu.elapsed().as_secs_f64(),
        peak_bytes: peak_memory(),
        points: Vec::new(),
    })
}

/// How indexes are asked.
struct Measure<'a> {
    context: &'a Context,
    queries: Rows<'a, f32>,
    truth: &'a GroundTruth,
    k: NonZeroUsize,
}

impl Measure<'_> {
    /// All queries in one batch on all threads.
    fn once(&self, index: &dyn Index, effort: Effort) -> Outcome<Point> {
        if self.context.stopped() {
            return Err(Failure::interrupted());
        }
        let mut hits = Hits::default();
        let (wall, cpu) = (Instant::now(), ProcessTime::now());
        index.search(self.queries, &Request { k: self.k, filter: Filter::All, effort }, &mut hits)?;
        let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
        let n = self.queries.len() as f64;
        let recall = truth::recall(self.truth, &hits, self.k).0;
        // A clock that ticks in hundredths may say zero.
        let queries_per_cpu_second = vec![n / cpu.max(1e-6)];
        Ok(Point { effort, recall, queries_per_second: vec![n / wall], queries_per_cpu_second })
    }

    /// Efforts that double until recall stops rising; those that are worth it, fastest first.
    fn sweep(&self, index: &dyn Index) -> Outcome<Vec<Point>> {
        let own = index.effort();
        let reranks: Vec<Option<NonZeroUsize>> = match own.rerank {
            Some(_) => RERANK.into_iter().map(NonZeroUsize::new).collect(),
            None => vec![None],
        };
        let mut points = Vec::new();
        for rerank in reranks {
            let (mut level, mut last) = (if own.beam.is_some() { self.k.get() } else { 1 }, -1.0);
            loop {
                let knob = NonZeroUsize::new(level);
                let effort = Effort { beam: own.beam.and(knob), probes: own.probes.and(knob), rerank };
                let point = self.once(index, effort)?;
                let (recall, knobless) = (point.recall, own.beam.is_none() && own.probes.is_none());
                points.push(point);
                if knobless || recall > ENOUGH || level >= WIDEST.min(index.len()) || recall < last + GAIN {
                    break;
                }
                (level, last) = (2 * level, recall);
            }
        }
        Ok(worthwhile(points))
    }

    /// Measures the efforts that were worth it once more.
    fn again(&self, contender: &mut Contender) -> Outcome {
        for point in &mut contender.points {
            let more = self.once(&*contender.index, point.effort)?;
            point.queries_per_second.extend(more.queries_per_second);
            point.queries_per_cpu_second.extend(more.queries_per_cpu_second);
        }
        Ok(())
    }
}

/// The points that no other beats in both recall and rate, fastest first.
fn worthwhile(mut points: Vec<Point>) -> Vec<Point> {
    points.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
    let mut best = -1.0;
    points.retain(|point| {
        let better = point.recall > best;
        best = point.recall.max(best);
        better
    });
    points
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

fn rate(point: &Point) -> f64 {
    median(&point.queries_per_second)
}

/// Under what rules the numbers were made.
fn protocol(context: &Context, args: &Args, rows: Rows<'_, f32>, queries: Rows<'_, f32>) -> Value {
    let answers = match &args.ground_truth {
        Some(path) => format!("right answers of {}", path.display()),
        None => "right answers by an exact scan".to_owned(),
    };
    json!({
        "measure": format!("recall@{}: share of the true {} that were found, ties by id; {answers}", args.k, args.k),
        "rate": "all queries in one batch on all threads; the median over rounds, in which the indexes take turns",
        "data": args.vectors,
        "data_hash": hash_rows(rows),
        "queries_hash": hash_rows(queries),
        "rows": rows.len(),
        "dim": rows.dim(),
        "queries": queries.len(),
        "metric": args.metric,
        "k": args.k,
        "rounds": args.rounds,
        "seed": context.seed,
        "threads": rayon::current_num_threads(),
        "machine": hardware(),
        "date": amounts::today(),
        "version": env!("CARGO_PKG_VERSION"),
        "command": std::env::args().collect::<Vec<_>>().join(" "),
    })
}

fn to_json(contender: &Contender, rows: usize) -> Value {
    let bytes = contender.index.bytes();
    json!({
        "spec": contender.spec.to_string(),
        "build_seconds": contender.build_seconds,
        "build_cpu_seconds": contender.build_cpu_seconds,
        "bytes": bytes,
        "bytes_a_vector": bytes as f64 / rows as f64,
        "peak_rss_bytes": contender.peak_bytes,
        "points": contender.points,
    })
}

fn chart(args: &Args, contenders: &[Contender], rows: Rows<'_, f32>) -> String {
    // Where most curves reach far, their ends are what tells them apart; the file has all points.
    let far = |contender: &&Contender| contender.points.last().is_some_and(|point| point.recall > FAR);
    let least = if 2 * contenders.iter().filter(far).count() >= contenders.len() { SHOWN } else { 0.0 };
    let series = |contender: &Contender| {
        let shown = contender.points.iter().filter(|point| point.recall >= least);
        let points = shown.map(|point| (point.recall, rate(point))).collect();
        Series { name: contender.spec.to_string(), points }
    };
    let name = args.vectors.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let threads = match rayon::current_num_threads() {
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    };
    let title = format!("{name}, {} x {}, {threads}", rows.len(), rows.dim());
    let lines: Vec<Series> = contenders.iter().map(series).collect();
    pareto_chart(&title, &format!("recall@{}", args.k), "queries a second", &lines)
}

fn table(contenders: &[Contender], k: NonZeroUsize, rows: usize) -> String {
    let mut lines = Vec::new();
    for contender in contenders {
        let peak = contender.peak_bytes.map_or_else(|| "unknown".to_owned(), amounts::bytes);
        lines.push(format!(
            "{}: built in {:.1} CPU s ({:.1} s), {:.1} bytes a vector, peak memory of the process {peak}",
            contender.spec,
            contender.build_cpu_seconds,
            contender.build_seconds,
            contender.index.bytes() as f64 / rows as f64
        ));
        let recall = format!("recall@{k}");
        lines.push(format!("  {:24} {recall:>10} {:>11} {:>17}", "effort", "queries/s", "queries/CPU s"));
        lines.extend(contender.points.iter().map(|point| {
            let cpu = median(&point.queries_per_cpu_second);
            format!("  {:24} {:10.4} {:11.0} {cpu:17.0}", knobs(point.effort), point.recall, rate(point))
        }));
    }
    lines.join("\n")
}

/// The protocol as lines.
fn words(protocol: &Value) -> String {
    let fields = protocol.as_object().into_iter().flatten();
    let line = |(key, value): (&String, &Value)| {
        format!("{key:13} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    format!("\n{}", fields.map(line).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_that_are_beaten_are_left_out() {
        let point = |recall, rate| Point {
            effort: Effort::default(),
            recall,
            queries_per_second: vec![rate],
            queries_per_cpu_second: vec![rate],
        };
        let kept = worthwhile(vec![point(0.9, 10.0), point(0.8, 20.0), point(0.7, 15.0), point(0.95, 5.0)]);
        let recalls: Vec<f64> = kept.iter().map(|point| point.recall).collect();
        assert_eq!(recalls, [0.8, 0.9, 0.95]);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[]), 0.0);
    }
}
