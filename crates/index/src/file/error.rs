//! Why an index could not be written or read.

use super::superblock;
use crate::ParseSpecError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why an index could not be written.
#[derive(Debug, Error)]
pub enum SaveError {
    /// The operating system refused.
    #[error("cannot write {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The model's hash is no hash.
    #[error("\"{0}\" is no model hash; 64 hexadecimal digits are needed")]
    ModelHash(String),
    /// The contract is for other vectors.
    #[error("the contract is for {contract} dimensions, the index has {index}")]
    Dim {
        /// Values the contract promises.
        contract: usize,
        /// Values a row of the index.
        index: usize,
    },
    /// Files are little-endian, this machine is not.
    #[error("index files need a little-endian machine")]
    ByteOrder,
    /// The caller stopped it; there is no file.
    #[error("the index was not written: stopped")]
    Cancelled,
}

/// Why a file is no index that can be used here.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The file does not start like an index.
    #[error("{path} is no index file; `deepembed index build` makes one")]
    NotAnIndex {
        /// The file.
        path: PathBuf,
    },
    /// A later program wrote the file.
    #[error(
        "{path} has format {major}, this program reads {}; open it with a newer release",
        superblock::MAJOR
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The format found.
        major: u32,
    },
    /// The file uses features that this program lacks.
    #[error("{path} uses features {bits:#x} that this program lacks; open it with a newer release")]
    Features {
        /// The file.
        path: PathBuf,
        /// Their bits.
        bits: u64,
    },
    /// The file is shorter or longer than it was written.
    #[error("{path} has {got} bytes, {want} were written; copy it again")]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes found.
        got: u64,
        /// Bytes written.
        want: u64,
    },
    /// Bytes changed, or never made sense.
    #[error("{path} is damaged: {what}; restore it from a copy or build it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The spec line is not understood.
    #[error("{path} holds an index of an unknown kind: {source}")]
    Spec {
        /// The file.
        path: PathBuf,
        /// What is wrong with the line.
        source: ParseSpecError,
    },
    /// Files are little-endian, this machine is not.
    #[error("index files need a little-endian machine")]
    ByteOrder,
}
