//! Semi-hard mining: for each alike pair one unlike picture that is farther, but by less than the margin.
//!
//! `D(a, p)^2 < D(a, n)^2 < D(a, p)^2 + margin`, distances of unit vectors. A pair without such a picture is left
//! out.
//! Source: Schroff, Kalenichenko and Philbin, "FaceNet", CVPR 2015, section 3.2; a random picture that breaks
//! the margin, harder ones included, is what the widespread open implementation draws.

use super::{Keeps, Miner, nearest, square, within};
use crate::relation::Relation;
use crate::settings::settings;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Which unlike picture a pair is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// The nearest semi-hard one.
    Nearest,
    /// A semi-hard one at random.
    Random,
    /// Any that breaks the margin, at random: nearer than the alike one, too.
    Violator,
}

settings! {
    /// Settings of semi-hard mining.
    pub struct SemiHardConfig {
        /// Difference of squared distances below which an unlike picture is not far enough.
        pub margin: f32 = 0.2,
        /// Which one is taken.
        pub choice: Choice = Choice::Nearest,
    }
}

impl Miner for SemiHardConfig {
    fn keeps(&self) -> Keeps {
        Keeps::Triplets
    }

    fn mine(&self, similarity: &[f32], _: usize, relation: Relation, rng: &mut ChaCha8Rng) -> Relation {
        let refs = relation.refs();
        let mut triplets = Vec::new();
        for (anchor, positive) in relation.alike_pairs() {
            let row = &similarity[anchor * refs..(anchor + 1) * refs];
            let reach = square(row[positive]);
            let semi_hard = |&n: &usize| {
                let far = square(row[n]);
                far < reach + self.margin && (self.choice == Choice::Violator || far > reach)
            };
            let found: Vec<usize> = within(relation.unlike(anchor)).filter(semi_hard).collect();
            let negative = match (self.choice, found.len()) {
                (_, 0) => None,
                (Choice::Nearest, _) => nearest(row, found.into_iter()),
                (Choice::Random | Choice::Violator, count) => Some(found[rng.random_range(0..count)]),
            };
            triplets.extend(negative.map(|negative| [anchor, positive, negative]));
        }
        relation.with_triplets(triplets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use std::collections::BTreeSet;

    #[test]
    fn by_hand() {
        // Squared distances: alike .4; unlike .2, .44, .5, .7. Semi-hard: .44 and .5.
        let cosines = [0.8, 0.9, 0.78, 0.75, 0.65];
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut mine = |choice| {
            let relation = Relation::from_classes(&[0], &[0, 1, 1, 2, 2]);
            let config = SemiHardConfig { choice, ..SemiHardConfig::default() };
            config.mine(&cosines, 2, relation, &mut rng).triplets().unwrap().to_vec()
        };
        assert_eq!(mine(Choice::Nearest), [[0, 0, 2]]);
        let mut drawn = |choice| (0..60).map(|_| mine(choice)[0][2]).collect::<BTreeSet<usize>>();
        assert_eq!(drawn(Choice::Random), BTreeSet::from([2, 3]));
        assert_eq!(drawn(Choice::Violator), BTreeSet::from([1, 2, 3]));
    }

    #[test]
    fn a_pair_without_a_semi_hard_picture_is_left_out() {
        let relation = Relation::from_classes(&[0], &[0, 1]);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mined = SemiHardConfig::default().mine(&[0.9, 0.1], 2, relation, &mut rng);
        assert_eq!(mined.triplets().unwrap().len(), 0);
        assert_eq!(mined.triplet_places(), (vec![], vec![]));
    }
}
