//! Where the right answers of each query stand, without sorting the gallery.
//!
//! The right answers are gathered and sorted; each wrong one is then counted once, before the first
//! right one that it precedes. `O(gallery x log R)` a query, and memory for R places.

use crate::EvalError;
use crate::strip::{self, Strip};
use data::{Hit, Metric, Rows};
use rayon::prelude::*;

/// What a gallery row is to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Right,
    Wrong,
    /// Not in this query's gallery.
    Out,
}

/// The right answers of one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// Their places, from 1, in order.
    pub(crate) right: Vec<usize>,
    /// Whether a right and a wrong answer are equally far.
    pub(crate) tied: bool,
}

/// Queries and what they are compared with.
pub(crate) struct Contest<'a> {
    pub(crate) rows: Rows<'a, f32>,
    pub(crate) metric: Metric,
    pub(crate) queries: &'a [usize],
    pub(crate) gallery: &'a [usize],
    /// At most this many answers of a query are right.
    pub(crate) most_right: usize,
}

impl Contest<'_> {
    /// The places of every query, in their order; `part(query, row)` is the protocol.
    pub(crate) fn places(
        &self,
        memory: usize,
        part: impl Fn(usize, usize) -> Part + Sync,
    ) -> Result<Vec<Places>, EvalError> {
        // A growing list may reserve twice what it holds.
        let candidates = self.most_right.saturating_mul(2 * (size_of::<Hit>() + 2 * size_of::<usize>()));
        let block = strip::block(memory, self.gallery.len(), self.rows.dim(), candidates)?;
        let found: Vec<Vec<Places>> = self
            .queries
            .par_chunks(block)
            .map_init(Strip::new, |strip, queries| {
                strip.fill(self.rows, self.metric, queries, self.gallery);
                let numbered = queries.iter().enumerate();
                numbered.map(|(place, &query)| self.one(strip, place, |row| part(query, row))).collect()
            })
            .collect();
        Ok(found.into_iter().flatten().collect())
    }

    fn one(&self, strip: &Strip, query: usize, part: impl Fn(usize) -> Part) -> Places {
        let mut right: Vec<Hit> = Vec::new();
        strip.within(query, f32::INFINITY, |member, distance| {
            let row = self.gallery[member];
            if part(row) == Part::Right {
                right.push(Hit { id: row as u64, distance });
            }
            f32::INFINITY
        });
        right.sort_unstable_by(Hit::order);
        let Some(last) = right.last().map(|hit| hit.distance) else {
            return Places { right: Vec::new(), tied: false };
        };
        let (mut before, mut tied) = (vec![0usize; right.len() + 1], false);
        strip.within(query, last, |member, distance| {
            let row = self.gallery[member];
            if part(row) == Part::Wrong {
                let hit = Hit { id: row as u64, distance };
                let after = right.partition_point(|right| right.order(&hit).is_lt());
                before[after] += 1;
                tied |= right.get(after).is_some_and(|right| right.distance == distance)
                    || after > 0 && right[after - 1].distance == distance;
            }
            last
        });
        let mut wrong = 0;
        let places = before.iter().take(right.len()).enumerate().map(|(earlier, more)| {
            wrong += more;
            wrong + earlier + 1
        });
        Places { right: places.collect(), tied }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_agree_with_sorting(
            pictures in prop::collection::vec((0i8..7, 0u8..3), 1..60), block in 1usize..9,
        ) {
            let values: Vec<f32> = pictures.iter().map(|(value, _)| f32::from(*value)).collect();
            let gallery: Vec<usize> = (0..values.len()).rev().collect();
            let kinds = [Part::Right, Part::Wrong, Part::Out];
            let part = |query: usize, row: usize| kinds[(usize::from(pictures[row].1) + query) % 3];
            let contest = Contest {
                rows: Rows::new(&values, 1).unwrap(),
                metric: Metric::L2,
                queries: &gallery,
                gallery: &gallery,
                most_right: values.len(),
            };
            let got = contest.places(block << 14, part).unwrap();
            for (&query, got) in gallery.iter().zip(&got) {
                let distance = |row: usize| (values[query] - values[row]).powi(2);
                let mut ranked: Vec<usize> =
                    (0..values.len()).filter(|&row| part(query, row) != Part::Out).collect();
                ranked.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)));
                let right = |row: usize| part(query, row) == Part::Right;
                let want: Vec<usize> =
                    (0..ranked.len()).filter(|&i| right(ranked[i])).map(|i| i + 1).collect();
                prop_assert_eq!(&got.right, &want);
                let tied = ranked.iter().any(|&a| {
                    right(a) && ranked.iter().any(|&b| !right(b) && distance(a) == distance(b))
                });
                prop_assert_eq!(got.tied, tied);
            }
        }
    }
}
