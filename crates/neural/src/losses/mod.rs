//! Losses. A new one is a file here with its settings and [`Loss`] for them, its `mod`, and a line of
//! `losses!`: the line is the only registration.

mod arcface;
mod batch_hard;
#[cfg(test)]
mod checks;
mod circle;
mod class_weights;
#[cfg(test)]
mod contract;
mod contrastive;
mod cosface;
mod coupled_clusters;
mod cross_batch;
mod daml;
mod deep_ranking;
mod deepid2;
#[cfg(test)]
pub(crate) mod golden;
mod lifted;
mod margin;
mod multi_similarity;
mod n_pair;
mod nt_xent;
mod numerics;
mod proxy_anchor;
mod proxy_nca;
mod soft_triple;
mod sphereface;
mod supcon;
mod triplet;

pub use arcface::ArcFaceConfig;
pub use batch_hard::BatchHardConfig;
pub use circle::CircleConfig;
pub use contrastive::{ContrastiveConfig, Curve};
pub use cosface::CosFaceConfig;
pub use coupled_clusters::CoupledClustersConfig;
pub use cross_batch::CrossBatchConfig;
pub(crate) use cross_batch::{CrossBatch, MOST_ENTRIES};
pub use daml::DamlConfig;
pub use deep_ranking::DeepRankingConfig;
pub use deepid2::{DeepId2Config, Verification};
pub use lifted::LiftedConfig;
pub use margin::MarginConfig;
pub use multi_similarity::MultiSimilarityConfig;
pub use n_pair::NPairConfig;
pub use nt_xent::NtXentConfig;
pub use proxy_anchor::ProxyAnchorConfig;
pub use proxy_nca::ProxyNcaConfig;
pub use soft_triple::SoftTripleConfig;
pub use sphereface::SphereFaceConfig;
pub use supcon::SupConConfig;
pub use triplet::TripletConfig;

use crate::model::normalise;
use crate::relation::Relation;
use crate::weights::{Bound, Weights};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Makes the enum of all losses from one line a loss.
macro_rules! losses {
    ($($name:literal: $variant:ident($config:ident), $about:literal;)+) => {
        /// A loss as a recipe states it.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name", deny_unknown_fields)]
        pub enum LossConfig {
            $(#[doc = $about] #[serde(rename = $name)] $variant($config),)+
        }

        impl LossConfig {
            /// The loss itself.
            #[must_use]
            pub fn init(&self) -> Box<dyn Loss> {
                match self { $(Self::$variant(config) => Box::new(config.clone()),)+ }
            }

            /// What a recipe calls it.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)+ }
            }

            /// Every loss with its defaults.
            #[must_use]
            pub fn every() -> Vec<Self> {
                vec![$(Self::$variant($config::default()),)+]
            }
        }
    };
}

losses! {
    "contrastive": Contrastive(ContrastiveConfig), "Pairs, alike ones near and unlike ones far.";
    "triplet": Triplet(TripletConfig), "Alike nearer than unlike by a margin.";
    "batch-hard": BatchHard(BatchHardConfig), "The hardest triplet of each anchor.";
    "n-pair": NPair(NPairConfig), "One pair a class, each against the others' positives.";
    "lifted": Lifted(LiftedConfig), "Each alike pair against all unlike ones of both its ends.";
    "margin": Margin(MarginConfig), "Margin loss with learnable boundaries.";
    "multi-similarity": MultiSimilarity(MultiSimilarityConfig), "Pairs weighted by all others of their anchor.";
    "circle": Circle(CircleConfig), "Pairs weighted by how far they are from where they should be.";
    "supcon": SupCon(SupConConfig), "Each alike pair against all pairs of its anchor.";
    "nt-xent": NtXent(NtXentConfig), "Each alike pair against the unlike pairs of its anchor.";
    "deep-ranking": DeepRanking(DeepRankingConfig), "Triplets by relevance.";
    "coupled-clusters": CoupledClusters(CoupledClustersConfig), "Each class's pictures against its centre.";
    "deepid2": DeepId2(DeepId2Config), "Identification and verification at once.";
    "proxy-nca": ProxyNca(ProxyNcaConfig), "Each picture against a proxy of every class.";
    "proxy-anchor": ProxyAnchor(ProxyAnchorConfig), "Each class's proxy against all pictures.";
    "soft-triple": SoftTriple(SoftTripleConfig), "Several centres a class.";
    "sphereface": SphereFace(SphereFaceConfig), "The own class's angle multiplied.";
    "cosface": CosFace(CosFaceConfig), "The own class's cosine lowered.";
    "arcface": ArcFace(ArcFaceConfig), "The own class's angle enlarged.";
    "daml": Daml(DamlConfig), "Triplets with negatives that a generator makes.";
}

