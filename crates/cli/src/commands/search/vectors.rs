//! `deepembed search` with vectors.

use super::Args;
use crate::context::Context;
use crate::failure::{Code, Failure, Outcome};
use crate::truth;
use crate::vectors::Vectors;
use data::vectors::{Element, Format, VectorFile, VectorWriter};
use data::{Hits, Metric, Rows};
use index::{Effort, Ending, Filter, Opened, Request, Stats, Within};
use serde_json::{Value, json};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

/// What was found.
struct Found {
    hits: Hits,
    /// Why each list is no longer.
    endings: Vec<Ending>,
    stats: Stats,
    queries_per_second: f64,
    /// Answers of a query, at most.
    most: usize,
    /// Mean recall, where the right answers are known.
    recall: Option<f64>,
}

pub fn run(
    context: &Context,
    args: &Args,
    opened: &Opened,
    index: &Path,
    effort: Effort,
    path: &Path,
) -> Outcome {
    check(args, opened, index)?;
    let queries = Vectors::open(path, None)?;
    queries.require(opened.index.dim(), index)?;
    let values = queries.file.read(0..queries.len)?;
    let rows = Rows::new(&values, queries.dim()).expect("whole rows were read");
    let truth = args.ground_truth.as_ref().map(|path| truth::open(path, rows.len(), args.k)).transpose()?;
    let ids = args.filter_ids.as_ref().map(|path| filter_ids(path, opened.id_bound())).transpose()?;
    let filter = ids.as_ref().map_or(Filter::All, |ids| Filter::Ids(ids));
    let mut found = ask(args, opened, rows, filter, effort)?;
    found.recall = truth.map(|truth| truth::recall(&truth, &found.hits, args.k).0);
    match &args.out {
        Some(out) => written(context, args, &found, out),
        None => shown(context, args, &found, opened.index.metric()),
    }
}

/// Refuses an index that these vectors are not for.
fn check(args: &Args, opened: &Opened, path: &Path) -> Outcome {
    if let Some(model) = &opened.provenance.model {
        let why = format!(
            "the index was made by model {} ({}); query it with pictures and that model",
            model.hash, model.contract.architecture
        );
        return Err(Failure::message(Code::Failed, why));
    }
    let own = opened.index.metric();
    if let Some(wanted) = args.metric.filter(|wanted| *wanted != own) {
        let why = format!(
            "{} compares by {own}, not by {wanted}; build it again with --metric {wanted}",
            path.display()
        );
        return Err(Failure::message(Code::Failed, why));
    }
    if args.radius.is_some_and(f32::is_nan) {
        return Err(Failure::message(Code::Usage, "the radius is no number"));
    }
    Ok(())
}

/// The ids that a file names, ascending, each once; those of the index are below `bound`.
fn filter_ids(path: &Path, bound: u64) -> Outcome<Vec<u32>> {
    let wrong = |why: String| Failure::message(Code::Failed, format!("{}: {why}", path.display()));
    let ids: Vec<i64> = if Format::of(path).is_some() {
        let file = VectorFile::open(path)?;
        file.read_ids(0..file.len())?
    } else {
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let parse = |word: &str| word.parse().map_err(|_| wrong(format!("\"{word}\" is no row number")));
        text.split_whitespace().map(parse).collect::<Outcome<_>>()?
    };
    let row = |id: i64| {
        let fits = u32::try_from(id).ok().filter(|&id| u64::from(id) < bound);
        fits.ok_or_else(|| wrong(format!("there is no row {id}, the highest is {}", bound.saturating_sub(1))))
    };
    let mut ids = ids.into_iter().map(row).collect::<Outcome<Vec<u32>>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn ask(
    args: &Args,
    opened: &Opened,
    rows: Rows<'_, f32>,
    filter: Filter<'_>,
    effort: Effort,
) -> Outcome<Found> {
    let index = &*opened.index;
    let mut hits = Hits::default();
    let start = Instant::now();
    let (endings, stats, most) = match args.radius {
        Some(radius) => {
            let within = Within { radius, cap: args.cap, filter, effort };
            let (endings, stats) = index.within(rows, &within, &mut hits)?;
            (Some(endings), stats, hits.iter().map(<[_]>::len).max().unwrap_or(0))
        }
        None => {
            let request = Request { k: args.k, filter, effort };
            let stats = index.search(rows, &request, &mut hits)?;
            (None, stats, args.k.get().min(index.len()))
        }
    };
    let queries_per_second = rows.len() as f64 / start.elapsed().as_secs_f64();
    let endings = endings.unwrap_or_else(|| {
        let request = Request { k: args.k, filter, effort };
        hits.iter().map(|hits| index.ending(&request, hits.len())).collect()
    });
    Ok(Found { hits, endings, stats, queries_per_second, most, recall: None })
}

impl Found {
    /// How many lists ended for a reason.
    fn ended(&self, ending: Ending) -> usize {
        self.endings.iter().filter(|other| **other == ending).count()
    }

    /// Recall, rate and short lists in words.
    fn summary(&self, k: NonZeroUsize) -> String {
        let mut parts = Vec::new();
        if let Some(recall) = self.recall {
            parts.push(format!("recall@{k} {recall:.4}"));
        }
        parts.push(format!("{:.0} queries/s", self.queries_per_second));
        for ending in [Ending::Complete, Ending::Exhausted] {
            let count = self.ended(ending);
            if count > 0 {
                parts.push(format!("{count} {} ({})", plural(count), why(ending)));
            }
        }
        parts.join(", ")
    }

    fn to_json(&self, k: NonZeroUsize) -> Value {
        json!({
            "queries": self.endings.len(), "k": k, "recall": self.recall,
            "queries_per_second": self.queries_per_second, "distances": self.stats.distances,
            "hops": self.stats.hops, "lists": self.stats.lists, "full": self.ended(Ending::Full),
            "complete": self.ended(Ending::Complete), "exhausted": self.ended(Ending::Exhausted),
        })
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "list ends early" } else { "lists end early" }
}

/// Why a list has no more answers, in words.
fn why(ending: Ending) -> &'static str {
    match ending {
        Ending::Full => "full",
        Ending::Complete => "complete: no other row may be found",
        Ending::Exhausted => "exhausted: the rows visited hold no more; raise --beam or --probes",
    }
}

