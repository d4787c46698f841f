//! P x K batches: `classes` classes with `images` pictures of each.
//!
//! Every round visits each class once, in an order drawn from the seed and the round's number, so that
//! batch `b` can be made without the batches before it: training resumes anywhere.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Settings of the sampler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplerConfig {
    /// Classes a batch, P.
    pub classes: usize,
    /// Pictures a class, K; a class with fewer repeats its pictures.
    pub images: usize,
}

/// Draws batches of item positions.
#[derive(Clone, Debug)]
pub struct Sampler {
    config: SamplerConfig,
    seed: u64,
    members: Vec<Vec<usize>>,
}

impl Sampler {
    /// Prepares batches over items with the given class each; classes with a single item take part too.
    ///
    /// # Errors
    /// Says how many classes there are when a batch wants more.
    pub fn new(config: SamplerConfig, seed: u64, classes: &[u32]) -> Result<Self, String> {
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
        Ok(Self { config, seed, members: members.into_values().collect() })
    }

    /// Batches in one round over the classes.
    #[must_use]
    pub fn batches_per_round(&self) -> usize {
        self.members.len() / self.config.classes
    }

    /// Items of batch `batch`, class after class.
    #[must_use]
    pub fn batch(&self, batch: usize) -> Vec<usize> {
        let (round, place) = (batch / self.batches_per_round(), batch % self.batches_per_round());
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(round as u64);
        let mut order: Vec<usize> = (0..self.members.len()).collect();
        order.shuffle(&mut rng);
        let chosen = &order[place * self.config.classes..(place + 1) * self.config.classes];
        rng.set_stream(batch as u64 | 1 << 63);
        let mut items = Vec::with_capacity(self.config.classes * self.config.images);
        for &class in chosen {
            let mut members = self.members[class].clone();
            members.shuffle(&mut rng);
            items.extend(members.iter().cycle().take(self.config.images));
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler() -> Sampler {
        let classes: Vec<u32> =
            (0..10).flat_map(|class| std::iter::repeat_n(class, 1 + class as usize % 4)).collect();
        Sampler::new(SamplerConfig { classes: 3, images: 4 }, 5, &classes).unwrap()
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
        let error = Sampler::new(SamplerConfig { classes: 3, images: 4 }, 5, &[0, 0, 1]).unwrap_err();
        assert!(error.contains("has 2") && error.contains("sampler.classes"), "{error}");
        assert!(Sampler::new(SamplerConfig { classes: 2, images: 1 }, 5, &[0, 0, 1]).is_err());
    }
}