/// What a loss makes of a batch; a miner must fit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// Pairs of the relation, so that any miner of pairs may narrow it.
    Pairs,
    /// Triplets of the relation: miners of pairs or of triplets may narrow it.
    Triplets,
    /// The relation, from which it chooses itself; no miner fits.
    Relation,
    /// Classes alone, against parameters of its own or class by class; no miner fits, nor does leaving pairs out.
    Classes,
}

/// What the sum over a batch is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reduction {
    /// 1.
    Sum,
    /// The number of terms.
    Mean,
    /// The number of terms that have a slope.
    Active,
    /// The number of pictures in the batch.
    Anchors,
}

/// Sizes that a loss's own parameters depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossShape {
    /// Values an embedding.
    pub dim: usize,
    /// Training classes.
    pub classes: usize,
    /// Values of the pooled features before the head.
    pub features: usize,
}

/// Embeddings of some pictures.
#[derive(Clone, Debug)]
pub struct Points {
    /// As the network gave them, `[pictures, dim]`.
    pub raw: Tensor<2>,
    /// Scaled to unit length, `[pictures, dim]`.
    pub unit: Tensor<2>,
}

impl Points {
    /// Embeddings as the network gave them, `[pictures, dim]`.
    #[must_use]
    pub fn new(raw: Tensor<2>) -> Self {
        Self { unit: normalise(raw.clone()), raw }
    }

    /// Those of unit length, or as they are.
    #[must_use]
    pub fn of(&self, unit: bool) -> Tensor<2> {
        if unit { self.unit.clone() } else { self.raw.clone() }
    }

    /// Cosines with others, `[pictures, others]`.
    #[must_use]
    pub fn cosines(&self, others: &Self) -> Tensor<2> {
        self.unit.clone().matmul(others.unit.clone().transpose())
    }
}

/// Pooled features of a batch and the head that turns features into embeddings.
#[derive(Clone, Debug)]
pub struct Features {
    /// `[pictures, features]`.
    pub pooled: Tensor<2>,
    /// `[features, dim]`.
    pub weight: Tensor<2>,
    /// `[dim]`.
    pub bias: Tensor<1>,
}

impl Features {
    /// Raw embeddings of features, `[rows, features]` to `[rows, dim]`.
    #[must_use]
    pub fn embed(&self, pooled: Tensor<2>) -> Tensor<2> {
        pooled.matmul(self.weight.clone()) + self.bias.clone().unsqueeze()
    }
}

/// What a loss sees of a batch.
pub struct Batch<'a> {
    /// Embeddings of the batch.
    pub anchors: &'a Points,
    /// What they are compared with: the batch itself, or remembered ones.
    pub refs: &'a Points,
    /// Cosines, `[anchors, refs]`.
    pub cosines: Tensor<2>,
    /// Who is alike and who is not, narrowed by the miner.
    pub relation: &'a Relation,
    /// Class of each anchor, counted from 0 among the training classes.
    pub classes: &'a [u32],
    /// The loss's own parameters, under `loss.`.
    pub parameters: &'a Bound,
    /// What the loss remembers, see [`Loss::memory`].
    pub memory: &'a Weights,
    /// What the head made the embeddings from; none where there is no network.
    pub features: Option<&'a Features>,
    /// Step of the run, from 0.
    pub step: usize,
}

impl Batch<'_> {
    /// Where the tensors live.
    #[must_use]
    pub fn device(&self) -> Device {
        self.cosines.device()
    }

    /// Squared distances, `[anchors, refs]`, of unit-length embeddings or of those given. Never negative.
    #[must_use]
    pub fn squares(&self, unit: bool) -> Tensor<2> {
        if unit {
            return self.cosines.clone().mul_scalar(-2.0).add_scalar(2.0).clamp_min(0.0);
        }
        let (a, b) = (self.anchors.raw.clone(), self.refs.raw.clone());
        let lengths = |x: &Tensor<2>| x.clone().powi_scalar(2).sum_dim(1);
        let dots = a.clone().matmul(b.clone().transpose());
        (lengths(&a) + lengths(&b).transpose() - dots.mul_scalar(2.0)).clamp_min(0.0)
    }

    /// Distances, `[anchors, refs]`, with a bounded slope where they are 0.
    #[must_use]
    pub fn distances(&self, unit: bool) -> Tensor<2> {
        numerics::root(self.squares(unit))
    }

    /// Whether the refs are the anchors.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        std::ptr::eq(self.anchors, self.refs)
    }
}

