//! Batches most of whose classes are of one category: their negatives are hard to tell apart, while the rest
//! keep the categories themselves apart.
//!
//! The category is drawn in proportion to its pictures; when it has too few classes others fill the batch.
//! Source: the batches of Sohn, NIPS 2016, as its reimplementations draw them, nine tenths from one super-class.

use super::{Draw, Roster, Sampling, Short, share};
use crate::settings::settings;
use rand::RngExt;
use rand::seq::SliceRandom;

settings! {
    /// Settings of batches from one category.
    pub struct SuperClassConfig {
        /// Classes a batch.
        pub classes: usize = 32,
        /// Pictures a class.
        pub images: usize = 4,
        /// What happens to classes with fewer pictures.
        pub short: Short = Short::Tile,
        /// Share of a batch's classes that are of the one category.
        pub share: f32 = 0.9,
    }
}

impl Sampling for SuperClassConfig {
    fn size(&self) -> usize {
        self.classes.saturating_mul(self.images)
    }

    fn check(&self, roster: &Roster) -> Result<(), String> {
        share("share", self.share)?;
        roster.check(self.classes, self.images, self.short)
    }

    fn draw(&self, draw: &Draw<'_>) -> Vec<usize> {
        let (roster, mut rng) = (draw.roster, draw.rng());
        let mut all = roster.classes(self.images, self.short);
        let pictures: usize = all.iter().map(|&class| roster.members[class].len()).sum();
        let mut left = rng.random_range(0..pictures);
        let drawn = all.iter().copied().find(|&class| {
            let here = left < roster.members[class].len();
            left = left.saturating_sub(roster.members[class].len());
            here
        });
        let category = roster.categories[drawn.expect("a picture of some class")];
        all.shuffle(&mut rng);
        let (inside, outside): (Vec<usize>, Vec<usize>) =
            all.into_iter().partition(|&class| roster.categories[class] == category);
        let wanted = ((self.classes as f32 * self.share).round() as usize).min(self.classes);
        // As many as wanted from inside, the others from outside, and from inside again if those are too few.
        let (first, spare) = inside.split_at(wanted.min(inside.len()));
        let chosen = first.iter().chain(&outside).chain(spare).take(self.classes).copied();
        chosen.flat_map(|class| roster.pictures(class, self.images, self.short, &mut rng)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{class_of, roster, sampler};
    use crate::weights::Weights;
    use std::collections::BTreeMap;

    #[test]
    fn most_classes_are_of_one_category() {
        let (sampler, roster) =
            (sampler("name = \"super-class\"\nclasses = 4\nimages = 2\nshare = 0.75"), roster());
        let mut whole = BTreeMap::new();
        for batch in 0..40 {
            let mut counts = BTreeMap::new();
            for chunk in sampler.batch(batch, &Weights::default()).chunks(2) {
                *counts.entry(roster.categories[class_of(&roster, chunk[0])]).or_insert(0) += 1;
            }
            // Three of the four, one from elsewhere.
            assert!(counts.values().any(|&count| count == 3), "{counts:?}");
            let (most, _) = counts.iter().max_by_key(|(_, count)| **count).unwrap();
            *whole.entry(*most).or_insert(0) += 1;
        }
        assert_eq!(whole.len(), 3, "every category has its batches: {whole:?}");
    }
}
