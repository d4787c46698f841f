//! Rows, ids, hits; pictures, datasets, manifests, splits; the preprocessing contract and the Embed port.
#![deny(unsafe_code)]

mod archive;
mod atomic;
mod check;
mod contract;
mod dataset;
mod dataset_error;
mod decode;
mod embed;
mod folder;
mod hits;
mod image;
mod import;
mod manifest;
mod metric;
mod mmap;
mod pixels;
mod preprocess;
mod record;
mod resize;
mod rows;
mod split;
pub mod vectors;

pub use atomic::write_atomic;
pub use check::{DataReport, Duplicates, Leak, NearDuplicate, SplitCount, Unreadable, check};
pub use contract::{CONTRACT_FORMAT, Contract, Crop, Filter, Preprocess};
pub use dataset::{Dataset, Item, MANIFEST_NAME, MAX_FILE_BYTES, Split, SplitNameError};
pub use dataset_error::DatasetError;
pub use decode::{DecodeError, Limits, decode};
pub use embed::{Embed, EmbedError};
pub use hits::{Hit, Hits, Id};
pub use image::Image;
pub use import::{ImportOptions, import};
pub use manifest::write as write_manifest;
pub use metric::Metric;
pub use mmap::Map;
pub use pixels::PixelEmbed;
pub use preprocess::{MAX_INPUT_SIDE, PreprocessError};
pub use record::Record;
pub use resize::resize;
pub use rows::{Rows, RowsError};
pub use split::split_classes;
