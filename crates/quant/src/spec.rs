//! A code as one line of text: transforms, then the code, separated by commas.

use crate::codes::Code;
use crate::transforms::Change;
use crate::{Arrays, Chain, Codec, RestoreError, TrainError, Training};
use data::Rows;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Transforms and a code, such as `OPQ16,PQ16`; prints what it parses from.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// What is done to vectors first, in order.
    pub changes: Vec<Change>,
    /// How they are then compressed.
    pub code: Code,
}

/// Why a line is no spec.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseSpecError {
    /// No code or transform has this name.
    #[error("{word:?} names no {kind}; there are {known}")]
    Unknown {
        /// The word.
        word: String,
        /// What was looked for.
        kind: &'static str,
        /// Examples of what there is.
        known: String,
    },
    /// The name is known and its settings are not possible.
    #[error("{word}: {why}")]
    Setting {
        /// The word.
        word: String,
        /// What is wrong and what would do.
        why: String,
    },
}

impl Spec {
    /// Learns transforms and code from `rows`, `n x dim`.
    ///
    /// # Errors
    /// When the rows are too few, of the wrong dimension or say nothing.
    pub fn train(&self, rows: Rows<'_, f32>, training: &Training<'_>) -> Result<Box<dyn Codec>, TrainError> {
        if self.changes.is_empty() {
            return self.code.train(rows, training);
        }
        Ok(Box::new(Chain::train(self, rows, training)?))
    }

    /// The trained code from what [`Codec::arrays`] gave.
    ///
    /// # Errors
    /// When the arrays are not those of this spec.
    pub fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Box<dyn Codec>, RestoreError> {
        if self.changes.is_empty() {
            return self.code.restore(dim, arrays);
        }
        Ok(Box::new(Chain::restore(self, dim, arrays)?))
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            write!(f, "{change},")?;
        }
        write!(f, "{}", self.code)
    }
}

impl FromStr for Spec {
    type Err = ParseSpecError;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let mut words: Vec<&str> = line.split(',').map(str::trim).collect();
        let code = Code::parse(words.pop().unwrap_or_default())?;
        let changes = words.into_iter().map(Change::parse).collect::<Result<_, _>>()?;
        Ok(Self { changes, code })
    }
}

/// The whole number that `digits` spell, for the parsers of words; none unless all are digits.
pub(crate) fn number(digits: &str) -> Option<usize> {
    let all = !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().ok()).flatten()
}

/// A setting that cannot be.
pub(crate) fn setting(word: &str, why: impl Into<String>) -> ParseSpecError {
    ParseSpecError::Setting { word: word.into(), why: why.into() }
}
