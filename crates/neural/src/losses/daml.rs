//! Deep adversarial metric learning: a generator makes hard negatives of each triplet's features.
//!
//! `a`, `p`, `n` are pooled features before the head `E`; the generator, three layers with ReLU between, makes
//! `m = G(a, p, n)`. The generator minimises
//! `|m - a|^2 + regular |m - n|^2 + adverse [|E(m) - E(a)|^2 - |E(p) - E(a)|^2 - margin]+`: near the anchor, near
//! the negative it comes from, and a hard negative after the head. The network minimises the triplet loss
//! `weight [|E(a) - E(p)|^2 - |E(a) - E(m)|^2 + margin]+`. Neither moves the other's values: each would undo
//! the other's work. Embeddings are not scaled within the two.
//!
//! Three stages: the network alone on the triplets as they are for `pretrain` steps, the generator alone until
//! `joint`, then both. A miner of triplets chooses them; without one each anchor has its farthest alike and its
//! nearest unlike picture of the relation.
//! Source: Duan et al., "Deep Adversarial Metric Learning", CVPR 2018, equations 3 to 6.

use super::numerics::rows;
use super::{Batch, Features, Loss, LossShape, LossValue, Reduction, Sees, Terms};
use crate::network::floats;
use crate::relation::Relation;
use crate::settings::settings;
use crate::weights::{Array, Weights};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

settings! {
    /// Settings of adversarial metric learning.
    pub struct DamlConfig {
        /// By how much the alike one must be nearer, as squared distances of embeddings.
        pub margin: f32 = 1.0,
        /// Weight of the network's triplet loss.
        pub weight: f32 = 1.0,
        /// Weight of the made negative's squared distance from the negative.
        pub regular: f32 = 1.0,
        /// Weight of being a hard negative.
        pub adverse: f32 = 50.0,
        /// Values of the generator's two hidden layers, 1 to 4,096.
        pub hidden: usize = 256,
        /// Step up to which the network is trained alone.
        pub pretrain: usize = 300,
        /// Step up to which the generator is then trained alone; from it on both are.
        pub joint: usize = 400,
        /// Divisor of the sums over triplets.
        pub reduction: Reduction = Reduction::Mean,
    }
}

impl DamlConfig {
    fn hidden(&self) -> usize {
        self.hidden.clamp(1, 4096)
    }

    /// Sizes of the generator's layers.
    fn layers(&self, features: usize) -> [(usize, usize); 3] {
        let hidden = self.hidden();
        [(3 * features, hidden), (hidden, hidden), (hidden, features)]
    }

    fn generate(&self, batch: &Batch<'_>, triplet: &[Tensor<2>; 3]) -> Tensor<2> {
        let features = triplet[0].dims()[1];
        let mut x = Tensor::cat(triplet.to_vec(), 1);
        for (layer, (inputs, outputs)) in self.layers(features).into_iter().enumerate() {
            let weight = batch.parameters.matrix(&format!("loss.generator{layer}.weight"), inputs, outputs);
            let bias = batch.parameters.flat(&format!("loss.generator{layer}.bias")).unsqueeze();
            x = if layer == 0 { x } else { relu(x) }.matmul(weight) + bias;
        }
        x
    }

    /// The generator's value: the network is taken as it is.
    fn generator(&self, batch: &Batch<'_>, features: &Features, triplet: &[Tensor<2>; 3]) -> Terms {
        let triplet = triplet.clone().map(Tensor::<2>::detach);
        let made = self.generate(batch, &triplet);
        let [a, p, n] = triplet;
        let still = Features {
            pooled: a.clone(),
            weight: features.weight.clone().detach(),
            bias: features.bias.clone().detach(),
        };
        let anchor = still.embed(a.clone());
        let adverse = squares(still.embed(made.clone()), anchor.clone()) - squares(still.embed(p), anchor);
        let adverse = relu(adverse.sub_scalar(self.margin)) * self.adverse;
        let value = squares(made.clone(), a) + squares(made, n) * self.regular + adverse;
        let count = value.dims()[0];
        Terms::smooth(value, count)
    }