/// Terms of one kind.
pub struct Terms {
    /// Their sum, `[1]`.
    pub sum: Tensor<1>,
    /// How many have a slope, `[1]`; carries no gradient.
    pub active: Tensor<1>,
    /// How many there are.
    pub count: usize,
}

impl Terms {
    /// Terms that have a slope where they are above 0; what `values` holds beyond the terms is 0.
    #[must_use]
    pub fn hinges<const D: usize>(values: Tensor<D>, count: usize) -> Self {
        let active = values.clone().detach().greater_scalar(0.0).float().sum();
        Self { sum: values.sum(), active, count }
    }

    /// Terms that always have a slope.
    #[must_use]
    pub fn smooth<const D: usize>(values: Tensor<D>, count: usize) -> Self {
        let active = Tensor::from_floats([count as f32], &values.device());
        Self { sum: values.sum(), active, count }
    }

    /// No terms.
    #[must_use]
    pub fn none(device: &Device) -> Self {
        Self::smooth(Tensor::<1>::zeros([1], device), 0)
    }
}

/// A loss before its reduction.
pub struct LossValue {
    /// Kinds of terms; each is reduced on its own.
    pub parts: Vec<Terms>,
    /// Added to the reduced parts, `[1]`.
    pub penalty: Option<Tensor<1>>,
}

impl LossValue {
    /// Terms of a single kind.
    #[must_use]
    pub fn of(terms: Terms) -> Self {
        Self { parts: vec![terms], penalty: None }
    }

    /// The value, `[1]`; parts without any term are 0.
    ///
    /// # Panics
    /// Never: a loss has a part or a penalty.
    #[must_use]
    pub fn reduce(self, reduction: Reduction, anchors: usize) -> Tensor<1> {
        let reduced = self.parts.into_iter().map(|Terms { sum, active, count }| match reduction {
            Reduction::Sum => sum,
            Reduction::Mean => sum / count.max(1) as f32,
            Reduction::Active => sum / active.clamp_min(1.0),
            Reduction::Anchors => sum / anchors.max(1) as f32,
        });
        reduced.chain(self.penalty).reduce(|a, b| a + b).expect("a loss has a part or a penalty")
    }

    /// Terms with a slope, and all terms.
    #[must_use]
    pub fn active(&self) -> (f32, usize) {
        let active = self.parts.iter().map(|part| part.active.clone().into_scalar::<f32>()).sum();
        (active, self.parts.iter().map(|part| part.count).sum())
    }
}

/// What a loss is shown after a step, see [`Loss::remember`].
pub struct Seen<'a> {
    /// Step that was done, from 0.
    pub step: usize,
    /// Embeddings before the step, row-major.
    pub raw: &'a [f32],
    /// Values an embedding.
    pub dim: usize,
    /// Class of each.
    pub classes: &'a [u32],
}

/// An objective; sources and equations are in each one's file.
pub trait Loss {
    /// What it makes of a batch.
    fn sees(&self) -> Sees;

    /// What the recipe divides the sum by.
    fn reduction(&self) -> Reduction;

    /// Whether it can compare a batch with remembered embeddings, given pairs or triplets.
    fn compares_batches(&self) -> bool {
        matches!(self.sees(), Sees::Pairs | Sees::Triplets)
    }

    /// Whether its own parameters work against the network, so that the two gradients are shortened apart.
    fn adversarial(&self) -> bool {
        false
    }

    /// Keys of its settings whose values must be above 0.
    fn above_zero(&self) -> Vec<(&'static str, f32)> {
        Vec::new()
    }

    /// Its own trained parameters at their first values.
    fn parameters(&self, _shape: LossShape, _rng: &mut ChaCha8Rng) -> Weights {
        Weights::default()
    }

    /// What it remembers from step to step besides, at its first values; checkpoints hold it.
    fn memory(&self) -> Weights {
        Weights::default()
    }

    /// The value for one batch.
    fn forward(&self, batch: &Batch<'_>) -> LossValue;

    /// Changes what it remembers, after a step.
    fn remember(&self, _memory: &mut Weights, _seen: &Seen<'_>) {}
}
