//! Multi-similarity loss: each pair weighted by itself and by all others of its anchor.
//!
//! `1/alpha ln(1 + sum_p e^(-alpha (s - base))) + 1/beta ln(1 + sum_n e^(beta (s - base)))` an anchor, with
//! cosines `s`. Goes with the miner of the same name.
//! Source: Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning",
//! CVPR 2019, equation 15.

use super::numerics::log_one_plus_sum_exp;
use super::{Batch, Loss, LossValue, Reduction, Sees, Terms};
use crate::settings::settings;

settings! {
    /// Settings of the multi-similarity loss.
    pub struct MultiSimilarityConfig {
        /// Steepness over alike pairs.
        pub alpha: f32 = 2.0,
        /// Steepness over unlike pairs.
        pub beta: f32 = 50.0,
        /// Cosine between the two.
        pub base: f32 = 0.5,
        /// Divisor of the sum over anchors.
        pub reduction: Reduction = Reduction::Anchors,
    }
}

impl Loss for MultiSimilarityConfig {
    fn sees(&self) -> Sees {
        Sees::Pairs
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn above_zero(&self) -> Vec<(&'static str, f32)> {
        vec![("loss.alpha", self.alpha), ("loss.beta", self.beta)]
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let (alike, unlike) = batch.relation.masks(&batch.device());
        let above = batch.cosines.clone().sub_scalar(self.base);
        let pull = log_one_plus_sum_exp(above.clone() * -self.alpha, &alike) / self.alpha;
        let push = log_one_plus_sum_exp(above * self.beta, &unlike) / self.beta;
        LossValue::of(Terms::hinges(pull + push, batch.relation.anchors()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, Sum, close, holds, run};

    #[test]
    fn by_hand() {
        // s_p = .8, s_n = .6 of the first anchor: ln(1 + e^-.6) / 2 + ln(1 + e^5) / 50 = .218744 + .100134.
        let third = (1.0f64 - 0.36).sqrt();
        let given = Given::new(&[&[1.0, 0.0], &[0.8, 0.6], &[0.6, third]], &[0, 0, 1]).only_anchor(0);
        let config = MultiSimilarityConfig { reduction: Reduction::Sum, ..MultiSimilarityConfig::default() };
        close(&[run(&config, &given).value], &[0.318_878]);
    }

    #[test]
    fn agrees_with_the_definition() {
        holds(&MultiSimilarityConfig::default(), |given| {
            let mut sum = Sum::default();
            for a in 0..given.count() {
                let (mut pull, mut push) = (0.0, 0.0);
                for j in 0..given.count() {
                    if given.alike(a, j) {
                        pull += (-2.0 * (given.cosine(a, j) - 0.5)).exp();
                    } else if given.unlike(a, j) {
                        push += (50.0 * (given.cosine(a, j) - 0.5)).exp();
                    }
                }
                sum.add(pull.ln_1p() / 2.0 + push.ln_1p() / 50.0);
            }
            sum.mean()
        });
    }
}
