//! A borrowed row-major matrix: `len` rows of `dim` values each.

use thiserror::Error;

/// A row-major view, `len x dim`.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, T> {
    data: &'a [T],
    dim: usize,
}

/// Why a slice is not a matrix.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RowsError {
    /// `dim` was zero.
    #[error("rows need at least one dimension")]
    NoDimensions,
    /// The slice does not split into whole rows.
    #[error("{len} values do not split into rows of {dim}")]
    Ragged {
        /// Values given.
        len: usize,
        /// Values a row.
        dim: usize,
    },
}

impl<'a, T> Rows<'a, T> {
    /// Views `data` as rows of `dim` values.
    ///
    /// # Errors
    /// When `dim` is zero or does not divide `data.len()`.
    pub fn new(data: &'a [T], dim: usize) -> Result<Self, RowsError> {
        if dim == 0 {
            return Err(RowsError::NoDimensions);
        }
        if !data.len().is_multiple_of(dim) {
            return Err(RowsError::Ragged { len: data.len(), dim });
        }
        Ok(Self { data, dim })
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Values a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Row `i`.
    ///
    /// # Panics
    /// When `i >= self.len()`.
    #[must_use]
    pub fn row(&self, i: usize) -> &'a [T] {
        &self.data[i * self.dim..(i + 1) * self.dim]
    }

    /// Rows `range` as a smaller view.
    ///
    /// # Panics
    /// When the range leaves the matrix.
    #[must_use]
    pub fn slice(&self, range: std::ops::Range<usize>) -> Rows<'a, T> {
        Rows { data: &self.data[range.start * self.dim..range.end * self.dim], dim: self.dim }
    }

    /// All rows in order.
    pub fn iter(&self) -> std::slice::ChunksExact<'a, T> {
        self.data.chunks_exact(self.dim)
    }

    /// All values, row after row.
    #[must_use]
    pub fn as_slice(&self) -> &'a [T] {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_split_a_slice() {
        let rows = Rows::new(&[1, 2, 3, 4, 5, 6], 3).unwrap();
        assert_eq!((rows.len(), rows.dim()), (2, 3));
        assert_eq!(rows.row(1), [4, 5, 6]);
        assert_eq!(rows.slice(1..2).as_slice(), [4, 5, 6]);
        assert_eq!(Rows::new(&[1, 2, 3], 2).unwrap_err(), RowsError::Ragged { len: 3, dim: 2 });
        assert_eq!(Rows::new(&[1], 0).unwrap_err(), RowsError::NoDimensions);
    }
}
