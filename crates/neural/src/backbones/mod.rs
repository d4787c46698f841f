//! The networks that can be trained or fine-tuned. A new one is a file here and an arm below.

mod lite0;
mod small;

use crate::network::Network;
use serde::{Deserialize, Serialize};

/// A network's name in recipes and contracts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backbone {
    /// EfficientNet-lite0, for 224 px pictures but usable from 64 px.
    #[serde(rename = "efficientnet-lite0")]
    Lite0,
    /// A residual net small enough to be trained from nothing on a laptop.
    #[serde(rename = "small-resnet")]
    Small,
}

impl Backbone {
    pub(crate) fn network(self) -> Network {
        match self {
            Self::Lite0 => lite0::network(),
            Self::Small => small::network(),
        }
    }
}
