//! Hard mining: for each anchor its farthest alike and its nearest unlike picture. An anchor that lacks one of
//! them is left out.
//!
//! Source: Hermans, Beyer and Leibe, "In Defense of the Triplet Loss", 2017, section 2 (batch hard).

use super::{Keeps, Miner, farthest, nearest, one_of_each, within};
use crate::relation::Relation;
use crate::settings::settings;
use rand_chacha::ChaCha8Rng;

settings! {
    /// Hard mining: no settings.
    pub struct HardConfig {}
}

impl Miner for HardConfig {
    fn keeps(&self) -> Keeps {
        Keeps::Pairs
    }

    fn mine(&self, similarity: &[f32], _: usize, relation: Relation, _: &mut ChaCha8Rng) -> Relation {
        one_of_each(similarity, relation, |row, alike, unlike| {
            Some((farthest(row, within(alike))?, nearest(row, within(unlike))?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn by_hand() {
        let relation = Relation::from_classes(&[0, 2], &[0, 0, 0, 1, 1]);
        let cosines = [0.9, 0.2, 0.5, 0.3, 0.4, 0.0, 0.0, 0.0, 0.0, 0.0];
        let mined = HardConfig {}.mine(&cosines, 2, relation, &mut ChaCha8Rng::seed_from_u64(0));
        assert_eq!(mined.alike(0), [false, true, false, false, false]);
        assert_eq!(mined.unlike(0), [false, false, false, false, true]);
        assert_eq!((mined.alike(1), mined.unlike(1)), (&[false; 5][..], &[false; 5][..]), "no alike picture");
    }
}
