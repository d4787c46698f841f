//! Vectors into a file, row by row: bounded memory, and the file is whole or absent.

use super::{Element, Format, MAX_DIM, npy, safetensors};
use crate::atomic::AtomicFile;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why vectors cannot be written.
#[derive(Debug, Error)]
pub enum VectorWriteError {
    /// The system refused, or the format's own writer did.
    #[error("cannot write {file}: {source}", file = file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The name says no format that is written.
    #[error("{file}: {reason}", file = file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What is wrong and what is written.
        reason: String,
    },
    /// The format cannot hold this kind of value.
    #[error("{file}: .{format} holds {holds}, not {element}", file = file.display())]
    Element {
        /// The file.
        file: PathBuf,
        /// Its format.
        format: Format,
        /// What it holds.
        holds: Element,
        /// What was asked for.
        element: Element,
    },
    /// A length that no vector has.
    #[error("{file}: vectors of {dim} values; there are 1 to {MAX_DIM}", file = file.display())]
    Dim {
        /// The file.
        file: PathBuf,
        /// Values a row.
        dim: usize,
    },
    /// Not a whole number of rows.
    #[error("{file}: {len} bytes are no rows of {row}", file = file.display())]
    Ragged {
        /// The file.
        file: PathBuf,
        /// Bytes given.
        len: usize,
        /// Bytes a row.
        row: usize,
    },
    /// More rows than the format counts.
    #[error("{file}: .{format} counts at most {most} rows; write several files or .npy", file = file.display())]
    TooMany {
        /// The file.
        file: PathBuf,
        /// Its format.
        format: Format,
        /// Rows it can count.
        most: u64,
    },
}

/// A file of vectors in the making. It appears under its name with [`VectorWriter::finish`]; dropped before, it
/// leaves nothing behind and an older file as it was.
pub struct VectorWriter {
    path: PathBuf,
    format: Format,
    element: Element,
    dim: usize,
    rows: u64,
    body: Body,
}

/// How rows become bytes.
enum Body {
    /// Each row after its length.
    Records(AtomicFile),
    /// Rows side by side after a head that counts them.
    Headed(AtomicFile),
    #[cfg(feature = "arrow")]
    Parquet(Box<super::parquet::ParquetWriter>),
    #[cfg(feature = "arrow")]
    Arrow(Box<super::arrow::ArrowWriter>),
}

/// Name of the tensor or column that is written.
pub(super) const PART: &str = "vectors";

impl VectorWriter {
    /// Starts `path`, whose name says the format, for rows of `dim` values of `element`. Safetensors, Parquet and
    /// Arrow files call the tensor or column `vectors`.
    ///
    /// # Errors
    /// A name of no format or of one that is only read, an `element` that the format does not hold, a `dim` of no
    /// vector, and what the system refuses.
    pub fn create(path: &Path, element: Element, dim: usize) -> Result<Self, VectorWriteError> {
        let file = || path.to_path_buf();
        let unknown = |reason: String| VectorWriteError::Format { file: file(), reason };
        let format = Format::of(path).ok_or_else(|| {
            unknown(format!("the end of the name says no format; vectors are written as {}", Self::FORMATS))
        })?;
        if let Some(holds) = format.element().filter(|&holds| holds != element) {
            return Err(VectorWriteError::Element { file: file(), format, holds, element });
        }
        if dim == 0 || dim > MAX_DIM {
            return Err(VectorWriteError::Dim { file: file(), dim });
        }
        let failed = |source| VectorWriteError::Io { file: file(), source };
        let start = || AtomicFile::create(path).map_err(failed);
        let body = match format {
            Format::Fvecs | Format::Ivecs | Format::Bvecs => Body::Records(start()?),
            Format::Fbin
            | Format::U8bin
            | Format::I8bin
            | Format::Ibin
            | Format::Npy
            | Format::Safetensors => {
                let mut out = start()?;
                out.write_all(&head(format, element, 0, dim)).map_err(failed)?;
                Body::Headed(out)
            }
            Format::Hdf5 => {
                return Err(unknown(format!("HDF5 files are read, not written; write {}", Self::FORMATS)));
            }
            #[cfg(feature = "arrow")]
            Format::Parquet => {
                let writer = super::parquet::ParquetWriter::new(start()?, element, dim).map_err(failed)?;
                Body::Parquet(Box::new(writer))
            }
            #[cfg(feature = "arrow")]
            Format::Arrow => {
                let writer = super::arrow::ArrowWriter::new(start()?, element, dim).map_err(failed)?;
                Body::Arrow(Box::new(writer))
            }
            #[cfg(not(feature = "arrow"))]
            Format::Parquet | Format::Arrow => {
                let reason = format!(
                    ".{format} files are written by builds with the feature `arrow`, which this is not"
                );
                return Err(unknown(reason));
            }
        };
        Ok(Self { path: path.to_path_buf(), format, element, dim, rows: 0, body })
    }

