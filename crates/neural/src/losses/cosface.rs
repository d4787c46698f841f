//! CosFace: the cosine with the own class's vector must lead by a margin.
//!
//! Cross entropy of `scale (cos_y - margin)` for the own class and `scale cos_j` for the others; embeddings and
//! vectors have unit length.
//! Source: Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018, equation 4.

use super::{Batch, Loss, LossShape, LossValue, Reduction, Sees, class_weights};
use crate::settings::settings;
use crate::weights::Weights;
use rand_chacha::ChaCha8Rng;

settings! {
    /// Settings of CosFace.
    pub struct CosFaceConfig {
        /// By how much the own class's cosine is lowered.
        pub margin: f32 = 0.35,
        /// Cosines are multiplied by it.
        pub scale: f32 = 64.0,
        /// Divisor of the sum over pictures.
        pub reduction: Reduction = Reduction::Mean,
    }
}

impl Loss for CosFaceConfig {
    fn sees(&self) -> Sees {
        Sees::Classes
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn above_zero(&self) -> Vec<(&'static str, f32)> {
        vec![("loss.scale", self.scale)]
    }

    fn parameters(&self, shape: LossShape, rng: &mut ChaCha8Rng) -> Weights {
        class_weights::first("weight", shape.classes, shape, rng)
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let cosines = class_weights::cosines(batch, "weight");
        let scale = class_weights::scale(batch, self.scale);
        LossValue::of(class_weights::with_own(batch, cosines, scale, |own| own.sub_scalar(self.margin)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, close, holds, run};
    use crate::losses::class_weights::tests::{cosines, mean_cross_entropy};

    #[test]
    fn by_hand() {
        // Cosines .8 and .3, scale 1: ln(1 + e^(.3 - .8 + .35)) = .620957.
        let config = CosFaceConfig { scale: 1.0, ..CosFaceConfig::default() };
        let at = |cosine: f64| [cosine, (1.0 - cosine * cosine).sqrt()];
        let weight = [at(0.8), at(0.3)].concat();
        let given = Given::new(&[&[1.0, 0.0]], &[0]).with("weight", &[2, 2], &weight);
        close(&[run(&config, &given).value], &[0.620_957]);
    }

    #[test]
    fn agrees_with_the_definition() {
        let config = CosFaceConfig { scale: 8.0, ..CosFaceConfig::default() };
        holds(&config, |given| {
            mean_cross_entropy(given, |i| {
                let mut logits = cosines(given, i, "weight");
                logits[given.classes[i] as usize] -= f64::from(0.35f32);
                logits.iter().map(|cosine| 8.0 * cosine).collect()
            })
        });
    }
}
