//! P x K batches: `classes` classes with `images` pictures of each.
//!
//! Some batches can be drawn from a single category, so that their negatives are the ones hard to tell
//! apart. The others visit each class once a round, in an order drawn from the seed and the round's number.
//! Source: Hermans, Beyer and Leibe, "In Defense of the Triplet Loss", 2017, section 2.

use super::{Draw, Roster, Sampling, Short, share};
use crate::settings::settings;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

settings! {
    /// Settings of P x K batches.
    pub struct PkConfig {
        /// Classes a batch, P.
        pub classes: usize = 32,
        /// Pictures a class, K.
        pub images: usize = 4,
        /// What happens to classes with fewer pictures.
        pub short: Short = Short::Tile,
        /// Share of batches whose classes are all of one category (drawn in proportion to its classes, and
        /// filled up from the others when it has too few). Data without categories has a single one.
        pub same_category: f32 = 0.0,
    }
}

impl Sampling for PkConfig {
    fn size(&self) -> usize {
        self.classes.saturating_mul(self.images)
    }

    fn check(&self, roster: &Roster) -> Result<(), String> {
        share("same_category", self.same_category)?;
        roster.check(self.classes, self.images, self.short)
    }

    fn draw(&self, draw: &Draw<'_>) -> Vec<usize> {
        let (roster, mut rng) = (draw.roster, draw.rng());
        let all = roster.classes(self.images, self.short);
        let chosen = if rng.random::<f32>() < self.same_category {
            of_one_category(roster, all, self.classes, &mut rng)
        } else {
            draw.of_the_round(all, self.classes)
        };
        let pictures = |class| roster.pictures(class, self.images, self.short, &mut rng);
        chosen.into_iter().flat_map(pictures).collect()
    }
}

/// Classes of the category of a class drawn at random, then others.
fn of_one_category(roster: &Roster, mut all: Vec<usize>, count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let category = roster.categories[all[rng.random_range(0..all.len())]];
    all.shuffle(rng);
    // Stable: both parts stay shuffled.
    all.sort_by_key(|&class| roster.categories[class] != category);
    all.truncate(count);
    all
}

#[cfg(test)]
mod tests {
    use super::super::tests::{class_of, roster, sampler};
    use crate::samplers::{Roster, Sampler};
    use crate::weights::Weights;

    #[test]
    fn batches_are_classes_by_images() {
        let (sampler, roster) = (sampler("classes = 3\nimages = 4"), roster());
        let mut seen = Vec::new();
        for batch in 0..3 {
            for chunk in sampler.batch(batch, &Weights::default()).chunks(4) {
                let class = class_of(&roster, chunk[0]);
                assert!(
                    roster.members[class].iter().all(|member| chunk.contains(member)),
                    "all before any twice"
                );
                seen.push(class);
            }
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 9, "no class twice in a round");
        let first = sampler.batch(0, &Weights::default());
        assert_ne!(first, sampler.batch(3, &Weights::default()), "rounds differ");
    }

    #[test]
    fn a_batch_of_one_category_stays_in_it() {
        let classes: Vec<u32> = (0..12).collect();
        let categories: Vec<Option<u32>> = classes.iter().map(|class| Some(class % 3)).collect();
        let roster = || Roster::new(&classes, &categories, &[None; 12]);
        let of = |text: &str| Sampler::new(&toml::from_str(text).unwrap(), roster(), 5).unwrap();
        let sampler = of("classes = 4\nimages = 2\nsame_category = 1.0");
        for batch in 0..20 {
            let items = sampler.batch(batch, &Weights::default());
            assert!(items.iter().all(|item| item % 3 == items[0] % 3), "{items:?}");
        }
        let wide = of("classes = 6\nimages = 2\nsame_category = 1.0");
        assert_eq!(wide.batch(0, &Weights::default()).len(), 12, "filled up from other categories");
    }
}
