//! Writes a manifest for data that has none, so that its splits and content are fixed from then on.

use crate::atomic::write_atomic;
use crate::dataset::{Dataset, MANIFEST_NAME};
use crate::dataset_error::DatasetError;
use crate::manifest;
use std::fs;
use std::path::Path;

/// How [`import`] works.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportOptions {
    /// Copies the pictures below the new folder. Without, the manifest points to where they are; entries of a tar
    /// are always copied.
    pub copy: bool,
    /// Seed of the split, for data without splits.
    pub seed: u64,
    /// Shares of classes (train, validation, test) of the split, for data without splits.
    pub shares: [f64; 3],
}

impl Default for ImportOptions {
    /// Pictures stay where they are; seed 1; 60 %, 10 % and 30 %.
    fn default() -> Self {
        Self { copy: false, seed: 1, shares: [0.6, 0.1, 0.3] }
    }
}

/// Opens `from`, hashes every picture, splits by class where no splits are stated, and writes `to/manifest.csv`
/// last, so that an interrupted import is not a dataset. Gives the dataset at `to`.
///
/// # Errors
/// When `from` cannot be opened or read, `to` holds a manifest already, or writing fails.
pub fn import(from: &Path, to: &Path, options: &ImportOptions) -> Result<Dataset, DatasetError> {
    let manifest = to.join(MANIFEST_NAME);
    if manifest.exists() {
        return Err(DatasetError::Exists { path: manifest.display().to_string() });
    }
    let mut dataset = Dataset::open(from)?;
    if dataset.has_splits {
        dataset.hash_contents()?;
    } else {
        dataset.split_by_class(options.seed, options.shares)?;
    }
    fs::create_dir_all(to).map_err(|err| DatasetError::io(to, err))?;
    if options.copy || !dataset.in_files() {
        copy(&dataset, to)?;
    } else {
        dataset.write_manifest(&manifest)?;
    }
    Dataset::open(to)
}

/// Copies pictures under numbers: names from elsewhere may not fit this file system, or lead out of the folder.
fn copy(dataset: &Dataset, to: &Path) -> Result<(), DatasetError> {
    let folder = to.join("pictures");
    fs::create_dir_all(&folder).map_err(|err| DatasetError::io(&folder, err))?;
    let mut items = dataset.items.clone();
    for (i, item) in items.iter_mut().enumerate() {
        let extension = Path::new(&item.path).extension().and_then(|e| e.to_str()).unwrap_or("");
        let plain = extension.len() <= 4 && extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
        item.path = format!("pictures/{i:07}.{}", if plain { extension } else { "picture" });
        let path = to.join(&item.path);
        fs::write(&path, dataset.bytes(i)?).map_err(|err| DatasetError::io(&path, err))?;
    }
    let path = to.join(MANIFEST_NAME);
    write_atomic(&path, |out| manifest::write(out, &items, &dataset.classes))
        .map_err(|err| DatasetError::io(&path, err))
}