    /// The network's value on the triplets with these negatives.
    fn metric(&self, features: &Features, triplet: &[Tensor<2>; 3], negatives: Tensor<2>) -> Terms {
        let [a, p, _] = triplet.clone().map(|rows| features.embed(rows));
        let gap = squares(a.clone(), p) - squares(a, features.embed(negatives));
        let value = relu(gap.add_scalar(self.margin)) * self.weight;
        let count = value.dims()[0];
        Terms::hinges(value, count)
    }
}

impl Loss for DamlConfig {
    fn sees(&self) -> Sees {
        Sees::Triplets
    }

    fn compares_batches(&self) -> bool {
        false
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn adversarial(&self) -> bool {
        true
    }

    fn above_zero(&self) -> Vec<(&'static str, f32)> {
        vec![("loss.hidden", if self.hidden == self.hidden() { 1.0 } else { 0.0 })]
    }

    fn parameters(&self, shape: LossShape, rng: &mut ChaCha8Rng) -> Weights {
        let mut weights = Weights::default();
        for (layer, (inputs, outputs)) in self.layers(shape.features).into_iter().enumerate() {
            let normal = Normal::new(0.0f32, (2.0 / inputs as f32).sqrt()).expect("a positive deviation");
            let values = normal.sample_iter(&mut *rng).take(inputs * outputs).collect();
            weights
                .insert(format!("generator{layer}.weight"), Array { shape: vec![inputs, outputs], values });
            weights.insert(format!("generator{layer}.bias"), Array::flat(vec![0.0; outputs]));
        }
        weights
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let chosen = triplets(batch.relation, &floats(batch.cosines.clone().detach()));
        let device = batch.device();
        if chosen.is_empty() {
            return LossValue::of(Terms::none(&device));
        }
        let features = match batch.features {
            Some(features) => features.clone(),
            // Without a network, embeddings are the features and the head changes nothing.
            None => identity(batch.anchors.raw.clone(), &device),
        };
        let triplet = [0, 1, 2].map(|end| {
            let places: Vec<usize> = chosen.iter().map(|triplet| triplet[end]).collect();
            rows(features.pooled.clone(), &places)
        });
        if batch.step < self.pretrain {
            return LossValue::of(self.metric(&features, &triplet, triplet[2].clone()));
        }
        let generator = self.generator(batch, &features, &triplet);
        if batch.step < self.joint {
            return LossValue::of(generator);
        }
        let made = self.generate(batch, &triplet.clone().map(Tensor::<2>::detach)).detach();
        let metric = self.metric(&features, &triplet, made);
        LossValue { parts: vec![generator, metric], penalty: None }
    }
}

fn identity(raw: Tensor<2>, device: &Device) -> Features {
    let dim = raw.dims()[1];
    Features { pooled: raw, weight: Tensor::eye(dim, device), bias: Tensor::zeros([dim], device) }
}

/// Squared distances of rows, `[rows]`.
fn squares(a: Tensor<2>, b: Tensor<2>) -> Tensor<1> {
    (a - b).powi_scalar(2).sum_dim(1).reshape([-1])
}

/// The miner's triplets; without, the hardest of each anchor by cosine.
fn triplets(relation: &Relation, cosines: &[f32]) -> Vec<[usize; 3]> {
    if let Some(chosen) = relation.triplets() {
        return chosen.to_vec();
    }
    let refs = relation.refs();
    let hardest = |anchor: usize| {
        let row = &cosines[anchor * refs..(anchor + 1) * refs];
        let of = |mask: &[bool], sign: f32| {
            let found = (0..refs).filter(|&item| mask[item]);
            found.reduce(|best, item| if sign * row[item] > sign * row[best] { item } else { best })
        };
        Some([anchor, of(relation.alike(anchor), -1.0)?, of(relation.unlike(anchor), 1.0)?])
    };
    (0..relation.anchors()).filter_map(hardest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, close, holds_but_for_slopes, run};

    /// A generator that makes the same whatever it sees.
    fn making(given: Given, made: &[f64]) -> Given {
        let dim = made.len();
        let zeros = |count: usize| vec![0.0; count];
        given
            .with("generator0.weight", &[3 * dim, 1], &zeros(3 * dim))
            .with("generator0.bias", &[1], &[0.0])
            .with("generator1.weight", &[1, 1], &[0.0])
            .with("generator1.bias", &[1], &[0.0])
            .with("generator2.weight", &[1, dim], &zeros(dim))
            .with("generator2.bias", &[dim], made)
    }

    #[test]
    fn by_hand() {
        // E the identity, a = (0, 0), p = (1, 0), n = (3, 0), made (2, 0): hard 4, regular 1, adverse
        // [4 - 1 - 1]+ = 2, together 4 + 1 + 50 x 2 = 105; the network's [1 - 4 + 1]+ = 0.
        let config = DamlConfig { hidden: 1, pretrain: 1, joint: 2, ..DamlConfig::default() };
        let given = Given::new(&[&[0.0, 0.0], &[1.0, 0.0], &[3.0, 0.0]], &[0, 0, 1]).only_anchor(0);
        let given = making(given, &[2.0, 0.0]);
        let alone = run(&config, &given.clone().at_step(1));
        close(&[alone.value], &[105.0]);
        close(&alone.raw, &[0.0; 6]);
        // At the made picture: 2 x 2 from hard, 2 x (2 - 3) from regular, 50 x 2 x 2 from adverse.
        close(alone.slopes("generator2.bias"), &[4.0 - 2.0 + 200.0, 0.0]);
        close(&[run(&config, &given.clone().at_step(2)).value], &[105.0]);
        // Before that the network alone, on n: [1 - 9 + 1]+ = 0; with a margin of 10: 2.
        let wide = DamlConfig { margin: 10.0, ..config };
        let before = run(&wide, &given);
        close(&[before.value], &[2.0]);
        close(before.slopes("generator2.bias"), &[0.0, 0.0]);
    }

    #[test]
    fn neither_moves_the_other() {
        let config = DamlConfig { hidden: 1, pretrain: 0, joint: 0, margin: 6.0, ..DamlConfig::default() };
        let given = Given::new(&[&[0.0, 0.0], &[1.0, 0.0], &[3.0, 0.0]], &[0, 0, 1]).only_anchor(0);
        let got = run(&config, &making(given, &[2.0, 0.0]).at_step(9));
        // The network: [1 - 4 + 6]+ = 3, slopes 2 (m - p) at a and 2 (p - a) at p, none at n. The generator: 4 + 1.
        close(&[got.value], &[8.0]);
        close(&got.raw, &[2.0, 0.0, 2.0, 0.0, 0.0, 0.0]);
        close(got.slopes("generator2.bias"), &[4.0 - 2.0, 0.0]);
    }

    /// The three-layer generator and both values, each with the other's side kept still.
    #[test]
    fn agrees_with_the_definition() {
        let config = DamlConfig { hidden: 3, pretrain: 0, joint: 0, adverse: 2.0, ..DamlConfig::default() };
        let square = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        holds_but_for_slopes(&config, |given, at| {
            let make = |of: &Given, [a, p, n]: [usize; 3]| {
                let mut x = [at.raw[a].clone(), at.raw[p].clone(), at.raw[n].clone()].concat();
                for layer in 0..3 {
                    let weight = of.of(&format!("generator{layer}.weight"));
                    let bias = of.of(&format!("generator{layer}.bias"));
                    let sum = |o: usize| {
                        x.iter().enumerate().map(|(i, v)| v * weight[i * bias.len() + o]).sum::<f64>()
                            + bias[o]
                    };
                    let out: Vec<f64> = (0..bias.len()).map(sum).collect();
                    x = if layer < 2 { out.iter().map(|v| v.max(0.0)).collect() } else { out };
                }
                x
            };
            let cosines: Vec<f32> = at.pairs().map(|(i, j)| at.cosine(i, j) as f32).collect();
            let chosen = triplets(&at.relation, &cosines);
            let value = |&[a, p, n]: &[usize; 3]| {
                let (made, still) = (make(given, [a, p, n]), make(at, [a, p, n]));
                let adverse = square(&made, &at.raw[a]) - square(&at.raw[p], &at.raw[a]) - 1.0;
                let generator =
                    square(&made, &at.raw[a]) + square(&made, &at.raw[n]) + 2.0 * adverse.max(0.0);
                let gap = square(&given.raw[a], &given.raw[p]) - square(&given.raw[a], &still);
                generator + (gap + 1.0).max(0.0)
            };
            chosen.iter().map(value).sum::<f64>() / chosen.len().max(1) as f64
        });
    }
}
