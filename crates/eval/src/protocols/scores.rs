//! What rankings are worth: CMC and mean average precision, with intervals over ids.

use super::ProtocolError;
use super::places::{Contest, Part};
use crate::interval::ByClass;
use crate::retrieval::cuts;
use crate::{Estimate, ranking};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// How to measure a ranking.
#[derive(Clone, Debug, PartialEq)]
pub struct RankingOptions {
    /// Bytes for distance tiles, all threads together.
    pub memory: usize,
    /// Seed of the resampling.
    pub seed: u64,
    /// Resamples of ids behind each interval.
    pub resamples: usize,
    /// Cuts of the cumulative matching curve; put in order, repeats removed, at least one.
    pub cuts: Vec<usize>,
}

impl Default for RankingOptions {
    fn default() -> Self {
        Self { memory: 256 << 20, seed: 0, resamples: 2000, cuts: vec![1, 5, 10] }
    }
}

/// Which average precision; numbers of the two are not comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The mean of the precisions at the right answers.
    Standard,
    /// Trapezoids, as in the Matlab scripts.
    Trapezoid,
}

impl Precision {
    /// Its part of a protocol's id.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard-ap",
            Self::Trapezoid => "matlab-ap",
        }
    }

    fn of(self, places: &[usize]) -> Option<f64> {
        match self {
            Self::Standard => ranking::average_precision(places),
            Self::Trapezoid => ranking::trapezoid_precision(places),
        }
    }
}

/// What one query found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueryScore {
    /// Row number of the query.
    pub query: usize,
    /// Its id.
    pub id: i32,
    /// Right answers in its gallery, at least 1.
    pub relevant: usize,
    /// Place of the first right answer, from 1.
    pub first_right: usize,
    /// Average precision over the whole ranking.
    pub average_precision: f64,
    /// Whether a right and a wrong answer are equally far.
    pub tied: bool,
}

/// The numbers of one model under one protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct RankedScores {
    /// The protocol's id: numbers may be compared only when it is equal.
    pub protocol: String,
    /// `(k, share of queries with a right answer among their k nearest)`, by k.
    pub cmc: Vec<(usize, Estimate)>,
    /// Mean average precision over the queries that count.
    pub map: Estimate,
    /// Queries that count.
    pub queries: usize,
    /// Queries without a right answer in their gallery.
    pub dropped_queries: usize,
    /// Queries with equally far right and wrong answers.
    pub ties: usize,
    /// Ids among the queries that count: what the intervals resample.
    pub ids: usize,
    /// Seed of the resampling.
    pub seed: u64,
    /// Every query that counts, in the order given.
    pub per_query: Vec<QueryScore>,
}

impl RankedScores {
    /// The curve at `k`, if it was asked for.
    #[must_use]
    pub fn cmc_at(&self, k: usize) -> Option<Estimate> {
        self.cmc.iter().find(|(cut, _)| *cut == k).map(|(_, estimate)| *estimate)
    }

    /// What was counted, dropped and tied, a sentence.
    #[must_use]
    pub fn words(&self) -> String {
        format!(
            "{} queries of {} ids counted; {} without a right answer were dropped; equal distances stood \
             by row number, in {} queries between right and wrong.",
            self.queries, self.ids, self.dropped_queries, self.ties
        )
    }

    /// The object to store: protocol, `cmc@k`, `map`, counts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("protocol".into(), json!(self.protocol));
        for (k, estimate) in &self.cmc {
            object.insert(format!("cmc@{k}"), estimate.to_json());
        }
        object.insert("map".into(), self.map.to_json());
        for (name, count) in [
            ("queries", self.queries),
            ("dropped_queries", self.dropped_queries),
            ("ties", self.ties),
            ("ids", self.ids),
        ] {
            object.insert(name.into(), json!(count));
        }
        object.insert("seed".into(), json!(self.seed));
        Value::Object(object)
    }
}

/// Ranks, and sums up; `ids` holds one id a row, and what is right shares the query's.
pub(crate) fn measure(
    contest: &Contest<'_>,
    ids: &[i32],
    precision: Precision,
    part: impl Fn(usize, usize) -> Part + Sync,
    options: &RankingOptions,
    protocol: String,
) -> Result<RankedScores, ProtocolError> {
    let cuts = cuts(&options.cuts)?;
    let places = contest.places(options.memory, part)?;
    let score = |(&query, places): (&usize, &super::places::Places)| {
        Some(QueryScore {
            query,
            id: ids[query],
            relevant: places.right.len(),
            first_right: *places.right.first()?,
            average_precision: precision.of(&places.right)?,
            tied: places.tied,
        })
    };
    let per_query: Vec<QueryScore> = contest.queries.iter().zip(&places).filter_map(score).collect();
    if per_query.is_empty() {
        return Err(ProtocolError::NoQueries { queries: contest.queries.len() });
    }
    let dropped_queries = contest.queries.len() - per_query.len();
    Ok(sum_up(per_query, dropped_queries, &cuts, options, protocol))
}

/// Means and intervals of queries; `cuts` in order, `per_query` not empty.
pub(crate) fn sum_up(
    per_query: Vec<QueryScore>,
    dropped_queries: usize,
    cuts: &[usize],
    options: &RankingOptions,
    protocol: String,
) -> RankedScores {
    let row = |score: &QueryScore| {
        let found = |cut: &usize| f64::from(u8::from(score.first_right <= *cut));
        let row: Vec<f64> = cuts.iter().map(found).chain([score.average_precision]).collect();
        (score.id.cast_unsigned(), row)
    };
    let by_id = ByClass::new(cuts.len() + 1, per_query.iter().map(row));
    let estimates = by_id.estimates(options.resamples, options.seed, (0.0, 1.0));
    RankedScores {
        protocol,
        cmc: cuts.iter().copied().zip(estimates.iter().copied()).collect(),
        map: estimates[cuts.len()],
        queries: per_query.len(),
        dropped_queries,
        ties: per_query.iter().filter(|score| score.tied).count(),
        ids: by_id.classes(),
        seed: options.seed,
        per_query,
    }
}

/// The most members of `gallery` that share an id.
pub(crate) fn most_alike(ids: &[i32], gallery: &[usize]) -> usize {
    let mut counts = HashMap::<i32, usize>::new();
    gallery.iter().for_each(|&row| *counts.entry(ids[row]).or_default() += 1);
    counts.into_values().max().unwrap_or(0)
}

/// Refuses a row that is in both lists; all rows are below `rows`.
pub(crate) fn refuse_overlap(rows: usize, queries: &[usize], gallery: &[usize]) -> Result<(), ProtocolError> {
    let mut asks = vec![false; rows];
    queries.iter().for_each(|&row| asks[row] = true);
    match gallery.iter().find(|&&row| asks[row]) {
        Some(&row) => Err(ProtocolError::Leak { row }),
        None if gallery.is_empty() => Err(ProtocolError::EmptyGallery),
        None => Ok(()),
    }
}
