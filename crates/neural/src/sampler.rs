//! P x K batches: `classes` classes with `images` pictures of each.
//!
//! Some batches can be drawn from a single category, so that their negatives are the ones hard to tell
//! apart. The others visit each class once a round, in an order drawn from the
//! seed and the round's number. Batch `b` can be made without the batches before it: training resumes
//! anywhere.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Settings of the sampler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerConfig {
    /// Classes a batch, P.
    pub classes: usize,
    /// Pictures a class, K; a class with fewer repeats its pictures.
    pub images: usize,
    /// Share of batches whose classes are all of one category (drawn in proportion to its classes, and
    /// filled up from the others when it has too few). Data without categories has a single one.
    #[serde(default)]
    pub same_category: f32,
}

/// Draws batches of item positions.
#[derive(Clone, Debug)]
pub struct Sampler {
    config: SamplerConfig,
    seed: u64,
    members: Vec<Vec<usize>>,
    /// Category of each class.
    categories: Vec<u32>,
}

impl Sampler {
    /// Prepares batches over items with the given class and category each; classes with a single item
    /// take part too. A class has the category of its first item.
    ///
    /// # Errors
    /// Says how many classes there are when a batch wants more.
    pub fn new(
        config: SamplerConfig,
        seed: u64,
        classes: &[u32],
        categories: &[u32],
    ) -> Result<Self, String> {
        let mut members: std::collections::BTreeMap<u32, Vec<usize>> = std::collections::BTreeMap::new();
        for (item, &class) in classes.iter().enumerate() {
            members.entry(class).or_default().push(item);
        }
        if config.classes < 2 || config.images < 2 {
            return Err(format!(
                "a batch of {} classes x {} images has no pairs to learn from; both must be at least 2",
                config.classes, config.images
            ));
        }
        if members.len() < config.classes {
            return Err(format!(
                "a batch wants {} classes and the training split has {}; set sampler.classes to at most that",
                config.classes,
                members.len()
            ));
        }
        if !(0.0..=1.0).contains(&config.same_category) {
            return Err(format!(
                "sampler.same_category = {} is not a share between 0 and 1",
                config.same_category
            ));
        }
        let members: Vec<Vec<usize>> = members.into_values().collect();
        let categories = members.iter().map(|items| categories[items[0]]).collect();
        Ok(Self { config, seed, members, categories })
    }

    /// Batches in one round over the classes.
    #[must_use]
    pub fn batches_per_round(&self) -> usize {
        self.members.len() / self.config.classes
    }

    /// Items of batch `batch`, class after class.
    #[must_use]
    pub fn batch(&self, batch: usize) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(batch as u64 | 1 << 63);
        let chosen = if rng.random::<f32>() < self.config.same_category {
            self.of_one_category(&mut rng)
        } else {
            self.of_the_round(batch)
        };
        let mut items = Vec::with_capacity(self.config.classes * self.config.images);
        for class in chosen {
            let mut members = self.members[class].clone();
            members.shuffle(&mut rng);
            items.extend(members.iter().cycle().take(self.config.images));
        }
        items
    }

    /// The next classes of a round over all of them.
    fn of_the_round(&self, batch: usize) -> Vec<usize> {
        let (round, place) = (batch / self.batches_per_round(), batch % self.batches_per_round());
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(round as u64);
        let mut order: Vec<usize> = (0..self.members.len()).collect();
        order.shuffle(&mut rng);
        order[place * self.config.classes..(place + 1) * self.config.classes].to_vec()
    }

    /// Classes of the category of a class drawn at random, then others.
    fn of_one_category(&self, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let category = self.categories[rng.random_range(0..self.categories.len())];
        let mut order: Vec<usize> = (0..self.members.len()).collect();
        order.shuffle(rng);
        // Stable: both parts stay shuffled.
        order.sort_by_key(|&class| self.categories[class] != category);
        order.truncate(self.config.classes);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler() -> Sampler {
        let classes: Vec<u32> =
            (0..10).flat_map(|class| std::iter::repeat_n(class, 1 + class as usize % 4)).collect();
        Sampler::new(
            SamplerConfig { classes: 3, images: 4, same_category: 0.0 },
            5,
            &classes,
            &vec![0; classes.len()],
        )
        .unwrap()
    }

    #[test]
    fn batches_hold_p_classes_of_k_pictures() {
        let sampler = sampler();
        let class_of = |item: usize| sampler.members.iter().position(|m| m.contains(&item)).unwrap();
        let mut seen = Vec::new();
        for batch in 0..sampler.batches_per_round() {
            let items = sampler.batch(batch);
            assert_eq!(items.len(), 12);
            for chunk in items.chunks(4) {
                let class = class_of(chunk[0]);
                assert!(chunk.iter().all(|&item| class_of(item) == class));
                assert!(
                    sampler.members[class].iter().all(|member| chunk.contains(member)),
                    "all before any twice"
                );
                seen.push(class);
            }
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 9, "no class twice in a round");
    }

    #[test]
    fn any_batch_can_be_drawn_alone() {
        let batches: Vec<_> = (0..20).map(|b| sampler().batch(b)).collect();
        assert_eq!(sampler().batch(13), batches[13]);
        assert_ne!(batches[0], batches[3], "rounds differ");
    }

    #[test]
    fn says_what_is_too_much() {
        let error =
            Sampler::new(SamplerConfig { classes: 3, images: 4, same_category: 0.0 }, 5, &[0, 0, 1], &[0; 3])
                .unwrap_err();
        assert!(error.contains("has 2") && error.contains("sampler.classes"), "{error}");
        assert!(
            Sampler::new(SamplerConfig { classes: 2, images: 1, same_category: 0.0 }, 5, &[0, 0, 1], &[0; 3])
                .is_err()
        );
    }

    #[test]
    fn a_batch_of_one_category_stays_in_it() {
        let classes: Vec<u32> = (0..12).collect();
        let categories: Vec<u32> = classes.iter().map(|class| class % 3).collect();
        let config = SamplerConfig { classes: 4, images: 2, same_category: 1.0 };
        let sampler = Sampler::new(config.clone(), 5, &classes, &categories).unwrap();
        for batch in 0..20 {
            let items = sampler.batch(batch);
            assert!(items.iter().all(|item| item % 3 == items[0] % 3), "{items:?}");
        }
        let wide = Sampler::new(SamplerConfig { classes: 6, ..config }, 5, &classes, &categories).unwrap();
        assert_eq!(wide.batch(0).len(), 12, "filled up from other categories");
    }
}
