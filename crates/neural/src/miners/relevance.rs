//! Triplets drawn by relevance: a positive in proportion to how relevant it is to the anchor, and a negative
//! that is less relevant or not at all.
//!
//! The positive's weight is `min(most, r_p)`. With probability `near` the negative is drawn, by the same law,
//! from unlike pictures of some relevance with `r_p - r_n >= gap`, otherwise evenly from those of none; where
//! one kind is missing, from the other. Relevance comes with the relation: 1 in one class, 1/2 in one category.
//! Source: Wang et al., "Learning Fine-grained Image Similarity with Deep Ranking", CVPR 2014, section 5.1.

use super::{Keeps, Miner, within};
use crate::relation::Relation;
use crate::settings::settings;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

settings! {
    /// Settings of mining by relevance.
    pub struct RelevanceConfig {
        /// Triplets an anchor.
        pub triplets: usize = 4,
        /// Relevance above which more does not count.
        pub most: f32 = 1.0,
        /// By how much a negative of some relevance must be less relevant than the positive.
        pub gap: f32 = 0.25,
        /// Probability that the negative is one of some relevance.
        pub near: f32 = 0.5,
    }
}

impl Miner for RelevanceConfig {
    fn keeps(&self) -> Keeps {
        Keeps::Triplets
    }

    fn mine(&self, _: &[f32], _: usize, relation: Relation, rng: &mut ChaCha8Rng) -> Relation {
        let mut chosen = Vec::new();
        for anchor in 0..relation.anchors() {
            let of = |item: usize| relation.relevance(anchor, item);
            let weighed = |items: &mut dyn Iterator<Item = usize>| -> Vec<(usize, f32)> {
                items.map(|item| (item, of(item).min(self.most))).collect()
            };
            let positives = weighed(&mut within(relation.alike(anchor)));
            let (some, none): (Vec<usize>, Vec<usize>) =
                within(relation.unlike(anchor)).partition(|&item| of(item) > 0.0);
            // No more than there are pairs: a small batch would repeat itself.
            for _ in 0..self.triplets.min(positives.len() * (some.len() + none.len())) {
                let Some(positive) = draw(&positives, rng) else { break };
                let apart = |&item: &usize| of(positive) - of(item) >= self.gap;
                let near = weighed(&mut some.iter().copied().filter(apart));
                let negative = match (near.is_empty(), none.is_empty(), rng.random::<f32>() < self.near) {
                    (true, true, _) => None,
                    (false, true, _) | (false, false, true) => draw(&near, rng),
                    (true, false, _) | (false, false, false) => Some(none[rng.random_range(0..none.len())]),
                };
                chosen.extend(negative.map(|negative| [anchor, positive, negative]));
            }
        }
        relation.with_triplets(chosen)
    }
}

/// One item in proportion to its weight; none where no item has any.
fn draw(items: &[(usize, f32)], rng: &mut ChaCha8Rng) -> Option<usize> {
    let total: f32 = items.iter().map(|(_, weight)| weight).sum();
    let mut left = rng.random::<f32>() * total;
    let found = items.iter().find(|(_, weight)| {
        left -= weight;
        *weight > 0.0 && left < 0.0
    });
    // Rounding can leave a little over: then the last usable one is meant.
    found.or_else(|| items.iter().rev().find(|(_, weight)| *weight > 0.0)).map(|(item, _)| *item)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// Counts of each (positive, negative) over many draws.
    fn counts(config: &RelevanceConfig, relation: &Relation) -> Vec<([usize; 2], usize)> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..1000 {
            for [_, p, n] in config.mine(&[], 2, relation.clone(), &mut rng).triplets().unwrap() {
                *counts.entry([*p, *n]).or_insert(0) += 1;
            }
        }
        counts.into_iter().collect()
    }

    #[test]
    fn draws_by_relevance() {
        // Refs 0 and 1 alike, at relevance 2 (counted as 1) and .5; 2 unlike at .4, 3 unlike at 0.
        let relation = Relation::from_classes(&[0], &[0, 0, 1, 2]).with_relevance(vec![2.0, 0.5, 0.4, 0.0]);
        let config = RelevanceConfig { triplets: 1, ..RelevanceConfig::default() };
        let counts = counts(&config, &relation);
        // Positive 0 twice as often as 1; 2 is too near in relevance to go with 1.
        let of = |pair| counts.iter().find(|(at, _)| *at == pair).map_or(0, |(_, count)| *count);
        assert_eq!(of([1, 2]), 0);
        assert!((260..410).contains(&of([1, 3])), "{counts:?}");
        assert!(of([0, 2]).abs_diff(of([0, 3])) < 100, "{counts:?}");
    }

    #[test]
    fn classes_alone_give_even_triplets() {
        let relation = Relation::from_classes(&[0], &[0, 1, 2]);
        let counts = counts(&RelevanceConfig { triplets: 1, ..RelevanceConfig::default() }, &relation);
        assert!(counts.len() == 2 && counts[0].1.abs_diff(counts[1].1) < 120, "{counts:?}");
        let lone = Relation::from_classes(&[0], &[1, 2]);
        let mined = RelevanceConfig::default().mine(&[], 2, lone, &mut ChaCha8Rng::seed_from_u64(0));
        assert_eq!(mined.triplets().unwrap().len(), 0);
    }
}