    /// What is written.
    const FORMATS: &str =
        ".fvecs, .ivecs, .bvecs, .fbin, .u8bin, .i8bin, .ibin, .npy, .safetensors, .parquet or .arrow";

    /// The kind of value.
    #[must_use]
    pub fn element(&self) -> Element {
        self.element
    }

    /// Values a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Rows appended so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Appends whole rows of `f32`; the file must be one of `f32`.
    ///
    /// # Errors
    /// As [`VectorWriter::push_bytes`], and [`VectorWriteError::Element`] for a file of another kind.
    pub fn push(&mut self, rows: &[f32]) -> Result<(), VectorWriteError> {
        if self.element != Element::F32 {
            let (file, format) = (self.path.clone(), self.format);
            return Err(VectorWriteError::Element {
                file,
                format,
                holds: self.element,
                element: Element::F32,
            });
        }
        let at_once = ((1 << 20) / self.dim).max(1) * self.dim;
        for piece in rows.chunks(at_once) {
            let bytes: Vec<u8> = piece.iter().flat_map(|value| value.to_le_bytes()).collect();
            self.push_bytes(&bytes)?;
        }
        Ok(())
    }

    /// Appends whole rows of little-endian values of [`VectorWriter::element`].
    ///
    /// # Errors
    /// Bytes that are no whole rows, more rows than the format counts, and what the system refuses.
    pub fn push_bytes(&mut self, rows: &[u8]) -> Result<(), VectorWriteError> {
        let row = self.dim * self.element.size();
        if !rows.len().is_multiple_of(row) {
            return Err(VectorWriteError::Ragged { file: self.path.clone(), len: rows.len(), row });
        }
        if rows.is_empty() {
            return Ok(());
        }
        let total = self.rows + (rows.len() / row) as u64;
        if self.format.element().is_some()
            && matches!(self.body, Body::Headed(_))
            && total > u64::from(u32::MAX)
        {
            let (file, format) = (self.path.clone(), self.format);
            return Err(VectorWriteError::TooMany { file, format, most: u32::MAX.into() });
        }
        let written = match &mut self.body {
            Body::Records(out) => {
                let dim = (self.dim as u32).to_le_bytes();
                rows.chunks_exact(row)
                    .try_for_each(|values| out.write_all(&dim).and_then(|()| out.write_all(values)))
            }
            Body::Headed(out) => out.write_all(rows),
            #[cfg(feature = "arrow")]
            Body::Parquet(out) => out.push(rows),
            #[cfg(feature = "arrow")]
            Body::Arrow(out) => out.push(rows),
        };
        written.map_err(|source| VectorWriteError::Io { file: self.path.clone(), source })?;
        self.rows = total;
        Ok(())
    }

    /// Completes the file, flushes it to disk and gives it its name. Gives the number of rows.
    ///
    /// # Errors
    /// What the system refuses, and no rows at all for a format without a head, whose readers could not tell how
    /// long its vectors are.
    pub fn finish(self) -> Result<u64, VectorWriteError> {
        let failed = |source| VectorWriteError::Io { file: self.path.clone(), source };
        let head = head(self.format, self.element, self.rows, self.dim);
        let file = match self.body {
            Body::Records(_) if self.rows == 0 => {
                let reason = format!("a .{} file needs one row at least; write .npy", self.format);
                return Err(VectorWriteError::Format { file: self.path, reason });
            }
            Body::Records(out) => out,
            Body::Headed(mut out) => {
                out.seek(SeekFrom::Start(0)).and_then(|_| out.write_all(&head)).map_err(failed)?;
                out
            }
            #[cfg(feature = "arrow")]
            Body::Parquet(out) => out.finish().map_err(failed)?,
            #[cfg(feature = "arrow")]
            Body::Arrow(out) => out.finish().map_err(failed)?,
        };
        file.commit().map_err(failed)?;
        Ok(self.rows)
    }
}

/// The bytes before the first row; their length does not depend on `rows`.
fn head(format: Format, element: Element, rows: u64, dim: usize) -> Vec<u8> {
    match format {
        Format::Fbin | Format::U8bin | Format::I8bin | Format::Ibin => {
            [(rows as u32).to_le_bytes(), (dim as u32).to_le_bytes()].concat()
        }
        Format::Npy => npy::head(element, rows, dim),
        Format::Safetensors => safetensors::head(PART, element, rows, dim),
        Format::Fvecs | Format::Ivecs | Format::Bvecs | Format::Hdf5 | Format::Parquet | Format::Arrow => {
            Vec::new()
        }
    }
}

impl std::fmt::Debug for VectorWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VectorWriter")
            .field("path", &self.path)
            .field("element", &self.element)
            .field("dim", &self.dim)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}
