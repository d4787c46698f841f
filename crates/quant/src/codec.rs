//! What every code can do: vectors to bytes, bytes to vectors, and distances from a query to bytes.

use crate::{Array, Arrays, ParseSpecError, RestoreError, TrainError, Training};
use data::{Hit, Hits, Metric, Rows};
use rayon::prelude::*;
use std::fmt::Display;
use std::num::NonZeroUsize;
use thiserror::Error;

/// The settings of a code as a spec names them.
pub trait Config: Display + Sized {
    /// What training makes.
    type Codec: Codec + 'static;

    /// Words that this config prints and parses, for tests that run over every code.
    const EXAMPLES: &'static [&'static str];

    /// Reads one word of a spec; none when the word names another code.
    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>>;

    /// Learns the code from `rows`, `n x dim`.
    ///
    /// # Errors
    /// When the rows are too few, of the wrong dimension or say nothing.
    fn train(&self, rows: Rows<'_, f32>, training: &Training<'_>) -> Result<Self::Codec, TrainError>;

    /// The trained code from what [`Codec::arrays`] gave; the file may lie about anything.
    ///
    /// # Errors
    /// When an array is missing or has another shape than `dim` and the settings say.
    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Self::Codec, RestoreError>;
}

/// A trained code: immutable, shared between threads.
pub trait Codec: Send + Sync {
    /// Values a vector.
    fn dim(&self) -> usize;

    /// Bytes a vector.
    fn code_len(&self) -> usize;

    /// Writes the codes of `rows` to `codes`, `rows.len() x code_len`, on the calling thread.
    ///
    /// Sizes are the caller's promise; [`encode`](trait.Codec.html#method.encode_all) checks them.
    fn encode(&self, rows: Rows<'_, f32>, codes: &mut [u8]);

    /// Writes the vectors that `codes` stand for to `rows`, `codes.len() / code_len x dim`.
    ///
    /// Any bytes decode to something; none panic.
    fn decode(&self, codes: &[u8], rows: &mut [f32]);

    /// Distances from `query` (`dim` values) to codes, each the distance to the decoded vector unless
    /// the code documents an estimator.
    fn scorer<'a>(&'a self, query: &[f32], metric: Metric) -> Box<dyn Scorer + 'a>;

    /// The codes in the order that [`Codec::scanner`] reads; the last vectors may be padded.
    fn pack(&self, codes: Vec<u8>) -> Vec<u8> {
        codes
    }

    /// Bytes that `rows` packed codes take.
    fn packed_len(&self, rows: usize) -> usize {
        rows * self.code_len()
    }

    /// Queries that one pass over many packed codes serves best: more of them read the codes less often, until what
    /// is kept for each no longer stays in the cache.
    fn queries_a_pass(&self) -> usize {
        16
    }

    /// The `k` nearest of packed codes for each of some `queries`.
    fn scanner<'a>(&'a self, queries: Rows<'_, f32>, metric: Metric, k: usize) -> Box<dyn Scanner + 'a>;

    /// What was learnt, to be saved.
    fn arrays(&self) -> Vec<Array>;
}

/// Distances from one query to codes.
pub trait Scorer {
    /// Writes the distance of each of `codes`; smaller is nearer.
    fn score(&mut self, codes: &[u8], distances: &mut [f32]);
}

/// Packed codes of vectors with ids one after another.
#[derive(Clone, Copy, Debug)]
pub struct Slab<'a> {
    /// Whole blocks of the packing.
    pub packed: &'a [u8],
    /// Number of vectors.
    pub len: usize,
    /// Id of the first.
    pub first: u64,
    /// The vectors that may be found: bit `i % 64` of word `i / 64`; all, without.
    pub live: Option<&'a [u64]>,
}

impl<'a> Slab<'a> {
    /// All of `len` vectors, from id `first` on.
    #[must_use]
    pub fn new(packed: &'a [u8], len: usize, first: u64) -> Self {
        Self { packed, len, first, live: None }
    }

