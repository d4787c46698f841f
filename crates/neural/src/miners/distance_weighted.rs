//! Distance-weighted sampling: as many negatives as an anchor has positives, drawn so that every
//! distance is equally likely.
//!
//! On the unit sphere in `d` dimensions the density of the distance `D` of two random points is
//! `q(D) ~ D^(d-2) (1 - D^2/4)^((d-3)/2)`; a negative's weight is `1 / q(max(D, cutoff))`, and 0 from
//! `farthest` on, where the loss has no slope. Source: Wu et al., ICCV 2017, section 4.1.

use super::{Keeps, Miner};
use crate::relation::Relation;
use crate::settings::settings;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

settings! {
    /// Settings of distance-weighted sampling.
    pub struct DistanceWeightedConfig {
        /// Distances below are weighted as this one: the rarest would be mostly label noise.
        pub cutoff: f32 = 0.5,
        /// Distances from here on are not drawn.
        pub farthest: f32 = 1.4,
    }
}

impl DistanceWeightedConfig {
    /// `-ln q(D)` up to a constant.
    fn log_weight(&self, distance: f32, dim: usize) -> f32 {
        let (d, dim) = (distance.max(self.cutoff), dim as f32);
        -((dim - 2.0) * d.ln() + (dim - 3.0) / 2.0 * (1.0 - d * d / 4.0).max(1e-8).ln())
    }
}

impl Miner for DistanceWeightedConfig {
    fn keeps(&self) -> Keeps {
        Keeps::Pairs
    }

    fn mine(&self, similarity: &[f32], dim: usize, relation: Relation, rng: &mut ChaCha8Rng) -> Relation {
        let refs = relation.refs();
        let mut unlike = vec![false; relation.anchors() * refs];
        for anchor in 0..relation.anchors() {
            let wanted = relation.alike(anchor).iter().filter(|&&alike| alike).count();
            let candidates: Vec<usize> = (0..refs).filter(|&r| relation.unlike(anchor)[r]).collect();
            let distance = |r: usize| (2.0 - 2.0 * similarity[anchor * refs + r]).max(0.0).sqrt();
            let near: Vec<usize> =
                candidates.iter().copied().filter(|&r| distance(r) < self.farthest).collect();
            // Without any negative near enough, uniform over all of them (they carry no slope, but keep
            // the count of drawn pairs what the recipe says).
            let (pool, weights) = if near.is_empty() {
                let uniform = vec![1.0; candidates.len()];
                (candidates, uniform)
            } else {
                let logs: Vec<f32> = near.iter().map(|&r| self.log_weight(distance(r), dim)).collect();
                // The maximum over the usable entries of this row: a global one underflows the row.
                let most = logs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let weights = logs.iter().map(|log| (log - most).exp()).collect();
                (near, weights)
            };
            for drawn in draw(&pool, weights, wanted, rng) {
                unlike[anchor * refs + drawn] = true;
            }
        }
        relation.with_unlike(unlike)
    }
}

/// Up to `count` of `pool`, without repeats, each in proportion to its weight among those left.
fn draw(pool: &[usize], mut weights: Vec<f32>, count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut drawn = Vec::with_capacity(count.min(pool.len()));
    for _ in 0..count.min(pool.len()) {
        let total: f32 = weights.iter().sum();
        let mut left = rng.random::<f32>() * total;
        let found = weights.iter().position(|&w| {
            left -= w;
            w > 0.0 && left < 0.0
        });
        // Rounding can leave a little over: then the last usable one is meant.
        let Some(at) = found.or_else(|| weights.iter().rposition(|&w| w > 0.0)) else { break };
        weights[at] = 0.0;
        drawn.push(pool[at]);
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn weights_by_hand() {
        // In 4 dimensions q(D) = D^2 sqrt(1 - D^2/4): q(1) / q(0.5) = sqrt(0.75) / (0.25 sqrt(0.9375)).
        let config = DistanceWeightedConfig::default();
        let ratio = (config.log_weight(0.5, 4) - config.log_weight(1.0, 4)).exp();
        assert!((ratio - 3.577_709).abs() < 1e-4, "{ratio}");
        assert_eq!(config.log_weight(0.1, 4), config.log_weight(0.5, 4));
    }

    #[test]
    fn draws_as_many_negatives_as_positives_and_prefers_near() {
        // Anchor 0 has one positive; negatives at cosine 0.6 (near) and 0.1.
        let similarity = [1.0, 0.9, 0.6, 0.1];
        let relation = || Relation::from_classes(&[0], &[0, 0, 1, 2]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = [0; 4];
        for _ in 0..500 {
            let mined = DistanceWeightedConfig::default().mine(&similarity, 128, relation(), &mut rng);
            assert_eq!(mined.unlike(0).iter().filter(|&&u| u).count(), 2);
            let single = Relation::from_classes(&[0], &[9, 0, 1, 2]);
            let mined = DistanceWeightedConfig::default().mine(&similarity, 128, single, &mut rng);
            mined.unlike(0).iter().enumerate().filter(|(_, u)| **u).for_each(|(r, _)| counts[r] += 1);
        }
        // At 128 dimensions the nearer of two is all but certain; column 0 is nearest (distance 0, cut off).
        assert!(counts[0] > 490, "{counts:?}");
    }

    #[test]
    fn falls_back_to_uniform_when_all_are_far() {
        let similarity = [1.0, -0.5, -0.9, -0.2];
        let relation = Relation::from_classes(&[0], &[0, 1, 2, 3]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mined = DistanceWeightedConfig::default().mine(&similarity, 128, relation, &mut rng);
        assert_eq!(mined.unlike(0).iter().filter(|&&u| u).count(), 1);
        assert!(!mined.unlike(0)[0]);
    }

    #[test]
    fn high_dimensions_do_not_underflow() {
        let similarity = [1.0, 0.02, 0.03, 0.04];
        let relation = Relation::from_classes(&[0], &[0, 1, 2, 3]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mined = DistanceWeightedConfig::default().mine(&similarity, 2048, relation, &mut rng);
        assert_eq!(mined.unlike(0).iter().filter(|&&u| u).count(), 1);
    }
}
