//! Why something could not be measured.

use thiserror::Error;

/// Why a task could not be evaluated.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EvalError {
    /// A list beside the rows has another length.
    #[error("{len} {what} for {pictures} pictures; give one for each")]
    Lengths {
        /// Which list.
        what: &'static str,
        /// Its length.
        len: usize,
        /// Number of rows.
        pictures: usize,
    },
    /// A query or gallery member does not exist.
    #[error("the {what} name row {row}, but there are only {pictures} pictures")]
    NoRow {
        /// `queries` or `gallery`.
        what: &'static str,
        /// The row number.
        row: usize,
        /// Number of rows.
        pictures: usize,
    },
    /// A query or gallery member is listed twice and would count twice.
    #[error("the {what} name row {row} twice; list each picture once")]
    Twice {
        /// `queries` or `gallery`.
        what: &'static str,
        /// The row number.
        row: usize,
    },
    /// A value is not a number, or its square is too large for one.
    #[error(
        "row {row} holds a value that is not finite or beyond 1e18; the model that made it is damaged or \
         diverged"
    )]
    NotFinite {
        /// The row number.
        row: usize,
    },
    /// Nothing can be right.
    #[error(
        "none of {queries} queries has another picture of its class in its gallery; recall has no meaning \
         here (are families as large as classes?)"
    )]
    NoQueries {
        /// Queries given.
        queries: usize,
    },
    /// No cut, or a cut of zero.
    #[error("recall needs at least one cut, each 1 or more")]
    Cuts,
    /// One query a thread does not fit.
    #[error(
        "{given} bytes are too few for tiles: {threads} threads need at least {need}; raise the memory or \
         use fewer threads"
    )]
    Memory {
        /// Bytes needed.
        need: usize,
        /// Bytes allowed.
        given: usize,
        /// Threads of the pool.
        threads: usize,
    },
    /// Two results that answer different questions.
    #[error("results of different queries or protocols cannot be compared ({ours} and {theirs})")]
    NotComparable {
        /// Protocol of one.
        ours: String,
        /// Protocol of the other.
        theirs: String,
    },
}
