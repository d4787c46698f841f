//! Margin loss: positives nearer than `beta - margin`, negatives farther than `beta + margin`, with a
//! learned boundary `beta` a class.
//!
//! `loss = sum [D - beta + margin]+ over alike + sum [beta - D + margin]+ over unlike`, with
//! `D = sqrt(2 - 2 s)` the Euclidean distance of unit vectors, plus `nu * beta` an active pair.
//! Source: Wu, Manmatha, Smola and Krähenbühl, "Sampling Matters in Deep Embedding Learning",
//! ICCV 2017, equation 6.

use super::{LossValue, PairLoss, Pairs};
use crate::weights::{Array, Weights};
use burn::tensor::{Int, Tensor, TensorData, activation::relu};
use serde::{Deserialize, Serialize};

/// Settings of the margin loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MarginConfig {
    /// Half the width of the band around the boundary, in units of distance.
    pub margin: f32,
    /// First value of every boundary.
    pub beta: f32,
    /// Weight of the boundaries' own penalty.
    pub nu: f32,
}

impl Default for MarginConfig {
    fn default() -> Self {
        Self { margin: 0.2, beta: 1.2, nu: 0.0 }
    }
}

/// Under the root: its slope at a distance of zero would be infinite.
const SMALLEST_SQUARE: f32 = 1e-8;

impl PairLoss for MarginConfig {
    fn parameters(&self, classes: usize) -> Weights {
        let mut weights = Weights::default();
        weights.insert("beta", Array::flat(vec![self.beta; classes]));
        weights
    }

