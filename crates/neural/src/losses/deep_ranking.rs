//! Deep ranking: triplets of a query, a more and a less relevant picture.
//!
//! `[gap + D(q, p)^2 - D(q, n)^2]+`, each triplet bounded on its own. Goes with the miner and the sampler
//! `relevance`, which draw by relevance; the paper's penalty on the network's weights is `optimiser.decay`.
//! Source: Wang et al., "Learning Fine-grained Image Similarity with Deep Ranking", CVPR 2014, equations 2
//! to 4.

use super::{Batch, Loss, LossValue, Reduction, Sees, TripletConfig};
use crate::settings::settings;

settings! {
    /// Settings of deep ranking.
    pub struct DeepRankingConfig {
        /// By how much the more relevant one must be nearer, as squared distances.
        pub gap: f32 = 1.0,
        /// Whether embeddings are scaled to unit length first.
        pub unit: bool = true,
        /// Divisor of the sum over triplets.
        pub reduction: Reduction = Reduction::Mean,
    }
}

impl Loss for DeepRankingConfig {
    fn sees(&self) -> Sees {
        Sees::Triplets
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let hinge =
            TripletConfig { margin: self.gap, squared: true, unit: self.unit, reduction: self.reduction };
        hinge.forward(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, Sum, close, holds, run};

    #[test]
    fn by_hand() {
        // D(q, p)^2 = .8, D(q, n)^2 = .4: 1 + .8 - .4 = 1.4; slope at q: 2 (n - p) = (.4, -.4).
        let config = DeepRankingConfig { unit: false, ..DeepRankingConfig::default() };
        let given = Given::new(&[&[1.0, 0.0], &[0.6, 0.8], &[0.8, 0.6]], &[0, 0, 1]).only_anchor(0);
        let got = run(&config, &given);
        close(&[got.value], &[1.4]);
        close(&got.raw[..2], &[0.4, -0.4]);
    }

    #[test]
    fn agrees_with_the_definition() {
        holds(&DeepRankingConfig::default(), |given| {
            let mut sum = Sum::default();
            for (q, p) in given.pairs().filter(|&(q, p)| given.alike(q, p)) {
                for n in (0..given.count()).filter(|&n| given.unlike(q, n)) {
                    sum.add((1.0 + given.square(q, p, true) - given.square(q, n, true)).max(0.0));
                }
            }
            sum.mean()
        });
    }
}
