//! Exact retrieval metrics over tiles of bounded memory.
//!
//! Notation: for a query, R is the number of pictures of its class in its gallery; K is the larger of R
//! and the largest recall cut. Each query's gallery leaves out the query itself, by row number, and
//! pictures of its family. A query is *tied* when a right and a wrong picture lie at the same distance
//! from it, and that distance is no greater than the one at place K: only then can the order among
//! equals change a number.
//! Sources: recall@k, Jégou et al., TPAMI 2011; MAP@R and R-precision, Musgrave et al., ECCV 2020.

use crate::interval::ByClass;
use crate::strip::{self, Nearest, Strip};
use crate::{Estimate, EvalError, Protocol, Score, ami, nmi, pair_f1, ranking};
use data::{Hit, Metric, Rows};
use kernels::KMeansConfig;
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// k-means rounds at most, for the mutual information.
const CLUSTERING_ROUNDS: usize = 50;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// Embeddings, `pictures x dim`.
    pub rows: Rows<'a, f32>,
    /// What ranks the answers.
    pub metric: Metric,
    /// Class of each picture, any numbers, `pictures`.
    pub labels: &'a [u32],
    /// Family of each picture (versions of one original), `pictures`: families are left out of each
    /// other's gallery. A picture without relatives has a family of its own.
    pub families: Option<&'a [u32]>,
    /// Row numbers that ask.
    pub queries: &'a [usize],
    /// Row numbers that answer; may be the same as `queries`.
    pub gallery: &'a [usize],
    /// Whether no class of the task was seen in training, which only the caller's split knows.
    pub zero_shot: bool,
}

/// How to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Bytes for distance tiles, all threads together.
    pub memory: usize,
    /// Seed of the resampling and of the clustering.
    pub seed: u64,
    /// Cuts of recall; put in order, repeats removed, at least one.
    pub recall_at: Vec<usize>,
    /// Resamples of classes behind each interval.
    pub resamples: usize,
    /// Runs of k-means behind the mutual information; 0 leaves it out.
    pub clusterings: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { memory: 256 << 20, seed: 0, recall_at: vec![1, 2, 4, 8], resamples: 2000, clusterings: 3 }
    }
}

/// What one query found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Row number of the query.
    pub query: usize,
    /// Its class.
    pub label: u32,
    /// R: pictures of its class in its gallery, at least 1.
    pub relevant: usize,
    /// Place of its first right answer in the whole ranking, from 1.
    pub first_right: usize,
    /// Its average precision at R.
    pub average_precision: f64,
    /// Its R-precision.
    pub r_precision: f64,
    /// Whether equal distances decided.
    pub tied: bool,
}

/// The numbers of one model under one protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Retrieval {
    /// What was done.
    pub protocol: Protocol,
    /// `(k, share of queries with a right answer among their k nearest)`, by k.
    pub recall: Vec<(usize, Estimate)>,
    /// Mean average precision at R.
    pub map_at_r: Estimate,
    /// Mean R-precision.
    pub r_precision: Estimate,
    /// Normalised mutual information of classes and k-means clusters: mean over the runs, with the
    /// least and greatest run as its ends (a spread, not a 95 % interval).
    pub nmi: Option<Estimate>,
    /// Adjusted mutual information of the same clusterings, summed up alike.
    pub ami: Option<Estimate>,
    /// F1 of pairs of the same clusterings, summed up alike.
    pub pair_f1: Option<Estimate>,
    /// Queries that count.
    pub queries: usize,
    /// Queries without a picture of their class in their gallery.
    pub dropped_queries: usize,
    /// Queries in which equal distances decided.
    pub ties: usize,
    /// Classes among the queries that count: what the intervals resample.
    pub classes: usize,
    /// Every query that counts, in the order given.
    pub per_query: Vec<Outcome>,
}

impl Retrieval {
    /// The protocol's id.
    #[must_use]
    pub fn protocol_id(&self) -> String {
        self.protocol.id()
    }

    /// The protocol in sentences, what was dropped and tied included.
    #[must_use]
    pub fn protocol_words(&self) -> Vec<String> {
        let mut words = self.protocol.words();
        words.push(format!(
            "{} queries of {} classes counted; {} were dropped; equal distances decided in {}.",
            self.queries, self.classes, self.dropped_queries, self.ties
        ));
        words
    }

