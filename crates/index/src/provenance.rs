//! Where an index's rows came from, and which model may ask it.

use data::{Contract, Embed};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Where the rows came from; it travels in the index's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Provenance {
    /// The model that made the vectors; none where they came as vectors.
    pub model: Option<MadeBy>,
    /// Hash of the manifest of the embedded data, or of the file of vectors.
    pub data_hash: String,
    /// The seed the index was built with.
    pub seed: u64,
}

/// A model and what it promises.
#[derive(Clone, Debug, PartialEq)]
pub struct MadeBy {
    /// Its content hash, 64 hexadecimal digits.
    pub hash: String,
    /// Its whole contract.
    pub contract: Contract,
}

/// [`Provenance`] as its JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contract: Option<Contract>,
    data_hash: String,
    seed: u64,
}

impl From<Provenance> for Written {
    fn from(provenance: Provenance) -> Self {
        let Provenance { model, data_hash, seed } = provenance;
        let (model_hash, contract) = model.map(|model| (model.hash, model.contract)).unzip();
        Self { model_hash, contract, data_hash, seed }
    }
}

impl TryFrom<Written> for Provenance {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { model_hash, contract, data_hash, seed } = written;
        let model = match (model_hash, contract) {
            (Some(hash), Some(contract)) => Some(MadeBy { hash, contract }),
            (None, None) => None,
            _ => return Err("a model's hash and its contract belong together"),
        };
        Ok(Self { model, data_hash, seed })
    }
}

/// A model whose vectors must not meet those of the index.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ModelMismatch {
    /// Another model made the vectors of the index.
    #[error(
        "the index was made by model {index_hash} ({index_architecture}), the query comes from model \
         {model_hash} ({model_architecture}); query with the index's model or build the index again"
    )]
    Other {
        /// The model of the index.
        index_hash: String,
        /// Its network.
        index_architecture: String,
        /// The model that asks.
        model_hash: String,
        /// Its network.
        model_architecture: String,
    },
    /// No model is known to have made the vectors of the index.
    #[error("the index was built from plain vectors; query it with vectors, or build it with a model")]
    NoModel,
}

impl Provenance {
    /// Whether vectors of `model` may be compared with those of the index: its hash must be the same.
    ///
    /// # Errors
    /// When it is another model, or the index has none.
    pub fn accepts(&self, model: &dyn Embed) -> Result<(), ModelMismatch> {
        let Some(own) = &self.model else { return Err(ModelMismatch::NoModel) };
        if own.hash.eq_ignore_ascii_case(model.model_hash()) {
            return Ok(());
        }
        Err(ModelMismatch::Other {
            index_hash: own.hash.clone(),
            index_architecture: own.contract.architecture.clone(),
            model_hash: model.model_hash().to_owned(),
            model_architecture: model.contract().architecture.clone(),
        })
    }
}

impl MadeBy {
    /// Whether the hash looks like one.
    pub(crate) fn has_hash(&self) -> bool {
        self.hash.len() == 64 && self.hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}
