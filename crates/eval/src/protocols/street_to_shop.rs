//! Street photos against the shop photos of their own category.
//!
//! Top-k: the share of queries with any photo of the exact product among the k nearest of the category.
//! *Macro* is the plain mean over categories, *micro* the mean over all queries.
//! Source: Kiapour et al., "Where to buy it", ICCV 2015 (k = 20, 11 categories).

use super::places::{Contest, Part};
use super::scores::{measure, most_alike, refuse_overlap, sum_up};
use super::{Precision, ProtocolError, RankedScores, RankingOptions};
use crate::interval::ByClass;
use crate::retrieval::{check_members, cuts};
use crate::{Estimate, EvalError};
use data::{Metric, Rows};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The protocol's id.
pub const ID: &str = "street-to-shop/per-category/standard-ap/v1";

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct StreetTask<'a> {
    /// Embeddings, `pictures x dim`.
    pub rows: Rows<'a, f32>,
    /// What ranks the answers.
    pub metric: Metric,
    /// Product of each picture, any numbers, `pictures`.
    pub products: &'a [i32],
    /// Category of each picture, any numbers, `pictures`.
    pub categories: &'a [u32],
    /// Row numbers of street photos.
    pub queries: &'a [usize],
    /// Row numbers of shop photos; none of the queries.
    pub gallery: &'a [usize],
}

/// The numbers of each category and their means.
#[derive(Clone, Debug, PartialEq)]
pub struct StreetScores {
    /// Categories with a query that counts, by number.
    pub categories: Vec<(u32, RankedScores)>,
    /// Categories whose queries all lack a right answer.
    pub dropped_categories: Vec<u32>,
    /// `(k, mean of the categories)`; its interval resamples categories.
    pub macro_top: Vec<(usize, Estimate)>,
    /// All queries together; its intervals resample products.
    pub micro: RankedScores,
}

impl StreetScores {
    /// The object to store: the micro numbers, `macro_cmc@k`, `categories` by number.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut value = self.micro.to_json();
        for (k, estimate) in &self.macro_top {
            value[format!("macro_cmc@{k}")] = estimate.to_json();
        }
        let each = self.categories.iter().map(|(category, scores)| (category.to_string(), scores.to_json()));
        value["categories"] = Value::Object(each.collect::<Map<_, _>>());
        value["dropped_categories"] = json!(self.dropped_categories);
        value
    }
}

/// Measures `task` exactly, on the caller's rayon pool.
///
/// # Errors
/// When the task does not fit together, a query is in the gallery, or no query can succeed.
pub fn street_to_shop(
    task: &StreetTask<'_>,
    options: &RankingOptions,
) -> Result<StreetScores, ProtocolError> {
    let pictures = task.rows.len();
    for (what, len) in [("products", task.products.len()), ("categories", task.categories.len())] {
        if len != pictures {
            return Err(EvalError::Lengths { what, len, pictures }.into());
        }
    }
    check_members(task.rows, task.queries, task.gallery)?;
    refuse_overlap(pictures, task.queries, task.gallery)?;
    let cuts = cuts(&options.cuts)?;
    let (asking, answering) = (by_category(task, task.queries), by_category(task, task.gallery));
    let (mut categories, mut dropped_categories, mut dropped) = (Vec::new(), Vec::new(), 0);
    for (category, queries) in asking {
        let gallery = answering.get(&category).map_or(&[][..], Vec::as_slice);
        match one(task, &queries, gallery, options, format!("{ID}/{category}")) {
            Ok(scores) => {
                dropped += scores.dropped_queries;
                categories.push((category, scores));
            }
            Err(ProtocolError::NoQueries { .. }) => {
                dropped += queries.len();
                dropped_categories.push(category);
            }
            Err(error) => return Err(error),
        }
    }
    if categories.is_empty() {
        return Err(ProtocolError::NoQueries { queries: task.queries.len() });
    }
    let row = |scores: &RankedScores| scores.cmc.iter().map(|(_, top)| top.value).collect();
    let means =
        ByClass::new(cuts.len(), categories.iter().map(|(category, scores)| (*category, row(scores))));
    let means = means.estimates(options.resamples, options.seed, (0.0, 1.0));
    let all = categories.iter().flat_map(|(_, scores)| scores.per_query.iter().copied()).collect();
    let micro = sum_up(all, dropped, &cuts, options, ID.to_owned());
    Ok(StreetScores {
        categories,
        dropped_categories,
        macro_top: cuts.into_iter().zip(means).collect(),
        micro,
    })
}

fn by_category(task: &StreetTask<'_>, rows: &[usize]) -> BTreeMap<u32, Vec<usize>> {
    let mut groups = BTreeMap::<u32, Vec<usize>>::new();
    rows.iter().for_each(|&row| groups.entry(task.categories[row]).or_default().push(row));
    groups
}

fn one(
    task: &StreetTask<'_>,
    queries: &[usize],
    gallery: &[usize],
    options: &RankingOptions,
    protocol: String,
) -> Result<RankedScores, ProtocolError> {
    let most_right = most_alike(task.products, gallery);
    let contest = Contest { rows: task.rows, metric: task.metric, queries, gallery, most_right };
    let part = |query: usize, row: usize| {
        if task.products[query] == task.products[row] { Part::Right } else { Part::Wrong }
    };
    measure(&contest, task.products, Precision::Standard, part, options, protocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macro_and_micro_by_hand() {
        // Category 0 has two queries, both right at once; category 1 has one, right at place 2, and a shop
        // photo of category 0 nearer still; category 2 has no shop photos.
        let values = [0.0, 1.0, 10.0, 50.0, 0.0, 1.1, 10.1, 10.5, 13.0];
        let task = StreetTask {
            rows: Rows::new(&values, 1).unwrap(),
            metric: Metric::L2,
            products: &[1, 2, 3, 4, 1, 2, 2, 8, 3],
            categories: &[0, 0, 1, 2, 0, 0, 0, 1, 1],
            queries: &[0, 1, 2, 3],
            gallery: &[4, 5, 6, 7, 8],
        };
        let options = RankingOptions { cuts: vec![1, 2], ..RankingOptions::default() };
        let got = street_to_shop(&task, &options).unwrap();
        assert_eq!(got.macro_top.iter().map(|(_, top)| top.value).collect::<Vec<_>>(), [0.5, 1.0]);
        assert!((got.micro.cmc_at(1).unwrap().value - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!((got.micro.queries, got.micro.dropped_queries), (3, 1));
        assert_eq!(got.dropped_categories, [2]);
        assert_eq!(got.categories[1].1.per_query[0].first_right, 2);
        assert_eq!(got.to_json()["categories"]["1"]["cmc@1"]["value"], 0.0);
    }
}
