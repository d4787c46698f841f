//! Indexes that grow: rows come and go by id, readers keep what they see, and a crash loses nothing committed.
//!
//! A file holds *segments* in order; the first is what [`build`](crate::build) made. Each is an index of its own, with
//! the ids of its rows and a bit a row for those that are not removed. A row that is replaced is removed
//! where it was and added to a new segment, so an id lives at most once.
//!
//! A [`Writer`] gathers changes; its commit removes bits, makes a segment of the new rows and folds small segments
//! together (`fold` states the rule), then changes the file as `file::commit` says. Readers hold a [`Latest`] and take
//! the index of the last commit from it: no lock is held while searching, and what was taken never changes.
//!
//! Files: `segment` is one of them, `segmented` searches all, `writer` changes them, `generation` makes the next of the
//! last and the changes, `fold` says which segments become one, `lock` keeps a second writer away, `merge` joins files.

mod error;
mod fold;
mod generation;
mod lock;
mod merge;
mod segment;
mod segmented;
mod writer;

pub use error::GrowError;
pub use merge::merge;
pub use segmented::SegmentInfo;
pub(crate) use segmented::Segmented;
pub use writer::{Committed, Latest, Writer};

#[cfg(test)]
mod crashes;
