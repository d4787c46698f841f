//! Files of vectors that a command is given.

use crate::failure::{Code, Failure, Outcome};
use data::Metric;
use data::vectors::{RowSlice, VectorFile};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Rows read, encoded and decoded at once; bounds the memory.
const CHUNK: usize = 16 << 10;
/// A file of vectors and the rows of it that are meant.
pub struct Vectors {
    pub path: PathBuf,
    pub file: VectorFile,
    pub len: usize,
}

impl Vectors {
    pub fn open(path: &Path, first: Option<usize>) -> Outcome<Self> {
        let file = VectorFile::open(path)?;
        let len = first.map_or(RowSlice::All, RowSlice::First).of(file.len());
        let len = len.map_err(|error| Failure::message(Code::Usage, error.to_string()))?.len();
        Ok(Self { path: path.to_owned(), file, len })
    }

    pub fn dim(&self) -> usize {
        self.file.dim()
    }

    /// Refuses vectors of another length than `dim`, which `whose` have.
    pub fn require(&self, dim: usize, whose: &Path) -> Outcome {
        if self.dim() == dim {
            return Ok(());
        }
        let text = format!(
            "{} has vectors of {} values, {} of {dim}; give files of one data set",
            self.path.display(),
            self.dim(),
            whose.display()
        );
        Err(Failure::message(Code::Failed, text))
    }

    /// The rows in pieces.
    pub fn chunks(&self) -> impl Iterator<Item = Range<usize>> {
        (0..self.len).step_by(CHUNK).map(|start| start..(start + CHUNK).min(self.len))
    }

    /// At most `limit` rows, evenly spaced: a file may be sorted.
    pub fn spread(&self, limit: usize) -> Outcome<Vec<f32>> {
        if self.len <= limit {
            return Ok(self.file.read(0..self.len)?);
        }
        let mut rows = vec![0.0; limit * self.dim()];
        for (i, row) in rows.chunks_exact_mut(self.dim()).enumerate() {
            let at = (i as u128 * self.len as u128 / limit as u128) as usize;
            self.file.read_into(at, row)?;
        }
        Ok(rows)
    }
}

/// `l2` or `dot`, from the command line.
pub fn metric(word: &str) -> Result<Metric, String> {
    let known = [Metric::L2, Metric::Dot];
    let found = known.into_iter().find(|metric| metric.to_string() == word);
    found.ok_or_else(|| "write l2 for the Euclidean distance or dot for the inner product".to_owned())
}
