//! Proxy-Anchor: each class's proxy against all pictures of the batch.
//!
//! `1/|P+| sum_{p in P+} ln(1 + sum_{z of p} e^(-alpha (s - margin))) + 1/C sum_p ln(1 + sum_{z not of p}
//! e^(alpha (s + margin)))` with the cosines `s`, `P+` the proxies of classes in the batch and `C` their number in
//! all.
//! Source: Kim et al., "Proxy Anchor Loss for Deep Metric Learning", CVPR 2020, equation 4.

use super::numerics::{log_one_plus_sum_exp, one_hot};
use super::{Batch, Loss, LossShape, LossValue, Reduction, Sees, Terms, class_weights};
use crate::settings::settings;
use crate::weights::Weights;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

settings! {
    /// Settings of Proxy-Anchor.
    pub struct ProxyAnchorConfig {
        /// Steepness.
        pub alpha: f32 = 32.0,
        /// Cosine by which both kinds must be on the right side.
        pub margin: f32 = 0.1,
        /// Divisor of the sums over proxies with pictures in the batch, and over all proxies.
        pub reduction: Reduction = Reduction::Mean,
    }
}

impl Loss for ProxyAnchorConfig {
    fn sees(&self) -> Sees {
        Sees::Classes
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn above_zero(&self) -> Vec<(&'static str, f32)> {
        vec![("loss.alpha", self.alpha)]
    }

    fn parameters(&self, shape: LossShape, rng: &mut ChaCha8Rng) -> Weights {
        class_weights::first("proxies", shape.classes, shape, rng)
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let cosines = class_weights::cosines(batch, "proxies").transpose();
        let proxies = cosines.dims()[0];
        let own = one_hot(batch.classes, proxies, &batch.device()).transpose();
        let present: BTreeSet<u32> = batch.classes.iter().copied().collect();
        let pull = cosines.clone().sub_scalar(self.margin) * -self.alpha;
        let push = cosines.add_scalar(self.margin) * self.alpha;
        let parts = vec![
            Terms::hinges(log_one_plus_sum_exp(pull, &own), present.len()),
            Terms::hinges(log_one_plus_sum_exp(push, &own.bool_not()), proxies),
        ];
        LossValue { parts, penalty: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, close, holds, run};
    use crate::losses::class_weights::tests::cosines;

    #[test]
    fn by_hand() {
        // Cosines .9 and 0: ln(1 + e^(-32 x .8)) = 0 of one proxy, ln(1 + e^(32 x .1)) / 2 = 1.619977.
        let weight = [0.9, (1.0f64 - 0.81).sqrt(), 0.0, 1.0];
        let given = Given::new(&[&[1.0, 0.0]], &[0]).with("proxies", &[2, 2], &weight);
        close(&[run(&ProxyAnchorConfig::default(), &given).value], &[1.619_977]);
    }

    #[test]
    fn agrees_with_the_definition() {
        let config = ProxyAnchorConfig { alpha: 6.0, ..ProxyAnchorConfig::default() };
        let margin = f64::from(0.1f32);
        holds(&config, |given| {
            let all: Vec<Vec<f64>> = (0..given.count()).map(|i| cosines(given, i, "proxies")).collect();
            let (mut pull, mut push, mut present) = (0.0, 0.0, 0.0);
            for p in 0..all[0].len() {
                let (mut own, mut others) = (0.0, 0.0);
                for (row, &class) in all.iter().zip(&given.classes) {
                    if class as usize == p {
                        own += (-6.0 * (row[p] - margin)).exp();
                    } else {
                        others += (6.0 * (row[p] + margin)).exp();
                    }
                }
                pull += own.ln_1p();
                push += others.ln_1p();
                present += f64::from(u8::from(own > 0.0));
            }
            pull / present + push / all[0].len() as f64
        });
    }
}
