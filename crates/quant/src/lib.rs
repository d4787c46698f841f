//! Transforms of vectors and every code that compresses them.
//!
//! A [`Spec`] is a line of text, such as `OPQ16,PQ16`; [`Spec::train`] makes the [`Codec`] it describes
//! from rows, [`save`] writes it and [`load`] brings it back. Vectors become bytes and back
//! ([`Codec::encode`], [`Codec::decode`]), and a query is compared with the bytes as they are: one by one
//! ([`Codec::scorer`]) or in one pass for the nearest ([`Codec::scanner`]).
//!
//! Adding a code or a transform takes one file, which holds its [`Config`] or [`TransformConfig`], and one
//! line of the registry in `codes/mod.rs` or `transforms/mod.rs`.
//!
//! The same rows, spec and seed give the same bytes at any thread count. Work runs on the caller's rayon
//! pool.
#![forbid(unsafe_code)]

mod array;
mod chain;
mod codebook;
mod codec;
pub mod codes;
mod file;
mod matrix;
mod scan;
mod spec;
mod tables;
mod training;
pub mod transforms;

pub use array::{Array, Arrays, RestoreError, Values};
pub use chain::Chain;
pub use codec::{Codec, Config, EncodeError, Scanner, Scorer, Slab, search};
pub use file::{LoadError, SaveError, from_bytes, load, save, to_bytes};
pub use scan::{ByDecoding, ByScore, Decoded};
pub use spec::{ParseSpecError, Spec};
pub use training::{TrainError, Training};
pub use transforms::{Frame, Transform, TransformConfig};
