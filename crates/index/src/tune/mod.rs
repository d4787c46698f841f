//! Goals in place of knobs: what an index costs before it is built, which one reaches a goal, and how hard to search.

mod cost;
mod machine;
mod seconds;

pub use cost::{Extent, Plan, plan};
pub use machine::Machine;
