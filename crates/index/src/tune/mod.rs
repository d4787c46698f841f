//! Goals in place of knobs: what an index costs before it is built, which one reaches a goal, and how hard to search.
//!
//! [`tune`] takes compositions that fit into memory, the fastest first by their [`Plan`]s; builds a few on a sample of
//! the rows and measures recall and time over their knobs by half of the queries; builds over all rows the one that
//! should reach the goal soonest; measures it again, and verifies the point chosen by the other half, which chose
//! nothing. What comes out is the index, its curve and a [`Certificate`].
//!
//! Queries are given, or are rows drawn by the seed. Drawn rows are left out of the indexes over samples; the last index
//! holds them, since it is to hold all rows, and they are then no answers to themselves. Graphs may find the neighbours
//! of a row that they hold more easily than those of one that they do not: the certificate says where queries came from.
//!
//! Times are measured, so the choice may differ between runs; with the same choice the index has the same bytes.
//!
//! Files: `cost` and `seconds` plan, `machine` measures this one, `candidates` has the templates, `truth` the exact
//! answers, `sweep` the points, `certificate` the bound, `tuned` what a file keeps; this one goes from goal to index.

mod candidates;
mod certificate;
mod cost;
mod machine;
mod seconds;
mod sweep;
mod truth;
mod tuned;

pub use candidates::{Candidate, candidates, fitting};
pub use certificate::{Certificate, RISK, clopper_pearson};
pub use cost::{Extent, Plan, plan};
pub use machine::Machine;
pub use sweep::Point;
pub use tuned::{Tuned, Unreached};

use crate::{BuildError, Index, Spec, Watch, build};
use certificate::ATTEMPTS;
use data::{Metric, Rows};
use kernels::SplitMix64;
use std::num::NonZeroUsize;
use sweep::Trial;
use thiserror::Error;
use truth::Truth;

/// Rows that candidates are built from, at most, and the share of all rows that they are above the least.
const MOST_ROWS: usize = 100_000;
const LEAST_ROWS: usize = 20_000;
const SHARE: usize = 20;
/// Queries that are drawn where none are given, and given ones that are used, at most.
const QUERIES: usize = 1000;
/// Fewest queries of each half.
const FEWEST: usize = 20;
/// A point is tried in earnest when its recall is above the goal by these standard errors; a little more is aimed at.
const MARGIN: f64 = 1.0;
const AIM: f64 = 1.5;

/// What is wanted of an index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// Answers of a query.
    pub k: NonZeroUsize,
    /// Least mean recall at `k`.
    pub recall: f64,
    /// Bytes in memory while it is built, with the rows.
    pub memory: Option<u64>,
    /// Most seconds of 95 of 100 queries, each alone on one thread.
    pub p95: Option<f64>,
}

/// What is tuned.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    /// The rows to index.
    pub rows: Rows<'a, f32>,
    /// How they are compared.
    pub metric: Metric,
    /// Queries like those to come; rows are drawn where there are none.
    pub queries: Option<Rows<'a, f32>>,
    /// What is wanted.
    pub goal: Goal,
    /// Everything random comes from here.
    pub seed: u64,
    /// How fast this machine is.
    pub machine: &'a Machine,
    /// Its name and the time, for the certificate.
    pub measured_on: &'a str,
    /// Told what begins, a line each.
    pub tell: &'a (dyn Fn(&str) + Sync),
    /// Told how far each build is; stops all.
    pub watch: &'a Watch<'a>,
}

/// Why nothing was tuned.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum TuneError {
    /// An index could not be built, or the work was stopped.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The goal makes no sense.
    #[error("a recall of {0} cannot be wanted; give one above 0 and below 1")]
    Recall(String),
    /// More answers than rows.
    #[error("{k} answers are wanted of {rows} rows; ask for fewer")]
    Answers {
        /// Answers.
        k: usize,
        /// Rows.
        rows: usize,
    },
    /// Too few queries to verify anything.
    #[error("{got} queries are too few to tune and to verify; give at least {need}", need = 2 * FEWEST)]
    FewQueries {
        /// Queries there are.
        got: usize,
    },
    /// The queries have another length.
    #[error("queries have {got} dimensions, the rows have {want}")]
    Dim {
        /// Values a query.
        got: usize,
        /// Values a row.
        want: usize,
    },
    /// A query holds NaN or an infinity.
    #[error("query {0} holds a value that is not finite")]
    NotFinite(usize),
    /// No composition fits into memory.
    #[error("no composition fits into {memory} bytes; the smallest, {spec}, takes {need} while it is built")]
    Memory {
        /// Bytes allowed.
        memory: u64,
        /// The smallest composition.
        spec: Box<Spec>,
        /// Bytes that it takes.
        need: u64,
    },
    /// No composition that was tried reaches the goal.
    #[error("not reachable; the nearest is {spec} with recall {recall:.4} and p95 {p95_ms:.3} ms")]
    Unreachable {
        /// The composition that comes nearest.
        spec: Box<Spec>,
        /// Its recall.
        recall: f64,
        /// 95th percentile of the milliseconds of a query alone.
        p95_ms: f64,
        /// How hard it searches for that.
        point: Box<Point>,
        /// Whether it was measured over all rows; else over a sample, with the time scaled up.
        on_all_rows: bool,
    },
}

