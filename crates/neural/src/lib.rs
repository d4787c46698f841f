//! Backbones, losses, samplers and the trainer: the only user of burn.
//!
//! A [`Recipe`] names a network, a miner, a loss, an optimiser and a schedule; [`train`] turns it and a
//! dataset into a [`Model`], which everything else sees through [`data::Embed`].
#![forbid(unsafe_code)]

mod augment;
mod backbones;
mod checkpoint;
mod drill;
pub mod losses;
mod material;
pub mod miners;
mod model;
mod network;
mod objective;
mod ops;
mod optimiser;
mod recipe;
mod relation;
pub mod samplers;
mod settings;
mod torch_legacy;
mod train;
mod views;
mod weights;

pub use augment::AugmentConfig;
pub use backbones::Backbone;
pub use drill::drill;
pub use model::{Model, ModelError};
pub use optimiser::OptimiserConfig;
pub use recipe::{HeadConfig, InputConfig, ModelConfig, RECIPES, Recipe, RecipeError, Schedule, Start};
pub use relation::Relation;
pub use samplers::SamplerConfig;
pub use torch_legacy::{TorchError, read_torch_legacy};
pub use train::{Event, Session, StepReport, TrainError, Trained, fits, train};
pub use weights::{Array, Bound, Precision, Weights, WeightsError};
