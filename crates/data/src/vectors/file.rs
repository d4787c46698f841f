//! One face for all formats: rows of a file as numbers.

use super::grid::Grid;
use super::source::Source;
use super::{Element, Format, Number, VectorFileError, big_ann, fvecs, hdf5, npy, safetensors};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Bytes taken from the file at once when values are turned into others.
const PIECE: usize = 4 << 20;

/// What to read, where the path does not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Select {
    /// The format; without, the end of the name says it.
    pub format: Option<Format>,
    /// HDF5's data set, safetensors' tensor, Parquet's or Arrow's column; without, the only one there is, and for
    /// HDF5 `train`.
    pub part: Option<String>,
}

/// An open file of vectors: `len x dim` values of one kind.
///
/// Reads take `&self` and may come from several threads at once. Formats without packing are read in place; packed
/// ones (chunked HDF5, Parquet, Arrow) remember where the last read ended, so that reading on is cheap and a jump
/// unpacks the block that it lands in.
pub struct VectorFile {
    source: Arc<Source>,
    format: Format,
    part: Option<String>,
    distance: Option<String>,
    shape: Shape,
    body: Body,
}

/// Sizes that every format states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) dim: usize,
    pub(super) element: Element,
}

/// How rows are found.
enum Body {
    Grid(Grid),
    Chunks(hdf5::Chunks),
    #[cfg(feature = "arrow")]
    Parquet(super::parquet::ParquetRows),
    #[cfg(feature = "arrow")]
    Arrow(super::arrow::ArrowRows),
}

impl VectorFile {
    /// Opens `path`; the end of its name says the format, and a part may follow after `#` (`glove.hdf5#test`).
    ///
    /// Costs the header, not the rows.
    ///
    /// # Errors
    /// See [`VectorFileError`].
    pub fn open(path: &Path) -> Result<Self, VectorFileError> {
        if !path.exists()
            && let Some((file, part)) = path.to_str().and_then(|text| text.rsplit_once('#'))
            && !part.is_empty()
        {
            return Self::open_with(
                file.as_ref(),
                &Select { part: Some(part.to_owned()), ..Select::default() },
            );
        }
        Self::open_with(path, &Select::default())
    }

    /// Opens `path` as `select` says.
    ///
    /// # Errors
    /// See [`VectorFileError`].
    pub fn open_with(path: &Path, select: &Select) -> Result<Self, VectorFileError> {
        let Some(format) = select.format.or_else(|| Format::of(path)) else {
            let reason = "the end of the name says no format".to_owned();
            return Err(VectorFileError::Format { file: path.display().to_string(), reason });
        };
        Self::read_head(Source::open(path)?, format, select.part.as_deref())
    }

    /// Opens a file that is in memory; `name` stands for it in messages.
    ///
    /// # Errors
    /// See [`VectorFileError`]; a `select` without a format is [`VectorFileError::Format`].
    pub fn from_bytes(name: &str, bytes: Vec<u8>, select: &Select) -> Result<Self, VectorFileError> {
        let Some(format) = select.format else {
            let reason = "bytes need their format named".to_owned();
            return Err(VectorFileError::Format { file: name.to_owned(), reason });
        };
        Self::read_head(Source::memory(name, bytes), format, select.part.as_deref())
    }

    fn read_head(source: Source, format: Format, part: Option<&str>) -> Result<Self, VectorFileError> {
        let source = Arc::new(source);
        if let Some(part) = part
            && !matches!(format, Format::Hdf5 | Format::Safetensors | Format::Parquet | Format::Arrow)
        {
            return Err(source.no_part(format!("a .{format} file has no part {part}"), &[]));
        }
        let mut distance = None;
        let (body, part) = match (format, format.element()) {
            (Format::Fvecs | Format::Ivecs | Format::Bvecs, Some(element)) => {
                (Body::Grid(fvecs::open(&source, element)?), None)
            }
            (_, Some(element)) => (Body::Grid(big_ann::open(&source, element)?), None),
            (Format::Safetensors, None) => {
                let (grid, name) = safetensors::open(&source, part)?;
                (Body::Grid(grid), Some(name))
            }
            (Format::Hdf5, None) => {
                let found = hdf5::open(&source, part)?;
                distance = found.distance;
                let body = match found.rows {
                    hdf5::Found::Grid(grid) => Body::Grid(grid),
                    hdf5::Found::Chunks(chunks) => Body::Chunks(chunks),
                };
                (body, Some(found.name))
            }
            #[cfg(feature = "arrow")]
            (Format::Parquet, None) => {
                let (rows, name) = super::parquet::open(&source, part)?;
                (Body::Parquet(rows), Some(name))
            }
            #[cfg(feature = "arrow")]
            (Format::Arrow, None) => {
                let (rows, name) = super::arrow::open(&source, part)?;
                (Body::Arrow(rows), Some(name))
            }
            #[cfg(not(feature = "arrow"))]
            (Format::Parquet | Format::Arrow, None) => {
                let reason =
                    format!(".{format} files are read by builds with the feature `arrow`, which this is not");
                return Err(source.unsupported(reason));
            }
            (_, None) => (Body::Grid(npy::open(&source)?), None),
        };
        let shape = match &body {
            Body::Grid(grid) => Shape { rows: grid.rows, dim: grid.dim, element: grid.element },
            Body::Chunks(chunks) => chunks.shape(),
            #[cfg(feature = "arrow")]
            Body::Parquet(rows) => rows.shape(),
            #[cfg(feature = "arrow")]
            Body::Arrow(rows) => rows.shape(),
        };
        Ok(Self { source, format, part, distance, shape, body })
    }

