//! One file a command.

pub mod bench;
pub mod codes;
pub mod completions;
pub mod data;
pub mod demo;
pub mod embed;
pub mod eval;
pub mod index;
pub mod model;
pub mod report;
pub mod search;
pub mod serve;
pub mod train;
