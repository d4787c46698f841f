//! From rows to an index.

use crate::graph::Graph;
use crate::lists::Lists;
use crate::scan::Scan;
use crate::symqg::Symqg;
use crate::vectors::Vectors;
use crate::{Index, Layout, Phase, Spec, Watch};
use data::{Metric, Rows};
use thiserror::Error;

/// Most rows of one index: an id and a mark share 32 bits in a graph search.
pub(crate) const MAX_ROWS: usize = (1 << 31) - 1;

/// Why rows could not be indexed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BuildError {
    /// There is no row.
    #[error("there is no row to index")]
    Empty,
    /// There are more rows than an index holds.
    #[error("{rows} rows are too many for one index; split them into indexes of at most {MAX_ROWS}")]
    TooMany {
        /// Rows given.
        rows: usize,
    },
    /// A row holds NaN or an infinity.
    #[error("row {row} holds a value that is not finite; remove it or embed it again")]
    NotFinite {
        /// Position of the row.
        row: usize,
    },
    /// There are fewer rows than lists.
    #[error("{rows} rows do not fill {lists} lists; take fewer lists")]
    TooFew {
        /// Rows given.
        rows: usize,
        /// Lists asked for.
        lists: usize,
    },
    /// A row of one value has no two halves.
    #[error("rows of one value have no halves to put into lists; write IVF in place of IMI")]
    Halves,
    /// The code could not be learnt.
    #[error(transparent)]
    Train(quant::TrainError),
    /// The caller stopped it.
    #[error("the build was stopped")]
    Cancelled,
    /// The code cannot be written.
    #[error("the trained code cannot be written: {0}")]
    Code(String),
    /// The operating system gives no memory.
    #[error("the rows need {bytes} bytes of memory, which this machine does not give; index fewer of them")]
    Memory {
        /// Bytes asked for.
        bytes: u64,
    },
}

impl From<quant::TrainError> for BuildError {
    fn from(error: quant::TrainError) -> Self {
        match error {
            quant::TrainError::Stopped => Self::Cancelled,
            error => Self::Train(error),
        }
    }
}

/// Builds the index that `spec` describes from `rows`, which are copied; row `i` gets id `i`.
///
/// The same rows, spec and seed give the same index at any thread count. `watch` is told how far it is, and stops it.
///
/// # Errors
/// When there is no row, there are too many, one holds a value that is not finite, memory runs out, or `watch` stops
/// it.
pub fn build(
    spec: &Spec,
    rows: Rows<'_, f32>,
    metric: Metric,
    seed: u64,
    watch: &Watch<'_>,
) -> Result<Box<dyn Index>, BuildError> {
    if rows.is_empty() {
        return Err(BuildError::Empty);
    }
    if rows.len() > MAX_ROWS {
        return Err(BuildError::TooMany { rows: rows.len() });
    }
    if let Some(row) = rows.iter().position(|row| !row.iter().all(|v| v.is_finite())) {
        return Err(BuildError::NotFinite { row });
    }
    Ok(match &spec.layout {
        Layout::Scan => {
            let vectors = Vectors::copy(rows);
            watch.step(Phase::Encoding, rows.len(), rows.len())?;
            Box::new(Scan::new(vectors, metric))
        }
        Layout::Graph(graph) => Box::new(Graph::build(graph, rows, metric, seed, watch)?),
        Layout::Lists(lists) => Box::new(Lists::build(lists, rows, metric, seed, watch)?),
        &Layout::Symqg(shape) => Box::new(Symqg::build(shape, rows, metric, seed, watch)?),
    })
}
