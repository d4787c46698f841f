//! Margin loss: positives nearer than `beta - margin`, negatives farther than `beta + margin`, with a
//! learned boundary `beta` a class.
//!
//! `loss = sum [D - beta + margin]+ over alike + sum [beta - D + margin]+ over unlike`, with
//! `D = sqrt(2 - 2 s)` the Euclidean distance of unit vectors, plus `nu * beta` an active pair.
//! Source: Wu, Manmatha, Smola and Krähenbühl, "Sampling Matters in Deep Embedding Learning",
//! ICCV 2017, equation 6.

use super::numerics::indices;
use super::{Batch, Loss, LossShape, LossValue, Reduction, Sees, Terms};
use crate::settings::settings;
use crate::weights::{Array, Weights};
use burn::tensor::activation::relu;
use rand_chacha::ChaCha8Rng;

settings! {
    /// Settings of the margin loss.
    pub struct MarginConfig {
        /// Half the width of the band around the boundary, in units of distance.
        pub margin: f32 = 0.2,
        /// First value of every boundary.
        pub beta: f32 = 1.2,
        /// Weight of the boundaries' own penalty.
        pub nu: f32 = 0.0,
        /// Divisor of the sum over pairs.
        pub reduction: Reduction = Reduction::Active,
    }
}

impl Loss for MarginConfig {
    fn sees(&self) -> Sees {
        Sees::Pairs
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn parameters(&self, shape: LossShape, _: &mut ChaCha8Rng) -> Weights {
        let mut weights = Weights::default();
        weights.insert("beta", Array::flat(vec![self.beta; shape.classes]));
        weights
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let device = batch.device();
        let (alike, unlike) = batch.relation.tensors(&device);
        let classes: Vec<usize> = batch.classes.iter().map(|&class| class as usize).collect();
        let beta = batch.parameters.flat("loss.beta").select(0, indices(&classes, &device));
        let boundary = beta.clone().unsqueeze_dim::<2>(1);
        let distance = batch.distances(true);
        let pull = relu(distance.clone().sub(boundary.clone()).add_scalar(self.margin)) * alike;
        let push = relu(boundary.sub(distance).add_scalar(self.margin)) * unlike;
        let pairs = pull + push;
        let active = pairs.clone().detach().greater_scalar(0.0).float().sum_dim(1).reshape([-1]);
        let count = batch.relation.alike_count() + batch.relation.unlike_count();
        let sum = (pairs.sum_dim(1).reshape([-1]) + beta * active.clone() * self.nu).sum();
        LossValue::of(Terms { sum, active: active.sum(), count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, Sum, close, holds, run};

    /// One anchor, one positive at 1.1, one negative at `negative`: loss and slope of beta.
    fn of(config: &MarginConfig, negative: f64) -> (f64, f64) {
        let at = |distance: f64| {
            let cosine = 1.0 - distance * distance / 2.0;
            [cosine, (1.0 - cosine * cosine).sqrt()]
        };
        let given = Given::new(&[&[1.0, 0.0], &at(1.1), &at(negative)], &[0, 0, 1]).only_anchor(0);
        let got = run(config, &given);
        (got.value, got.slopes("beta")[0])
    }

    #[test]
    fn by_hand() {
        // Positive: 1.1 - 1.2 + 0.2 = 0.1. Negative at 1.3: 1.2 - 1.3 + 0.2 = 0.1. Two active pairs; the
        // boundary is pushed both ways.
        let (loss, slope) = of(&MarginConfig::default(), 1.3);
        close(&[loss, slope], &[0.1, 0.0]);
        // Negative at 1.5 is beyond 1.4: only the positive counts.
        let (loss, slope) = of(&MarginConfig::default(), 1.5);
        close(&[loss, slope], &[0.1, -1.0]);
        // nu adds beta an active pair.
        let (loss, _) = of(&MarginConfig { nu: 0.5, ..MarginConfig::default() }, 1.5);
        close(&[loss], &[0.7]);
    }

    #[test]
    fn agrees_with_the_definition() {
        for nu in [0.0f32, 0.3] {
            holds(&MarginConfig { nu, ..MarginConfig::default() }, |given| {
                let mut sum = Sum::default();
                let margin = f64::from(0.2f32);
                for (i, j) in given.pairs() {
                    let (beta, d) = (given.of("beta")[given.classes[i] as usize], given.distance(i, j, true));
                    let value = match (given.alike(i, j), given.unlike(i, j)) {
                        (true, _) => (d - beta + margin).max(0.0),
                        (_, true) => (beta - d + margin).max(0.0),
                        _ => 0.0,
                    };
                    sum.add(if value > 0.0 { value + f64::from(nu) * beta } else { 0.0 });
                }
                sum.per_active()
            });
        }
    }
}
