//! Files of vectors: what the field publishes its data sets in, and what other programs write.
//!
//! [`VectorFile`] reads any [`Format`] by rows, from any place, without loading the file; [`VectorWriter`] writes
//! them row by row; [`copy_rows`] is the way from one to the other. [`GroundTruth`] and [`RangeTruth`] hold right
//! answers, [`VectorSet`] knows the file names of the published sets.
//!
//! All input is taken as hostile: sizes are compared with the file's length before memory is taken, every record's
//! own length is compared with the first, and NaN and infinities are refused with their row.
//!
//! Reads are positioned (`pread`), not mapped; [`VectorFile::borrowed`] maps. Of a file of 1 GB that the system has in
//! its cache (f32, 128 values a row, one thread) `examples/read_vectors.rs` adds up all values from reads at 3.0 GB/s
//! and with 10 MiB resident at most (VmHWM), from borrowed rows at 8.5 GB/s with the whole file resident. Reads that
//! copied from the map were at 3.2 GB/s with the whole file resident too, and would turn the error about a file that
//! became shorter into a signal: so only who asks for a loan pays for it.

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
#[cfg(feature = "arrow")]
mod guard;
mod hdf5;
mod npy;
#[cfg(feature = "arrow")]
mod page;
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
#[cfg(feature = "arrow")]
pub use guard::hush_caught_panics;
pub use set::{VectorSet, VectorSetError};
pub use slice::{RowSlice, SliceError, parse_count};
pub use truth::{GroundTruth, RangeTruth};
pub use writer::{VectorWriteError, VectorWriter};

/// Longest vector that is read or written, values.
pub const MAX_DIM: usize = 1 << 20;
