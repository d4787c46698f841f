//! The contract between training, indexing and querying: everything that must agree for two vectors
//! to be comparable. It travels in the model file's metadata.

use crate::Metric;
use serde::{Deserialize, Serialize};

/// Version of the contract's own layout.
pub const CONTRACT_FORMAT: u32 = 1;

/// Resampling filter; both are antialiased when shrinking, like PIL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Triangle filter, PIL's `BILINEAR`.
    Bilinear,
    /// Cubic convolution with a = -0.5, PIL's `BICUBIC`.
    Bicubic,
}

/// How a picture of any shape becomes the network's square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Crop {
    /// Both sides are resized to `size`; the shape is not kept.
    Stretch,
    /// The short side is resized to `size`, then the centre is cut out.
    Centre,
    /// The long side is resized to `size`, then the rest is filled with `background`.
    Pad,
}

/// From decoded, upright RGB to the network's input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Side of the square input, pixels.
    pub size: u32,
    /// How the picture is made square.
    pub crop: Crop,
    /// Resampling filter.
    pub filter: Filter,
    /// Subtracted from each channel, in units of 0 to 255.
    pub mean: [f32; 3],
    /// Then divides each channel, in units of 0 to 255.
    pub std: [f32; 3],
    /// What transparent pixels lie on, and what pads, RGB.
    pub background: [u8; 3],
}

/// Everything a query must share with the rows it is compared to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// Layout version, [`CONTRACT_FORMAT`].
    pub format: u32,
    /// Pixels to input.
    pub preprocess: Preprocess,
    /// Name of the network, as the recipe states it.
    pub architecture: String,
    /// Values an embedding.
    pub dim: usize,
    /// The metric the embedding was trained for.
    pub metric: Metric,
    /// Whether embeddings have unit length.
    pub normalised: bool,
    /// Hash of the training manifest; none for a model that was not trained here.
    pub training_data: Option<String>,
    /// The resolved recipe, as TOML.
    pub recipe: Option<String>,
    /// Test metrics measured when the model was made, as JSON.
    pub metrics: Option<serde_json::Value>,
    /// Licence of the weights (SPDX expression and attributions).
    pub licence: String,
}
