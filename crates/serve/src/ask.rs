//! What the part of an address after `?` asks for. Unknown names are errors, so that a misspelt filter is
//! never silently ignored.

use crate::problem::Problem;
use crate::state::State;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};

/// Rows in an answer that names no number.
const USUAL: usize = 30;

/// Parameters of an address in order; a name may come several times.
pub(crate) type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// The number of a picture in a path.
pub(crate) type Id = Result<Path<String>, PathRejection>;

/// A parsed question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Rows wanted: `k` or `count`.
    pub rows: usize,
    /// Seed of a random choice.
    pub seed: u64,
    /// Words to look for, lower case.
    pub words: Vec<String>,
    /// Groups of [`State::cameras`] wanted; empty for all.
    pub cameras: Vec<u32>,
    /// Groups of [`State::categories`] wanted; empty for all.
    pub categories: Vec<u32>,
}

impl Ask {
    /// For the routes that search.
    pub fn search(state: &State, pairs: Pairs) -> Result<Self, Problem> {
        Self::parse(state, pairs, &["k", "camera", "category"])
    }

    /// For the route that browses.
    pub fn browse(state: &State, pairs: Pairs) -> Result<Self, Problem> {
        Self::parse(state, pairs, &["count", "seed", "q", "camera", "category"])
    }

    fn parse(state: &State, pairs: Pairs, known: &[&str]) -> Result<Self, Problem> {
        let Query(pairs) = pairs.map_err(|err| Problem::Query(err.body_text()))?;
        let most = state.app.bounds.hits;
        let mut ask =
            Self { rows: USUAL.min(most), seed: 0, words: vec![], cameras: vec![], categories: vec![] };
        for (key, value) in pairs {
            match key.as_str() {
                name if !known.contains(&name) => {
                    return Err(Problem::UnknownParameter { key, known: known.join(", ") });
                }
                "k" => ask.rows = number("k", value, 1, most as u64)? as usize,
                "count" => ask.rows = number("count", value, 1, most as u64)? as usize,
                "seed" => ask.seed = number("seed", value, 0, u64::MAX)?,
                "q" => ask.words = value.to_lowercase().split_whitespace().map(str::to_owned).collect(),
                "camera" => ask
                    .cameras
                    .push(state.cameras.find(&value).ok_or(Problem::NoSuchGroup { facet: "camera", value })?),
                _ => ask.categories.push(
                    state.categories.find(&value).ok_or(Problem::NoSuchGroup { facet: "category", value })?,
                ),
            }
        }
        Ok(ask)
    }

    /// Whether a row is in the groups wanted.
    pub fn passes(&self, state: &State, row: usize) -> bool {
        state.cameras.passes(row, &self.cameras) && state.categories.passes(row, &self.categories)
    }

    /// Whether every row is.
    pub fn wants_all(&self) -> bool {
        self.cameras.is_empty() && self.categories.is_empty()
    }
}

fn number(key: &'static str, value: String, low: u64, high: u64) -> Result<u64, Problem> {
    match value.parse() {
        Ok(number) if (low..=high).contains(&number) => Ok(number),
        _ => Err(Problem::BadNumber { key, value, low, high }),
    }
}

/// The row that a path names.
pub(crate) fn row(state: &State, id: Id) -> Result<usize, Problem> {
    let pictures = state.app.records.len();
    number_below(id, pictures, |id| Problem::NoSuchPicture { id, pictures })
}

/// The number that a path names, which must be smaller than `end`.
pub(crate) fn number_below(id: Id, end: usize, none: impl Fn(u64) -> Problem) -> Result<usize, Problem> {
    let Path(id) = id.map_err(|err| Problem::BadId(err.body_text()))?;
    // `parse` would take a sign; one thing should have one address.
    if !id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::BadId(id));
    }
    let number: u64 = id.parse().map_err(|_| Problem::BadId(id))?;
    usize::try_from(number).ok().filter(|&number| number < end).ok_or_else(|| none(number))
}
