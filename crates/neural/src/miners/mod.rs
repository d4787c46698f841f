//! Miners choose which pairs or triplets of a batch a loss sees. A new one is a file here with its settings
//! and [`Miner`] for them, its `mod`, and a line of `miners!`.

mod distance_weighted;
mod easy_positive;
mod hard;
mod multi_similarity;
mod pair_margin;
mod relevance;
mod semi_hard;

pub use distance_weighted::DistanceWeightedConfig;
pub use easy_positive::{EasyPositiveConfig, Negative};
pub use hard::HardConfig;
pub use multi_similarity::MultiSimilarityConfig;
pub use pair_margin::PairMarginConfig;
pub use relevance::RelevanceConfig;
pub use semi_hard::{Choice, SemiHardConfig};

use crate::losses::Sees;
use crate::relation::Relation;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// What a miner narrows a relation to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Everything.
    All,
    /// Some pairs.
    Pairs,
    /// Some triplets, of which pairs alone would say less.
    Triplets,
}

impl Keeps {
    /// Whether a loss that sees so much of a batch can use it.
    #[must_use]
    pub fn fits(self, sees: Sees) -> bool {
        match self {
            Self::All => true,
            Self::Pairs => matches!(sees, Sees::Pairs | Sees::Triplets),
            Self::Triplets => sees == Sees::Triplets,
        }
    }
}

/// Narrows a relation.
pub trait Miner {
    /// What to.
    fn keeps(&self) -> Keeps;

    /// Keeps some of the relation's pairs, given the cosines `[anchors * refs]` of unit-length
    /// embeddings `dim` values long.
    fn mine(&self, similarity: &[f32], dim: usize, relation: Relation, rng: &mut ChaCha8Rng) -> Relation;
}

/// Makes the enum of all miners from one line a miner.
macro_rules! miners {
    ($($name:literal: $variant:ident($config:ident), $about:literal;)+) => {
        /// A miner as a recipe states it.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name", deny_unknown_fields)]
        pub enum MinerConfig {
            $(#[doc = $about] #[serde(rename = $name)] $variant($config),)+
        }

        impl MinerConfig {
            /// The miner itself.
            #[must_use]
            pub fn init(&self) -> Box<dyn Miner> {
                match self { $(Self::$variant(config) => Box::new(config.clone()),)+ }
            }

            /// What a recipe calls it.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)+ }
            }

            /// Every miner with its defaults.
            #[must_use]
            pub fn every() -> Vec<Self> {
                vec![$(Self::$variant($config::default()),)+]
            }
        }
    };
}

miners! {
    "all": All(AllConfig), "Every pair.";
    "distance-weighted": DistanceWeighted(DistanceWeightedConfig), "Negatives by the rarity of their distance.";
    "hard": Hard(HardConfig), "The farthest alike and the nearest unlike picture.";
    "easy-positive": EasyPositive(EasyPositiveConfig), "The nearest alike picture and a hard unlike one.";
    "multi-similarity": MultiSimilarity(MultiSimilarityConfig), "Pairs that pairs of the other kind outdo.";
    "pair-margin": PairMargin(PairMarginConfig), "Alike pairs that are far and unlike ones that are near.";
    "semi-hard": SemiHard(SemiHardConfig), "Unlike pictures a little farther than an alike one.";
    "relevance": Relevance(RelevanceConfig), "Triplets drawn by relevance.";
}

crate::settings::settings! {
    /// Every pair: no settings.
    pub struct AllConfig {}
}

impl Miner for AllConfig {
    fn keeps(&self) -> Keeps {
        Keeps::All
    }

    fn mine(&self, _: &[f32], _: usize, relation: Relation, _: &mut ChaCha8Rng) -> Relation {
        relation
    }
}

/// Of some refs the one with the largest cosine; the first of equals.
fn nearest(row: &[f32], refs: impl Iterator<Item = usize>) -> Option<usize> {
    refs.reduce(|best, at| if row[at] > row[best] { at } else { best })
}

/// Of some refs the one with the smallest cosine; the first of equals.
fn farthest(row: &[f32], refs: impl Iterator<Item = usize>) -> Option<usize> {
    refs.reduce(|best, at| if row[at] < row[best] { at } else { best })
}

/// Refs of a mask.
fn within(mask: &[bool]) -> impl Iterator<Item = usize> {
    mask.iter().enumerate().filter(|(_, masked)| **masked).map(|(at, _)| at)
}

/// Squared distance of unit vectors of this cosine.
fn square(cosine: f32) -> f32 {
    (2.0 - 2.0 * cosine).max(0.0)
}

/// Keeps one alike and one unlike picture of each anchor for which `choose` finds both.
fn one_of_each(
    similarity: &[f32],
    relation: Relation,
    choose: impl Fn(&[f32], &[bool], &[bool]) -> Option<(usize, usize)>,
) -> Relation {
    let (anchors, refs) = (relation.anchors(), relation.refs());
    let (mut alike, mut unlike) = (vec![false; anchors * refs], vec![false; anchors * refs]);
    for anchor in 0..anchors {
        let row = &similarity[anchor * refs..(anchor + 1) * refs];
        if let Some((p, n)) = choose(row, relation.alike(anchor), relation.unlike(anchor)) {
            alike[anchor * refs + p] = true;
            unlike[anchor * refs + n] = true;
        }
    }
    relation.narrowed(&alike, &unlike)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn every_miner_only_narrows_and_repeats_itself() {
        for config in MinerConfig::every() {
            for seed in 0..50 {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let count = rng.random_range(1..12);
                let classes: Vec<u32> = (0..count).map(|_| rng.random_range(0..4)).collect();
                let cosines: Vec<f32> = (0..count * count).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect();
                let relation = Relation::from_classes(&classes, &classes).without_self();
                let mine = || {
                    let mut rng = ChaCha8Rng::seed_from_u64(seed);
                    config.init().mine(&cosines, 8, relation.clone(), &mut rng)
                };
                let mined = mine();
                assert_eq!(mined, mine(), "{}", config.name());
                for a in 0..count {
                    let narrowed =
                        |new: &[bool], old: &[bool]| new.iter().zip(old).all(|(new, old)| *old || !new);
                    assert!(narrowed(mined.alike(a), relation.alike(a)), "{}", config.name());
                    assert!(narrowed(mined.unlike(a), relation.unlike(a)), "{}", config.name());
                }
                let triplets = config.init().keeps() == Keeps::Triplets;
                assert_eq!(mined.triplets().is_some(), triplets, "{}", config.name());
            }
        }
    }

    #[test]
    fn settings_survive_a_recipe() {
        for config in MinerConfig::every() {
            let text = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<MinerConfig>(&text).unwrap(), config, "{text}");
        }
    }
}
