//! The port through which everything but `neural` uses a model.

use crate::{Contract, Image};
use thiserror::Error;

/// Why pictures could not be embedded.
#[derive(Debug, Error)]
pub enum EmbedError {
    /// The network gave a value that is not a number.
    #[error("the model gave a non-finite value for picture {picture} of the batch; the weights are damaged")]
    NotFinite {
        /// Position in the batch.
        picture: usize,
    },
    /// The backend failed.
    #[error("the network could not run: {0}")]
    Backend(String),
}

/// Turns pictures into vectors under one [`Contract`].
pub trait Embed: Send + Sync {
    /// What these vectors mean and how pictures are prepared for them.
    fn contract(&self) -> &Contract;

    /// Content hash of the model, 64 hexadecimal digits: vectors of two hashes must never meet.
    fn model_hash(&self) -> &str;

    /// Embeds upright RGB pictures of any size: `images.len() x contract().dim` values, row-major.
    ///
    /// # Errors
    /// When the network fails or gives a value that is not finite.
    fn embed(&self, images: &[Image]) -> Result<Vec<f32>, EmbedError>;
}
