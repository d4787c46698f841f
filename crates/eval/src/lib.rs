//! Retrieval and clustering metrics with protocols and intervals, t-SNE, plots and the report.
//!
//! Every number carries the [`Protocol`] it was measured under and a 95 % interval over classes.
#![forbid(unsafe_code)]

mod clustering;
mod difference;
mod error;
mod interval;
mod neighbours;
mod pareto;
pub mod plots;
mod protocol;
pub mod protocols;
mod quadtree;
pub mod ranking;
pub mod report;
mod retrieval;
mod strip;
mod tsne;

pub use clustering::{ami, nmi, pair_f1};
pub use difference::{Score, difference};
pub use error::EvalError;
pub use interval::Estimate;
pub use neighbours::{Neighbour, neighbours};
pub use pareto::pareto_chart;
pub use protocol::Protocol;
pub use retrieval::{Options, Outcome, Retrieval, Task, retrieval, worst_failures};
pub use tsne::{TsneError, TsneOptions, tsne};
