//! Batch hard: for each anchor its farthest alike against its nearest unlike picture.
//!
//! `h(max_p D(a, p) - min_n D(a, n))` with `h(x) = ln(1 + e^x)`, or `[x + margin]+` without `soft`. An anchor
//! without an alike or an unlike picture has no term. The value of the soft form sits at ln 2 when all
//! embeddings are one point.
//! Source: Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017,
//! equations 5 and 7; distances are not squared and, in the paper, embeddings are not scaled.

use super::numerics::{pick, root, softplus};
use super::{Batch, Loss, LossValue, Reduction, Sees, Terms};
use crate::network::floats;
use crate::settings::settings;
use burn::tensor::activation::relu;

settings! {
    /// Settings of the batch hard loss.
    pub struct BatchHardConfig {
        /// Whether the hinge is soft; then there is no margin.
        pub soft: bool = true,
        /// By how much the alike one must be nearer, where the hinge is not soft.
        pub margin: f32 = 0.2,
        /// Whether embeddings are scaled to unit length first.
        pub unit: bool = false,
        /// Divisor of the sum over anchors.
        pub reduction: Reduction = Reduction::Mean,
    }
}

impl Loss for BatchHardConfig {
    fn sees(&self) -> Sees {
        Sees::Relation
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let square = batch.squares(self.unit);
        let (far, near) = hardest(batch, &floats(square.clone().detach()));
        if far.is_empty() {
            return LossValue::of(Terms::none(&batch.device()));
        }
        let gap = root(pick(square.clone(), &far)) - root(pick(square, &near));
        LossValue::of(if self.soft {
            Terms::smooth(softplus(gap), far.len())
        } else {
            Terms::hinges(relu(gap.add_scalar(self.margin)), far.len())
        })
    }
}

/// Places of each anchor's farthest alike and nearest unlike picture; the first of equals.
fn hardest(batch: &Batch<'_>, squares: &[f32]) -> (Vec<usize>, Vec<usize>) {
    let (relation, refs) = (batch.relation, batch.relation.refs());
    let best = |anchor: usize, mask: &[bool], sign: f32| {
        let places = (0..refs).filter(|&r| mask[r]).map(|r| anchor * refs + r);
        places.reduce(|best, place| if sign * squares[place] > sign * squares[best] { place } else { best })
    };
    let pair = |anchor: usize| {
        Some((best(anchor, relation.alike(anchor), 1.0)?, best(anchor, relation.unlike(anchor), -1.0)?))
    };
    (0..relation.anchors()).filter_map(pair).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, Sum, close, holds, run};

    #[test]
    fn by_hand() {
        // Class 0 at 0 and 1, class 1 at 1.5 and 3. Farthest alike minus nearest unlike:
        // 1 - 1.5, 1 - .5, 1.5 - .5, 1.5 - 2.
        let given = Given::new(&[&[0.0], &[1.0], &[1.5], &[3.0]], &[0, 0, 1, 1]);
        // + .2, not below 0: 0, .7, 1.2, 0.
        let hinge = BatchHardConfig { soft: false, ..BatchHardConfig::default() };
        close(&[run(&hinge, &given).value], &[0.475]);
        // ln(1 + e^-.5) = .474077, ln(1 + e^.5) = .974077, ln(1 + e) = 1.313262, .474077.
        close(&[run(&BatchHardConfig::default(), &given).value], &[0.808_873]);
    }

    #[test]
    fn agrees_with_the_definition() {
        for (soft, unit) in [(true, false), (false, false), (false, true)] {
            let config = BatchHardConfig { soft, unit, ..BatchHardConfig::default() };
            holds(&config, |given| {
                let mut sum = Sum::default();
                for a in 0..given.count() {
                    let of = |wanted: &dyn Fn(usize) -> bool| -> Vec<f64> {
                        (0..given.count())
                            .filter(|&j| wanted(j))
                            .map(|j| given.distance(a, j, unit))
                            .collect()
                    };
                    let far = of(&|j| given.alike(a, j)).into_iter().reduce(f64::max);
                    let near = of(&|j| given.unlike(a, j)).into_iter().reduce(f64::min);
                    if let (Some(far), Some(near)) = (far, near) {
                        let gap = far - near;
                        sum.add(if soft { gap.exp().ln_1p() } else { (gap + f64::from(0.2f32)).max(0.0) });
                    }
                }
                sum.mean()
            });
        }
    }
}
