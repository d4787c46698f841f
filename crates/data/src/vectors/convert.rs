//! Rows of one file into another, value by value: the same numbers, or a refusal that names the row.

use super::{Element, Number, Rounding, VectorFile, VectorFileError, VectorWriteError, VectorWriter};
use std::ops::Range;
use thiserror::Error;

/// Bytes copied at once.
const PIECE: usize = 4 << 20;

/// Why rows could not be copied.
#[derive(Debug, Error)]
pub enum ConvertError {
    /// From reading, NaN and infinities included.
    #[error(transparent)]
    Read(#[from] VectorFileError),
    /// From writing.
    #[error(transparent)]
    Write(#[from] VectorWriteError),
    /// A number that the new kind does not hold.
    #[error("row {row}, column {column}: {number} does not fit {element}{way_out}", way_out = way_out(*.rounding))]
    Misfit {
        /// The row in the old file, from 0.
        row: usize,
        /// The column, from 0.
        column: usize,
        /// The number.
        number: Number,
        /// The new kind.
        element: Element,
        /// What was allowed.
        rounding: Rounding,
    },
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
}

fn way_out(rounding: Rounding) -> &'static str {
    match rounding {
        Rounding::Exact => " exactly; round, or choose a wider kind",
        Rounding::Nearest => "; choose a wider kind",
    }
}

/// Appends `rows` of `from` to `to`, whose kind of value may be another. `go_on` gets the number of rows copied so
/// far, after each piece; when it says no, the copy stops.
///
/// # Errors
/// See [`ConvertError`]. What was appended stays in `to`, which the caller drops.
pub fn copy_rows(
    from: &VectorFile,
    rows: Range<usize>,
    to: &mut VectorWriter,
    rounding: Rounding,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<(), ConvertError> {
    let widest = from.row_bytes().max(from.dim() * to.element().size());
    let at_once = (PIECE / widest).max(1);
    for start in rows.clone().step_by(at_once) {
        let end = (start + at_once).min(rows.end);
        let stored = from.read_bytes(start..end)?;
        if from.element() == to.element() {
            finite(from, start, &stored)?;
            to.push_bytes(&stored)?;
        } else {
            to.push_bytes(&cast(from, start, &stored, to.element(), rounding)?)?;
        }
        if !go_on(end - rows.start) {
            return Err(ConvertError::Stopped);
        }
    }
    Ok(())
}

fn finite(from: &VectorFile, start: usize, stored: &[u8]) -> Result<(), VectorFileError> {
    if !from.element().is_float() {
        return Ok(());
    }
    for (at, bytes) in stored.chunks_exact(from.element().size()).enumerate() {
        if let Number::Float(value) = from.element().get(bytes)
            && !value.is_finite()
        {
            return Err(from.value_error(start, at, format!("{value} is no coordinate")));
        }
    }
    Ok(())
}

fn cast(
    from: &VectorFile,
    start: usize,
    stored: &[u8],
    element: Element,
    rounding: Rounding,
) -> Result<Vec<u8>, ConvertError> {
    finite(from, start, stored)?;
    let size = from.element().size();
    let mut out = Vec::with_capacity(stored.len() / size * element.size());
    for (at, bytes) in stored.chunks_exact(size).enumerate() {
        let number = from.element().get(bytes);
        if !element.put(number, rounding, &mut out) {
            let (row, column) = (start + at / from.dim(), at % from.dim());
            return Err(ConvertError::Misfit { row, column, number, element, rounding });
        }
    }
    Ok(out)
}
