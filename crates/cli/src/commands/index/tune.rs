//! `deepembed index tune`: from a goal to an index that reaches it.

use super::build::save_vectors;
use super::plan::Budget;
use crate::context::Context;
use crate::failure::{Code, Failure, Outcome};
use crate::run_folder::hardware;
use crate::vectors::{Vectors, metric};
use crate::{amounts, pipeline};
use data::vectors::parse_count;
use data::{Metric, Rows};
use index::Effort;
use index::tune::{Certificate, Goal, Task, TuneError, Tuned, tune};
use serde_json::json;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// What is wanted.
#[derive(clap::Args)]
pub struct Args {
    /// Vectors to index.
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// Least mean recall, such as 0.95.
    #[arg(long, value_parser = amounts::share)]
    recall: f64,
    /// Most time of 95 of 100 queries, each alone on one thread: 2ms, 500us.
    #[arg(long, value_parser = amounts::time)]
    p95: Option<f64>,
    /// Answers a query.
    #[arg(short, default_value = "10")]
    k: NonZeroUsize,
    /// Queries like those to come; half of them choose, half of them verify. Without, rows are drawn.
    #[arg(long)]
    queries: Option<PathBuf>,
    /// What compares vectors: l2, or dot, which is the cosine for vectors of length one.
    #[arg(long, default_value = "l2", value_parser = metric)]
    metric: Metric,
    /// Only this many vectors from the start: 10K, 1M.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    first: Option<usize>,
    /// Index file; the name of the vectors with .index behind it where nothing is said.
    #[arg(short, long)]
    out: Option<PathBuf>,
}

pub const EXAMPLE: &str = "Example:\n  \
    deepembed index tune --recall 0.95 --memory 1G --p95 2ms base.fvecs --queries query.fvecs -o base.index\n  \
    deepembed search base.index query.fvecs --target-recall 0.97\n\
    --memory bounds what building takes, the vectors included. Where the goal is out of reach, nothing is written,\n\
    the nearest is named and the exit code is 3.";

pub fn run(context: &Context, args: &Args) -> Outcome {
    let vectors = Vectors::open(&args.base, args.first)?;
    let budget = Budget::measure(context);
    let queries = args.queries.as_ref().map(|path| Vectors::open(path, None)).transpose()?;
    if let Some(queries) = &queries {
        queries.require(vectors.dim(), &args.base)?;
    }
    let asked = queries.as_ref().map(|queries| queries.spread(2000)).transpose()?;
    let asked = asked.as_ref().map(|values| Rows::new(values, vectors.dim()).expect("whole rows were read"));
    let values = vectors.file.read(0..vectors.len)?;
    let rows = Rows::new(&values, vectors.dim()).expect("whole rows were read");
    let measured_on = format!("{}, {} threads, {}", hardware(), budget.machine.threads, amounts::today());
    let tell = |line: &str| context.talk.say(format!("{:28} {line}", "tuning"));
    let goal = Goal { k: args.k, recall: args.recall, memory: budget.left(), p95: args.p95 };
    let reached = pipeline::watched(context, "tuning", |watch| {
        tune(&Task {
            rows,
            metric: args.metric,
            queries: asked,
            goal,
            seed: context.seed,
            machine: &budget.machine,
            measured_on: &measured_on,
            tell: &tell,
            watch,
        })
    });
    let reached = match reached {
        Err(TuneError::Unreachable { spec, recall, p95_ms, point, on_all_rows }) => {
            let value = json!({
                "reached": false,
                "nearest": {"spec": spec.to_string(), "point": point, "on_all_rows": on_all_rows},
            });
            if context.talk.json {
                context.talk.result(&value, "")?;
            }
            let over = if on_all_rows { "over all rows" } else { "foretold from a sample" };
            let text = format!(
                "Not reachable; the nearest is {spec} ({}) with recall@{} {recall:.4} and p95 {}, {over}",
                knobs(point.effort),
                args.k,
                amounts::seconds(p95_ms / 1e3)
            );
            return Err(Failure::message(Code::Unreachable, text));
        }
        Err(error @ TuneError::Memory { .. }) => {
            let TuneError::Memory { spec, need, .. } = &error else { return Err(error.into()) };
            let text = format!(
                "Not reachable; the nearest is {spec}, which takes up to {} while it is built, and --memory allows {} \
                 beside the program",
                amounts::bytes(*need),
                amounts::bytes(budget.left().unwrap_or_default())
            );
            return Err(Failure::message(Code::Unreachable, text));
        }
        other => other?,
    };
    let out = args.out.clone().unwrap_or_else(|| args.base.with_extension("index"));
    save_vectors(context, &args.base, rows, &*reached.index, Some(&reached.tuned), &out)?;
    let spec = reached.index.spec().to_string();
    let tried: Vec<_> = reached
        .tried
        .iter()
        .map(|tried| json!({"spec": tried.spec.to_string(), "points": tried.points}))
        .collect();
    let value = json!({
        "reached": true,
        "spec": spec,
        "index": out,
        "rows": rows.len(),
        "bytes": reached.index.bytes(),
        "tuned": reached.tuned,
        "tried": tried,
    });
    let text = format!(
        "{spec} over {} x {} vectors in {}, {:.1} bytes a vector\n\n{}",
        rows.len(),
        rows.dim(),
        out.display(),
        reached.index.bytes() as f64 / rows.len() as f64,
        described(&reached.tuned)
    );
    Ok(context.talk.result(&value, text)?)
}

/// The knobs of an effort in words.
pub fn knobs(effort: Effort) -> String {
    let Effort { beam, probes, rerank } = effort;
    let all = [("beam", beam), ("probes", probes), ("rerank", rerank)];
    let set = all.iter().filter_map(|(name, value)| value.map(|value| format!("{name} {value}")));
    let text = set.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "no knobs".to_owned() } else { text }
}

/// The curve and the certificate as a table and sentences.
pub fn described(tuned: &Tuned) -> String {
    let recall = format!("recall@{}", tuned.k);
    let mut lines = vec![format!("{:24} {recall:>10} {:>10} {:>10}", "effort", "median", "p95")];
    for point in &tuned.curve {
        lines.push(format!(
            "{:24} {:10.4} {:>10} {:>10}",
            knobs(point.effort),
            point.recall,
            amounts::seconds(point.seconds),
            amounts::seconds(point.p95)
        ));
    }
    if let Some(certificate) = &tuned.certificate {
        let Certificate {
            k,
            effort,
            recall,
            at_least,
            risk,
            queries,
            found,
            bound,
            p95,
            drawn_from,
            measured_on,
            caveat,
        } = certificate;
        lines.push(String::new());
        lines.push(format!(
            "certificate: with {}, recall@{k} is {recall:.4} over {queries} {drawn_from} that chose nothing; \
             it is at least {at_least:.4} unless with chance {risk:.4}",
            knobs(*effort)
        ));
        lines.push(format!("  bound: {bound} ({found} of {queries} found); p95 {}", amounts::seconds(*p95)));
        lines.push(format!("  measured on {measured_on}"));
        lines.push(format!("  {caveat}"));
    }
    lines.join("\n")
}
