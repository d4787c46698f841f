//! Recall and time of an index at one effort after another.
//!
//! More effort finds no less, so efforts that cannot do better are not tried: each knob rises by factors of two until
//! recall stops rising. Around the usual targets more points are measured, where `log(1 - recall)` against `log(knob)`,
//! nearly a line, says that the target lies.

use super::truth::Truth;
use crate::{BuildError, Effort, Filter, Index, Layout, Request, Watch};
use data::{Hits, Rows};
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;
use std::time::Instant;

/// Gains of recall below this are none.
const GAIN: f64 = 0.0005;
/// Recall beyond which nothing more is to be gained.
const ENOUGH: f64 = 0.9995;
/// Widest beam, most rows ranked again for each answer.
const WIDEST: usize = 4096;
const MOST_RERANK: usize = 64;
/// Recalls around which points are measured.
const TARGETS: [f64; 8] = [0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999];
/// Queries that are asked before any is timed.
const WARM: usize = 20;

/// What one effort gives.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// How hard the index searched.
    pub effort: Effort,
    /// Mean recall.
    pub recall: f64,
    /// Standard error of the recall over queries.
    pub error: f64,
    /// Median seconds of a query alone on one thread.
    pub seconds: f64,
    /// 95th percentile of these seconds.
    pub p95: f64,
}

/// An index and the queries by which it is measured.
pub(super) struct Trial<'a> {
    pub(super) index: &'a dyn Index,
    pub(super) queries: Rows<'a, f32>,
    pub(super) truth: &'a Truth,
    pub(super) k: NonZeroUsize,
    pub(super) watch: &'a Watch<'a>,
    /// Seconds of a query beyond which no effort is of use.
    pub(super) slowest: f64,
}

impl Trial<'_> {
    /// Asks all queries, one after another; also tells which true neighbours of each were found.
    pub(super) fn measure(&self, effort: Effort) -> Result<(Point, Vec<Vec<bool>>), BuildError> {
        let k = self.k.saturating_add(usize::from(self.truth.own.is_some()));
        let request = Request { k, filter: Filter::All, effort };
        let (mut hits, mut found, mut seconds) = (Hits::default(), Vec::new(), Vec::new());
        let ask = |query: usize, hits: &mut Hits| {
            let asked = self.index.search(self.queries.slice(query..query + 1), &request, hits);
            asked.expect("queries were checked and only knobs that are read are set");
        };
        for query in 0..self.queries.len().min(WARM) {
            ask(query, &mut hits);
        }
        for query in 0..self.queries.len() {
            self.watch.go_on()?;
            let start = Instant::now();
            ask(query, &mut hits);
            seconds.push(start.elapsed().as_secs_f64());
            found.push(self.truth.found(query, hits.iter().next().unwrap_or_default(), self.k.get()));
        }
        Ok((point(effort, &found, &mut seconds), found))
    }

    /// The efforts that are worth it, cheapest first.
    pub(super) fn sweep(&self) -> Result<Vec<Point>, BuildError> {
        let own = self.index.effort();
        let mut points: Vec<Point> = Vec::new();
        let (mut before, mut best) = (Vec::new(), f64::NEG_INFINITY);
        for rerank in levels(own.rerank.map(|_| MOST_RERANK), 1) {
            let row = self.row(rerank, &before)?;
            points.extend(&row);
            let top = row.iter().map(|point| point.recall).fold(f64::NEG_INFINITY, f64::max);
            if top < best + GAIN {
                break;
            }
            best = best.max(top);
            before = row;
        }
        self.refine(points, &TARGETS)
    }

    /// The points of one `rerank`; `before` has those of half of it.
    fn row(&self, rerank: Option<NonZeroUsize>, before: &[Point]) -> Result<Vec<Point>, BuildError> {
        let own = self.index.effort();
        let most = match (own.beam, own.probes) {
            (Some(_), _) => Some(WIDEST.min(self.index.len())),
            (None, Some(_)) => Some(lists(self.index)),
            (None, None) => None,
        };
        let least = if own.beam.is_some() { self.k.get() } else { 1 };
        let mut row: Vec<Point> = Vec::new();
        for level in levels(most, least) {
            let effort = match own.beam {
                Some(_) => Effort { beam: level, probes: None, rerank },
                None => Effort { beam: None, probes: level, rerank },
            };
            let half = before.iter().find(|point| knob(point.effort) == knob(effort));
            let point = match half {
                Some(point) if point.recall > ENOUGH => break,
                _ => self.measure(effort)?.0,
            };
            let gain = row.last().map_or(1.0, |last: &Point| point.recall - last.recall);
            row.push(point);
            // Two in a row without a gain: beams of a few rows more may gain nothing by chance.
            let flat = gain < GAIN && row.len() > 2 && point.recall - row[row.len() - 3].recall < GAIN;
            if point.recall > ENOUGH || flat || point.p95 > self.slowest {
                break;
            }
        }
        Ok(row)
    }

    /// Measures where recall should reach each of `targets`, ascending; gives the points that are worth it.
    pub(super) fn refine(&self, mut points: Vec<Point>, targets: &[f64]) -> Result<Vec<Point>, BuildError> {
        for &target in targets {
            let curve = pareto(points.clone());
            let Some(at) = curve.iter().position(|point| point.recall >= target) else { break };
            let Some(below) = at.checked_sub(1).map(|at| curve[at]) else { continue };
            let above = curve[at];
            let effort = between(below, above, target);
            if let Some(effort) = effort.filter(|_| above.recall > target + GAIN) {
                points.push(self.measure(effort)?.0);
            }
        }
        Ok(pareto(points))
    }
}

