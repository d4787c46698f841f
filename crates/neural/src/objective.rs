//! From a batch's embeddings to the value that is minimised: relation, miner, loss and cross-batch memory.

use crate::losses::{Batch, CrossBatch, CrossBatchConfig, Features, Loss, LossValue, Points};
use crate::material::Material;
use crate::miners::Miner;
use crate::network::floats;
use crate::recipe::{PairsConfig, Recipe};
use crate::weights::{Bound, Weights};
use burn::tensor::{Tensor, TensorData};
use rand_chacha::ChaCha8Rng;

/// What a step minimises.
pub(crate) struct Objective {
    pub loss: Box<dyn Loss>,
    miner: Box<dyn Miner>,
    pairs: PairsConfig,
    memory: Option<CrossBatchConfig>,
}

/// A batch that went through the network.
pub(crate) struct Shown<'a> {
    pub material: &'a Material,
    /// Training pictures of the batch.
    pub items: &'a [usize],
    pub raw: Tensor<2>,
    pub features: Features,
    /// The loss's own, under `loss.`.
    pub parameters: &'a Bound,
    /// What was remembered: `loss.*` and `cross.*`.
    pub memory: &'a Weights,
    pub step: usize,
}

/// Its value.
pub(crate) struct Valued {
    pub loss: Tensor<1>,
    /// Terms with a slope as a share of all.
    pub active: f32,
    /// Embeddings of unit length.
    pub unit: Tensor<2>,
    /// What the cross-batch memory holds from now on.
    pub memory: Option<CrossBatch>,
}

impl Objective {
    pub fn new(recipe: &Recipe) -> Self {
        Self {
            loss: recipe.loss.init(),
            miner: recipe.miner.init(),
            pairs: recipe.pairs.clone(),
            memory: recipe.memory.clone(),
        }
    }

    pub fn value(&self, shown: &Shown<'_>, rng: &mut ChaCha8Rng) -> Valued {
        let points = Points::new(shown.raw.clone());
        let own = self.against(shown, &points, &points, shown.items, rng);
        let (mut active, mut count) = own.active();
        let mut loss = own.reduce(self.loss.reduction(), shown.items.len());
        let config = self.memory.as_ref().filter(|memory| shown.step >= memory.start);
        let memory = config.map(|config| {
            let mut memory = CrossBatch::from_weights(&shown.memory.under("cross."));
            memory.push(config.size, &floats(shown.raw.clone().detach()), shown.items);
            let shape = [memory.items.len(), shown.raw.dims()[1]];
            let rows = TensorData::new(memory.rows.clone(), shape);
            let refs = Points::new(Tensor::from_data(rows, &shown.raw.device()));
            let more = self.against(shown, &points, &refs, &memory.items, rng);
            let (more_active, more_count) = more.active();
            (active, count) = (active + more_active, count + more_count);
            let more = more.reduce(self.loss.reduction(), shown.items.len());
            loss = loss.clone() + more * config.weight;
            memory
        });
        if count == 0 {
            // A miner may leave nothing. The step is then one of no slope, but it is a step.
            loss = loss + points.raw.sum() * 0.0;
        }
        Valued { loss, active: active / count.max(1) as f32, unit: points.unit, memory }
    }

