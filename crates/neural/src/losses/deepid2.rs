//! DeepID2: identification and verification at once.
//!
//! A pair's value is `CE_i + CE_j + lambda V`: the cross entropies of both pictures over the classes, and for
//! alike pictures `V = 1/2 |f_i - f_j|^2`, for unlike ones `V = 1/2 [m - |f_i - f_j|]+^2`. Over a batch: twice
//! the mean cross entropy plus `lambda` times the mean of `V`. With `l1` the distance is the sum of absolute
//! differences, not squared and without halves; with `cosine` `V = 1/2 (y - sigma(w cos + b))^2` with `y` 1 or 0,
//! `w` and `b` learned.
//! `m` is not learned by slope: every `every` steps it becomes the threshold that tells the batch's pairs apart
//! best, alike and unlike pairs counting the same.
//! Source: Sun, Wang and Tang, "Deep Learning Face Representation by Joint Identification-Verification",
//! NIPS 2014, equations 1 to 5 and section 2.

use super::numerics::{cross_entropy, root};
use super::{Batch, Loss, LossShape, LossValue, Reduction, Seen, Sees, Terms, class_weights};
use crate::settings::settings;
use crate::weights::{Array, Weights};
use burn::tensor::activation::{relu, sigmoid};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How two pictures are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verification {
    /// By Euclidean distance.
    L2,
    /// By the sum of absolute differences.
    L1,
    /// By cosine.
    Cosine,
}

settings! {
    /// Settings of DeepID2.
    pub struct DeepId2Config {
        /// Weight of verification.
        pub lambda: f32 = 0.05,
        /// How two pictures are compared.
        pub verification: Verification = Verification::L2,
        /// First distance from which on unlike pictures are far enough.
        pub margin: f32 = 1.0,
        /// Steps after which that distance is chosen anew; 0 keeps it.
        pub every: usize = 100,
        /// Divisor of the sums over pictures and over pairs.
        pub reduction: Reduction = Reduction::Mean,
    }
}

impl Loss for DeepId2Config {
    fn sees(&self) -> Sees {
        Sees::Pairs
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn compares_batches(&self) -> bool {
        // Its identification would count twice.
        false
    }

    fn parameters(&self, shape: LossShape, rng: &mut ChaCha8Rng) -> Weights {
        let mut weights = class_weights::first("weight", shape.classes, shape, rng);
        weights.insert("bias", Array::flat(vec![0.0; shape.classes]));
        if self.verification == Verification::Cosine {
            weights.insert("slope", Array::flat(vec![1.0]));
            weights.insert("shift", Array::flat(vec![0.0]));
        }
        weights
    }

    fn memory(&self) -> Weights {
        let mut memory = Weights::default();
        memory.insert("margin", Array::flat(vec![self.margin]));
        memory
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let (relation, raw) = (batch.relation, batch.anchors.raw.clone());
        let bias = batch.parameters.flat("loss.bias").unsqueeze();
        let logits = raw.matmul(class_weights::vectors(batch, "weight").transpose()) + bias;
        let count = batch.classes.len();
        let both = cross_entropy(logits, batch.classes) * 2.0;
        let (alike, unlike) = relation.tensors(&batch.device());
        let margin = batch.memory.get("margin").map_or(self.margin, |margin| margin.values[0]);
        let (pull, push) = match self.verification {
            Verification::L2 => {
                let square = batch.squares(false);
                let push = relu(root(square.clone()).neg().add_scalar(margin)).powi_scalar(2);
                (square * 0.5, push * 0.5)
            }
            Verification::L1 => {
                let (a, r) = (batch.anchors.raw.clone(), batch.refs.raw.clone());
                let apart = (a.unsqueeze_dim::<3>(1) - r.unsqueeze_dim::<3>(0)).abs();
                let distance = apart.sum_dim(2).reshape([relation.anchors(), relation.refs()]);
                (distance.clone(), relu(distance.neg().add_scalar(margin)))
            }
            Verification::Cosine => {
                let own = |name: &str| batch.parameters.flat(&format!("loss.{name}")).unsqueeze();
                let likely = sigmoid(batch.cosines.clone() * own("slope") + own("shift"));
                let missed = likely.clone().neg().add_scalar(1.0);
                (missed.powi_scalar(2) * 0.5, likely.powi_scalar(2) * 0.5)
            }
        };
        let pairs = relation.alike_count() + relation.unlike_count();
        let verified = (pull * alike + push * unlike) * self.lambda;
        LossValue { parts: vec![Terms::smooth(both, count), Terms::hinges(verified, pairs)], penalty: None }
    }

    fn remember(&self, memory: &mut Weights, seen: &Seen<'_>) {
        if self.every == 0 || !(seen.step + 1).is_multiple_of(self.every) {
            return;
        }
        let rows: Vec<&[f32]> = seen.raw.chunks_exact(seen.dim).collect();
        let apart = |a: &[f32], b: &[f32]| -> f32 {
            let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
            match self.verification {
                Verification::L1 => differences.sum(),
                Verification::L2 | Verification::Cosine => differences.map(|d| d * d).sum::<f32>().sqrt(),
            }
        };
        let mut pairs = Vec::with_capacity(rows.len() * rows.len() / 2);
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate().skip(i + 1) {
                pairs.push((apart(a, b), seen.classes[i] == seen.classes[j]));
            }
        }
        if let Some(threshold) = threshold(pairs) {
            memory.insert("margin", Array::flat(vec![threshold]));
        }
    }
}

