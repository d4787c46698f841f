//! Lifted structure: each alike pair against all unlike pictures of both its ends.
//!
//! `J(i, j) = D(i, j) + ln(sum_{k unlike i} e^(margin - D(i, k)) + sum_{l unlike j} e^(margin - D(j, l)))`;
//! the value is the mean of `1/2 [J]+^2` over alike pairs, a pair counted from both its ends. A pair without
//! any unlike picture is left out. Against remembered refs only the anchor's end has unlike pictures.
//! Source: Song, Xiang, Jegelka and Savarese, "Deep Metric Learning via Lifted Structured Feature Embedding",
//! CVPR 2016, equation 4.

use super::numerics::{log_sum_exp, pick};
use super::{Batch, Loss, LossValue, Reduction, Sees, Terms};
use crate::settings::settings;
use burn::tensor::activation::relu;
use burn::tensor::{Bool, Tensor, TensorData};

settings! {
    /// Settings of the lifted structure loss.
    pub struct LiftedConfig {
        /// Distance from which on an unlike picture weighs little.
        pub margin: f32 = 1.0,
        /// Whether embeddings are scaled to unit length first.
        pub unit: bool = false,
        /// Divisor of the sum over alike pairs.
        pub reduction: Reduction = Reduction::Mean,
    }
}

impl Loss for LiftedConfig {
    fn sees(&self) -> Sees {
        Sees::Pairs
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let (relation, refs, device) = (batch.relation, batch.relation.refs(), batch.device());
        let has_unlike: Vec<bool> =
            (0..relation.anchors()).map(|a| relation.unlike(a).contains(&true)).collect();
        // The end at the ref has a row of its own where refs are the anchors.
        let far_end = |j: usize| batch.is_closed().then_some(j);
        let valid = |i: usize, j: usize| [has_unlike[i], far_end(j).is_some_and(|j| has_unlike[j])];
        let pairs: Vec<(usize, usize)> =
            relation.alike_pairs().filter(|&(i, j)| valid(i, j).contains(&true)).collect();
        if pairs.is_empty() {
            return LossValue::of(Terms::none(&device));
        }
        let distance = batch.distances(self.unit);
        let unlike = relation.masks(&device).1;
        let rows = log_sum_exp(distance.clone().neg().add_scalar(self.margin), unlike);
        let ends: Vec<usize> = pairs.iter().flat_map(|&(i, j)| [i, far_end(j).unwrap_or(i)]).collect();
        let mask: Vec<bool> = pairs.iter().flat_map(|&(i, j)| valid(i, j)).collect();
        let mask = Tensor::<2, Bool>::from_data(TensorData::new(mask, [pairs.len(), 2]), &device);
        let both = log_sum_exp(pick(rows, &ends).reshape([pairs.len(), 2]), mask);
        let places: Vec<usize> = pairs.iter().map(|&(i, j)| i * refs + j).collect();
        let terms = relu(both + pick(distance, &places)).powi_scalar(2).mul_scalar(0.5);
        LossValue::of(Terms::hinges(terms, pairs.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, Sum, close, holds, run};

    #[test]
    fn by_hand() {
        // Class 0 at 0 and 1, class 1 at 3: J = ln(e^(1 - 3) + e^(1 - 2)) + 1 = .313262, 1/2 J^2 = .049066.
        let given = Given::new(&[&[0.0], &[1.0], &[3.0]], &[0, 0, 1]);
        close(&[run(&LiftedConfig::default(), &given).value], &[0.049_066]);
    }

    #[test]
    fn agrees_with_the_definition() {
        for unit in [false, true] {
            holds(&LiftedConfig { unit, ..LiftedConfig::default() }, |given| {
                let mut sum = Sum::default();
                for (i, j) in given.pairs().filter(|&(i, j)| given.alike(i, j)) {
                    let weight = |a: usize| -> f64 {
                        let unlike = (0..given.count()).filter(|&k| given.unlike(a, k));
                        unlike.map(|k| (1.0 - given.distance(a, k, unit)).exp()).sum()
                    };
                    let both = weight(i) + weight(j);
                    if both > 0.0 {
                        sum.add((both.ln() + given.distance(i, j, unit)).max(0.0).powi(2) / 2.0);
                    }
                }
                sum.mean()
            });
        }
    }
}
