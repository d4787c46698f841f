//! Triplet loss: `[D(a, p)^2 - D(a, n)^2 + margin]+` over anchors, alike and unlike pictures.
//!
//! Without a miner of triplets, all triplets of the batch count.
//! Source: Schroff, Kalenichenko and Philbin, "FaceNet", CVPR 2015, equation 3.

use super::numerics::{pick, root};
use super::{Batch, Loss, LossValue, Reduction, Sees, Terms};
use crate::settings::settings;
use burn::tensor::activation::relu;

settings! {
    /// Settings of the triplet loss.
    pub struct TripletConfig {
        /// By how much the alike one must be nearer.
        pub margin: f32 = 0.2,
        /// Whether distances are squared.
        pub squared: bool = true,
        /// Whether embeddings are scaled to unit length first.
        pub unit: bool = true,
        /// Divisor of the sum over triplets.
        pub reduction: Reduction = Reduction::Active,
    }
}

impl Loss for TripletConfig {
    fn sees(&self) -> Sees {
        Sees::Triplets
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let (near, far) = batch.relation.triplet_places();
        if near.is_empty() {
            return LossValue::of(Terms::none(&batch.device()));
        }
        let square = batch.squares(self.unit);
        let distance = if self.squared { square } else { root(square) };
        let gap = pick(distance.clone(), &near) - pick(distance, &far);
        LossValue::of(Terms::hinges(relu(gap.add_scalar(self.margin)), near.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, Sum, close, holds, run};

    #[test]
    fn by_hand() {
        // D(a, p)^2 = .04 + .36 = .4; D(a, n)^2 = .0625 + .4375 = .5: .4 - .5 + .2 = .1.
        // Slope at a: 2 (n - p) = (-.1, .122876).
        let config = TripletConfig { unit: false, ..TripletConfig::default() };
        let given = Given::new(&[&[1.0, 0.0], &[0.8, 0.6], &[0.75, 0.661_438]], &[0, 0, 1]).only_anchor(0);
        let got = run(&config, &given);
        close(&[got.value], &[0.1]);
        close(&got.raw[..2], &[-0.1, 0.122_876]);
    }

    #[test]
    fn agrees_with_the_definition() {
        for (squared, unit) in [(true, true), (false, true), (false, false)] {
            let config = TripletConfig { squared, unit, ..TripletConfig::default() };
            holds(&config, |given| {
                let mut sum = Sum::default();
                let distance = |i, j| match squared {
                    true => given.square(i, j, unit),
                    false => given.distance(i, j, unit),
                };
                for (a, p) in given.pairs().filter(|&(a, p)| given.alike(a, p)) {
                    for n in (0..given.count()).filter(|&n| given.unlike(a, n)) {
                        sum.add((distance(a, p) - distance(a, n) + f64::from(0.2f32)).max(0.0));
                    }
                }
                sum.per_active()
            });
        }
    }
}
