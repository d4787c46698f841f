//! From rows to an index.

use crate::graph::Graph;
use crate::lists::Lists;
use crate::scan::Scan;
use crate::symqg::Symqg;
use crate::vectors::Vectors;
use crate::{Index, Layout, Spec};
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
    Train(#[from] quant::TrainError),
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

/// Builds the index that `spec` describes from `rows`, which are copied; row `i` gets id `i`.
///
/// The same rows, spec and seed give the same index at any thread count. `progress` is told the rows
/// done and the rows in all, from the calling thread.
///
/// # Errors
/// When there is no row, there are too many, one holds a value that is not finite, or memory runs out.
pub fn build(
    spec: &Spec,
    rows: Rows<'_, f32>,
    metric: Metric,
    seed: u64,
    progress: &(dyn Fn(usize, usize) + Sync),
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
            progress(rows.len(), rows.len());
            Box::new(Scan::new(Vectors::copy(rows), metric))
        }
        Layout::Graph(graph) => Box::new(Graph::build(graph, rows, metric, seed, progress)?),
        Layout::Lists(lists) => Box::new(Lists::build(lists, rows, metric, seed, progress)?),
        &Layout::Symqg(shape) => Box::new(Symqg::build(shape, rows, metric, seed, progress)?),
    })
}
