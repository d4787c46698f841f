//! The vectors as they are, `f32`: what every other code is compared with.
//!
//! `4 dim` bytes a vector; distances are exact.

use crate::spec::setting;
use crate::training::check_rows;
use crate::{
    Array, Arrays, ByDecoding, Codec, Config, Decoded, ParseSpecError, RestoreError, Scanner, Scorer,
    TrainError, Training,
};
use data::{Metric, Rows};
use std::fmt;

/// `Flat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FullConfig;

/// Vectors as little-endian floats.
#[derive(Clone, Debug)]
pub struct Full {
    dim: usize,
}

impl fmt::Display for FullConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flat")
    }
}

impl Config for FullConfig {
    type Codec = Full;

    const EXAMPLES: &'static [&'static str] = &["Flat"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let rest = word.strip_prefix("Flat")?;
        Some(if rest.is_empty() { Ok(Self) } else { Err(setting(word, "Flat takes no settings")) })
    }

    fn train(&self, rows: Rows<'_, f32>, _: &Training<'_>) -> Result<Full, TrainError> {
        check_rows(self, rows, 1)?;
        Ok(Full { dim: rows.dim() })
    }

    fn restore(&self, dim: usize, _: &mut Arrays) -> Result<Full, RestoreError> {
        Ok(Full { dim })
    }
}

impl Codec for Full {
    fn dim(&self) -> usize {
        self.dim
    }

    fn code_len(&self) -> usize {
        4 * self.dim
    }

    fn encode(&self, rows: Rows<'_, f32>, codes: &mut [u8]) {
        for (value, code) in rows.as_slice().iter().zip(codes.as_chunks_mut().0) {
            *code = value.to_le_bytes();
        }
    }

    fn decode(&self, codes: &[u8], rows: &mut [f32]) {
        for (value, code) in rows.iter_mut().zip(codes.as_chunks().0) {
            *value = f32::from_le_bytes(*code);
        }
    }

    fn scorer<'a>(&'a self, query: &[f32], metric: Metric) -> Box<dyn Scorer + 'a> {
        Box::new(Decoded::new(self, query, metric))
    }

    fn scanner<'a>(&'a self, queries: Rows<'_, f32>, metric: Metric, k: usize) -> Box<dyn Scanner + 'a> {
        Box::new(ByDecoding::new(self, queries, metric, k))
    }

    fn arrays(&self) -> Vec<Array> {
        Vec::new()
    }
}
