//! Multi-class N-pair loss: one pair of each class; each anchor must find its own positive among those of all
//! classes.
//!
//! `mean_i -ln softmax(F F+^T)_ii + penalty * mean |f|^2` over the rows of both; inner products of
//! embeddings that are not scaled, which the penalty keeps small. Of a class with more pictures the first
//! two in the batch take part, a class with one has no pair.
//! Source: Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective", NIPS 2016,
//! equation 7 and section 3.2.3.

use super::numerics::{cross_entropy, root, rows};
use super::{Batch, Loss, LossValue, Reduction, Sees, Terms};
use crate::settings::settings;
use burn::tensor::Tensor;
use std::collections::BTreeMap;

settings! {
    /// Settings of the N-pair loss.
    pub struct NPairConfig {
        /// Weight of the embeddings' mean squared length.
        pub penalty: f32 = 0.003,
        /// Whether it is the square of the length that is penalised.
        pub squared: bool = true,
        /// Divisor of the sum over pairs.
        pub reduction: Reduction = Reduction::Mean,
    }
}

impl Loss for NPairConfig {
    fn sees(&self) -> Sees {
        Sees::Classes
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let (firsts, seconds) = pairs(batch.classes);
        if firsts.is_empty() {
            return LossValue::of(Terms::none(&batch.device()));
        }
        let count = firsts.len();
        let raw = || batch.anchors.raw.clone();
        let (anchors, positives) = (rows(raw(), &firsts), rows(raw(), &seconds));
        let logits = anchors.clone().matmul(positives.clone().transpose());
        let targets: Vec<u32> = (0..count as u32).collect();
        let terms = Terms::smooth(cross_entropy(logits, &targets), count);
        let square = Tensor::cat(vec![anchors, positives], 0).powi_scalar(2).sum_dim(1);
        let lengths = if self.squared { square } else { root(square) };
        LossValue { parts: vec![terms], penalty: Some(lengths.mean() * self.penalty) }
    }
}

/// Places of the first and the second picture of each class that has two.
fn pairs(classes: &[u32]) -> (Vec<usize>, Vec<usize>) {
    let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    classes.iter().enumerate().for_each(|(item, &class)| members.entry(class).or_default().push(item));
    members.values().filter(|items| items.len() > 1).map(|items| (items[0], items[1])).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, close, holds, run};

    #[test]
    fn by_hand() {
        // F = F+ = 2 I: logits 4 and 0, ln(1 + e^-4) = .018150. Squared lengths 4: + .012; lengths 2: + .006.
        let given = Given::new(&[&[2.0, 0.0], &[2.0, 0.0], &[0.0, 2.0], &[0.0, 2.0]], &[0, 0, 1, 1]);
        close(&[run(&NPairConfig::default(), &given).value], &[0.030_150]);
        let by_length = NPairConfig { squared: false, ..NPairConfig::default() };
        close(&[run(&by_length, &given).value], &[0.024_150]);
    }

    #[test]
    fn a_class_takes_part_with_two_pictures() {
        assert_eq!(pairs(&[4, 2, 4, 9, 4, 2]), (vec![1, 0], vec![5, 2]));
    }

    #[test]
    fn agrees_with_the_definition() {
        holds(&NPairConfig::default(), |given| {
            let (firsts, seconds) = pairs(&given.classes);
            let count = firsts.len();
            if count == 0 {
                return 0.0;
            }
            let (mut sum, mut square) = (0.0, 0.0);
            for i in 0..count {
                let dots: Vec<f64> = (0..count).map(|j| given.dot(firsts[i], seconds[j])).collect();
                sum += dots.iter().map(|dot| (dot - dots[i]).exp()).sum::<f64>().ln();
                square += given.dot(firsts[i], firsts[i]) + given.dot(seconds[i], seconds[i]);
            }
            sum / count as f64 + f64::from(0.003f32) * square / (2 * count) as f64
        });
    }
}
