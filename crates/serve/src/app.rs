//! What is served, and whether its parts fit each other.

use data::{Embed, Limits, Record};
use index::Index;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Gives the bytes of the picture file of row `i`, or says why it cannot. Called for valid rows only,
/// from several threads.
pub type PictureSource = Box<dyn Fn(usize) -> Result<Vec<u8>, String> + Send + Sync>;

/// Everything a server answers from.
pub struct App {
    /// Heading of the page.
    pub title: String,
    /// Embeds queries; the caller has checked that the index accepts it (`Provenance::accepts`).
    pub model: Arc<dyn Embed>,
    /// Finds rows.
    pub index: Arc<dyn Index>,
    /// What to say of each row of the index, in row order.
    pub records: Vec<Record>,
    /// Pictures by row.
    pub picture: PictureSource,
    /// Places of rows on a plane (any scale); empty where there is no map.
    pub map: Vec<(u64, [f32; 2])>,
    /// A self-contained HTML report; none where there is none.
    pub report: Option<String>,
    /// Where all CPU work runs.
    pub pool: Arc<rayon::ThreadPool>,
    /// Host names answered to besides `localhost` and plain addresses. A page of another site that points
    /// its own name at this machine is thus refused.
    pub hosts: Vec<String>,
    /// How much one request, and all together, may take.
    pub bounds: Bounds,
}

/// How much one request, and all together, may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Longest body, bytes.
    pub body: usize,
    /// Largest picture decoded, pixels; checked before memory is taken.
    pub picture: Limits,
    /// Most rows in an answer.
    pub hits: usize,
    /// Pictures decoded and embedded at a time; further requests wait.
    pub working: usize,
    /// Bodies received at a time; further requests are told to come back.
    pub uploads: usize,
    /// Time from a request's header to its answer.
    pub time: Duration,
}

impl Default for Bounds {
    /// 20 MiB, 16,384 pixels a side and 40 million in total, 200 rows, 4 at a time, 32 uploads, 30 seconds.
    fn default() -> Self {
        Self {
            body: 20 << 20,
            picture: Limits { side: 16_384, pixels: 40_000_000 },
            hits: 200,
            working: 4,
            uploads: 32,
            time: Duration::from_secs(30),
        }
    }
}

/// Why nothing can be served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Rows without a record, or records without a row.
    #[error("the index has {rows} rows but there are {records} records; build the index again")]
    Records {
        /// Rows of the index.
        rows: usize,
        /// Records given.
        records: usize,
    },
    /// The model's vectors do not fit the index.
    #[error("the model gives {model} values a picture, the index has {index}; serve it with its own model")]
    Dim {
        /// Values an embedding.
        model: usize,
        /// Values a row.
        index: usize,
    },
    /// A place on the map that no row has, or that is not finite.
    #[error(
        "place {place} of the map is of row {row}, which does not exist or has no finite place; draw the map again"
    )]
    Map {
        /// Position in the map.
        place: usize,
        /// The row it names.
        row: u64,
    },
    /// A bound of zero would refuse every request.
    #[error("the bound `{0}` is zero, so every request would be refused")]
    Bound(&'static str),
    /// The listener failed.
    #[error("the server stopped: {0}")]
    Io(#[from] std::io::Error),
}

impl App {
    /// Whether the parts fit each other.
    ///
    /// # Errors
    /// Names the first part that does not.
    pub fn check(&self) -> Result<(), ServeError> {
        let (rows, records) = (self.index.len(), self.records.len());
        if rows != records {
            return Err(ServeError::Records { rows, records });
        }
        let (model, index) = (self.model.contract().dim, self.index.dim());
        if model != index {
            return Err(ServeError::Dim { model, index });
        }
        let lost = |(row, place): &(u64, [f32; 2])| {
            *row >= rows as u64 || !place.iter().all(|value| value.is_finite())
        };
        if let Some(place) = self.map.iter().position(lost) {
            return Err(ServeError::Map { place, row: self.map[place].0 });
        }
        self.bounds.check()
    }
}

impl Bounds {
    fn check(&self) -> Result<(), ServeError> {
        let Self { body, picture, hits, working, uploads, time } = self;
        let zero = [
            ("body", *body == 0),
            ("picture", picture.side == 0 || picture.pixels == 0),
            ("hits", *hits == 0),
            ("working", *working == 0),
            ("uploads", *uploads == 0),
            ("time", time.is_zero()),
        ];
        zero.iter().find(|(_, zero)| *zero).map_or(Ok(()), |(name, _)| Err(ServeError::Bound(name)))
    }
}