    /// Whether vector `i` of the slab may be found.
    #[inline]
    pub(crate) fn lives(&self, i: usize) -> bool {
        self.live.is_none_or(|live| live[i / 64] >> (i % 64) & 1 == 1)
    }
}

/// The nearest of packed codes for some queries, which need not be offered the same.
pub trait Scanner {
    /// Offers the vectors of `slab` to the queries at the positions `which`, ascending.
    ///
    /// # Panics
    /// When the slab has too few codes or live words, or positions are no queries or not ascending.
    fn scan(&mut self, slab: &Slab<'_>, which: &[u32]);

    /// Hints that `held` vectors are known already to a query, from other scanners, and that none beyond `limit` is
    /// wanted any more; what is found beyond is of no use. Some scanners spare work by it.
    fn expect(&mut self, _query: usize, _held: usize, _limit: f32) {}

    /// For each query `(distance, id)`, nearest first, ties by id.
    fn finish(self: Box<Self>) -> Vec<Vec<(f32, u64)>>;
}

/// Why vectors were not encoded or searched.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EncodeError {
    /// The vectors have another length.
    #[error("vectors have {got} dimensions, the code was trained for {want}")]
    Dim {
        /// Values a vector.
        got: usize,
        /// Values the code takes.
        want: usize,
    },
    /// A vector holds NaN or an infinity.
    #[error("vector {row} holds a value that is not finite")]
    NotFinite {
        /// Its position.
        row: usize,
    },
}

/// Rows that one task encodes at once.
const CHUNK: usize = 256;

impl dyn Codec + '_ {
    /// The codes of `rows`, `rows.len() x code_len`, on the caller's rayon pool.
    ///
    /// # Errors
    /// When the rows have another dimension than the code or hold a value that is not finite.
    pub fn encode_all(&self, rows: Rows<'_, f32>) -> Result<Vec<u8>, EncodeError> {
        self.check(rows)?;
        let mut codes = vec![0; rows.len() * self.code_len()];
        codes.par_chunks_mut(CHUNK * self.code_len()).enumerate().for_each(|(i, codes)| {
            let end = (i * CHUNK + CHUNK).min(rows.len());
            self.encode(rows.slice(i * CHUNK..end), codes);
        });
        Ok(codes)
    }

    fn check(&self, rows: Rows<'_, f32>) -> Result<(), EncodeError> {
        if rows.dim() != self.dim() {
            return Err(EncodeError::Dim { got: rows.dim(), want: self.dim() });
        }
        match rows.iter().position(|row| !row.iter().all(|v| v.is_finite())) {
            Some(row) => Err(EncodeError::NotFinite { row }),
            None => Ok(()),
        }
    }
}

/// The `k` nearest of `len` packed vectors for each query, by a pass over all of them; a few queries
/// share each pass, and passes share the caller's rayon pool.
///
/// # Errors
/// When the queries have another dimension than the code or hold a value that is not finite.
pub fn search(
    codec: &dyn Codec,
    packed: &[u8],
    len: usize,
    queries: Rows<'_, f32>,
    metric: Metric,
    k: NonZeroUsize,
) -> Result<Hits, EncodeError> {
    codec.check(queries)?;
    // No more than leave every thread a pass.
    let batch = queries.len().div_ceil(rayon::current_num_threads()).clamp(1, codec.queries_a_pass());
    let all: Vec<u32> = (0..batch as u32).collect();
    let batches: Vec<usize> = (0..queries.len()).step_by(batch).collect();
    let found: Vec<_> = batches
        .into_par_iter()
        .flat_map_iter(|start| {
            let end = (start + batch).min(queries.len());
            let mut scanner = codec.scanner(queries.slice(start..end), metric, k.get());
            scanner.scan(&Slab::new(packed, len, 0), &all[..end - start]);
            scanner.finish()
        })
        .collect();
    let mut hits = Hits::default();
    for list in found {
        hits.push(list.into_iter().map(|(distance, id)| Hit { id, distance }));
    }
    Ok(hits)
}
