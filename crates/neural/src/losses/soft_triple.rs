//! SoftTriple: several centres a class, the nearest of which count most.
//!
//! The similarity with a class is `S_c = sum_k softmax_k(s_ck / gamma) s_ck` over its centres' cosines; the value is
//! the cross entropy of `lambda (S_c - margin [c is the own class])`, plus
//! `penalty sum_c sum_{t > s} sqrt(2 - 2 w_cs w_ct) / (C K (K - 1))`, which draws the centres of a class together
//! so that it ends up with as many as it needs.
//! Source: Qian et al., "SoftTriple Loss: Deep Metric Learning Without Triplet Sampling", ICCV 2019, equations 6
//! and 9.

use super::{Batch, Loss, LossShape, LossValue, Reduction, Sees, class_weights};
use crate::model::normalise;
use crate::settings::settings;
use crate::weights::Weights;
use burn::tensor::{Tensor, activation};
use rand_chacha::ChaCha8Rng;

/// Under the root of the penalty, as the authors have it.
const SMALLEST: f32 = 1e-5;

settings! {
    /// Settings of SoftTriple.
    pub struct SoftTripleConfig {
        /// Centres a class, 1 to 64.
        pub centres: usize = 10,
        /// Class similarities are multiplied by it.
        pub lambda: f32 = 20.0,
        /// Temperature of the softmax over a class's centres.
        pub gamma: f32 = 0.1,
        /// By how much the own class's similarity is lowered.
        pub margin: f32 = 0.01,
        /// Weight of the distances among a class's centres.
        pub penalty: f32 = 0.2,
        /// Divisor of the sum over pictures.
        pub reduction: Reduction = Reduction::Mean,
    }
}

impl SoftTripleConfig {
    fn centres(&self) -> usize {
        self.centres.clamp(1, 64)
    }

    /// Mean distance of two centres of a class, halved; `[1]`.
    fn spread(&self, centres: Tensor<2>) -> Tensor<1> {
        let count = self.centres();
        let [rows, dim] = centres.dims();
        let classes = rows / count;
        let grouped = centres.reshape([classes, count, dim]);
        let cosines = grouped.clone().matmul(grouped.swap_dims(1, 2));
        // Rounding takes cosines past 1.
        let squares = cosines.mul_scalar(-2.0).add_scalar(2.0).clamp_min(0.0).add_scalar(SMALLEST);
        let pairs = Tensor::<2>::ones([count, count], &squares.device()).triu(1);
        let divisor = (classes * count * (count - 1)).max(1) as f32;
        (squares.sqrt() * pairs.unsqueeze_dim::<3>(0)).sum() / divisor
    }
}

impl Loss for SoftTripleConfig {
    fn sees(&self) -> Sees {
        Sees::Classes
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn above_zero(&self) -> Vec<(&'static str, f32)> {
        let centres = if self.centres == self.centres() { 1.0 } else { 0.0 };
        vec![("loss.lambda", self.lambda), ("loss.gamma", self.gamma), ("loss.centres", centres)]
    }

    fn parameters(&self, shape: LossShape, rng: &mut ChaCha8Rng) -> Weights {
        class_weights::first("centres", shape.classes * self.centres(), shape, rng)
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let (count, rows) = (self.centres(), batch.classes.len());
        let centres = normalise(class_weights::vectors(batch, "centres"));
        let classes = centres.dims()[0] / count;
        let cosines = batch.anchors.unit.clone().matmul(centres.clone().transpose());
        let cosines = cosines.reshape([rows, classes, count]);
        let shares = activation::softmax(cosines.clone() / self.gamma, 2);
        let similarity = (shares * cosines).sum_dim(2).reshape([rows, classes]);
        let scale = class_weights::scale(batch, self.lambda);
        let terms = class_weights::with_own(batch, similarity, scale, |own| own.sub_scalar(self.margin));
        LossValue { parts: vec![terms], penalty: Some(self.spread(centres) * self.penalty) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, holds, run, unit};
    use crate::losses::class_weights::tests::{cosines, mean_cross_entropy};

    #[test]
    fn by_hand() {
        // Cosines .8, .6 | .1, .3: S = .776159, .276159; ln(1 + e^(20 (.276159 - .776159 + .01))) = 5.545e-5.
        let at = |cosine: f64| [cosine, (1.0 - cosine * cosine).sqrt()];
        let centres = [at(0.8), at(0.6), at(0.1), at(0.3)].concat();
        let given = Given::new(&[&[1.0, 0.0]], &[0]).with("centres", &[4, 2], &centres);
        let config = SoftTripleConfig { centres: 2, penalty: 0.0, ..SoftTripleConfig::default() };
        let got = run(&config, &given).value;
        // One rounding of the logits in f32 is 6e-8.
        assert!((got - 5.545e-5).abs() < 1e-7, "{got}");
    }

    #[test]
    fn agrees_with_the_definition() {
        let config = SoftTripleConfig { centres: 3, gamma: 0.25, lambda: 8.0, ..SoftTripleConfig::default() };
        holds(&config, |given| {
            let entropy = mean_cross_entropy(given, |i| {
                let similarity = |(class, cosines): (usize, &[f64])| {
                    let powers: Vec<f64> = cosines.iter().map(|s| (s / 0.25).exp()).collect();
                    let sum: f64 = powers.iter().zip(cosines).map(|(power, s)| power * s).sum();
                    let own = class == given.classes[i] as usize;
                    let margin = if own { f64::from(0.01f32) } else { 0.0 };
                    8.0 * (sum / powers.iter().sum::<f64>() - margin)
                };
                cosines(given, i, "centres").chunks(3).enumerate().map(similarity).collect()
            });
            let dim = given.raw[0].len();
            let rows: Vec<Vec<f64>> = given.of("centres").chunks(dim).map(unit).collect();
            let mut spread = 0.0;
            for class in rows.chunks(3) {
                for (s, t) in [(0, 1), (0, 2), (1, 2)] {
                    let dot: f64 = class[s].iter().zip(&class[t]).map(|(a, b)| a * b).sum();
                    spread += (2.0 + 1e-5 - 2.0 * dot).sqrt();
                }
            }
            entropy + f64::from(0.2f32) * spread / (rows.len() * 2) as f64
        });
    }
}
