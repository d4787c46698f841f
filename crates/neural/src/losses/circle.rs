//! Circle loss: each pair weighted by how far its cosine is from where it should be.
//!
//! An anchor with both kinds of pairs has the term
//! `ln(1 + sum_n e^(gamma w_n (s_n - margin)) sum_p e^(-gamma w_p (s_p - 1 + margin)))` with the weights
//! `w_p = [1 + margin - s_p]+` and `w_n = [s_n + margin]+`, which carry no slope.
//! Source: Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization", CVPR 2020,
//! equations 6 to 8.

use super::numerics::{log_sum_exp, pick, softplus};
use super::{Batch, Loss, LossValue, Reduction, Sees, Terms};
use crate::settings::settings;
use burn::tensor::activation::relu;

settings! {
    /// Settings of the circle loss.
    pub struct CircleConfig {
        /// Half of how far the cosines of alike and unlike pairs may stay from 1 and 0.
        pub margin: f32 = 0.4,
        /// Steepness.
        pub gamma: f32 = 80.0,
        /// Divisor of the sum over anchors.
        pub reduction: Reduction = Reduction::Active,
    }
}

impl Loss for CircleConfig {
    fn sees(&self) -> Sees {
        Sees::Pairs
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn above_zero(&self) -> Vec<(&'static str, f32)> {
        vec![("loss.gamma", self.gamma)]
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let (relation, device) = (batch.relation, batch.device());
        let both = |&a: &usize| relation.alike(a).contains(&true) && relation.unlike(a).contains(&true);
        let anchors: Vec<usize> = (0..relation.anchors()).filter(both).collect();
        if anchors.is_empty() {
            return LossValue::of(Terms::none(&device));
        }
        let (alike, unlike) = relation.masks(&device);
        let (margin, cosine) = (self.margin, batch.cosines.clone());
        let still = cosine.clone().detach();
        let pull =
            relu(still.clone().neg().add_scalar(1.0 + margin)) * cosine.clone().sub_scalar(1.0 - margin);
        let push = relu(still.add_scalar(margin)) * cosine.sub_scalar(margin);
        let sum = log_sum_exp(push * self.gamma, unlike) + log_sum_exp(pull * -self.gamma, alike);
        LossValue::of(Terms::hinges(softplus(pick(sum, &anchors)), anchors.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, Sum, close, holds_but_for_slopes, run};

    #[test]
    fn by_hand() {
        // w_n (s_n - m) = .65 x .15 = .0975; -w_p (s_p - 1 + m) = -.45 x .05 = -.0225; ln(1 + e^.075) = .731350.
        // Slopes: sigma(.075) = .518741, times -.45 and .65.
        let config = CircleConfig { margin: 0.25, gamma: 1.0, reduction: Reduction::Sum };
        let unit = |cosine: f64| [cosine, (1.0 - cosine * cosine).sqrt()];
        let given = Given::new(&[&[1.0, 0.0], &unit(0.8), &unit(0.4)], &[0, 0, 1]).only_anchor(0);
        let got = run(&config, &given);
        close(&[got.value], &[0.731_350]);
        // The second axis of the anchor sees -.233434 x .6 + .337182 x .916515 (the first is scaled away).
        close(&got.raw[..2], &[0.0, -0.233_434 * 0.6 + 0.337_182 * 0.916_515]);
    }

    /// The weights carry no slope, so differences of the definition with weights kept fixed are the gradient.
    #[test]
    fn agrees_with_the_definition() {
        let config = CircleConfig { margin: 0.25, gamma: 8.0, ..CircleConfig::default() };
        holds_but_for_slopes(&config, |given, at| {
            let mut sum = Sum::default();
            for a in 0..given.count() {
                let of = |wanted: &dyn Fn(usize) -> bool, term: &dyn Fn(usize) -> f64| -> f64 {
                    (0..given.count()).filter(|&j| wanted(j)).map(|j| (8.0 * term(j)).exp()).sum()
                };
                let pull = of(&|j| given.alike(a, j), &|j| {
                    -(1.25 - at.cosine(a, j)).max(0.0) * (given.cosine(a, j) - 0.75)
                });
                let push = of(&|j| given.unlike(a, j), &|j| {
                    (at.cosine(a, j) + 0.25).max(0.0) * (given.cosine(a, j) - 0.25)
                });
                if pull > 0.0 && push > 0.0 {
                    sum.add((pull * push).ln_1p());
                }
            }
            sum.per_active()
        });
    }
}