fn word(ending: Ending) -> &'static str {
    match ending {
        Ending::Full => "full",
        Ending::Complete => "complete",
        Ending::Exhausted => "exhausted",
    }
}

/// Writes ids and says what they come to.
fn written(context: &Context, args: &Args, found: &Found, out: &Path) -> Outcome {
    let width = found.most.max(1);
    if found.hits.iter().flatten().any(|hit| hit.id > i32::MAX as u64) {
        let why =
            format!("{} holds numbers below 2^31, some ids are higher; leave --out away", out.display());
        return Err(Failure::message(Code::Failed, why));
    }
    let mut writer = VectorWriter::create(out, Element::I32, width)?;
    for hits in found.hits.iter() {
        // -1 stands where fewer were found.
        let ids = hits.iter().map(|hit| hit.id as i32).chain(std::iter::repeat(-1)).take(width);
        writer.push_bytes(&ids.flat_map(i32::to_le_bytes).collect::<Vec<u8>>())?;
    }
    writer.finish()?;
    let text = format!(
        "{width} answers for each of {} queries in {}; {}",
        found.endings.len(),
        out.display(),
        found.summary(args.k)
    );
    let mut value = found.to_json(args.k);
    value["k"] = json!(width);
    value["out"] = json!(out);
    Ok(context.talk.result(&value, text)?)
}

/// Shows all answers.
fn shown(context: &Context, args: &Args, found: &Found, metric: Metric) -> Outcome {
    let (mut lines, mut answers) = (Vec::new(), Vec::new());
    for (query, (hits, &ending)) in found.hits.iter().zip(&found.endings).enumerate() {
        let each = hits.iter().map(|hit| format!("{} ({})", hit.id, digits(metric.score(hit.distance))));
        let mut line = format!("{query}: {}", each.collect::<Vec<_>>().join(" "));
        // Of a radius all lists but full ones are complete.
        if ending == Ending::Exhausted || (ending == Ending::Complete && args.radius.is_none()) {
            line += &format!(" [{} of {}, {}]", hits.len(), args.k, why(ending));
        }
        lines.push(line);
        let each = hits
            .iter()
            .map(|hit| json!({"id": hit.id, "score": metric.score(hit.distance), "distance": hit.distance}));
        answers.push(json!({"query": query, "hits": each.collect::<Vec<_>>(), "ending": word(ending)}));
    }
    let mut value = found.to_json(args.k);
    value["answers"] = json!(answers);
    let summary = found.summary(args.k);
    // A recall is a result; a rate alone is said beside the answers.
    if found.recall.is_some() {
        lines.push(summary);
    } else {
        context.talk.say(format!("{:28} {summary}", "searched"));
    }
    Ok(context.talk.result(&value, lines.join("\n"))?)
}

/// Four digits of a score, where they stand: those of vectors that are not of length one lie near zero.
fn digits(score: f32) -> String {
    if score != 0.0 && score.abs() < 1e-3 { format!("{score:.3e}") } else { format!("{score:.4}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_scores_keep_their_digits() {
        assert_eq!(digits(0.123_456), "0.1235");
        assert_eq!(digits(-0.5), "-0.5000");
        assert_eq!(digits(0.0), "0.0000");
        assert_eq!(digits(0.000_031_56), "3.156e-5");
    }
}
