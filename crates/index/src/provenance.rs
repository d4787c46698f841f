//! Where an index's rows came from, and which model may ask it.

use data::{Contract, Embed};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Where the rows came from; it travels in the index's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Content hash of the model that made the vectors, 64 hexadecimal digits.
    pub model_hash: String,
    /// The whole contract of that model.
    pub contract: Contract,
    /// Hash of the manifest of the embedded data.
    pub data_hash: String,
    /// The seed the index was built with.
    pub seed: u64,
}

/// A model whose vectors must not meet those of the index.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "the index was made by model {index_hash} ({index_architecture}), the query comes from model \
         {model_hash} ({model_architecture}); query with the index's model or build the index again"
)]
pub struct ModelMismatch {
    /// The model of the index.
    pub index_hash: String,
    /// Its network.
    pub index_architecture: String,
    /// The model that asks.
    pub model_hash: String,
    /// Its network.
    pub model_architecture: String,
}

impl Provenance {
    /// Whether vectors of `model` may be compared with those of the index: its hash must be the same.
    ///
    /// # Errors
    /// When it is another model.
    pub fn accepts(&self, model: &dyn Embed) -> Result<(), ModelMismatch> {
        if self.model_hash.eq_ignore_ascii_case(model.model_hash()) {
            return Ok(());
        }
        Err(ModelMismatch {
            index_hash: self.model_hash.clone(),
            index_architecture: self.contract.architecture.clone(),
            model_hash: model.model_hash().to_owned(),
            model_architecture: model.contract().architecture.clone(),
        })
    }

    /// Whether the model's hash looks like one.
    pub(crate) fn has_model_hash(&self) -> bool {
        self.model_hash.len() == 64 && self.model_hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}