    /// Recall at `k`, if it was asked for.
    #[must_use]
    pub fn recall_at(&self, k: usize) -> Option<Estimate> {
        self.recall.iter().find(|(cut, _)| *cut == k).map(|(_, estimate)| *estimate)
    }

    /// The object stored under `test` in `metrics.json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("protocol".into(), json!(self.protocol_id()));
        for (k, estimate) in &self.recall {
            object.insert(format!("recall@{k}"), estimate.to_json());
        }
        object.insert("map@r".into(), self.map_at_r.to_json());
        object.insert("r_precision".into(), self.r_precision.to_json());
        for (name, spread) in [("nmi", self.nmi), ("ami", self.ami), ("pair_f1", self.pair_f1)] {
            object.insert(name.into(), spread.map_or(Value::Null, |spread| spread.to_json()));
        }
        for (name, count) in [
            ("queries", self.queries),
            ("dropped_queries", self.dropped_queries),
            ("ties", self.ties),
            ("classes", self.classes),
        ] {
            object.insert(name.into(), json!(count));
        }
        object.insert("seed".into(), json!(self.protocol.seed));
        Value::Object(object)
    }
}

/// Measures `task` exactly. `progress(done, all)` counts queries and may be called from any thread; the
/// clusterings come after the last query and have no progress.
///
/// Runs on the caller's rayon pool; the numbers do not depend on its size.
///
/// # Errors
/// When the task does not fit together, holds a value that is not finite or has no query that can
/// succeed, or when `options.memory` is too small for one query a thread.
pub fn retrieval(
    task: &Task<'_>,
    options: &Options,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Retrieval, EvalError> {
    task.check()?;
    let cuts = cuts(&options.recall_at)?;
    let gallery = Gallery::new(task);
    // The candidates of one query are twice K hits at most; a growing list may reserve twice as much.
    let largest_k = gallery.largest_class().max(cuts[cuts.len() - 1]);
    let candidates = largest_k.min(task.gallery.len()).saturating_mul(4 * size_of::<Hit>());
    let block = strip::block(options.memory, task.gallery.len(), task.rows.dim(), candidates)?;
    let done = AtomicUsize::new(0);
    let found: Vec<Vec<Option<Outcome>>> = task
        .queries
        .par_chunks(block)
        .map_init(
            || (Strip::new(), Nearest::new()),
            |(strip, nearest), queries| {
                strip.fill(task.rows, task.metric, queries, task.gallery);
                let outcomes = queries
                    .iter()
                    .enumerate()
                    .map(|(i, &query)| {
                        outcome(task, &gallery, strip, (i, query), cuts[cuts.len() - 1], nearest)
                    })
                    .collect();
                let before = done.fetch_add(queries.len(), Ordering::Relaxed);
                progress(before + queries.len(), task.queries.len());
                outcomes
            },
        )
        .collect();
    let per_query: Vec<Outcome> = found.into_iter().flatten().flatten().collect();
    if per_query.is_empty() {
        return Err(EvalError::NoQueries { queries: task.queries.len() });
    }
    Ok(summarise(task, options, &cuts, per_query))
}

/// The queries that failed worst: their first right answer is furthest down. Only queries whose nearest
/// picture is wrong are given.
#[must_use]
pub fn worst_failures(retrieval: &Retrieval, at_most: usize) -> Vec<Outcome> {
    let mut failures: Vec<Outcome> =
        retrieval.per_query.iter().filter(|outcome| outcome.first_right > 1).copied().collect();
    failures.sort_by_key(|outcome| (std::cmp::Reverse(outcome.first_right), outcome.query));
    failures.truncate(at_most);
    failures
}

impl Task<'_> {
    pub(crate) fn check(&self) -> Result<(), EvalError> {
        let pictures = self.rows.len();
        for (what, len) in
            [("labels", self.labels.len()), ("families", self.families.map_or(pictures, <[u32]>::len))]
        {
            if len != pictures {
                return Err(EvalError::Lengths { what, len, pictures });
            }
        }
        check_members(self.rows, self.queries, self.gallery)
    }

    /// Whether `other` may answer `query`.
    pub(crate) fn answers(&self, query: usize, other: usize) -> bool {
        other != query && self.families.is_none_or(|families| families[query] != families[other])
    }

    /// Whether queries and gallery are different sets.
    fn split(&self) -> bool {
        let sorted = |members: &[usize]| {
            let mut members = members.to_vec();
            members.sort_unstable();
            members
        };
        self.queries != self.gallery && sorted(self.queries) != sorted(self.gallery)
    }
}

