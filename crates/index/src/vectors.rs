//! The rows of an index, each padded with zeros to whole cache lines.
//!
//! Zeros change no distance (see `kernels::distance`), and a row that starts on a cache line is read
//! in the fewest of them.

use crate::array::{Array, LINE};
use data::Rows;

/// Values of one cache line.
const STEP: usize = LINE / size_of::<f32>();

/// `len x stride` values, of which the first `dim` of each row are its vector.
pub(crate) struct Vectors {
    values: Array<f32>,
    dim: usize,
}

/// Values a padded row of `dim` takes.
pub(crate) fn stride(dim: usize) -> usize {
    dim.next_multiple_of(STEP)
}

/// The vector followed by zeros, as rows are stored.
pub(crate) fn padded(vector: &[f32]) -> Vec<f32> {
    let mut padded = vector.to_vec();
    padded.resize(stride(vector.len()), 0.0);
    padded
}

impl Vectors {
    /// Copies `rows`.
    pub(crate) fn copy(rows: Rows<'_, f32>) -> Self {
        let (dim, stride) = (rows.dim(), stride(rows.dim()));
        let mut values = Array::filled(rows.len() * stride, 0.0);
        for (to, row) in values.as_mut().chunks_exact_mut(stride).zip(rows.iter()) {
            to[..dim].copy_from_slice(row);
        }
        Self { values, dim }
    }

    /// Copies the rows `ids` in that order.
    pub(crate) fn gather(rows: Rows<'_, f32>, ids: &[u32]) -> Self {
        let (dim, stride) = (rows.dim(), stride(rows.dim()));
        let mut values = Array::filled(ids.len() * stride, 0.0);
        for (to, &id) in values.as_mut().chunks_exact_mut(stride).zip(ids) {
            to[..dim].copy_from_slice(rows.row(id as usize));
        }
        Self { values, dim }
    }

    /// The rows `kept` in that order, then those of `more`.
    pub(crate) fn joined(&self, kept: &[u32], more: Option<Rows<'_, f32>>) -> Self {
        let (dim, stride) = (self.dim, self.stride());
        let mut values = Array::filled((kept.len() + more.map_or(0, |rows| rows.len())) * stride, 0.0);
        let (first, last) = values.as_mut().split_at_mut(kept.len() * stride);
        for (to, &row) in first.chunks_exact_mut(stride).zip(kept) {
            to.copy_from_slice(&self.values[row as usize * stride..][..stride]);
        }
        for (to, row) in last.chunks_exact_mut(stride).zip(more.iter().flat_map(Rows::iter)) {
            to[..dim].copy_from_slice(row);
        }
        Self { values, dim }
    }

    /// Takes rows that are padded already; none when they are not whole.
    pub(crate) fn from_padded(values: Array<f32>, dim: usize) -> Option<Self> {
        (dim > 0 && values.len().is_multiple_of(stride(dim))).then_some(Self { values, dim })
    }

    /// The rows without padding, the row at each place put where `rows` says; none where it says no row of these.
    pub(crate) fn unpadded(&self, rows: impl IntoIterator<Item = u32>) -> Option<Vec<f32>> {
        let mut values = vec![0.0; self.len() * self.dim];
        for (row, padded) in rows.into_iter().zip(self.values.chunks_exact(self.stride())) {
            let to = values.get_mut(row as usize * self.dim..(row as usize + 1) * self.dim)?;
            to.copy_from_slice(&padded[..self.dim]);
        }
        Some(values)
    }

    /// Values a row, without padding.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// Values a row, with padding.
    pub(crate) fn stride(&self) -> usize {
        stride(self.dim)
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.values.len() / self.stride()
    }

    /// All values, row after row, with padding.
    pub(crate) fn as_slice(&self) -> &[f32] {
        &self.values
    }
}