    /// The loss of the batch against some embeddings.
    fn against(
        &self,
        shown: &Shown<'_>,
        anchors: &Points,
        refs: &Points,
        items: &[usize],
        rng: &mut ChaCha8Rng,
    ) -> LossValue {
        let relation = shown.material.relation(&self.pairs, shown.items, items);
        // In the batch two views of one picture are two pictures; in memory one would mostly meet its own copy.
        let relation = if std::ptr::eq(anchors, refs) {
            relation.without_self()
        } else {
            relation.without_same(shown.items, items)
        };
        let cosines = anchors.cosines(refs);
        let dim = shown.raw.dims()[1];
        let relation = self.miner.mine(&floats(cosines.clone().detach()), dim, relation, rng);
        let classes: Vec<u32> = shown.items.iter().map(|&item| shown.material.classes[item]).collect();
        self.loss.forward(&Batch {
            anchors,
            refs,
            cosines,
            relation: &relation,
            classes: &classes,
            parameters: shown.parameters,
            memory: &shown.memory.under("loss."),
            features: Some(&shown.features),
            step: shown.step,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::golden::golden;
    use burn::tensor::Device;
    use rand::SeedableRng;

    /// Value and slopes of a batch, and the memory after it.
    fn run(
        objective: &Objective,
        material: &Material,
        batch: &[f32],
        items: &[usize],
        memory: &Weights,
    ) -> (f32, Vec<f32>, Option<CrossBatch>) {
        let device = Device::flex().autodiff();
        let dim = batch.len() / items.len();
        let raw = TensorData::new(batch.to_vec(), [items.len(), dim]);
        let raw = Tensor::<2>::from_data(raw, &device).require_grad();
        let features = Features {
            pooled: raw.clone(),
            weight: Tensor::eye(dim, &device),
            bias: Tensor::zeros([dim], &device),
        };
        let parameters = Weights::default().bind(&device, |_| true);
        let shown =
            Shown { material, items, raw: raw.clone(), features, parameters: &parameters, memory, step: 0 };
        let valued = objective.value(&shown, &mut ChaCha8Rng::seed_from_u64(0));
        let slopes = floats(raw.grad(&valued.loss.backward()).unwrap());
        (valued.loss.into_scalar(), slopes, valued.memory)
    }

    #[test]
    fn a_batch_without_any_term_is_a_step_without_slope() {
        let material = Material::of_classes(&[0, 1, 2]);
        // Every picture is of its own class: there is no alike pair, and so no triplet.
        for name in
            ["triplet", "deep-ranking", "batch-hard", "lifted", "circle", "nt-xent", "coupled-clusters"]
        {
            let overrides = ["miner={name=\"all\"}".to_owned(), format!("loss={{name=\"{name}\"}}")];
            let recipe = Recipe::parse(Recipe::named("margin").unwrap(), &overrides).unwrap();
            let batch = [1.0, 0.0, 0.0, 1.0, -1.0, 0.0];
            let (value, slopes, _) =
                run(&Objective::new(&recipe), &material, &batch, &[0, 1, 2], &Weights::default());
            assert!(value == 0.0 && slopes.iter().all(|&slope| slope == 0.0), "{name}: {value} {slopes:?}");
        }
    }

    /// The part against the memory is the whole less the batch's own.
    #[test]
    fn the_memory_agrees_with_pytorch_metric_learning() {
        let golden = golden().memory;
        let overrides = [
            "miner={name=\"all\"}".to_owned(),
            "loss={name=\"contrastive\", curve=\"linear\", reduction=\"sum\"}".to_owned(),
            format!("memory={{size={}, start=0}}", golden.size),
        ];
        let with = Recipe::parse(Recipe::named("cross_batch").unwrap(), &overrides).unwrap();
        let (with, without) =
            (Objective::new(&with), Objective::new(&Recipe { memory: None, ..with.clone() }));
        let [first, second] = golden.batches.as_slice() else { panic!("two batches") };
        let material = Material::of_classes(&[first.classes.clone(), second.classes.clone()].concat());
        let none = Weights::default();
        let (_, _, memory) = run(&with, &material, &first.embeddings, &[0, 1, 2, 3], &none);
        let mut kept = Weights::default();
        kept.extend("cross.", &memory.unwrap().to_weights());
        let items = [4, 5, 6, 7];
        let (whole, whole_slopes, memory) = run(&with, &material, &second.embeddings, &items, &kept);
        let (own, own_slopes, _) = run(&without, &material, &second.embeddings, &items, &none);
        assert!((f64::from(whole - own) - golden.value).abs() < 1e-4, "{whole} {own} {}", golden.value);
        for ((whole, own), want) in whole_slopes.iter().zip(&own_slopes).zip(&golden.gradient) {
            assert!((f64::from(whole - own) - want).abs() < 1e-4, "{whole} {own} {want}");
        }
        assert_eq!(memory.unwrap().items, [6, 7, 2, 3, 4, 5]);
        // A picture never meets itself: alone with its own earlier view there is no pair.
        let alone = Material::of_classes(&[0, 0]);
        let mut kept = Weights::default();
        let (_, _, memory) = run(&with, &alone, &[1.0, 0.0], &[0], &none);
        kept.extend("cross.", &memory.unwrap().to_weights());
        assert_eq!(run(&with, &alone, &[0.0, 1.0], &[0], &kept).0, 0.0);
    }
}
