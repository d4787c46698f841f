//! Files of vectors: what the field publishes its data sets in, and what other programs write.
//!
//! [`VectorFile`] reads any [`Format`] by rows, from any place, without loading the file; [`VectorWriter`] writes
//! them row by row; [`copy_rows`] is the way from one to the other. [`GroundTruth`] and [`RangeTruth`] hold right
//! answers, [`VectorSet`] knows the file names of the published sets.
//!
//! All input is taken as hostile: sizes are compared with the file's length before memory is taken, every record's
//! own length is compared with the first, and NaN and infinities are refused with their row.
//!
//! Reads are positioned (`pread`), not mapped: a truncated file is then an error, not a signal, and a caller who
//! wants rows in memory pays for one copy either way.

#[cfg(feature = "arrow")]
mod arrow;
mod big_ann;
#[cfg(feature = "arrow")]
mod column;
mod convert;
mod element;
mod error;
mod file;
mod format;
mod fvecs;
mod grid;
mod hdf5;
mod npy;
#[cfg(feature = "arrow")]
mod parquet;
mod safetensors;
mod set;
mod slice;
mod source;
mod truth;
mod writer;

pub use convert::{ConvertError, copy_rows};
pub use element::{Element, ElementNameError, Number, Rounding};
pub use error::VectorFileError;
pub use file::{Select, VectorFile};
pub use format::{Format, FormatNameError};
pub use set::{VectorSet, VectorSetError};
pub use slice::{RowSlice, SliceError, parse_count};
pub use truth::{GroundTruth, RangeTruth};
pub use writer::{VectorWriteError, VectorWriter};

/// Longest vector that is read or written, values.
pub const MAX_DIM: usize = 1 << 20;
