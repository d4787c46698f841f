//! Supervised contrastive loss: each alike pair against all pairs of its anchor.
//!
//! An anchor with alike pictures has the term `-1/|P| sum_p ln(e^(s_p / t) / sum_a e^(s_a / t))`, the sum of
//! the denominator over all pairs of the relation, alike and unlike; `t` is the temperature. Authors' code
//! multiplies by the temperature over a base of 0.07, which only changes the learning rate.
//! Source: Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, equation 2.

use super::numerics::log_sum_exp;
use super::{Batch, Loss, LossValue, Reduction, Sees, Terms};
use crate::settings::settings;

settings! {
    /// Settings of the supervised contrastive loss.
    pub struct SupConConfig {
        /// Cosines are divided by it.
        pub temperature: f32 = 0.1,
        /// Divisor of the sum over anchors.
        pub reduction: Reduction = Reduction::Mean,
    }
}

impl Loss for SupConConfig {
    fn sees(&self) -> Sees {
        Sees::Pairs
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn above_zero(&self) -> Vec<(&'static str, f32)> {
        vec![("loss.temperature", self.temperature)]
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let relation = batch.relation;
        let (alike, unlike) = relation.masks(&batch.device());
        let logits = batch.cosines.clone() / self.temperature;
        let all = log_sum_exp(logits.clone(), alike.clone().bool_or(unlike)).unsqueeze_dim::<2>(1);
        let alike = alike.float();
        let share = alike.clone() / alike.sum_dim(1).clamp_min(1.0);
        let anchors = (0..relation.anchors()).filter(|&a| relation.alike(a).contains(&true)).count();
        LossValue::of(Terms::smooth((all - logits) * share, anchors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, Sum, close, holds, run};

    #[test]
    fn by_hand() {
        // z1 = z2 = (1, 0), z3 = (0, 1), t = 1: ln((e + 1) / e) = .313262 for both; the third has no term.
        let given = Given::new(&[&[1.0, 0.0], &[1.0, 0.0], &[0.0, 1.0]], &[0, 0, 1]);
        let config = SupConConfig { temperature: 1.0, ..SupConConfig::default() };
        close(&[run(&config, &given).value], &[0.313_262]);
    }

    #[test]
    fn agrees_with_the_definition() {
        holds(&SupConConfig { temperature: 0.25, ..SupConConfig::default() }, |given| {
            let mut sum = Sum::default();
            for a in 0..given.count() {
                let power = |j: usize| (given.cosine(a, j) / 0.25).exp();
                let seen = (0..given.count()).filter(|&j| given.alike(a, j) || given.unlike(a, j));
                let all: f64 = seen.map(power).sum();
                let alike: Vec<usize> = (0..given.count()).filter(|&j| given.alike(a, j)).collect();
                if !alike.is_empty() {
                    let terms = alike.iter().map(|&p| -(power(p) / all).ln());
                    sum.add(terms.sum::<f64>() / alike.len() as f64);
                }
            }
            sum.mean()
        });
    }
}
