//! Protocols of the literature beside zero-shot retrieval, each in a file of its own.
//!
//! | protocol | id begins with | see |
//! |---|---|---|
//! | queries and gallery given, as in DeepFashion in-shop | `in-shop` | [`in_shop`] |
//! | street photos against shop photos of their category | `street-to-shop` | [`street_to_shop`] |
//! | persons or vehicles under cameras (Market-1501, VeRi) | `re-id` | [`re_id`] |
//! | tracklets (MARS, official and torchreid) | `mars` | [`tracklets`] |
//! | repeated draws of one picture an id (VehicleID) | `vehicle-id` | [`vehicle_id`] |
//! | pairs: ten-fold accuracy, TAR at a FAR, EER (LFW) | `verification` | [`verification`] |
//! | persons found in whole frames (CUHK-SYSU, PRW) | `person-search` | [`person_search`] |
//! | folds and seeds of training | `reality-check` | [`folds`] |
//!
//! Common to all: rankings are exact and by (distance, row number), so equals stand in the order of a
//! *stable* sort; a query with equal right and wrong answers is counted as tied. Queries without a right
//! answer in their gallery are dropped and counted. Distances are held for a block of queries, never for
//! all. The numbers do not depend on the number of threads.

pub mod folds;
pub mod in_shop;
pub mod person_search;
mod places;
pub mod re_id;
mod scores;
pub mod street_to_shop;
pub mod tracklets;
pub mod vehicle_id;
pub mod verification;

pub use scores::{Precision, QueryScore, RankedScores, RankingOptions};

use crate::EvalError;
use thiserror::Error;

/// Why a protocol could not be followed.
#[derive(Debug, Error, PartialEq)]
pub enum ProtocolError {
    /// The lists do not fit together.
    #[error(transparent)]
    Task(#[from] EvalError),
    /// A picture is query and answer.
    #[error("leak: row {row} is in the queries and in the gallery; take it out of one of them")]
    Leak {
        /// The row number.
        row: usize,
    },
    /// Nothing can be found.
    #[error("the gallery is empty; this protocol needs pictures that answer")]
    EmptyGallery,
    /// Nothing can be right.
    #[error("none of {queries} queries has a right answer in its gallery; check ids, cameras and the split")]
    NoQueries {
        /// Queries given.
        queries: usize,
    },
    /// A query is junk or a distractor.
    #[error("row {row} asks for id {id}; ids of queries are 1 or more (0 is a distractor, -1 is junk)")]
    QueryId {
        /// The row number.
        row: usize,
        /// Its id.
        id: i32,
    },
    /// An id that has no meaning.
    #[error("row {row} has id {id}; ids are 1 or more, 0 for a distractor, -1 for junk")]
    Id {
        /// The row number.
        row: usize,
        /// Its id.
        id: i32,
    },
    /// The same-camera rule cannot be applied.
    #[error("the camera of row {row} is not known; this protocol leaves out answers of the query's camera")]
    NoCamera {
        /// The row number.
        row: usize,
    },
    /// A tracklet without frames, or with frames that do not exist.
    #[error("tracklet {tracklet} is frames {start}..{end} of {frames}; give each at least one frame")]
    Frames {
        /// Which tracklet.
        tracklet: usize,
        /// Its first frame.
        start: usize,
        /// The frame after its last.
        end: usize,
        /// Frames there are.
        frames: usize,
    },
    /// A number of repeats that says nothing.
    #[error("{got} {what} are too few; give at least {need}")]
    TooFew {
        /// What there is too little of.
        what: &'static str,
        /// How many are needed.
        need: usize,
        /// How many there are.
        got: usize,
    },
    /// A distance, score or coordinate is not a number.
    #[error("{what} {place} is not a finite number")]
    NotFinite {
        /// What is not.
        what: &'static str,
        /// Which of them.
        place: usize,
    },
    /// A rate out of range.
    #[error("a false accept rate of {0} makes no sense; give one of 0 to 1")]
    Rate(f64),
    /// A box without area.
    #[error("{what} {place} has no area; boxes are left, top, right, bottom")]
    Box {
        /// Which list.
        what: &'static str,
        /// Which of them.
        place: usize,
    },
    /// Runs that cannot be put in a table.
    #[error("run {run} has {got} folds and run 0 has {want}; every run trains each fold once")]
    Ragged {
        /// Which run.
        run: usize,
        /// Folds it has.
        got: usize,
        /// Folds the first has.
        want: usize,
    },
}

impl ProtocolError {
    /// Whether the data leak, which the program says with an exit code of its own.
    #[must_use]
    pub fn is_leak(&self) -> bool {
        matches!(self, Self::Leak { .. })
    }
}
