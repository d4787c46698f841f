//! Opening a model by what a person calls it.

use crate::failure::{Code, Failure, Outcome};
use data::{Embed, PixelEmbed};
use neural::{Model, ModelError};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

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

/// From the command line, where a path need not be text.
impl From<OsString> for ModelName {
    fn from(words: OsString) -> Self {
        match words.to_str() {
            Some("starter") => Self::Starter,
            Some("pixels") => Self::Pixels,
            _ => Self::File(words.into()),
        }
    }
}

pub fn open(name: &ModelName) -> Outcome<Box<dyn Embed>> {
    Ok(match name {
        ModelName::Starter => Box::new(Model::starter()),
        ModelName::Pixels => Box::new(PixelEmbed::new()),
        ModelName::File(path) if path.is_dir() => Box::new(open_file(&path.join("model.safetensors"))?),
        ModelName::File(path) => Box::new(open_file(path)?),
    })
}

fn open_file(path: &Path) -> Outcome<Model> {
    Model::open(path).map_err(|error| match error {
        ModelError::Read { path, source } => {
            let text =
                format!("{}: {source}; give a model file, a run folder, starter or pixels", path.display());
            Failure::message(Code::Failed, text)
        }
        error => error.into(),
    })
}