/// An index that reaches its goal.
pub struct Reached {
    /// The index, over all rows.
    pub index: Box<dyn Index>,
    /// Its curve and its certificate.
    pub tuned: Tuned,
    /// What was measured of each composition over the sample, the times as over all rows.
    pub tried: Vec<Tried>,
}

/// A composition that was built over a sample.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The composition, as over all rows.
    pub spec: Spec,
    /// Its points, with times scaled to all rows.
    pub points: Vec<Point>,
}

/// Queries with the rows that they are, where they are rows.
struct Asked {
    values: Vec<f32>,
    own: Option<Vec<u64>>,
}

impl Asked {
    fn of(task: &Task<'_>) -> Result<Self, TuneError> {
        let dim = task.rows.dim();
        if let Some(queries) = task.queries {
            if queries.dim() != dim {
                return Err(TuneError::Dim { got: queries.dim(), want: dim });
            }
            if let Some(query) = queries.iter().position(|row| !row.iter().all(|v| v.is_finite())) {
                return Err(TuneError::NotFinite(query));
            }
            let chosen = spread(queries.len(), QUERIES, task.seed);
            return Self { values: gather(queries, &chosen), own: None }.enough(dim);
        }
        let chosen = spread(task.rows.len(), QUERIES.min(task.rows.len() / 10), task.seed);
        let values = gather(task.rows, &chosen);
        Self { values, own: Some(chosen.iter().map(|&row| row as u64).collect()) }.enough(dim)
    }

    fn enough(self, dim: usize) -> Result<Self, TuneError> {
        let got = self.values.len() / dim;
        if got < 2 * FEWEST { Err(TuneError::FewQueries { got }) } else { Ok(self) }
    }
}

/// At most `most` of `n` numbers, one of each stretch.
fn spread(n: usize, most: usize, seed: u64) -> Vec<usize> {
    let count = n.min(most);
    let mut random = SplitMix64::named(seed, 0x7475_6e65);
    let place = |i: usize| (i as u128 * n as u128 / count as u128) as usize;
    (0..count).map(|i| place(i) + random.below(place(i + 1) - place(i))).collect()
}

fn gather(rows: Rows<'_, f32>, which: &[usize]) -> Vec<f32> {
    which.iter().flat_map(|&row| rows.row(row)).copied().collect()
}

impl Extent {
    /// The extent of these rows; whether they are whole numbers is told by a thousand of them.
    #[must_use]
    pub fn of(rows: Rows<'_, f32>, metric: Metric) -> Self {
        let whole = |value: &f32| (0.0..=255.0).contains(value) && value.fract() == 0.0;
        let whole = spread(rows.len(), 1000, 1).into_iter().all(|row| rows.row(row).iter().all(whole));
        Self { rows: rows.len(), dim: rows.dim(), metric, whole }
    }
}

