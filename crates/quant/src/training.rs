//! What training is told and how it fails.

use data::Rows;
use std::sync::atomic::{AtomicBool, Ordering};
use thiserror::Error;

/// Settings that every training takes.
#[derive(Clone, Copy)]
pub struct Training<'a> {
    /// Everything random comes from here.
    pub seed: u64,
    /// Set from elsewhere to stop early.
    pub stop: &'a AtomicBool,
    /// Told `(steps done, steps in all)` now and then, on the calling thread.
    pub progress: &'a dyn Fn(usize, usize),
}

impl Training<'static> {
    /// Training that nothing stops and nobody watches.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Self { seed, stop: &NEVER, progress: &|_, _| {} }
    }
}

impl Training<'_> {
    /// Says how far it is, and learns whether to go on.
    ///
    /// # Errors
    /// When training has been stopped.
    pub fn step(&self, done: usize, total: usize) -> Result<(), TrainError> {
        (self.progress)(done, total);
        go_on(self.stop)
    }
}

/// Whether to go on.
///
/// # Errors
/// When training has been stopped.
pub(crate) fn go_on(stop: &AtomicBool) -> Result<(), TrainError> {
    if stop.load(Ordering::Relaxed) { Err(TrainError::Stopped) } else { Ok(()) }
}

/// Why there is no trained code.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TrainError {
    /// The dimensions do not divide into parts.
    #[error(
        "{what}: {dim} dimensions do not split into {parts} equal parts; pad them, or take another number"
    )]
    Split {
        /// What was trained.
        what: String,
        /// Values a row.
        dim: usize,
        /// Parts asked for.
        parts: usize,
    },
    /// There are fewer rows than the code has to choose from.
    #[error("{what}: needs at least {need} training vectors, got {got}")]
    TooFew {
        /// What was trained.
        what: String,
        /// Fewest rows that suffice.
        need: usize,
        /// Rows given.
        got: usize,
    },
    /// Another dimension is needed.
    #[error("{what}: {why}, and the vectors have {dim}")]
    Dim {
        /// What was trained.
        what: String,
        /// What it takes.
        why: String,
        /// Values a row.
        dim: usize,
    },
    /// The rows say nothing to learn from.
    #[error("{what}: {why}")]
    Degenerate {
        /// What was trained.
        what: String,
        /// What is wrong with the rows.
        why: String,
    },
    /// A training row holds NaN or an infinity.
    #[error("training vector {row} holds a value that is not finite")]
    NotFinite {
        /// Position among the training rows.
        row: usize,
    },
    /// The caller stopped it.
    #[error("training was stopped")]
    Stopped,
}

/// Refuses rows that are too few or not finite.
///
/// # Errors
/// As said.
pub(crate) fn check_rows(what: &impl ToString, rows: Rows<'_, f32>, need: usize) -> Result<(), TrainError> {
    if rows.len() < need {
        return Err(TrainError::TooFew { what: what.to_string(), need, got: rows.len() });
    }
    match rows.iter().position(|row| !row.iter().all(|v| v.is_finite())) {
        Some(row) => Err(TrainError::NotFinite { row }),
        None => Ok(()),
    }
}