/// Lists that an index has.
fn lists(index: &dyn Index) -> usize {
    match index.spec().layout {
        Layout::Lists(spec) => spec.cells.map_or(1, |cells| cells.partition.lists()),
        Layout::Scan | Layout::Graph(_) | Layout::Symqg(_) => 1,
    }
}

/// The knob that is not `rerank`.
fn knob(effort: Effort) -> Option<NonZeroUsize> {
    effort.beam.or(effort.probes)
}

/// `least`, then twice as much again and again, up to `most`; a knob that is not read has one level.
fn levels(most: Option<usize>, least: usize) -> Vec<Option<NonZeroUsize>> {
    let Some(most) = most else { return vec![None] };
    let mut levels = Vec::new();
    let mut level = least.min(most);
    while level < most {
        levels.push(NonZeroUsize::new(level));
        level = level.saturating_mul(2);
    }
    levels.push(NonZeroUsize::new(most));
    levels
}

/// The effort between two that differ in one knob at which recall should be `target`, rounded up.
fn between(below: Point, above: Point, target: f64) -> Option<Effort> {
    if below.effort.rerank != above.effort.rerank {
        return None;
    }
    let (from, to) = (knob(below.effort)?.get() as f64, knob(above.effort)?.get() as f64);
    let miss = |recall: f64| (1.0 - recall).max(1e-5).ln();
    let share = (miss(below.recall) - miss(target)) / (miss(below.recall) - miss(above.recall));
    let level = (from.ln() + share * (to.ln() - from.ln())).exp().ceil();
    let level = NonZeroUsize::new(level as usize).filter(|_| level > from && level < to)?;
    Some(match above.effort.beam {
        Some(_) => Effort { beam: Some(level), ..above.effort },
        None => Effort { probes: Some(level), ..above.effort },
    })
}

/// The points that no other beats in both recall and time, cheapest first.
pub(super) fn pareto(mut points: Vec<Point>) -> Vec<Point> {
    points.sort_by(|a, b| a.seconds.total_cmp(&b.seconds).then(b.recall.total_cmp(&a.recall)));
    let mut best = f64::NEG_INFINITY;
    points.retain(|point| {
        let better = point.recall > best;
        best = best.max(point.recall);
        better
    });
    points
}

fn point(effort: Effort, found: &[Vec<bool>], seconds: &mut [f64]) -> Point {
    let n = found.len().max(1) as f64;
    let recalls: Vec<f64> = found
        .iter()
        .map(|found| found.iter().filter(|&&hit| hit).count() as f64 / found.len().max(1) as f64)
        .collect();
    let recall = recalls.iter().sum::<f64>() / n;
    let variance = recalls.iter().map(|r| (r - recall).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.get(seconds.len() / 2).copied().unwrap_or(0.0);
    let p95 = seconds.get((seconds.len() * 95).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0.0);
    Point { effort, recall, error: (variance / n).sqrt(), seconds: middle, p95 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(probes: usize, recall: f64, seconds: f64) -> Point {
        let effort = Effort { probes: NonZeroUsize::new(probes), ..Effort::default() };
        Point { effort, recall, error: 0.0, seconds, p95: seconds }
    }

    #[test]
    fn only_points_that_nothing_beats_remain() {
        let points =
            vec![at(4, 0.9, 2.0), at(1, 0.5, 1.0), at(2, 0.4, 1.5), at(8, 0.9, 3.0), at(16, 0.95, 4.0)];
        assert_eq!(pareto(points), [at(1, 0.5, 1.0), at(4, 0.9, 2.0), at(16, 0.95, 4.0)]);
    }

    #[test]
    fn a_target_lies_on_the_line_of_logarithms() {
        // Misses of 0.1 at 4 and 0.001 at 64: 0.01 is halfway, at 16.
        let effort = between(at(4, 0.9, 1.0), at(64, 0.999, 2.0), 0.99).unwrap();
        assert_eq!(effort.probes, NonZeroUsize::new(16));
        assert_eq!(between(at(4, 0.9, 1.0), at(5, 0.999, 2.0), 0.99), None);
        let more = Point {
            effort: Effort { rerank: NonZeroUsize::new(2), ..at(64, 0.0, 0.0).effort },
            ..at(64, 0.999, 2.0)
        };
        assert_eq!(between(at(4, 0.9, 1.0), more, 0.99), None);
    }

    #[test]
    fn knobs_double_up_to_the_most_there_is() {
        let numbers = |levels: Vec<Option<NonZeroUsize>>| {
            levels.into_iter().map(|level| level.map_or(0, NonZeroUsize::get)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(levels(Some(20), 3)), [3, 6, 12, 20]);
        assert_eq!(numbers(levels(Some(2), 10)), [2]);
        assert_eq!(numbers(levels(None, 1)), [0]);
    }

    #[test]
    fn times_and_recalls_are_summed_up() {
        let found = vec![vec![true, true], vec![true, false]];
        let made = point(Effort::default(), &found, &mut [3.0, 1.0]);
        assert_eq!((made.recall, made.seconds, made.p95), (0.75, 3.0, 3.0));
        // Recalls 1 and 0.5: variance 0.125, over two queries 0.25 squared.
        assert!((made.error - 0.25).abs() < 1e-12);
    }
}
