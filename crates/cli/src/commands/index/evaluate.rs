//! `deepembed index eval`: recall and speed of an index at each effort.

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::truth;
use crate::vectors::Vectors;
use data::vectors::GroundTruth;
use data::{Hits, Rows};
use index::{Effort, Filter, Index, Request, Stats};
use serde::Serialize;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

/// What to measure with what.
#[derive(clap::Args)]
pub struct Args {
    /// Index of vectors.
    #[arg(long)]
    index: PathBuf,
    /// Vectors to search with.
    #[arg(long)]
    queries: PathBuf,
    /// Right answers: .ivecs, .ibin, or ann-benchmarks' .hdf5.
    #[arg(long, value_name = "FILE")]
    ground_truth: PathBuf,
    /// Answers a query.
    #[arg(short, default_value = "10")]
    k: NonZeroUsize,
    /// Widths of the graph search, such as 32,64,128.
    #[arg(long, value_delimiter = ',')]
    beam: Vec<NonZeroUsize>,
    /// Numbers of lists visited.
    #[arg(long, value_delimiter = ',')]
    probes: Vec<NonZeroUsize>,
    /// Numbers of rows ranked again for each answer.
    #[arg(long, value_delimiter = ',')]
    rerank: Vec<NonZeroUsize>,
}

/// One line of the table.
#[derive(Serialize)]
struct Measured {
    effort: Effort,
    /// The share of the true `k` nearest that were found, ties by id.
    recall: f64,
    /// The share of queries whose nearest was found.
    nearest: f64,
    queries_per_second: f64,
    /// Of one query in the mean.
    distances: f64,
    hops: f64,
    lists: f64,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let opened = index::open(&args.index)?;
    let index = &*opened.index;
    let queries = Vectors::open(&args.queries, None)?;
    queries.require(index.dim(), &args.index)?;
    let values = queries.file.read(0..queries.len)?;
    let rows = Rows::new(&values, queries.dim()).expect("whole rows were read");
    let truth = truth::open(&args.ground_truth, rows.len(), args.k)?;
    let mut measured = Vec::new();
    for effort in efforts(args) {
        if context.stopped() {
            return Err(Failure::interrupted());
        }
        measured.push(measure(index, rows, &truth, args.k, effort)?);
    }
    let value = serde_json::json!({
        "spec": index.spec().to_string(),
        "rows": index.len(),
        "bytes": index.bytes(),
        "queries": rows.len(),
        "k": args.k,
        "threads": rayon::current_num_threads(),
        "efforts": measured,
    });
    Ok(context.talk.result(&value, table(&measured, args.k))?)
}

/// All combinations of the knobs that were given.
fn efforts(args: &Args) -> Vec<Effort> {
    let each = |values: &[NonZeroUsize]| -> Vec<Option<NonZeroUsize>> {
        if values.is_empty() { vec![None] } else { values.iter().copied().map(Some).collect() }
    };
    let mut efforts = Vec::new();
    for rerank in each(&args.rerank) {
        for probes in each(&args.probes) {
            efforts.extend(each(&args.beam).into_iter().map(|beam| Effort { beam, probes, rerank }));
        }
    }
    efforts
}

fn measure(
    index: &dyn Index,
    queries: Rows<'_, f32>,
    truth: &GroundTruth,
    k: NonZeroUsize,
    effort: Effort,
) -> Outcome<Measured> {
    let mut hits = Hits::default();
    let start = Instant::now();
    let stats = index.search(queries, &Request { k, filter: Filter::All, effort }, &mut hits)?;
    let seconds = start.elapsed().as_secs_f64();
    let (recall, nearest) = truth::recall(truth, &hits, k);
    let n = queries.len() as f64;
    let Stats { distances, hops, lists } = stats;
    Ok(Measured {
        effort,
        recall,
        nearest,
        queries_per_second: n / seconds,
        distances: distances as f64 / n,
        hops: hops as f64 / n,
        lists: lists as f64 / n,
    })
}

fn table(measured: &[Measured], k: NonZeroUsize) -> String {
    let mut lines = vec![format!(
        "{:24} {:>10} {:>10} {:>11} {:>11}",
        "effort",
        format!("recall@{k}"),
        format!("1-recall@{k}"),
        "queries/s",
        "distances"
    )];
    for Measured { effort, recall, nearest, queries_per_second, distances, .. } in measured {
        let Effort { beam, probes, rerank } = effort;
        let knobs = [("beam", beam), ("probes", probes), ("rerank", rerank)];
        let set = knobs.iter().filter_map(|(name, value)| value.map(|value| format!("{name} {value}")));
        let effort = set.collect::<Vec<_>>().join(", ");
        let effort = if effort.is_empty() { "the index's own".to_owned() } else { effort };
        lines.push(format!(
            "{effort:24} {recall:10.4} {nearest:10.4} {queries_per_second:11.0} {distances:11.0}"
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn knobs_are_combined() {
        let line = "x --index i --queries q --ground-truth g --probes 4,8 --rerank 2,3,5";
        let Line { args } = Line::parse_from(line.split(' '));
        let efforts = efforts(&args);
        assert_eq!(efforts.len(), 6);
        let last = Effort { beam: None, probes: NonZeroUsize::new(8), rerank: NonZeroUsize::new(5) };
        assert_eq!(efforts[5], last);
    }
}
