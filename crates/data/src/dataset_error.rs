//! What can be wrong with a dataset, and the way out.

use crate::dataset::{MANIFEST_NAME, MAX_FILE_BYTES};
use crate::decode::DecodeError;
use std::io;
use std::path::Path;
use thiserror::Error;

/// Why a dataset could not be opened, read or written. Messages are one line.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// A file or folder could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The path is neither a folder, a CSV file nor a tar.
    #[error(
        "{path} is not a dataset; give a folder of class folders, a folder with {MANIFEST_NAME}, a .csv file, or a .tar"
    )]
    NotADataset {
        /// The path given.
        path: String,
    },
    /// A folder without pictures.
    #[error(
        "{path} holds no pictures ({ignored} other files); put jpg, png, webp, gif or bmp files in one folder a class"
    )]
    Empty {
        /// The folder.
        path: String,
        /// Files that are not pictures.
        ignored: usize,
    },
    /// Fewer than two classes, so there is nothing to tell apart.
    #[error(
        "{path} has only the class `{class}`; retrieval needs at least two classes, one folder (or label) each"
    )]
    OneClass {
        /// The dataset.
        path: String,
        /// Its only class.
        class: String,
    },
    /// A name that is not text.
    #[error("{path}: the name is not UTF-8 (shown with replacement characters); rename the file")]
    NotUtf8 {
        /// The name with what could not be read replaced.
        path: String,
    },
    /// Folders nested without end, such as a link to its own parent.
    #[error(
        "{path}: folders are nested more than {limit} deep; remove the link that leads back to its parent"
    )]
    TooDeep {
        /// The deepest folder reached.
        path: String,
        /// Levels allowed.
        limit: usize,
    },
    /// A manifest that is not CSV.
    #[error("{manifest}: {reason}")]
    Csv {
        /// The manifest.
        manifest: String,
        /// What is wrong, with the row where known.
        reason: String,
    },
    /// A column that must be there is not.
    #[error(
        "{manifest}: no column `{column}`; the first row must name the columns, at least path and label (found: {found})"
    )]
    NoColumn {
        /// The manifest.
        manifest: String,
        /// The missing column.
        column: &'static str,
        /// The columns there are.
        found: String,
    },
    /// One row is wrong.
    #[error("{manifest} row {row}: {reason}")]
    Row {
        /// The manifest.
        manifest: String,
        /// Line of the file, from 1; the header is line 1.
        row: u64,
        /// What is wrong and how to put it right.
        reason: String,
    },
    /// A tar that cannot be read.
    #[error("{path}: {reason}")]
    Archive {
        /// The tar.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A picture file larger than [`MAX_FILE_BYTES`].
    #[error(
        "{path} has {bytes} bytes, more than the {MAX_FILE_BYTES} that are read; save the picture smaller"
    )]
    TooLarge {
        /// The picture.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// A picture whose bytes are not those of the manifest.
    #[error(
        "{path} changed since the manifest was written (BLAKE3 {found}, manifest says {expected}); import the data again"
    )]
    Changed {
        /// The picture.
        path: String,
        /// Hash in the manifest.
        expected: String,
        /// Hash of the bytes.
        found: String,
    },
    /// A picture that cannot be decoded.
    #[error("{path}: {source}; remove or replace the picture")]
    Decode {
        /// The picture.
        path: String,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// An import that would overwrite another.
    #[error("{path} exists already; remove it or give another folder")]
    Exists {
        /// The manifest in the way.
        path: String,
    },
    /// Shares that cannot divide classes.
    #[error("split shares {shares:?} must be at least 0 and sum to 1 (train, validation, test)")]
    Shares {
        /// The shares given.
        shares: [f64; 3],
    },
}

impl DatasetError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.display().to_string(), source }
    }
}
