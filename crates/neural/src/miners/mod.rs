//! Miners choose which pairs of a batch a loss sees. A new one is a file here, a variant of
//! [`MinerConfig`] and an arm of its `init`.

mod distance_weighted;

pub use distance_weighted::DistanceWeightedConfig;

use crate::relation::Relation;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Narrows a relation.
pub trait Miner {
    /// Keeps some of the relation's pairs, given the cosines `[anchors * refs]` of unit-length
    /// embeddings `dim` values long.
    fn mine(&self, similarity: &[f32], dim: usize, relation: Relation, rng: &mut ChaCha8Rng) -> Relation;
}

/// A miner as a recipe states it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum MinerConfig {
    /// Every pair.
    All,
    /// Negatives in proportion to the rarity of their distance.
    DistanceWeighted(DistanceWeightedConfig),
}

impl MinerConfig {
    /// The miner itself.
    #[must_use]
    pub fn init(&self) -> Box<dyn Miner> {
        match self {
            Self::All => Box::new(All),
            Self::DistanceWeighted(config) => Box::new(config.clone()),
        }
    }
}

struct All;

impl Miner for All {
    fn mine(&self, _: &[f32], _: usize, relation: Relation, _: &mut ChaCha8Rng) -> Relation {
        relation
    }
}
