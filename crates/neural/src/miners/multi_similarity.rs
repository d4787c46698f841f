//! Multi-similarity mining: unlike pairs more similar than the least similar alike pair of their anchor less
//! `epsilon`, and alike pairs less similar than the most similar unlike pair plus `epsilon`.
//!
//! Source: Wang et al., "Multi-Similarity Loss with General Pair Weighting", CVPR 2019, equations 10 and 11.

use super::{Keeps, Miner, farthest, nearest, within};
use crate::relation::Relation;
use crate::settings::settings;
use rand_chacha::ChaCha8Rng;

settings! {
    /// Settings of multi-similarity mining.
    pub struct MultiSimilarityConfig {
        /// How far, as a cosine, a pair may be on the right side and still count.
        pub epsilon: f32 = 0.1,
    }
}

impl Miner for MultiSimilarityConfig {
    fn keeps(&self) -> Keeps {
        Keeps::Pairs
    }

    fn mine(&self, similarity: &[f32], _: usize, relation: Relation, _: &mut ChaCha8Rng) -> Relation {
        let (anchors, refs) = (relation.anchors(), relation.refs());
        let (mut alike, mut unlike) = (vec![false; anchors * refs], vec![false; anchors * refs]);
        for anchor in 0..anchors {
            let row = &similarity[anchor * refs..(anchor + 1) * refs];
            let least = farthest(row, within(relation.alike(anchor))).map_or(f32::INFINITY, |p| row[p]);
            let most = nearest(row, within(relation.unlike(anchor))).map_or(f32::NEG_INFINITY, |n| row[n]);
            for (item, &cosine) in row.iter().enumerate() {
                alike[anchor * refs + item] = cosine - self.epsilon < most;
                unlike[anchor * refs + item] = cosine + self.epsilon > least;
            }
        }
        relation.narrowed(&alike, &unlike)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn by_hand() {
        let mine = |cosines: &[f32], refs: &[u32]| {
            let relation = Relation::from_classes(&[0], refs);
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            MultiSimilarityConfig::default().mine(cosines, 2, relation, &mut rng)
        };
        // .6 + .1 is below .8: an anchor that has learned enough keeps nothing.
        let mined = mine(&[0.8, 0.6], &[0, 1]);
        assert_eq!((mined.alike_count(), mined.unlike_count()), (0, 0));
        // .75 + .1 is above .8 - only just: both stay; .5 goes; .95 - .1 is not below .75.
        let mined = mine(&[0.8, 0.95, 0.75, 0.5], &[0, 0, 1, 1]);
        assert_eq!(mined.alike(0), [true, false, false, false]);
        assert_eq!(mined.unlike(0), [false, false, true, false]);
        // Without unlike pictures nothing is hard.
        assert_eq!(mine(&[0.1], &[0]).alike_count(), 0);
    }
}
