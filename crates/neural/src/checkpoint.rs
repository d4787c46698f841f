//! Everything a training run must remember to go on as if it had never stopped.

use crate::optimiser::Adam;
use crate::weights::{Precision, Weights};
use data::write_atomic;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Checkpoints kept: the last, and the one before in case the last is damaged.
const KEPT: usize = 2;

/// The state between two steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    /// Steps done.
    pub step: usize,
    pub weights: Weights,
    /// Running average of the weights; empty when the recipe keeps none.
    pub average: Weights,
    /// What the loss, its memory of past batches and the sampler remember besides.
    pub memory: Weights,
    pub adam: Adam,
    /// The weights that did best on the validation split so far, and how well.
    pub best: Option<(f64, Weights)>,
}

/// What a checkpoint belongs to: another run's is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub recipe: String,
    pub data_hash: String,
    pub seed: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    step: usize,
    best: Option<f64>,
    identity: Identity,
}

const KEY: &str = "deepembed.checkpoint";

fn path(folder: &Path, step: usize) -> PathBuf {
    folder.join(format!("step-{step:08}.safetensors"))
}

/// Checkpoint files, newest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("step-")))
        .collect();
    files.sort_unstable_by(|a, b| b.cmp(a));
    files
}

impl State {
    /// Writes the state, then removes all but the newest checkpoints.
    pub fn save(&self, folder: &Path, identity: &Identity) -> std::io::Result<()> {
        let mut all = Weights::default();
        all.extend("weights/", &self.weights);
        all.extend("average/", &self.average);
        all.extend("memory/", &self.memory);
        all.extend("first/", &self.adam.first);
        all.extend("second/", &self.adam.second);
        if let Some((_, best)) = &self.best {
            all.extend("best/", best);
        }
        let best = self.best.as_ref().map(|(value, _)| *value);
        let header = Header { step: self.step, best, identity: identity.clone() };
        let header = serde_json::to_string(&header).expect("a header has a JSON form");
        let bytes = all
            .to_safetensors(Precision::Full, &BTreeMap::from([(KEY.to_owned(), header)]))
            .map_err(std::io::Error::other)?;
        std::fs::create_dir_all(folder)?;
        write_atomic(&path(folder, self.step), |file| file.write_all(&bytes))?;
        for old in files(folder).into_iter().skip(KEPT) {
            std::fs::remove_file(old)?;
        }
        Ok(())
    }

    /// The newest whole checkpoint of this run, and notes on damaged ones that were passed over.
    ///
    /// # Errors
    /// When the checkpoints belong to another run, in words.
    pub fn load(folder: &Path, identity: &Identity) -> Result<(Option<Self>, Vec<String>), String> {
        let mut notes = Vec::new();
        for file in files(folder) {
            match Self::read(&file) {
                Ok((state, found)) if &found == identity => return Ok((Some(state), notes)),
                Ok((_, found)) => return Err(difference(&file, &found, identity)),
                Err(cause) => notes.push(format!("{}: {cause}; trying the one before", file.display())),
            }
        }
        Ok((None, notes))
    }

    fn read(file: &Path) -> Result<(Self, Identity), String> {
        let bytes = std::fs::read(file).map_err(|e| e.to_string())?;
        let (all, metadata) = Weights::from_safetensors(&bytes).map_err(|e| e.to_string())?;
        let header = metadata.get(KEY).ok_or("not a checkpoint")?;
        let header: Header = serde_json::from_str(header).map_err(|e| e.to_string())?;
        let state = Self {
            step: header.step,
            weights: all.under("weights/"),
            average: all.under("average/"),
            memory: all.under("memory/"),
            adam: Adam { first: all.under("first/"), second: all.under("second/") },
            best: header.best.map(|value| (value, all.under("best/"))),
        };
        Ok((state, header.identity))
    }
}

fn difference(file: &Path, found: &Identity, wanted: &Identity) -> String {
    let what = if found.seed != wanted.seed {
        format!("seed {} (now {})", found.seed, wanted.seed)
    } else if found.data_hash != wanted.data_hash {
        "other data".to_owned()
    } else {
        "another recipe".to_owned()
    };
    format!("{} was made with {what}; give the same settings or another folder", file.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Array;

    fn state(step: usize) -> State {
        let mut weights = Weights::default();
        weights.insert("embed.bias", Array::flat(vec![step as f32, 0.5]));
        State {
            step,
            average: Weights::default(),
            memory: weights.clone(),
            adam: Adam { first: weights.clone(), second: weights.clone() },
            best: (step > 1).then(|| (0.5, weights.clone())),
            weights,
        }
    }

    fn identity(seed: u64) -> Identity {
        Identity { recipe: "r".into(), data_hash: "d".into(), seed }
    }

    #[test]
    fn the_newest_whole_one_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for step in [1, 2, 3] {
            state(step).save(folder.path(), &identity(4)).unwrap();
        }
        assert_eq!(files(folder.path()).len(), KEPT);
        let (loaded, notes) = State::load(folder.path(), &identity(4)).unwrap();
        assert_eq!((loaded, notes.len()), (Some(state(3)), 0));
        std::fs::write(path(folder.path(), 3), b"half a file").unwrap();
        let (loaded, notes) = State::load(folder.path(), &identity(4)).unwrap();
        assert_eq!((loaded, notes.len()), (Some(state(2)), 1));
    }

    #[test]
    fn another_runs_checkpoint_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        state(1).save(folder.path(), &identity(4)).unwrap();
        let error = State::load(folder.path(), &identity(5)).unwrap_err();
        assert!(error.contains("seed 4 (now 5)"), "{error}");
        assert_eq!(State::load(&folder.path().join("none"), &identity(4)).unwrap().0, None);
    }
}