/// Half way between the two distances between which the fewest pairs, alike and unlike ones counting the same,
/// are on the wrong side; none without both kinds.
fn threshold(mut pairs: Vec<(f32, bool)>) -> Option<f32> {
    let alike = pairs.iter().filter(|(_, alike)| *alike).count();
    let unlike = pairs.len() - alike;
    if alike == 0 || unlike == 0 {
        return None;
    }
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut wrong, mut best) = (1.0, (f64::INFINITY, 0.0));
    for neighbours in pairs.windows(2) {
        let (distance, is_alike) = neighbours[0];
        wrong += if is_alike { -1.0 / alike as f64 } else { 1.0 / unlike as f64 };
        // Equal distances cannot be told apart.
        if neighbours[1].0 > distance && wrong < best.0 {
            best = (wrong, f32::midpoint(distance, neighbours[1].0));
        }
    }
    (best.0 < f64::INFINITY).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, Sum, close, cross_entropy as entropy, dot, holds, run};

    #[test]
    fn by_hand() {
        // Logits (0, 0): ln 2 each. f = (1, 0) and (0, 1), m = 2: V = (2 - sqrt 2)^2 / 2 = .171573.
        let config = DeepId2Config { margin: 2.0, ..DeepId2Config::default() };
        let given = Given::new(&[&[1.0, 0.0], &[0.0, 1.0]], &[0, 1]).with("weight", &[2, 2], &[0.0; 4]);
        close(&[run(&config, &given).value], &[1.394_873]);
    }

    #[test]
    fn the_threshold_makes_the_fewest_errors() {
        // Alike at 1, 2, 4; unlike at 3, 5: between 2 and 3 one of three alike is wrong, between 4 and 5 one of
        // two unlike.
        let pairs = vec![(1.0, true), (5.0, false), (2.0, true), (3.0, false), (4.0, true)];
        assert_eq!(threshold(pairs), Some(2.5));
        assert_eq!(threshold(vec![(1.0, true)]), None);
        assert_eq!(threshold(vec![(1.0, true), (1.0, false)]), None);
        let config = DeepId2Config { every: 10, ..DeepId2Config::default() };
        let mut memory = config.memory();
        let mut seen = Seen { step: 8, raw: &[0.0, 1.0, 5.0], dim: 1, classes: &[0, 0, 1] };
        config.remember(&mut memory, &seen);
        assert_eq!(memory, config.memory());
        seen.step = 9;
        config.remember(&mut memory, &seen);
        assert_eq!(memory.get("margin").unwrap().values, [2.5]);
    }

    #[test]
    fn agrees_with_the_definition() {
        for verification in [Verification::L2, Verification::L1, Verification::Cosine] {
            holds(&DeepId2Config { verification, lambda: 0.5, ..DeepId2Config::default() }, |given| {
                let dim = given.raw[0].len();
                let (mut both, mut pairs) = (Sum::default(), Sum::default());
                for (row, &class) in given.raw.iter().zip(&given.classes) {
                    let weight = given.of("weight").chunks(dim).zip(given.of("bias"));
                    let logits: Vec<f64> = weight.map(|(w, b)| dot(row, w) + b).collect();
                    both.add(2.0 * entropy(&logits, class as usize));
                }
                for (i, j) in given.pairs().filter(|(i, j)| i != j) {
                    let y = if given.alike(i, j) { 1.0 } else { 0.0 };
                    pairs.add(match verification {
                        Verification::Cosine => {
                            let x = given.of("slope")[0] * given.cosine(i, j) + given.of("shift")[0];
                            (y - 1.0 / (1.0 + (-x).exp())).powi(2) / 2.0
                        }
                        Verification::L1 => {
                            let d: f64 =
                                given.raw[i].iter().zip(&given.raw[j]).map(|(a, b)| (a - b).abs()).sum();
                            if y > 0.0 { d } else { (1.0 - d).max(0.0) }
                        }
                        Verification::L2 if y > 0.0 => given.square(i, j, false) / 2.0,
                        Verification::L2 => (1.0 - given.distance(i, j, false)).max(0.0).powi(2) / 2.0,
                    });
                }
                both.mean() + 0.5 * pairs.mean()
            });
        }
    }
}
