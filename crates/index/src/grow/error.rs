//! Why an index did not grow.

use crate::file::SaveError;
use crate::{BuildError, OpenError};
use data::Id;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why an index was not changed. What was asked for and not yet committed is kept unless the message says otherwise.
#[derive(Debug, Error)]
pub enum GrowError {
    /// The file is no index that can be used here.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Another writer has the file.
    #[error("{path} is being written by another program; wait for it to end")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Another program put another file in the place of the index.
    #[error("{path} is not the file any more that was opened; open it again")]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("the disk of {path} is full; the index is as it was: free some space and commit again")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot write {path}: {source}; the index is as it was")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The last step of a commit failed.
    #[error("cannot tell whether the last commit to {path} is on the disk: {why}; open it again to see")]
    Unsure {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// The rows have another length than those of the index.
    #[error("the rows have {got} dimensions, the index has {want}; embed them with the index's own model")]
    Dim {
        /// Values a row.
        got: usize,
        /// Values a row of the index.
        want: usize,
    },
    /// A row has no id, or an id no row.
    #[error("there are {ids} ids for {rows} rows; give one for each")]
    Count {
        /// Ids given.
        ids: usize,
        /// Rows given.
        rows: usize,
    },
    /// An id is in use.
    #[error("id {id} is in the index already; update it, or give the row another id")]
    Exists {
        /// The id.
        id: Id,
    },
    /// An id is given twice.
    #[error("id {id} is given twice; give each row its own")]
    Twice {
        /// The id.
        id: Id,
    },
    /// A row holds NaN or an infinity.
    #[error("the row of id {id} holds a value that is not finite; leave it out or embed it again")]
    NotFinite {
        /// The id.
        id: Id,
    },
    /// A segment could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Indexes that are no parts of one.
    #[error("{path} cannot be merged with {first}: {why}")]
    Apart {
        /// The file.
        path: PathBuf,
        /// The file it was to be merged with.
        first: PathBuf,
        /// What differs.
        why: String,
    },
    /// The merged index could not be written.
    #[error(transparent)]
    Save(#[from] SaveError),
}

impl GrowError {
    /// What the system said about a file that holds what it held.
    pub(super) fn io(path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { path, source },
        }
    }
}
