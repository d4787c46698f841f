//! Easy positives: for each anchor its nearest alike picture, and an unlike one that is hard or semi-hard. A
//! class may then stay spread out: only its neighbours must hold together.
//!
//! Source: Xuan, Stylianou and Pless, "Improved Embeddings with Easy Positive Triplet Mining", WACV 2020,
//! section 3.

use super::{Keeps, Miner, nearest, one_of_each, within};
use crate::relation::Relation;
use crate::settings::settings;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Which unlike picture goes with the nearest alike one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Negative {
    /// The nearest.
    Hard,
    /// The nearest that is farther than the alike one; an anchor without any is left out.
    SemiHard,
}

settings! {
    /// Settings of easy positives.
    pub struct EasyPositiveConfig {
        /// Which unlike picture is kept.
        pub negative: Negative = Negative::Hard,
    }
}

impl Miner for EasyPositiveConfig {
    fn keeps(&self) -> Keeps {
        Keeps::Pairs
    }

    fn mine(&self, similarity: &[f32], _: usize, relation: Relation, _: &mut ChaCha8Rng) -> Relation {
        one_of_each(similarity, relation, |row, alike, unlike| {
            let positive = nearest(row, within(alike))?;
            let hard_enough = |&n: &usize| self.negative == Negative::Hard || row[n] < row[positive];
            Some((positive, nearest(row, within(unlike).filter(hard_enough))?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn by_hand() {
        let relation = || Relation::from_classes(&[0], &[0, 0, 1, 1, 1]);
        let cosines = [0.3, 0.6, 0.8, 0.5, 0.1];
        let mine = |negative| {
            EasyPositiveConfig { negative }.mine(&cosines, 2, relation(), &mut ChaCha8Rng::seed_from_u64(0))
        };
        assert_eq!(mine(Negative::Hard).alike(0), [false, true, false, false, false]);
        assert_eq!(mine(Negative::Hard).unlike(0), [false, false, true, false, false]);
        assert_eq!(mine(Negative::SemiHard).unlike(0), [false, false, false, true, false]);
    }
}
