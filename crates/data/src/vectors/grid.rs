//! Rows at equal distances in a file: what all uncompressed formats come down to once their header is understood.

use super::source::Source;
use super::{Element, MAX_DIM, VectorFileError};
use std::ops::Range;

/// Bytes read at once where rows do not lie side by side.
const PIECE: usize = 4 << 20;

/// `rows x dim` values from byte `offset` on. With `counted`, each row is preceded by its length as an i32.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    pub(super) offset: u64,
    pub(super) rows: usize,
    pub(super) dim: usize,
    pub(super) element: Element,
    pub(super) counted: bool,
}

impl Grid {
    /// A grid of side-by-side rows whose sizes come from a header, checked against the file.
    pub(super) fn checked(
        source: &Source,
        offset: u64,
        rows: u64,
        dim: u64,
        element: Element,
    ) -> Result<Self, VectorFileError> {
        let dim = checked_dim(source, dim)?;
        let bytes = rows.checked_mul((dim * element.size()) as u64);
        let bytes = bytes.filter(|bytes| bytes.checked_add(offset).is_some());
        let bytes =
            bytes.ok_or_else(|| source.damaged(format!("{rows} rows of {dim} do not fit any file")))?;
        source.require(offset, bytes, &format!("{rows} x {dim} values of {element}"))?;
        let rows = usize::try_from(rows).map_err(|_| source.damaged(format!("{rows} rows are too many")))?;
        Ok(Self { offset, rows, dim, element, counted: false })
    }

    /// The byte after the last row.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.rows as u64 * self.stride() as u64
    }

    /// Where `rows` are, from byte and length, if nothing lies between them.
    pub(super) fn side_by_side(&self, rows: &Range<usize>) -> Option<(u64, u64)> {
        let row = self.row_bytes() as u64;
        (!self.counted).then(|| (self.offset + rows.start as u64 * row, rows.len() as u64 * row))
    }

    fn row_bytes(&self) -> usize {
        self.dim * self.element.size()
    }

    fn stride(&self) -> usize {
        self.row_bytes() + if self.counted { 4 } else { 0 }
    }

    /// Fills `out`, whole rows, from row `first` on.
    pub(super) fn fill(&self, source: &Source, first: usize, out: &mut [u8]) -> Result<(), VectorFileError> {
        let stride = self.stride();
        let place = |row: usize| self.offset + row as u64 * stride as u64;
        if !self.counted {
            return source.read(place(first), out, &format!("row {first}"));
        }
        let rows_at_once = (PIECE / stride).max(1);
        let mut piece = Vec::new();
        for (number, rows) in out.chunks_mut(rows_at_once * self.row_bytes()).enumerate() {
            let start = first + number * rows_at_once;
            piece.resize(rows.len() / self.row_bytes() * stride, 0);
            source.read(place(start), &mut piece, &format!("row {start}"))?;
            for (i, (record, row)) in
                piece.chunks_exact(stride).zip(rows.chunks_exact_mut(self.row_bytes())).enumerate()
            {
                let dim = i32::from_le_bytes(record[..4].try_into().expect("four bytes"));
                if usize::try_from(dim) != Ok(self.dim) {
                    return Err(source.damaged(format!(
                        "row {} at byte {} says {dim} values, row 0 says {}",
                        start + i,
                        place(start + i),
                        self.dim
                    )));
                }
                row.copy_from_slice(&record[4..]);
            }
        }
        Ok(())
    }
}

/// `dim` if it is a length that vectors have.
pub(super) fn checked_dim(source: &Source, dim: u64) -> Result<usize, VectorFileError> {
    if dim == 0 || dim > MAX_DIM as u64 {
        return Err(source.damaged(format!("vectors of {dim} values; there are 1 to {MAX_DIM}")));
    }
    Ok(dim as usize)
}