/// Every row that is named exists, is named once a list, and holds only finite values.
pub(crate) fn check_members(
    rows: Rows<'_, f32>,
    queries: &[usize],
    gallery: &[usize],
) -> Result<(), EvalError> {
    let pictures = rows.len();
    for (what, members) in [("queries", queries), ("gallery", gallery)] {
        let mut seen = vec![false; pictures];
        for &row in members {
            match seen.get_mut(row) {
                None => return Err(EvalError::NoRow { what, row, pictures }),
                Some(true) => return Err(EvalError::Twice { what, row }),
                Some(seen) => *seen = true,
            }
            let values = rows.row(row);
            // A finite norm also keeps every distance a number (Cauchy-Schwarz).
            if !kernels::dot(values, values).is_finite() {
                return Err(EvalError::NotFinite { row });
            }
        }
    }
    Ok(())
}

/// How many pictures of each class, and of each class within each family, the gallery holds.
struct Gallery {
    of_class: HashMap<u32, usize>,
    of_family: HashMap<(u32, u32), usize>,
    holds: Vec<bool>,
}

impl Gallery {
    fn new(task: &Task<'_>) -> Self {
        let (mut of_class, mut of_family) = (HashMap::new(), HashMap::new());
        let mut holds = vec![false; task.rows.len()];
        for &row in task.gallery {
            holds[row] = true;
            *of_class.entry(task.labels[row]).or_default() += 1;
            if let Some(families) = task.families {
                *of_family.entry((task.labels[row], families[row])).or_default() += 1;
            }
        }
        Self { of_class, of_family, holds }
    }

    fn largest_class(&self) -> usize {
        self.of_class.values().copied().max().unwrap_or(0)
    }

    /// R of a query.
    fn relevant(&self, task: &Task<'_>, query: usize) -> usize {
        let label = task.labels[query];
        let excluded = match task.families {
            Some(families) => self.of_family.get(&(label, families[query])).copied().unwrap_or(0),
            None => usize::from(self.holds[query]),
        };
        self.of_class.get(&label).copied().unwrap_or(0) - excluded
    }
}

pub(crate) fn cuts(asked: &[usize]) -> Result<Vec<usize>, EvalError> {
    let mut cuts = asked.to_vec();
    cuts.sort_unstable();
    cuts.dedup();
    if cuts.first().is_none_or(|&least| least == 0) {
        return Err(EvalError::Cuts);
    }
    Ok(cuts)
}

fn outcome(
    task: &Task<'_>,
    gallery: &Gallery,
    strip: &Strip,
    (place, query): (usize, usize),
    largest_cut: usize,
    nearest: &mut Nearest,
) -> Option<Outcome> {
    let relevant = gallery.relevant(task, query);
    if relevant == 0 {
        return None;
    }
    let label = task.labels[query];
    let is_right = |row: usize| task.labels[row] == label;
    nearest.reset(relevant.max(largest_cut));
    strip.within(place, nearest.limit(), |member, distance| {
        if task.answers(query, task.gallery[member]) {
            nearest.offer(Hit { id: task.gallery[member] as u64, distance });
        }
        nearest.limit()
    });
    let kept = nearest.finish();
    let right: Vec<bool> = kept.iter().map(|hit| is_right(hit.id as usize)).collect();
    let scores = ranking::at_r(&right, relevant)?;
    let first_right = match right.iter().position(|right| *right) {
        Some(place) => place + 1,
        None => first_right_beyond(task, strip, (place, query))?,
    };
    let (last, last_right) = (kept[kept.len() - 1].distance, right[right.len() - 1]);
    let mut tied =
        (1..kept.len()).any(|i| kept[i - 1].distance == kept[i].distance && right[i - 1] != right[i]);
    // Equals of the last one kept may have been left out.
    strip.within(place, last, |member, distance| {
        let other = task.gallery[member];
        tied |= distance == last && is_right(other) != last_right && task.answers(query, other);
        last
    });
    Some(Outcome {
        query,
        label,
        relevant,
        first_right,
        average_precision: scores.average_precision,
        r_precision: scores.precision,
        tied,
    })
}