    /// The format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The data set, tensor or column that is read, where the format names them.
    #[must_use]
    pub fn part(&self) -> Option<&str> {
        self.part.as_deref()
    }

    /// What an ann-benchmarks file says its distance is: `euclidean`, `angular`, ...
    #[must_use]
    pub fn distance(&self) -> Option<&str> {
        self.distance.as_deref()
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.rows
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shape.rows == 0
    }

    /// Values a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.shape.dim
    }

    /// The kind of value.
    #[must_use]
    pub fn element(&self) -> Element {
        self.shape.element
    }

    /// Bytes of a row as [`VectorFile::read_bytes`] gives it.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.shape.dim * self.shape.element.size()
    }

    /// The file's length, bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.source.len()
    }

    /// Rows `rows`, row-major, as `f32`. An `f64` becomes the nearest `f32`.
    ///
    /// # Errors
    /// Rows that are not there, damage, NaN, an infinity, an `f64` beyond `f32`, and a whole number that `f32` does
    /// not hold exactly (such values are ids: [`VectorFile::read_ids`]).
    pub fn read(&self, rows: Range<usize>) -> Result<Vec<f32>, VectorFileError> {
        self.require(&rows)?;
        let mut out = vec![0.0; rows.len() * self.shape.dim];
        self.read_into(rows.start, &mut out)?;
        Ok(out)
    }

    /// Fills `out`, whole rows, from row `first` on; as [`VectorFile::read`].
    ///
    /// # Errors
    /// As [`VectorFile::read`].
    ///
    /// # Panics
    /// When `out` is not a whole number of rows.
    pub fn read_into(&self, first: usize, out: &mut [f32]) -> Result<(), VectorFileError> {
        let dim = self.shape.dim;
        assert!(out.len().is_multiple_of(dim), "{} values are no rows of {dim}", out.len());
        self.pieces(first..first.saturating_add(out.len() / dim), |start, bytes| {
            let place = (start - first) * dim;
            let values = &mut out[place..place + bytes.len() / self.shape.element.size()];
            to_f32(self.shape.element, bytes, values).map_err(|at| self.bad_value(start, at, bytes))
        })
    }

    /// Rows `rows`, row-major, where they lie in the file: no copy, and no memory but the system's cache.
    ///
    /// To be had where a file holds little-endian `f32` side by side at a multiple of four bytes: `.fbin`, `.npy`,
    /// `.safetensors` and unpacked HDF5, as written by most programs. `None` for other files, for rows that are not
    /// there, and for rows with NaN or an infinity: [`VectorFile::read`] gives the rows, or the reason.
    ///
    /// The first call maps the file. A mapped file that somebody shortens in place ends the process with SIGBUS when
    /// rows beyond its new end are touched; [`VectorFile::read`] gives an error then.
    #[must_use]
    pub fn borrowed(&self, rows: Range<usize>) -> Option<&[f32]> {
        self.require(&rows).ok()?;
        let Body::Grid(grid) = &self.body else { return None };
        if grid.element != Element::F32 || cfg!(target_endian = "big") {
            return None;
        }
        let (at, len) = grid.side_by_side(&rows)?;
        let values: &[f32] = bytemuck::try_cast_slice(self.source.borrow(at, len)?).ok()?;
        // Pieces, because a loop that may end at any value is not turned into vector instructions.
        let finite = |piece: &[f32]| piece.iter().fold(true, |all, value| all & value.is_finite());
        values.chunks(1 << 10).all(finite).then_some(values)
    }

    /// Rows `rows`, row-major, as whole numbers: row ids and the like.
    ///
    /// # Errors
    /// Rows that are not there, damage, and values with fractions.
    pub fn read_ids(&self, rows: Range<usize>) -> Result<Vec<i64>, VectorFileError> {
        self.require(&rows)?;
        let mut out = Vec::with_capacity(rows.len() * self.shape.dim);
        let element = self.shape.element;
        self.pieces(rows, |start, bytes| {
            for (at, value) in bytes.chunks_exact(element.size()).enumerate() {
                match element.get(value) {
                    Number::Whole(value) => out.push(value),
                    // What a float holds exactly may be an id too; 2^53 is where floats start to skip.
                    Number::Float(value)
                        if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 =>
                    {
                        out.push(value as i64);
                    }
                    Number::Float(value) => {
                        return Err(self.value_error(start, at, format!("{value} is no id")));
                    }
                }
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// Rows `rows`, row-major, as they are stored: little-endian values of [`VectorFile::element`]. Nothing is
    /// checked about the values.
    ///
    /// # Errors
    /// Rows that are not there, and damage.
    pub fn read_bytes(&self, rows: Range<usize>) -> Result<Vec<u8>, VectorFileError> {
        self.require(&rows)?;
        let mut out = vec![0; rows.len() * self.row_bytes()];
        self.fill(rows.start, &mut out)?;
        Ok(out)
    }

    /// Hands `rows` to `take` in pieces of a few MiB: the first row's number and its bytes.
    fn pieces(
        &self,
        rows: Range<usize>,
        mut take: impl FnMut(usize, &[u8]) -> Result<(), VectorFileError>,
    ) -> Result<(), VectorFileError> {
        self.require(&rows)?;
        let at_once = (PIECE / self.row_bytes()).max(1);
        let mut piece = Vec::new();
        for start in rows.clone().step_by(at_once) {
            piece.resize(at_once.min(rows.end - start) * self.row_bytes(), 0);
            self.fill(start, &mut piece)?;
            take(start, &piece)?;
        }
        Ok(())
    }

    fn fill(&self, first: usize, out: &mut [u8]) -> Result<(), VectorFileError> {
        if out.is_empty() {
            return Ok(());
        }
        match &self.body {
            Body::Grid(grid) => grid.fill(&self.source, first, out),
            Body::Chunks(chunks) => chunks.fill(&self.source, first, out),
            #[cfg(feature = "arrow")]
            Body::Parquet(rows) => rows.fill(&self.source, first, out),
            #[cfg(feature = "arrow")]
            Body::Arrow(rows) => rows.fill(&self.source, first, out),
        }
    }

    fn require(&self, rows: &Range<usize>) -> Result<(), VectorFileError> {
        if rows.start <= rows.end && rows.end <= self.shape.rows {
            return Ok(());
        }
        Err(VectorFileError::Rows {
            file: self.source.name().to_owned(),
            start: rows.start,
            end: rows.end,
            len: self.shape.rows,
        })
    }

    /// Why value number `at` of the piece that starts with row `start` is refused.
    fn bad_value(&self, start: usize, at: usize, bytes: &[u8]) -> VectorFileError {
        let reason = match self.shape.element.get(&bytes[at * self.shape.element.size()..]) {
            Number::Float(value) if value.is_finite() => format!("{value:?} is beyond f32"),
            Number::Float(value) => format!("{value} is no coordinate"),
            Number::Whole(value) => {
                format!("f32 does not hold {value} exactly; ids are read as whole numbers")
            }
        };
        self.value_error(start, at, reason)
    }

    pub(super) fn value_error(&self, start: usize, at: usize, reason: String) -> VectorFileError {
        VectorFileError::Value {
            file: self.source.name().to_owned(),
            row: start + at / self.shape.dim,
            column: at % self.shape.dim,
            reason,
        }
    }
}

impl std::fmt::Debug for VectorFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VectorFile")
            .field("name", &self.source.name())
            .field("format", &self.format)
            .field("part", &self.part)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

/// Turns stored values into `f32`; gives the number of the first that cannot be.
fn to_f32(element: Element, bytes: &[u8], out: &mut [f32]) -> Result<(), usize> {
    let size = element.size();
    match element {
        // The common kind gets a loop without a choice in it.
        Element::F32 => {
            for (value, bytes) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *value = f32::from_le_bytes(bytes.try_into().expect("four bytes"));
            }
        }
        Element::U8 => out.iter_mut().zip(bytes).for_each(|(value, &byte)| *value = byte.into()),
        Element::I8 => out.iter_mut().zip(bytes).for_each(|(value, &byte)| *value = (byte as i8).into()),
        Element::F16 | Element::F64 | Element::I32 | Element::U32 | Element::I64 => {
            for (at, (value, bytes)) in out.iter_mut().zip(bytes.chunks_exact(size)).enumerate() {
                *value = match element.get(bytes) {
                    Number::Float(wide) => wide as f32,
                    Number::Whole(whole) if (whole as f32) as i128 == i128::from(whole) => whole as f32,
                    Number::Whole(_) => return Err(at),
                };
            }
        }
    }
    out.iter().position(|value| !value.is_finite()).map_or(Ok(()), Err)
}
