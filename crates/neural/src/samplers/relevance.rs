//! Batches of queries drawn by how much is relevant to them, each with pictures of its class.
//!
//! The relevance of two pictures is 1 when their classes are the same and 1/2 when their categories are. A
//! picture's weight `r` is the sum of its relevance to all others; a weighted reservoir keeps the pictures
//! with the largest keys `u^(1/r)`, `u` uniform in (0, 1), one a class. With probability `same_category` the next
//! query is the best key of the first query's category, so that triplets within a category appear.
//! Source: Wang et al., "Learning Fine-grained Image Similarity with Deep Ranking", CVPR 2014, section 5.2;
//! the reservoir is Efraimidis and Spirakis, 2006.

use super::{Draw, Roster, Sampling, Short, share};
use crate::settings::settings;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

settings! {
    /// Settings of batches by relevance.
    pub struct RelevanceReservoirConfig {
        /// Queries a batch, each of a class of its own.
        pub classes: usize = 32,
        /// Pictures a class, the query among them.
        pub images: usize = 4,
        /// What happens to classes with fewer pictures.
        pub short: Short = Short::Tile,
        /// Probability that a query is of the first one's category.
        pub same_category: f32 = 0.3,
    }
}

impl Sampling for RelevanceReservoirConfig {
    fn size(&self) -> usize {
        self.classes.saturating_mul(self.images)
    }

    fn check(&self, roster: &Roster) -> Result<(), String> {
        share("same_category", self.same_category)?;
        roster.check(self.classes, self.images, self.short)
    }

    fn draw(&self, draw: &Draw<'_>) -> Vec<usize> {
        let (roster, mut rng) = (draw.roster, draw.rng());
        let mut queries = queries(roster, &roster.classes(self.images, self.short), &mut rng);
        let category = roster.categories[queries[0].0];
        let mut items = Vec::with_capacity(self.size());
        for _ in 0..self.classes {
            let wanted = rng.random::<f32>() < self.same_category;
            let inside = queries.iter().position(|&(class, _)| roster.categories[class] == category);
            let (class, query) = queries.remove(inside.filter(|_| wanted).unwrap_or(0));
            items.push(query);
            // Twice the query would be no pair: the others of its class come first.
            let others = roster.pictures(class, self.images, self.short, &mut rng);
            let (same, other): (Vec<usize>, Vec<usize>) = others.into_iter().partition(|&o| o == query);
            items.extend(other.into_iter().chain(same).take(self.images - 1));
        }
        items
    }
}

/// The picture with the largest key of each class, `(class, picture)`, largest key first.
fn queries(roster: &Roster, classes: &[usize], rng: &mut ChaCha8Rng) -> Vec<(usize, usize)> {
    let mut in_category: BTreeMap<u32, usize> = BTreeMap::new();
    for (members, &category) in roster.members.iter().zip(&roster.categories) {
        *in_category.entry(category).or_default() += members.len();
    }
    let mut best: Vec<(f64, usize, usize)> = Vec::with_capacity(classes.len());
    for &class in classes {
        let members = &roster.members[class];
        let beyond = in_category[&roster.categories[class]] - members.len();
        let weight = (members.len() - 1) as f64 + 0.5 * beyond as f64;
        let keyed = members.iter().map(|&item| (key(rng.random(), weight), class, item));
        best.extend(keyed.reduce(|best, next| if next.0 > best.0 { next } else { best }));
    }
    best.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    best.into_iter().map(|(_, class, item)| (class, item)).collect()
}

/// Key of an item in a weighted reservoir: `u^(1/weight)`; an item without weight comes last.
fn key(u: f64, weight: f64) -> f64 {
    if weight > 0.0 { u.powf(1.0 / weight) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::tests::class_of;
    use super::*;
    use crate::samplers::Sampler;
    use crate::weights::Weights;

    #[test]
    fn keys_by_hand() {
        // r = (1, 4), u = (.5, .5): .5 and .5^(1/4) = .840896.
        assert!((key(0.5, 1.0) - 0.5).abs() < 1e-6 && (key(0.5, 4.0) - 0.840_896).abs() < 1e-6);
        assert!(key(0.9, 0.0) == 0.0);
    }

    #[test]
    fn queries_with_much_that_is_relevant_come_more_often() {
        // Class 0 has ten pictures, classes 1 to 9 two each, no categories shared.
        let classes: Vec<u32> = (0..28).map(|item: u32| item.saturating_sub(8) / 2).collect();
        let categories: Vec<Option<u32>> = classes.iter().map(|&class| Some(class)).collect();
        let roster = Roster::new(&classes, &categories, &[None; 28]);
        let config = toml::from_str("name = \"relevance\"\nclasses = 2\nimages = 2").unwrap();
        let sampler = Sampler::new(&config, roster.clone(), 5).unwrap();
        let (mut with_first, mut other) = (0, 0);
        for batch in 0..200 {
            let items = sampler.batch(batch, &Weights::default());
            assert!(items.chunks(2).all(|pair| pair[0] != pair[1]), "{items:?}");
            let classes: Vec<usize> = items.iter().map(|&item| class_of(&roster, item)).collect();
            with_first += usize::from(classes.contains(&0));
            other += usize::from(classes.contains(&5));
        }
        assert!(with_first > 190 && other < 60, "{with_first} {other}");
    }
}
