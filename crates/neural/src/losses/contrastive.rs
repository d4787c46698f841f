//! Contrastive loss: alike pairs nearer than one distance, unlike ones farther than another.
//!
//! `D` is the Euclidean distance of a pair. Quadratic: `1/2 [D - alike_margin]+^2` for alike pairs and
//! `1/2 [unlike_margin - D]+^2` for unlike ones; linear: the same without square and half.
//! Source: Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant Mapping",
//! CVPR 2006, equation 4 (DrLIM), which has `alike_margin = 0`.

use super::{Batch, Loss, LossValue, Reduction, Sees, Terms};
use crate::settings::settings;
use burn::tensor::activation::relu;
use serde::{Deserialize, Serialize};

/// How the value grows with the distance from where a pair should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Curve {
    /// With half its square.
    Quadratic,
    /// With itself.
    Linear,
}

settings! {
    /// Settings of the contrastive loss.
    pub struct ContrastiveConfig {
        /// Distance up to which alike pairs are near enough.
        pub alike_margin: f32 = 0.0,
        /// Distance from which on unlike pairs are far enough.
        pub unlike_margin: f32 = 1.0,
        /// How the value grows.
        pub curve: Curve = Curve::Quadratic,
        /// Whether embeddings are scaled to unit length first.
        pub unit: bool = true,
        /// Divisor of each kind of pairs: alike and unlike ones are reduced apart, as few are alike.
        pub reduction: Reduction = Reduction::Active,
    }
}

impl Loss for ContrastiveConfig {
    fn sees(&self) -> Sees {
        Sees::Pairs
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let (alike, unlike) = batch.relation.tensors(&batch.device());
        let distance = batch.distances(self.unit);
        let pull = relu(distance.clone().sub_scalar(self.alike_margin)) * alike;
        let push = relu(distance.neg().add_scalar(self.unlike_margin)) * unlike;
        let curved = |x: burn::tensor::Tensor<2>| match self.curve {
            Curve::Quadratic => x.powi_scalar(2).mul_scalar(0.5),
            Curve::Linear => x,
        };
        let parts = vec![
            Terms::hinges(curved(pull), batch.relation.alike_count()),
            Terms::hinges(curved(push), batch.relation.unlike_count()),
        ];
        LossValue { parts, penalty: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, Sum, close, holds, run};

    #[test]
    fn by_hand() {
        // x1 = (0, 0), x2 = (.3, .4): D = .5, so both branches are 1/2 x .25 = .125 a pair. Each pair is seen
        // from both ends, which doubles the sum and the slopes.
        let config =
            ContrastiveConfig { unit: false, reduction: Reduction::Sum, ..ContrastiveConfig::default() };
        for (classes, sign) in [([0, 0], -1.0), ([0, 1], 1.0)] {
            let got = run(&config, &Given::new(&[&[0.0, 0.0], &[0.3, 0.4]], &classes));
            close(&[got.value], &[0.25]);
            close(&got.raw[..2], &[sign * 0.6, sign * 0.8]);
        }
    }

    #[test]
    fn agrees_with_the_definition() {
        for (curve, unit) in [(Curve::Quadratic, true), (Curve::Linear, true), (Curve::Linear, false)] {
            let config = ContrastiveConfig { curve, unit, alike_margin: 0.2, ..ContrastiveConfig::default() };
            holds(&config, |given| {
                let (mut pull, mut push) = (Sum::default(), Sum::default());
                let curved = |x: f64| if curve == Curve::Linear { x } else { x * x / 2.0 };
                for (i, j) in given.pairs() {
                    let d = given.distance(i, j, unit);
                    if given.alike(i, j) {
                        pull.add(curved((d - f64::from(0.2f32)).max(0.0)));
                    } else if given.unlike(i, j) {
                        push.add(curved((1.0 - d).max(0.0)));
                    }
                }
                pull.per_active() + push.per_active()
            });
        }
    }
}
