//! What every command is given.

use crate::failure::{Code, Failure, Outcome};
use crate::talk::Talk;
use data::{Dataset, DatasetError, Embed, Image};
use rayon::prelude::*;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Pictures decoded and embedded together: bounds the memory.
const BATCH: usize = 64;

/// Settings and means shared by all commands.
pub struct Context {
    pub talk: Talk,
    pub seed: u64,
    /// Bytes for the evaluator's tiles.
    pub memory: usize,
    /// Bytes that a build may take, where a cap was given.
    pub cap: Option<u64>,
    pub stop: Arc<AtomicBool>,
}

/// Where pictures come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The set inside the binary.
    Emoji,
    /// A folder, a CSV file or an archive.
    Path(PathBuf),
}

/// How run folders and messages name the built-in set.
const EMOJI: &str = "builtin:emoji";

impl std::str::FromStr for Source {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == EMOJI { Self::Emoji } else { Self::Path(text.into()) })
    }
}

/// From the command line, where a path need not be text.
impl From<OsString> for Source {
    fn from(words: OsString) -> Self {
        if words == EMOJI { Self::Emoji } else { Self::Path(words.into()) }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Emoji => f.write_str(EMOJI),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Source {
    /// Opens the pictures and hashes them. Manifests, runs and indexes name the place, so it must be text.
    pub fn open(&self) -> Outcome<Dataset> {
        let mut dataset = match self {
            Self::Emoji => Dataset::emoji()?,
            Self::Path(path) if path.to_str().is_none() => {
                return Err(DatasetError::NotUtf8 { path: path.display().to_string() }.into());
            }
            Self::Path(path) => Dataset::open(path)?,
        };
        dataset.hash_contents()?;
        Ok(dataset)
    }
}

impl Context {
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Embeds some items, `items.len() x dim` values, with a bar.
    pub fn embed(
        &self,
        model: &dyn Embed,
        dataset: &Dataset,
        items: &[usize],
        what: &str,
    ) -> Outcome<Vec<f32>> {
        let bar = self.talk.bar(what, items.len());
        let background = model.contract().preprocess.background;
        let mut rows = Vec::with_capacity(items.len() * model.contract().dim);
        for (batch, chosen) in items.chunks(BATCH).enumerate() {
            if self.stopped() {
                return Err(Failure::interrupted());
            }
            let images: Vec<Image> = chosen
                .par_iter()
                .map(|&item| dataset.image_over(item, background))
                .collect::<Result<_, _>>()?;
            rows.extend(model.embed(&images)?);
            bar.set((batch * BATCH + chosen.len()).min(items.len()), items.len(), "");
        }
        bar.finish(&format!("{} pictures", items.len()));
        Ok(rows)
    }
}

/// Writes a file whole or not at all.
pub fn write_file(path: &Path, bytes: &[u8]) -> Outcome {
    let failed = |error: std::io::Error| {
        Failure::new(
            Code::Failed,
            anyhow::Error::new(error).context(format!("cannot write {}", path.display())),
        )
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    data::write_atomic(path, |file| file.write_all(bytes)).map_err(failed)
}
