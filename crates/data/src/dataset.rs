//! A labelled set of pictures with its splits, whatever it was read from.
//!
//! Every layout (folder of class folders, CSV, folder with `manifest.csv`, tar with `manifest.csv`, the
//! built-in emoji) becomes the same list of [`Item`]s; pictures are read from their source on demand, so
//! memory grows with the manifest and never with the pictures.

use crate::Image;
use crate::archive::Archive;
use crate::atomic::write_atomic;
use crate::dataset_error::DatasetError;
use crate::decode::{Limits, decode};
use crate::folder;
use crate::manifest::{self, Manifest};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Name of the manifest in a folder or a tar.
pub const MANIFEST_NAME: &str = "manifest.csv";

/// Largest picture file that is read, bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// What a picture may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Fits the weights.
    Train,
    /// Chooses among checkpoints and settings; never fits weights.
    #[serde(alias = "val")]
    Validation,
    /// Gives the reported numbers; looked at once.
    Test,
}

impl Split {
    /// Every split, in the order of use.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// Its name in manifests and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no split.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a split; write train, validation (or val) or test")]
pub struct SplitNameError(pub String);

impl std::str::FromStr for Split {
    type Err = SplitNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "train" => Ok(Self::Train),
            "validation" | "val" => Ok(Self::Validation),
            "test" => Ok(Self::Test),
            other => Err(SplitNameError(other.to_owned())),
        }
    }
}

/// One picture of a [`Dataset`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Where the picture lies: relative to the dataset (with `/`), or absolute.
    pub path: String,
    /// Its class: a position in [`Dataset::classes`].
    pub label: u32,
    /// What it may be used for.
    pub split: Split,
    /// Whether it asks, in an evaluation.
    pub is_query: bool,
    /// Whether it may be an answer, in an evaluation.
    pub is_gallery: bool,
    /// A coarser class, for reports.
    pub category: Option<String>,
    /// Who or what made the picture; protocols may forbid answers of the query's own camera.
    pub camera: Option<String>,
    /// Pictures of one family never count as each other's answer.
    pub family: Option<String>,
    /// Words that describe the picture.
    pub text: Option<String>,
    /// BLAKE3 of the file's bytes, 64 hexadecimal digits.
    pub hash: Option<String>,
}

/// Where the bytes of the pictures are.
#[derive(Debug)]
enum Source {
    /// Files below (or, with absolute paths, outside) a folder.
    Files(PathBuf),
    /// Entries of a tar.
    Tar(Archive),
}

/// A labelled set of pictures, read from their source on demand: memory grows with the manifest, never with the
/// pictures.
#[derive(Debug)]
pub struct Dataset {
    /// A short name: of the folder, the file, or `emoji`.
    pub name: String,
    /// Class names, sorted; [`Item::label`] points here.
    pub classes: Vec<String>,
    /// The pictures, sorted by path for folders and in manifest order otherwise.
    pub items: Vec<Item>,
    /// Whether the source states splits; without, every item says [`Split::Train`] until
    /// [`Dataset::split_by_class`] is called.
    pub has_splits: bool,
    /// Files of a folder that were passed over because their extension is no picture's.
    pub ignored: usize,
    source: Source,
}

