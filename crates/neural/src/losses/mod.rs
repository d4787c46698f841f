//! Losses over pairs. A new one is a file here, a variant of [`LossConfig`] and an arm of its `init`.

mod margin;

pub use margin::MarginConfig;

use crate::relation::Relation;
use crate::weights::{Bound, Weights};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// What a loss sees of a batch of unit-length embeddings.
pub struct Pairs<'a> {
    /// Cosines, `[anchors, refs]`.
    pub similarity: Tensor<2>,
    /// Who is alike and who is not, narrowed by the miner.
    pub relation: &'a Relation,
    /// Class of each anchor, counted from 0 among the training classes.
    pub classes: &'a [u32],
    /// The loss's own parameters.
    pub parameters: &'a Bound,
}

/// A loss before its reduction.
pub struct LossValue {
    /// Sum over each anchor's pairs, `[anchors]`.
    pub sums: Tensor<1>,
    /// Pairs with a slope, of each anchor, `[anchors]`; carries no gradient.
    pub active: Tensor<1>,
}

impl LossValue {
    /// Sum over the active pairs divided by their number; 0 when there is none.
    #[must_use]
    pub fn per_active_pair(self) -> Tensor<1> {
        self.sums.sum() / self.active.detach().sum().clamp_min(1.0)
    }
}

/// A loss over pairs; sources and equations are in each one's file.
pub trait PairLoss {
    /// Its own trained parameters at their first values.
    fn parameters(&self, classes: usize) -> Weights;

    /// The value for one batch.
    fn forward(&self, pairs: &Pairs<'_>) -> LossValue;
}

/// A loss as a recipe states it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LossConfig {
    /// Margin loss with learnable boundaries.
    Margin(MarginConfig),
}

impl LossConfig {
    /// The loss itself.
    #[must_use]
    pub fn init(&self) -> Box<dyn PairLoss> {
        match self {
            Self::Margin(config) => Box::new(config.clone()),
        }
    }
}
