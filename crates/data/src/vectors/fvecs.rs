//! TEXMEX records: each row is its length (i32) and its values; no header. `.fvecs` f32, `.ivecs` i32, `.bvecs` u8.

use super::grid::{Grid, checked_dim};
use super::source::Source;
use super::{Element, VectorFileError};

/// Reads the first record's length; the others are compared with it when they are read.
pub(super) fn open(source: &Source, element: Element) -> Result<Grid, VectorFileError> {
    if source.len() == 0 {
        return Err(
            source.damaged("the file is empty, so its vectors have no length; it needs one row at least")
        );
    }
    let mut head = [0; 4];
    source.read(0, &mut head, "the length of row 0")?;
    let dim = i32::from_le_bytes(head);
    let dim = checked_dim(source, u64::try_from(dim).unwrap_or(0))?;
    let stride = (4 + dim * element.size()) as u64;
    let rows = source.len() / stride;
    let whole = rows * stride;
    if whole != source.len() {
        let what = format!("row {rows}, {dim} values of {element} from byte {whole} on,");
        source.require(whole, stride, &what)?;
    }
    let rows = usize::try_from(rows).map_err(|_| source.damaged(format!("{rows} rows are too many")))?;
    Ok(Grid { offset: 0, rows, dim, element, counted: true })
}
