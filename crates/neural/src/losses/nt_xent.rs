//! Normalised temperature-scaled cross entropy: each alike pair against the unlike pairs of its anchor.
//!
//! `-ln(e^(s_p / t) / (e^(s_p / t) + sum_n e^(s_n / t)))` an alike pair. With a single positive an anchor (two
//! views of each picture) it is the supervised contrastive loss; with more, the other positives stay out of
//! the denominator. Also called InfoNCE.
//! Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020,
//! equation 1.

use super::numerics::{log_sum_exp, pick, softplus};
use super::{Batch, Loss, LossValue, Reduction, Sees, Terms};
use crate::settings::settings;

settings! {
    /// Settings of the cross entropy over pairs.
    pub struct NtXentConfig {
        /// Cosines are divided by it.
        pub temperature: f32 = 0.07,
        /// Divisor of the sum over alike pairs.
        pub reduction: Reduction = Reduction::Mean,
    }
}

impl Loss for NtXentConfig {
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
        let (relation, refs) = (batch.relation, batch.relation.refs());
        let with_unlike = |&(a, _): &(usize, usize)| relation.unlike(a).contains(&true);
        let pairs: Vec<(usize, usize)> = relation.alike_pairs().filter(with_unlike).collect();
        if pairs.is_empty() {
            return LossValue::of(Terms::none(&batch.device()));
        }
        let logits = batch.cosines.clone() / self.temperature;
        let unlike = log_sum_exp(logits.clone(), relation.masks(&batch.device()).1);
        let anchors: Vec<usize> = pairs.iter().map(|&(a, _)| a).collect();
        let places: Vec<usize> = pairs.iter().map(|&(a, p)| a * refs + p).collect();
        let terms = softplus(pick(unlike, &anchors) - pick(logits, &places));
        LossValue::of(Terms::smooth(terms, pairs.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, Sum, close, holds, run};

    #[test]
    fn by_hand() {
        // z1 = z2 = (1, 0), z3 = (0, 1), t = 1: ln(1 + e^(0 - 1)) = .313262 for both pairs.
        let given = Given::new(&[&[1.0, 0.0], &[1.0, 0.0], &[0.0, 1.0]], &[0, 0, 1]);
        let config = NtXentConfig { temperature: 1.0, ..NtXentConfig::default() };
        close(&[run(&config, &given).value], &[0.313_262]);
    }

    #[test]
    fn agrees_with_the_definition() {
        holds(&NtXentConfig { temperature: 0.25, ..NtXentConfig::default() }, |given| {
            let mut sum = Sum::default();
            for (a, p) in given.pairs().filter(|&(a, p)| given.alike(a, p)) {
                let unlike = (0..given.count()).filter(|&n| given.unlike(a, n));
                let others: f64 = unlike.map(|n| (given.cosine(a, n) / 0.25).exp()).sum();
                let own = (given.cosine(a, p) / 0.25).exp();
                if others > 0.0 {
                    sum.add(-(own / (own + others)).ln());
                }
            }
            sum.mean()
        });
    }
}
