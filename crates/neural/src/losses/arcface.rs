//! ArcFace: the angle with the own class's vector is enlarged by a margin.
//!
//! Cross entropy of `scale cos(a_y + margin)` for the own class and `scale cos_j` for the others; embeddings and
//! vectors have unit length. Beyond `pi - margin`, where the cosine would rise again, `cos a_y - margin sin margin`
//! stands for it. The slope is the exact one; some implementations take the change of the angle as a constant.
//! Source: Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, equation 3.

use super::{Batch, Loss, LossShape, LossValue, Reduction, Sees, class_weights};
use crate::settings::settings;
use crate::weights::Weights;
use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;

/// Cosines are kept this far from -1 and 1, where the sine's slope is infinite.
const EDGE: f32 = 1e-7;

settings! {
    /// Settings of ArcFace.
    pub struct ArcFaceConfig {
        /// By how much the own class's angle is enlarged, radians.
        pub margin: f32 = 0.5,
        /// Cosines are multiplied by it.
        pub scale: f32 = 64.0,
        /// Divisor of the sum over pictures.
        pub reduction: Reduction = Reduction::Mean,
    }
}

impl ArcFaceConfig {
    fn enlarged(&self, cosine: Tensor<1>) -> Tensor<1> {
        let (sin, cos) = self.margin.sin_cos();
        let inside = cosine.clone().clamp(-1.0 + EDGE, 1.0 - EDGE);
        let sine = inside.clone().powi_scalar(2).neg().add_scalar(1.0).sqrt();
        let enlarged = inside * cos - sine * sin;
        // The angle is beyond pi - margin.
        let beyond = cosine.clone().lower_elem(-cos);
        enlarged.mask_where(beyond, cosine.sub_scalar(self.margin * sin))
    }
}

impl Loss for ArcFaceConfig {
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
        LossValue::of(class_weights::with_own(batch, cosines, scale, |own| self.enlarged(own)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, close, holds, run};
    use crate::losses::class_weights::tests::{cosines, mean_cross_entropy};

    #[test]
    fn by_hand() {
        // cos(acos .8 + .5) = .8 x .877583 - .6 x .479426 = .414411; ln(1 + e^(.3 - .414411)) = .637577.
        let config = ArcFaceConfig { scale: 1.0, ..ArcFaceConfig::default() };
        let at = |cosine: f64| [cosine, (1.0 - cosine * cosine).sqrt()];
        let given = Given::new(&[&[1.0, 0.0]], &[0]).with("weight", &[2, 2], &[at(0.8), at(0.3)].concat());
        close(&[run(&config, &given).value], &[0.637_577]);
        // At an angle of pi: -1 - .5 x .479426 = -1.239713; ln(1 + e^1.539713) = 1.734161.
        let given = Given::new(&[&[1.0, 0.0]], &[0]).with("weight", &[2, 2], &[at(-1.0), at(0.3)].concat());
        close(&[run(&config, &given).value], &[(1.0f64 + 1.539_713f64.exp()).ln()]);
    }

    #[test]
    fn agrees_with_the_definition() {
        let config = ArcFaceConfig { scale: 8.0, ..ArcFaceConfig::default() };
        holds(&config, |given| {
            mean_cross_entropy(given, |i| {
                let mut logits = cosines(given, i, "weight");
                let own = &mut logits[given.classes[i] as usize];
                let angle = own.acos();
                *own = if angle <= std::f64::consts::PI - 0.5 {
                    (angle + 0.5).cos()
                } else {
                    *own - 0.5 * 0.5f64.sin()
                };
                logits.iter().map(|cosine| 8.0 * cosine).collect()
            })
        });
    }
}
