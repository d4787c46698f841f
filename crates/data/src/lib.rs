//! Rows, ids, hits; pictures, datasets, manifests, splits; the preprocessing contract and the Embed port.
#![forbid(unsafe_code)]

mod contract;
mod embed;
mod hits;
mod image;
mod metric;
mod rows;

pub use contract::{CONTRACT_FORMAT, Contract, Crop, Filter, Preprocess};
pub use embed::{Embed, EmbedError};
pub use hits::{Hit, Hits, Id};
pub use image::Image;
pub use metric::Metric;
pub use rows::{Rows, RowsError};