/// Finds a composition and an effort that reach a goal, and builds it.
///
/// # Errors
/// When the goal, the rows or the queries make no sense, nothing fits into memory, or nothing reaches the goal.
pub fn tune(task: &Task<'_>) -> Result<Reached, TuneError> {
    let (goal, rows) = (task.goal, task.rows);
    if !(goal.recall > 0.0 && goal.recall < 1.0) {
        return Err(TuneError::Recall(goal.recall.to_string()));
    }
    if rows.is_empty() {
        return Err(BuildError::Empty.into());
    }
    if goal.k.get() >= rows.len() {
        return Err(TuneError::Answers { k: goal.k.get(), rows: rows.len() });
    }
    let asked = Asked::of(task)?;
    let extent = Extent::of(rows, task.metric);
    // The sample, and the rows that are compared at once, lie beside what is built.
    let beside = ((sample_rows(rows.len()) + truth::BLOCK) * rows.dim() * size_of::<f32>()) as u64;
    let left = goal.memory.map(|memory| memory.saturating_sub(beside));
    let all = candidates(&extent, left, task.machine).map_err(|smallest| TuneError::Memory {
        memory: goal.memory.unwrap_or_default(),
        spec: Box::new(smallest.spec),
        need: smallest.plan.peak_bytes + beside,
    })?;
    let tried = try_few(task, &asked, &extent, &all)?;
    let (choice, nearest) = choose(&tried, goal);
    let Some(choice) = choice else {
        return Err(unreachable(&tried[nearest.0].spec, &tried[nearest.0].points[nearest.1], false));
    };
    let spec = tried[choice].spec.clone();
    let (index, tuned) = verify(task, &asked, &extent, &spec)?;
    Ok(Reached { index, tuned, tried })
}

fn unreachable(spec: &Spec, point: &Point, on_all_rows: bool) -> TuneError {
    TuneError::Unreachable {
        spec: Box::new(spec.clone()),
        recall: point.recall,
        p95_ms: point.p95 * 1e3,
        point: Box::new(*point),
        on_all_rows,
    }
}

/// Rows of `n` that candidates are built from.
fn sample_rows(n: usize) -> usize {
    (n / SHARE).clamp(LEAST_ROWS, MOST_ROWS).min(n)
}

/// Builds the few that are worth it over a sample of the rows, and measures them.
fn try_few(
    task: &Task<'_>,
    asked: &Asked,
    extent: &Extent,
    all: &[Candidate],
) -> Result<Vec<Tried>, TuneError> {
    let (rows, goal) = (task.rows, task.goal);
    let mut chosen = spread(rows.len(), sample_rows(rows.len()), task.seed ^ 1);
    // What is to be found must not have been there.
    let own: Vec<usize> = asked.own.iter().flatten().map(|&row| row as usize).collect();
    chosen.retain(|row| own.binary_search(row).is_err());
    let sample = gather(rows, &chosen);
    let sample = Rows::new(&sample, rows.dim()).expect("whole rows");
    let half = tuning(asked, rows.dim());
    let queries = Rows::new(&half, rows.dim()).expect("whole rows");
    (task.tell)(&format!("exact answers of {} queries among {} rows", queries.len(), sample.len()));
    let truth = Truth::find(sample, task.metric, queries, goal.k.get(), None, task.watch)?;
    let few = candidates::few(all);
    let mut tried = Vec::new();
    for (i, Candidate { spec, plan: whole }) in few.iter().enumerate() {
        let small = candidates::scaled(spec, sample.len(), rows.len())?;
        (task.tell)(&format!("composition {} of {}: {small} over {} rows", i + 1, few.len(), sample.len()));
        let index = match build(&small, sample, task.metric, task.seed, task.watch) {
            Ok(index) => index,
            Err(BuildError::Cancelled) => return Err(BuildError::Cancelled.into()),
            // Such as a code that these rows cannot teach: others can.
            Err(error) => {
                (task.tell)(&format!("{small} is passed over: {error}"));
                continue;
            }
        };
        let part = plan(&small, &Extent { rows: sample.len(), ..*extent }, task.machine)?;
        let slower = (whole.query_seconds / part.query_seconds).max(1.0);
        let slowest = goal.p95.map_or(f64::INFINITY, |p95| 2.0 * p95 / slower);
        let trial = Trial { index: &*index, queries, truth: &truth, k: goal.k, watch: task.watch, slowest };
        let mut points = trial.sweep()?;
        for point in &mut points {
            point.seconds *= slower;
            point.p95 *= slower;
        }
        tried.push(Tried { spec: spec.clone(), points });
    }
    Ok(tried)
}

/// The queries that choose: every other one.
fn tuning(asked: &Asked, dim: usize) -> Vec<f32> {
    asked.values.chunks_exact(dim).step_by(2).flatten().copied().collect()
}

