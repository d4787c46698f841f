//! Scans, inverted lists and graphs behind one object-safe trait, the spec and the file format.
//!
//! A [`Spec`] is a line of text; [`build`] makes the [`Index`] it describes from rows, [`save`] writes
//! it with its [`Provenance`], [`open`] maps it back. The same rows, spec and seed give the same bytes
//! on any machine at any thread count. Batches run on the caller's rayon pool.
#![forbid(unsafe_code)]

mod array;
mod build;
mod candidate;
mod distance;
mod file;
mod filter;
mod graph;
mod grow;
mod lists;
mod provenance;
mod range;
mod recall;
mod scan;
mod search;
mod spec;
mod symqg;
pub mod tune;
mod vectors;
mod watch;

pub use build::{BuildError, build};
pub use file::{OpenError, Opened, Part, PartKind, SaveError, Verified, open, save, save_tuned, verify};
pub use filter::Filter;
pub use graph::{FlatGraphSpec, GraphBuilder, GraphShape, GraphSpec};
pub use grow::{Committed, GrowError, Latest, SegmentInfo, Writer, merge};
pub use provenance::{MadeBy, ModelMismatch, Provenance};
pub use range::{Ending, Within};
pub use recall::recall;
pub use search::{Effort, Index, Request, SearchError, Stats};
pub use spec::{CellsSpec, HnswSpec, Layout, ListsSpec, ParseSpecError, Partition, Spec, SymqgSpec};
pub use watch::{Phase, Watch};
