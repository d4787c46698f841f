//! Opening a model by what a person calls it.

use crate::failure::Outcome;
use data::{Embed, PixelEmbed};
use neural::Model;
use std::path::PathBuf;

/// A model on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelName {
    /// The backbone inside the binary.
    Starter,
    /// Raw pixels.
    Pixels,
    /// A model file, or the run folder that holds one.
    File(PathBuf),
}

impl std::str::FromStr for ModelName {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "starter" => Self::Starter,
            "pixels" => Self::Pixels,
            file => Self::File(file.into()),
        })
    }
}

pub fn open(name: &ModelName) -> Outcome<Box<dyn Embed>> {
    Ok(match name {
        ModelName::Starter => Box::new(Model::starter()),
        ModelName::Pixels => Box::new(PixelEmbed::new()),
        ModelName::File(path) if path.is_dir() => Box::new(Model::open(&path.join("model.safetensors"))?),
        ModelName::File(path) => Box::new(Model::open(path)?),
    })
}
