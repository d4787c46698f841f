//! The pictures nearest to one query, for people to look at.

use crate::strip::{Nearest, Strip};
use crate::{EvalError, Task};
use data::Hit;

/// One answer to one query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Row number of the answer.
    pub row: usize,
    /// Its distance; smaller is nearer.
    pub distance: f32,
    /// Whether it has the query's class.
    pub right: bool,
}

/// The `k` nearest pictures of the gallery, by the rules of [`retrieval`](crate::retrieval()): nearest
/// first, without the query and its family; fewer when the gallery holds fewer.
///
/// Uses `4 x gallery` bytes.
///
/// # Errors
/// When the task does not fit together or has no row `query`.
pub fn neighbours(task: &Task<'_>, query: usize, k: usize) -> Result<Vec<Neighbour>, EvalError> {
    let pictures = task.rows.len();
    if query >= pictures {
        return Err(EvalError::NoRow { what: "queries", row: query, pictures });
    }
    Task { queries: &[query], ..*task }.check()?;
    let mut strip = Strip::new();
    strip.fill(task.rows, task.metric, &[query], task.gallery);
    let mut nearest = Nearest::new();
    nearest.reset(k);
    strip.within(0, nearest.limit(), |place, distance| {
        let other = task.gallery[place];
        if task.answers(query, other) {
            nearest.offer(Hit { id: other as u64, distance });
        }
        nearest.limit()
    });
    let label = task.labels[query];
    let answer = |hit: &Hit| {
        let row = hit.id as usize;
        Neighbour { row, distance: hit.distance, right: task.labels[row] == label }
    };
    Ok(nearest.finish().iter().map(answer).collect())
}