/// The composition that reaches the goal soonest, if any, and which point of which comes nearest.
fn choose(tried: &[Tried], goal: Goal) -> (Option<usize>, (usize, usize)) {
    let (mut best, mut nearest) = (None::<(f64, usize)>, (f64::NEG_INFINITY, (0, 0)));
    for (i, one) in tried.iter().enumerate() {
        for (j, point) in one.points.iter().enumerate() {
            let soon = goal.p95.is_none_or(|p95| point.p95 <= p95);
            if soon && point.recall >= goal.recall && best.is_none_or(|(seconds, _)| point.seconds < seconds)
            {
                best = Some((point.seconds, i));
            }
            // Recall that comes in time, or as little too late as may be.
            let late = goal.p95.map_or(0.0, |p95| (point.p95 / p95 - 1.0).max(0.0));
            let near = point.recall.min(goal.recall) - late;
            if near > nearest.0 {
                nearest = (near, (i, j));
            }
        }
    }
    (best.map(|(_, i)| i), nearest.1)
}

/// Builds a composition over all rows, measures it, and verifies the cheapest point that should reach the goal.
fn verify(
    task: &Task<'_>,
    asked: &Asked,
    extent: &Extent,
    spec: &Spec,
) -> Result<(Box<dyn Index>, Tuned), TuneError> {
    let (goal, dim) = (task.goal, task.rows.dim());
    let planned = plan(spec, extent, task.machine)?;
    (task.tell)(&format!(
        "building {spec} over all {} rows, about {:.0} s",
        extent.rows, planned.build_seconds
    ));
    let index = build(spec, task.rows, task.metric, task.seed, task.watch)?;
    let all = Rows::new(&asked.values, dim).expect("whole rows");
    (task.tell)(&format!("exact answers of {} queries among all rows", all.len()));
    let truth = Truth::find(task.rows, task.metric, all, goal.k.get(), asked.own.clone(), task.watch)?;
    let halves = [0, 1].map(|first| -> Vec<usize> { (first..all.len()).step_by(2).collect() });
    let [choosing, proving] = halves.each_ref().map(|half| (gather(all, half), truth.of(half)));
    let slowest = goal.p95.map_or(f64::INFINITY, |p95| 2.0 * p95);
    let trial =
        |queries, truth| Trial { index: &*index, queries, truth, k: goal.k, watch: task.watch, slowest };
    (task.tell)("measuring its curve");
    let chooser = trial(Rows::new(&choosing.0, dim).expect("whole rows"), &choosing.1);
    let curve = chooser.sweep()?;
    let error = curve.iter().find(|point| point.recall >= goal.recall).map_or(0.0, |point| point.error);
    let curve = chooser.refine(curve, &[goal.recall + AIM * error])?;
    let soon = |point: &Point| goal.p95.is_none_or(|p95| point.p95 <= p95);
    let surely = |point: &&Point| point.recall >= goal.recall + MARGIN * point.error;
    let good: Vec<Point> = curve.iter().filter(|point| soon(point)).filter(surely).copied().collect();
    let last = curve.iter().rev().find(|point| soon(point) && point.recall >= goal.recall).copied();
    let attempts = if good.is_empty() { last.into_iter().collect() } else { good };
    let mut nearest = curve.iter().rev().find(|point| soon(point)).or(curve.first()).copied();
    for point in attempts.into_iter().take(ATTEMPTS) {
        (task.tell)(&format!("verifying recall {:.4} by {} other queries", point.recall, proving.1.len()));
        let prover = trial(Rows::new(&proving.0, dim).expect("whole rows"), &proving.1);
        let (proved, found) = prover.measure(point.effort)?;
        if proved.recall >= goal.recall && soon(&proved) {
            let certificate = certify(task, asked, &proved, &found);
            return Ok((index, Tuned { k: goal.k.get(), curve, certificate: Some(certificate) }));
        }
        nearest = Some(proved);
    }
    let nearest = nearest.expect("a sweep has a point");
    Err(unreachable(spec, &nearest, true))
}

fn certify(task: &Task<'_>, asked: &Asked, proved: &Point, found: &[Vec<bool>]) -> Certificate {
    let risk = RISK / ATTEMPTS as f64;
    let hits = certificate::drawn(found, task.seed);
    let drawn_from = match asked.own {
        None => "queries that were given",
        Some(_) => "rows of the index, each no answer to itself",
    };
    Certificate {
        k: task.goal.k.get(),
        effort: proved.effort,
        recall: proved.recall,
        at_least: clopper_pearson(hits, found.len(), risk),
        risk,
        queries: found.len(),
        found: hits,
        bound: certificate::BOUND.into(),
        p95: proved.p95,
        drawn_from: drawn_from.into(),
        measured_on: task.measured_on.into(),
        caveat: certificate::CAVEAT.into(),
    }
}
