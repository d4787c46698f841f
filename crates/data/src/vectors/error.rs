//! Why a file of vectors cannot be read.

use thiserror::Error;

/// Why a file of vectors, or some of its rows, cannot be read.
#[derive(Debug, Error)]
pub enum VectorFileError {
    /// The system refused.
    #[error("cannot read {file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The name does not say what the file is.
    #[error("{file}: {reason}; vectors are read from {known}", known = super::Format::LIST)]
    Format {
        /// The file.
        file: String,
        /// What is wrong with the name.
        reason: String,
    },
    /// The part asked for is not there, or several are and none was named.
    #[error("{file}: {reason}; it holds {there}")]
    Part {
        /// The file.
        file: String,
        /// What was asked for.
        reason: String,
        /// The parts there are.
        there: String,
    },
    /// The file ends too early.
    #[error("{file}: data end at byte {end}, {what} needs {need}; copy or download the file again")]
    Truncated {
        /// The file.
        file: String,
        /// Where data end: the file's length, bytes.
        end: u64,
        /// What was being read.
        what: String,
        /// The length that would do, bytes.
        need: u64,
    },
    /// The bytes contradict each other.
    #[error("{file}: {reason}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong and where.
        reason: String,
    },
    /// A sound file of a kind that is not read.
    #[error("{file}: {reason}")]
    Unsupported {
        /// The file.
        file: String,
        /// What it is and how to make one that is read.
        reason: String,
    },
    /// A value that is no vector's.
    #[error("{file}: row {row}, column {column}: {reason}")]
    Value {
        /// The file.
        file: String,
        /// The row, from 0.
        row: usize,
        /// The column, from 0.
        column: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Rows beyond the last one.
    #[error("{file}: rows {start}..{end} asked for, it has {len}")]
    Rows {
        /// The file.
        file: String,
        /// First row asked for.
        start: usize,
        /// The row after the last asked for.
        end: usize,
        /// Rows there are.
        len: usize,
    },
}