impl Dataset {
    /// Opens a folder of class folders, a folder with `manifest.csv`, a CSV file, or a tar with
    /// `manifest.csv` and pictures.
    ///
    /// Below `train/`, `val/` (or `validation/`) and `test/`, when a folder holds nothing else, lie the class
    /// folders of that split. CSV needs the columns `path,label`; `split, is_query, is_gallery, category,
    /// camera, family, text, hash` are optional.
    ///
    /// # Errors
    /// When the layout is none of these, or a row is wrong; the message names file and row.
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        let about = fs::metadata(path).map_err(|err| DatasetError::io(path, err))?;
        let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        let dataset = if about.is_dir() && path.join(MANIFEST_NAME).is_file() {
            Self::from_csv(&path.join(MANIFEST_NAME), name_of(path))
        } else if about.is_dir() {
            Self::from_folder(path)
        } else {
            match extension.as_deref() {
                Some("csv") => Self::from_csv(path, name_of(path)),
                Some("tar") => Self::from_archive(Archive::open(path)?, name_of(path)),
                _ => return Err(DatasetError::NotADataset { path: path.display().to_string() }),
            }
        }?;
        match dataset.classes.as_slice() {
            [class] => Err(DatasetError::OneClass { path: path.display().to_string(), class: class.clone() }),
            _ => Ok(dataset),
        }
    }

    /// The built-in set: emoji that four designs share, 64 x 64, split by class.
    /// Its sources and licences are in the archive and in `crates/data/builtin`.
    ///
    /// # Errors
    /// When the program's own bytes are damaged.
    pub fn emoji() -> Result<Self, DatasetError> {
        let archive = Archive::unzip("built-in emoji.tar.gz", include_bytes!("../builtin/emoji.tar.gz"))?;
        Self::from_archive(archive, "emoji".to_owned())
    }

    fn from_folder(path: &Path) -> Result<Self, DatasetError> {
        let found = folder::list(path)?;
        let Manifest { classes, items, has_splits } = found.manifest;
        let source = Source::Files(path.to_path_buf());
        Ok(Self { name: name_of(path), classes, items, has_splits, ignored: found.ignored, source })
    }

    fn from_csv(path: &Path, name: String) -> Result<Self, DatasetError> {
        let file = File::open(path).map_err(|err| DatasetError::io(path, err))?;
        let root = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let shown = path.display().to_string();
        let Manifest { classes, items, has_splits } = manifest::read(file, &shown, |picture| {
            let place = root.join(picture);
            if place.is_file() {
                Ok(())
            } else {
                Err(format!("there is no file {}; paths are relative to the manifest", place.display()))
            }
        })?;
        Ok(Self { name, classes, items, has_splits, ignored: 0, source: Source::Files(root) })
    }

    fn from_archive(archive: Archive, name: String) -> Result<Self, DatasetError> {
        let text = archive.manifest()?;
        let shown = format!("{}:{MANIFEST_NAME}", archive.name());
        let Manifest { classes, items, has_splits } =
            manifest::read(text.as_ref(), &shown, |picture| match archive.range(picture) {
                Some(_) => Ok(()),
                None => Err(format!("the archive has no entry {picture}")),
            })?;
        Ok(Self { name, classes, items, has_splits, ignored: 0, source: Source::Tar(archive) })
    }

    /// Number of pictures.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no picture.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Positions of the items of `split`, ascending.
    #[must_use]
    pub fn of(&self, split: Split) -> Vec<usize> {
        (0..self.len()).filter(|&i| self.items[i].split == split).collect()
    }

    /// Name of the class of item `item`.
    ///
    /// # Panics
    /// When `item >= self.len()`.
    #[must_use]
    pub fn class(&self, item: usize) -> &str {
        &self.classes[self.items[item].label as usize]
    }

    /// The file's bytes of item `item`, checked against its hash where the manifest states one.
    ///
    /// # Errors
    /// When the file cannot be read, is larger than [`MAX_FILE_BYTES`], or changed.
    ///
    /// # Panics
    /// When `item >= self.len()`.
    pub fn bytes(&self, item: usize) -> Result<Cow<'_, [u8]>, DatasetError> {
        let Item { path, hash, .. } = &self.items[item];
        let bytes = self.unchecked_bytes(item)?;
        match hash {
            Some(expected) => {
                let found = blake3::hash(&bytes).to_hex();
                if found.as_str() == expected {
                    return Ok(bytes);
                }
                Err(DatasetError::Changed {
                    path: path.clone(),
                    expected: expected.clone(),
                    found: found.to_string(),
                })
            }
            None => Ok(bytes),
        }
    }

    fn unchecked_bytes(&self, item: usize) -> Result<Cow<'_, [u8]>, DatasetError> {
        let path = &self.items[item].path;
        match &self.source {
            Source::Files(root) => read_capped(&root.join(path)).map(Cow::Owned),
            Source::Tar(archive) => {
                let range = archive.range(path).ok_or_else(|| DatasetError::Archive {
                    path: archive.name().to_owned(),
                    reason: format!("the archive has no entry {path}"),
                })?;
                let bytes = range.end - range.start;
                if bytes > MAX_FILE_BYTES {
                    return Err(DatasetError::TooLarge { path: path.clone(), bytes });
                }
                archive.read(&range)
            }
        }
    }

    /// The picture of item `item`: upright RGB, transparent pixels over white.
    ///
    /// # Errors
    /// As [`Dataset::bytes`], and when the file is not a whole picture of a known format.
    ///
    /// # Panics
    /// When `item >= self.len()`.
    pub fn image(&self, item: usize) -> Result<Image, DatasetError> {
        self.image_over(item, [255; 3])
    }

    /// Like [`Dataset::image`], with transparent pixels over `background` (RGB).
    ///
    /// # Errors
    /// As [`Dataset::image`].
    ///
    /// # Panics
    /// When `item >= self.len()`.
    pub fn image_over(&self, item: usize, background: [u8; 3]) -> Result<Image, DatasetError> {
        let bytes = self.bytes(item)?;
        decode(&bytes, background, &Limits::default())
            .map_err(|source| DatasetError::Decode { path: self.items[item].path.clone(), source })
    }

    /// Whether the pictures are files of their own, rather than entries of an archive.
    pub(crate) fn in_files(&self) -> bool {
        matches!(self.source, Source::Files(_))
    }

    /// Hashes the content of every picture that has no [`Item::hash`] yet.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn hash_contents(&mut self) -> Result<(), DatasetError> {
        let hashes = self.content_hashes()?;
        for (item, hash) in self.items.iter_mut().zip(hashes) {
            item.hash = Some(hash);
        }
        Ok(())
    }

    fn content_hashes(&self) -> Result<Vec<String>, DatasetError> {
        (0..self.len())
            .into_par_iter()
            .map(|i| match &self.items[i].hash {
                Some(hash) => Ok(hash.clone()),
                None => Ok(blake3::hash(&self.unchecked_bytes(i)?).to_hex().to_string()),
            })
            .collect()
    }

    /// BLAKE3 over the canonical manifest, 64 hexadecimal digits: every column of every row with the content
    /// hashes, sorted by path. It does not depend on where the data lies or on the order of rows.
    ///
    /// # Errors
    /// When a picture without a stated hash cannot be read.
    pub fn manifest_hash(&self) -> Result<String, DatasetError> {
        let hashes = self.content_hashes()?;
        let mut rows: Vec<Vec<u8>> = self
            .items
            .iter()
            .zip(&hashes)
            .map(|(item, hash)| manifest::canonical(item, &self.classes[item.label as usize], hash))
            .collect();
        rows.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"deepembed manifest 1\n");
        for row in &rows {
            hasher.update(row);
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Writes the manifest as CSV, whole or not at all. Pictures in files get paths relative to the folder of
    /// `path` where they lie below it and absolute ones otherwise; pictures in a tar keep their entry names.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_manifest(&self, path: &Path) -> Result<(), DatasetError> {
        let io_error = |err| DatasetError::io(path, err);
        let rows = self
            .items
            .iter()
            .map(|item| {
                let mut item = item.clone();
                if let Source::Files(root) = &self.source {
                    item.path = manifest::path_from(path, &root.join(&item.path))?;
                }
                Ok(item)
            })
            .collect::<Result<Vec<_>, DatasetError>>()?;
        write_atomic(path, |out| manifest::write(out, &rows, &self.classes)).map_err(io_error)
    }
}

fn name_of(path: &Path) -> String {
    let resolved = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    resolved.file_stem().map_or_else(|| "dataset".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// Reads a whole file unless it is larger than [`MAX_FILE_BYTES`], also when it grows while being read.
fn read_capped(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let read = || {
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        let stated = file.metadata()?.len();
        if stated <= MAX_FILE_BYTES {
            bytes.reserve_exact(stated as usize);
            file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        }
        Ok((stated.max(bytes.len() as u64), bytes))
    };
    let (size, bytes) = read().map_err(|err| DatasetError::io(path, err))?;
    if size > MAX_FILE_BYTES {
        return Err(DatasetError::TooLarge { path: path.display().to_string(), bytes: size });
    }
    Ok(bytes)
}