/// Place of the first right answer when it lies beyond K: finds it, then counts what lies before it.
fn first_right_beyond(task: &Task<'_>, strip: &Strip, (place, query): (usize, usize)) -> Option<usize> {
    let hit = |member: usize, distance| {
        let other = task.gallery[member];
        task.answers(query, other).then_some(Hit { id: other as u64, distance })
    };
    let mut first: Option<Hit> = None;
    strip.within(place, f32::INFINITY, |member, distance| {
        if task.labels[task.gallery[member]] == task.labels[query]
            && let Some(hit) = hit(member, distance)
            && first.is_none_or(|first| hit.order(&first).is_lt())
        {
            first = Some(hit);
        }
        first.map_or(f32::INFINITY, |first| first.distance)
    });
    let first = first?;
    let mut before = 0;
    strip.within(place, first.distance, |member, distance| {
        let hit = hit(member, distance);
        before += usize::from(hit.is_some_and(|hit| hit.order(&first).is_lt()));
        first.distance
    });
    Some(before + 1)
}

fn summarise(task: &Task<'_>, options: &Options, cuts: &[usize], per_query: Vec<Outcome>) -> Retrieval {
    let scores = cuts.iter().map(|&cut| Score::Recall(cut)).chain([Score::MapAtR, Score::RPrecision]);
    let scores: Vec<Score> = scores.collect();
    let columns = |outcome: &Outcome| scores.iter().map(|score| score.of(outcome)).collect::<Vec<f64>>();
    let by_class =
        ByClass::new(scores.len(), per_query.iter().map(|outcome| (outcome.label, columns(outcome))));
    let estimates = by_class.estimates(options.resamples, options.seed, (0.0, 1.0));
    let agreement = agreement(task, options);
    Retrieval {
        protocol: Protocol {
            zero_shot: task.zero_shot,
            split: task.split(),
            families: task.families.is_some(),
            metric: task.metric,
            seed: options.seed,
            resamples: options.resamples,
            clusterings: options.clusterings,
        },
        recall: cuts.iter().copied().zip(estimates.iter().copied()).collect(),
        map_at_r: estimates[cuts.len()],
        r_precision: estimates[cuts.len() + 1],
        nmi: agreement.map(|agreement| agreement[0]),
        ami: agreement.map(|agreement| agreement[1]),
        pair_f1: agreement.map(|agreement| agreement[2]),
        queries: per_query.len(),
        dropped_queries: task.queries.len() - per_query.len(),
        ties: per_query.iter().filter(|outcome| outcome.tied).count(),
        classes: by_class.classes(),
        per_query,
    }
}

/// Clusters every picture of the task into as many groups as it has classes, once per seed: NMI, AMI and
/// F1 of pairs.
fn agreement(task: &Task<'_>, options: &Options) -> Option<[Estimate; 3]> {
    if options.clusterings == 0 {
        return None;
    }
    let mut members: Vec<usize> = task.queries.iter().chain(task.gallery).copied().collect();
    members.sort_unstable();
    members.dedup();
    let labels: Vec<u32> = members.iter().map(|&row| task.labels[row]).collect();
    let mut classes = labels.clone();
    classes.sort_unstable();
    classes.dedup();
    let gathered: Vec<f32>;
    let rows = if members.len() == task.rows.len() {
        task.rows.as_slice()
    } else {
        gathered = members.iter().flat_map(|&row| task.rows.row(row)).copied().collect();
        &gathered
    };
    let mut runs = Vec::with_capacity(options.clusterings);
    for run in 0..options.clusterings {
        let seed = options.seed.wrapping_add(run as u64);
        let config = KMeansConfig { rounds: CLUSTERING_ROUNDS, ..KMeansConfig::new(classes.len(), seed) };
        let clusters = kernels::kmeans(rows, task.rows.dim(), &config);
        let clusters = clusters.assignment;
        runs.push([nmi(&labels, &clusters), ami(&labels, &clusters), pair_f1(&labels, &clusters)]);
    }
    let spread = |column: usize| {
        let runs = runs.iter().map(|run| run[column]);
        Estimate {
            value: runs.clone().sum::<f64>() / options.clusterings as f64,
            low: runs.clone().fold(f64::INFINITY, f64::min),
            high: runs.fold(f64::NEG_INFINITY, f64::max),
        }
    };
    Some([spread(0), spread(1), spread(2)])
}
