//! SphereFace (A-Softmax): the angle with the own class's vector is multiplied.
//!
//! Cross entropy of `|f| psi(a_y)` for the own class and `|f| cos a_j` for the others, vectors of unit length.
//! `psi(a) = (-1)^k cos(m a) - 2k` with `k = min(floor(m a / pi), m - 1)`, which carries no slope, falls from 1
//! to `1 - 2m`. It is blended in: `(weight cos a_y + psi(a_y)) / (1 + weight)` with
//! `weight = max(last, first / (1 + fall step))`.
//! Source: Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", CVPR 2017, equation 7; the
//! blend is in the authors' and others' programs.

use super::{Batch, Loss, LossShape, LossValue, Reduction, Sees, class_weights};
use crate::network::floats;
use crate::settings::settings;
use crate::weights::Weights;
use burn::tensor::{Tensor, TensorData};
use rand_chacha::ChaCha8Rng;

settings! {
    /// Settings of SphereFace.
    pub struct SphereFaceConfig {
        /// What the own class's angle is multiplied by, 1 to 8.
        pub margin: u32 = 4,
        /// Weight of the plain cosine at the first step.
        pub first: f32 = 1500.0,
        /// How fast the weight falls.
        pub fall: f32 = 0.1,
        /// Weight below which it does not fall.
        pub last: f32 = 5.0,
        /// Divisor of the sum over pictures.
        pub reduction: Reduction = Reduction::Mean,
    }
}

impl SphereFaceConfig {
    fn margin(&self) -> u32 {
        self.margin.clamp(1, 8)
    }

    fn weight(&self, step: usize) -> f32 {
        self.last.max(self.first / (1.0 + self.fall * step as f32))
    }

    /// `psi` of the angles with these cosines.
    fn psi(&self, cosine: &Tensor<1>) -> Tensor<1> {
        let times = self.margin();
        let turns = |c: f32| {
            let turns = (times as f32 * c.clamp(-1.0, 1.0).acos() / std::f32::consts::PI).floor();
            turns.min(times as f32 - 1.0)
        };
        let turns: Vec<f32> = floats(cosine.clone().detach()).into_iter().map(turns).collect();
        let sign = turns.iter().map(|k| if k % 2.0 == 0.0 { 1.0 } else { -1.0 }).collect::<Vec<f32>>();
        let of = |values: Vec<f32>| {
            let count = values.len();
            Tensor::<1>::from_data(TensorData::new(values, [count]), &cosine.device())
        };
        multiple(cosine, times) * of(sign) - of(turns) * 2.0
    }
}

/// `cos(times a)` from `cos a` by Chebyshev's recurrence, which has a slope where the arc cosine has none.
fn multiple(cosine: &Tensor<1>, times: u32) -> Tensor<1> {
    let (mut before, mut now) = (Tensor::ones_like(cosine), cosine.clone());
    for _ in 1..times {
        let next = cosine.clone() * now.clone() * 2.0 - before;
        (before, now) = (now, next);
    }
    now
}

impl Loss for SphereFaceConfig {
    fn sees(&self) -> Sees {
        Sees::Classes
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn above_zero(&self) -> Vec<(&'static str, f32)> {
        vec![("loss.margin", if self.margin == self.margin() { 1.0 } else { 0.0 })]
    }

    fn parameters(&self, shape: LossShape, rng: &mut ChaCha8Rng) -> Weights {
        class_weights::first("weight", shape.classes, shape, rng)
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let cosines = class_weights::cosines(batch, "weight");
        // Bounded before the root, whose slope at zero is infinite.
        let lengths = batch.anchors.raw.clone().powi_scalar(2).sum_dim(1).clamp_min(1e-12).sqrt();
        let weight = self.weight(batch.step);
        LossValue::of(class_weights::with_own(batch, cosines, lengths, |own| {
            (own.clone() * weight + self.psi(&own)) / (1.0 + weight)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{close, holds};
    use crate::losses::class_weights::tests::{cosines, mean_cross_entropy};
    use burn::tensor::Device;

    #[test]
    fn psi_by_hand() {
        // cos 60 deg: 240 deg is one turn of pi, -cos 240 - 2 = .5 - 2; at 0: 1; at 180: -cos 720 - 6.
        let config = SphereFaceConfig::default();
        let psi = |c: f32| {
            let psi = config.psi(&Tensor::from_floats([c], &Device::flex()));
            f64::from(psi.into_scalar::<f32>())
        };
        close(&[psi(0.5), psi(1.0), psi(-1.0)], &[-1.5, 1.0, -7.0]);
        // Blended at a weight of 5: (5 x .5 - 1.5) / 6 = .166667.
        close(&[(5.0 * 0.5 + psi(0.5)) / 6.0], &[0.166_667]);
    }

    #[test]
    fn the_plain_cosine_gives_way() {
        let config = SphereFaceConfig::default();
        assert!(config.weight(0) == 1500.0 && config.weight(10) == 750.0 && config.weight(1_000_000) == 5.0);
    }

    #[test]
    fn agrees_with_the_definition() {
        for (margin, last) in [(4, 0.0), (4, 5.0), (3, 1.0), (1, 0.0)] {
            let config = SphereFaceConfig { margin, first: 0.0, last, ..SphereFaceConfig::default() };
            let (times, last) = (f64::from(margin), f64::from(last));
            holds(&config, |given| {
                mean_cross_entropy(given, |i| {
                    let mut logits = cosines(given, i, "weight");
                    let own = &mut logits[given.classes[i] as usize];
                    let angle = own.acos();
                    let turns = (times * angle / std::f64::consts::PI).floor().min(times - 1.0);
                    let psi = (-1.0f64).powf(turns) * (times * angle).cos() - 2.0 * turns;
                    *own = (last * *own + psi) / (1.0 + last);
                    let length = given.dot(i, i).sqrt();
                    logits.iter().map(|logit| logit * length).collect()
                })
            });
        }
    }
}
