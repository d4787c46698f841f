//! The big-ann benchmarks' files: u32 rows, u32 dimensions, then the values row by row. `.fbin` f32, `.u8bin` u8,
//! `.i8bin` i8, `.ibin` i32.

use super::grid::Grid;
use super::source::{Fields, Source};
use super::{Element, VectorFileError};

/// Length of the header, bytes.
pub(super) const HEADER: u64 = 8;

pub(super) fn open(source: &Source, element: Element) -> Result<Grid, VectorFileError> {
    let (rows, dim) = header(source)?;
    let grid = Grid::checked(source, HEADER, rows.into(), dim.into(), element)?;
    if grid.end() != source.len() {
        let left = source.len() - grid.end();
        let mut reason =
            format!("{left} bytes follow the {rows} x {dim} values of {element} that its head states");
        if left == u64::from(rows) * u64::from(dim) * 4 && element == Element::I32 {
            reason += "; they look like distances, so open it as ground truth";
        }
        return Err(source.damaged(reason));
    }
    Ok(grid)
}

/// The two numbers at the start.
pub(super) fn header(source: &Source) -> Result<(u32, u32), VectorFileError> {
    let head = source.take(0, HEADER, "the head")?;
    let mut fields = Fields(&head);
    Ok((fields.u32().expect("8 bytes"), fields.u32().expect("8 bytes")))
}