    fn forward(&self, pairs: &Pairs<'_>) -> LossValue {
        let device = pairs.similarity.device();
        let (alike, unlike) = pairs.relation.tensors(&device);
        let classes: Vec<i64> = pairs.classes.iter().map(|&class| i64::from(class)).collect();
        let classes = Tensor::<1, Int>::from_data(TensorData::new(classes, [pairs.classes.len()]), &device);
        let beta = pairs.parameters.flat("loss.beta").select(0, classes);
        let boundary = beta.clone().unsqueeze_dim::<2>(1);
        let square = pairs.similarity.clone().mul_scalar(-2.0).add_scalar(2.0);
        let distance = square.clamp_min(0.0).add_scalar(SMALLEST_SQUARE).sqrt();
        let pull = relu(distance.clone().sub(boundary.clone()).add_scalar(self.margin)) * alike;
        let push = relu(boundary.sub(distance).add_scalar(self.margin)) * unlike;
        let active = |v: &Tensor<2>| v.clone().detach().greater_scalar(0.0).float().sum_dim(1).reshape([-1]);
        let active = active(&pull) + active(&push);
        let sums = (pull + push).sum_dim(1).reshape([-1]) + beta * active.clone() * self.nu;
        LossValue { sums, active }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relation::Relation;
    use burn::tensor::Device;

    /// Cosine of two unit vectors at this distance.
    fn cosine(distance: f32) -> f32 {
        1.0 - distance * distance / 2.0
    }

    /// One anchor, one positive at 1.1, one negative at `negative`: loss, slope of beta, of both cosines.
    fn run(config: &MarginConfig, negative: f32) -> (f32, f32, Vec<f32>) {
        let device = Device::flex().autodiff();
        let mut parameters = Weights::default();
        parameters.extend("loss.", &config.parameters(1));
        let parameters = parameters.bind(&device, |_| true);
        let similarity = Tensor::<2>::from_floats([[cosine(1.1), cosine(negative)]], &device).require_grad();
        let relation = Relation::from_classes(&[0], &[0, 1]);
        let pairs = Pairs {
            similarity: similarity.clone(),
            relation: &relation,
            classes: &[0],
            parameters: &parameters,
        };
        let loss = config.forward(&pairs).per_active_pair();
        let grads = loss.clone().backward();
        let slope = parameters.flat("loss.beta").grad(&grads).unwrap().into_scalar();
        let cosines = similarity.grad(&grads).unwrap().into_data().try_to_vec().unwrap();
        (loss.into_scalar(), slope, cosines)
    }

    #[test]
    fn by_hand() {
        // Positive: 1.1 - 1.2 + 0.2 = 0.1. Negative at 1.3: 1.2 - 1.3 + 0.2 = 0.1. Two active pairs; the
        // boundary is pushed both ways.
        let (loss, slope, _) = run(&MarginConfig::default(), 1.3);
        assert!((loss - 0.1).abs() < 1e-5 && slope.abs() < 1e-6, "{loss} {slope}");
        // Negative at 1.5 is beyond 1.4: only the positive counts.
        let (loss, slope, _) = run(&MarginConfig::default(), 1.5);
        assert!((loss - 0.1).abs() < 1e-5 && (slope + 1.0).abs() < 1e-6, "{loss} {slope}");
        // nu adds beta an active pair.
        let (loss, _, _) = run(&MarginConfig { nu: 0.5, ..MarginConfig::default() }, 1.5);
        assert!((loss - 0.7).abs() < 1e-5, "{loss}");
    }

    #[test]
    fn slopes_agree_with_differences() {
        // dD/ds = -1/D: the positive's slope is -1/1.1 / 2 pairs, the negative's +1/1.3 / 2 pairs.
        let (_, _, cosines) = run(&MarginConfig::default(), 1.3);
        assert!((cosines[0] + 0.5 / 1.1).abs() < 1e-4, "{cosines:?}");
        assert!((cosines[1] - 0.5 / 1.3).abs() < 1e-4, "{cosines:?}");
    }

    /// The definition, pair by pair.
    #[test]
    fn agrees_with_the_definition_on_a_batch() {
        let device = Device::flex().autodiff();
        let config = MarginConfig::default();
        let classes = [0u32, 0, 1, 1, 2];
        let at = |i: usize, j: usize| if i == j { 1.0 } else { ((i * 7 + j * 7) % 10) as f32 / 10.0 - 0.3 };
        let similarity: Vec<f32> = (0..25).map(|k| at(k / 5, k % 5)).collect();
        let (mut want, mut active) = (0.0, 0.0f32);
        for (k, s) in similarity.iter().enumerate() {
            let (i, j) = (k / 5, k % 5);
            let distance = (2.0 - 2.0 * s).max(0.0).sqrt();
            let value = match (i == j, classes[i] == classes[j]) {
                (true, _) => 0.0,
                (_, true) => (distance - 1.2 + 0.2f32).max(0.0),
                (_, false) => (1.2 - distance + 0.2).max(0.0),
            };
            want += value;
            active += if value > 0.0 { 1.0 } else { 0.0 };
        }
        let mut parameters = Weights::default();
        parameters.extend("loss.", &config.parameters(3));
        let parameters = parameters.bind(&device, |_| true);
        let relation = Relation::from_classes(&classes, &classes).without_self();
        let similarity = Tensor::<2>::from_data(TensorData::new(similarity, [5, 5]), &device);
        let pairs = Pairs { similarity, relation: &relation, classes: &classes, parameters: &parameters };
        let got = config.forward(&pairs).per_active_pair().into_scalar::<f32>();
        assert!((got - want / active).abs() < 1e-5, "{got} {}", want / active);
    }

    #[test]
    fn identical_embeddings_and_lone_anchors_stay_finite() {
        let device = Device::flex().autodiff();
        let config = MarginConfig::default();
        let mut parameters = Weights::default();
        parameters.extend("loss.", &config.parameters(2));
        let parameters = parameters.bind(&device, |_| true);
        for classes in [[0u32, 0], [0, 1]] {
            let similarity = Tensor::<2>::ones([2, 2], &device).require_grad();
            let relation = Relation::from_classes(&classes, &classes).without_self();
            let pairs = Pairs {
                similarity: similarity.clone(),
                relation: &relation,
                classes: &classes,
                parameters: &parameters,
            };
            let loss = config.forward(&pairs).per_active_pair();
            let grads = loss.clone().backward();
            assert!(loss.into_scalar::<f32>().is_finite());
            let slopes: Vec<f32> = similarity.grad(&grads).unwrap().into_data().try_to_vec().unwrap();
            assert!(slopes.iter().all(|v| v.is_finite()), "{slopes:?}");
        }
    }
}
