//! Queries and a gallery that the dataset gives, as in DeepFashion's in-shop retrieval: 14,218 queries
//! and 12,612 gallery pictures of 3,985 items.
//!
//! Recall@k: the share of queries with a picture of their item among the k nearest of the gallery. It is
//! not leave-one-out over queries and gallery together, which is another protocol with other numbers.
//! Source: Liu et al., "DeepFashion", CVPR 2016; the cuts are those of Oh Song et al. and after.

use super::places::{Contest, Part};
use super::scores::{measure, most_alike, refuse_overlap};
use super::{Precision, ProtocolError, RankedScores, RankingOptions};
use crate::EvalError;
use crate::retrieval::check_members;
use data::{Metric, Rows};

/// The protocol's id.
pub const ID: &str = "in-shop/query-gallery/standard-ap/v1";
/// Cuts that papers report.
pub const CUTS: [usize; 6] = [1, 10, 20, 30, 40, 50];

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct InShopTask<'a> {
    /// Embeddings, `pictures x dim`.
    pub rows: Rows<'a, f32>,
    /// What ranks the answers.
    pub metric: Metric,
    /// Item of each picture, any numbers, `pictures`.
    pub items: &'a [i32],
    /// Row numbers that ask.
    pub queries: &'a [usize],
    /// Row numbers that answer; none of the queries.
    pub gallery: &'a [usize],
}

/// Measures `task` exactly, on the caller's rayon pool.
///
/// # Errors
/// When the task does not fit together, a query is in the gallery, or no query can succeed.
pub fn in_shop(task: &InShopTask<'_>, options: &RankingOptions) -> Result<RankedScores, ProtocolError> {
    let pictures = task.rows.len();
    if task.items.len() != pictures {
        return Err(EvalError::Lengths { what: "items", len: task.items.len(), pictures }.into());
    }
    check_members(task.rows, task.queries, task.gallery)?;
    refuse_overlap(pictures, task.queries, task.gallery)?;
    let contest = Contest {
        rows: task.rows,
        metric: task.metric,
        queries: task.queries,
        gallery: task.gallery,
        most_right: most_alike(task.items, task.gallery),
    };
    let part = |query: usize, row: usize| {
        if task.items[query] == task.items[row] { Part::Right } else { Part::Wrong }
    };
    measure(&contest, task.items, Precision::Standard, part, options, ID.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // On a line: queries at 0 (item 1), 10 (item 2), 5 (item 9, not in the gallery).
        let values = [0.0, 10.0, 5.0, 1.0, 2.0, 3.0, 12.0];
        let mut task = InShopTask {
            rows: Rows::new(&values, 1).unwrap(),
            metric: Metric::L2,
            items: &[1, 2, 9, 2, 1, 1, 3],
            queries: &[0, 1, 2],
            gallery: &[3, 4, 5, 6],
        };
        let options = RankingOptions { cuts: vec![2, 1, 4], resamples: 10, ..RankingOptions::default() };
        let got = in_shop(&task, &options).unwrap();
        // From 0: wrong, right, right; from 10: 12, 3, 2, 1, the fourth is right.
        assert_eq!(got.per_query.iter().map(|score| score.first_right).collect::<Vec<_>>(), [2, 4]);
        assert_eq!((got.queries, got.dropped_queries, got.ties, got.ids), (2, 1, 0, 2));
        let values: Vec<f64> = got.cmc.iter().map(|(_, estimate)| estimate.value).collect();
        assert_eq!(values, [0.0, 0.5, 1.0]);
        let map = ((1.0 / 2.0 + 2.0 / 3.0) / 2.0 + 1.0 / 4.0) / 2.0;
        assert!((got.map.value - map).abs() < 1e-12);
        assert_eq!(got.to_json()["protocol"], "in-shop/query-gallery/standard-ap/v1");

        task.gallery = &[3, 2];
        let leak = in_shop(&task, &options).unwrap_err();
        assert!(leak.is_leak());
        assert!(leak.to_string().starts_with("leak: row 2"));
        task.gallery = &[];
        assert_eq!(in_shop(&task, &options), Err(ProtocolError::EmptyGallery));
        task.gallery = &[6];
        assert_eq!(in_shop(&task, &options), Err(ProtocolError::NoQueries { queries: 3 }));
    }
}
