//! The report of a run: one HTML file with everything inside, readable offline, on paper and without
//! scripts.

mod sections;
mod sheet;
mod verdict;

pub use verdict::{Effect, Verdict, verdict};

use crate::plots::Curves;
use crate::{Neighbour, Retrieval};
use thiserror::Error;

/// Whose numbers these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The model that was trained.
    Trained,
    /// The model that training started from.
    Starter,
    /// The same network with random weights.
    Untrained,
    /// No network: the pixels themselves.
    Pixels,
}

/// One set of numbers to stand beside the others.
#[derive(Clone, Debug)]
pub struct Contender<'a> {
    /// Whose they are.
    pub role: Role,
    /// Its name in the table and the charts.
    pub name: String,
    /// The numbers.
    pub retrieval: &'a Retrieval,
}

/// One line of the data check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Whether all was well.
    pub passed: bool,
    /// What was looked at and what was found.
    pub words: String,
}

/// A picture on the map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapPoint {
    /// Row number of the picture.
    pub row: usize,
    /// Its class: pictures of one class light up together.
    pub label: u32,
    /// Where it lies, any units; y grows upwards.
    pub place: [f32; 2],
}

/// A query with its nearest pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// Row number of the query.
    pub query: usize,
    /// Its answers, nearest first.
    pub neighbours: Vec<Neighbour>,
    /// A remark, such as where the first right answer lies; may be empty.
    pub note: String,
}

/// The index built over the embeddings.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexFacts {
    /// Its sentence, such as `IVF64(Graph16),PQ16x4,Rerank(F32)`.
    pub spec: String,
    /// Share of the ten exact answers that it finds, 0 to 1.
    pub recall_at_10: f64,
    /// Queries a second.
    pub queries_per_second: f64,
}

/// What training cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainingFacts {
    /// Pictures a second.
    pub images_per_second: f64,
    /// Wall-clock time, seconds.
    pub seconds: f64,
    /// Greatest resident memory, bytes.
    pub peak_memory: u64,
}

/// How to get these numbers again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reproduction {
    /// The command line.
    pub command: String,
    /// The seed.
    pub seed: u64,
    /// Programs and data with their versions or hashes.
    pub versions: Vec<(String, String)>,
    /// The machine, in words.
    pub hardware: String,
}

/// Everything the page says. Empty parts are left out.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// Heading, such as the dataset's name.
    pub title: String,
    /// Counts and names of the data: `(what, how many)`.
    pub facts: Vec<(String, String)>,
    /// The data check, a line each.
    pub checks: Vec<Check>,
    /// The numbers, in the order of the table; the trained model first.
    pub contenders: Vec<Contender<'a>>,
    /// Loss and validation over steps.
    pub curves: Curves,
    /// The index, if one was built.
    pub index: Option<IndexFacts>,
    /// The cost of training, if there was any.
    pub training: Option<TrainingFacts>,
    /// The t-SNE map.
    pub map: Vec<MapPoint>,
    /// Some queries with their answers.
    pub montage: Vec<Answered>,
    /// The queries that failed worst.
    pub failures: Vec<Answered>,
    /// How to get these numbers again.
    pub reproduction: Reproduction,
}

/// Where the page gets pictures and their names.
#[derive(Clone, Copy)]
pub struct Pictures<'a> {
    /// A small picture of a row, encoded (PNG, JPEG or WebP), ideally 96 pixels wide or high.
    pub thumb: &'a dyn Fn(usize) -> Vec<u8>,
    /// The name of a row's class, as people know it.
    pub class: &'a dyn Fn(usize) -> String,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A thumbnail is no picture.
    #[error("the thumbnail of picture {row} cannot be read: {source}")]
    Thumb {
        /// Row number.
        row: usize,
        /// What the decoder said.
        source: image::ImageError,
    },
    /// The sheet of thumbnails could not be written.
    #[error("the thumbnails cannot be encoded: {0}")]
    Sheet(image::ImageError),
}

impl Report<'_> {
    /// Writes the page: HTML, everything inline, every word from outside escaped. The same report
    /// gives the same bytes.
    ///
    /// # Errors
    /// When a thumbnail cannot be read.
    pub fn html(&self, pictures: Pictures<'_>) -> Result<String, ReportError> {
        sections::page(self, pictures)
    }
}
