//! Pairs beyond a margin: alike ones farther than one distance and unlike ones nearer than another.
//!
//! Distances are Euclidean between unit vectors, 0 to 2.

use super::{Keeps, Miner, square};
use crate::relation::Relation;
use crate::settings::settings;
use rand_chacha::ChaCha8Rng;

settings! {
    /// Settings of mining by margins.
    pub struct PairMarginConfig {
        /// Alike pairs farther than this are kept.
        pub alike_margin: f32 = 0.2,
        /// Unlike pairs nearer than this are kept.
        pub unlike_margin: f32 = 0.8,
    }
}

impl Miner for PairMarginConfig {
    fn keeps(&self) -> Keeps {
        Keeps::Pairs
    }

    fn mine(&self, similarity: &[f32], _: usize, relation: Relation, _: &mut ChaCha8Rng) -> Relation {
        let distances: Vec<f32> = similarity.iter().map(|&cosine| square(cosine).sqrt()).collect();
        let alike: Vec<bool> = distances.iter().map(|&d| d > self.alike_margin).collect();
        let unlike: Vec<bool> = distances.iter().map(|&d| d < self.unlike_margin).collect();
        relation.narrowed(&alike, &unlike)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn by_hand() {
        // Cosines .99 and .9 are distances .141 and .447; .7 and .5 are .775 and 1.
        let relation = Relation::from_classes(&[0], &[0, 0, 1, 1]);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mined = PairMarginConfig::default().mine(&[0.99, 0.9, 0.7, 0.5], 2, relation, &mut rng);
        assert_eq!(mined.alike(0), [false, true, false, false]);
        assert_eq!(mined.unlike(0), [false, false, true, false]);
    }
}
