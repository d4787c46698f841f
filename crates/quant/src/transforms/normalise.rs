//! Every vector scaled to length one, so that the inner product is the cosine; zero stays zero.

use super::{Frame, Transform, TransformConfig};
use crate::spec::setting;
use crate::training::check_rows;
use crate::{Array, Arrays, ParseSpecError, RestoreError, TrainError, Training};
use data::{Metric, Rows};
use std::fmt;

/// `L2norm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormaliseConfig;

/// A division by the length.
#[derive(Clone, Debug)]
pub struct Normalise {
    dim: usize,
}

impl fmt::Display for NormaliseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("L2norm")
    }
}

impl TransformConfig for NormaliseConfig {
    type Transform = Normalise;

    const EXAMPLES: &'static [&'static str] = &["L2norm"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let rest = word.strip_prefix("L2norm")?;
        Some(if rest.is_empty() { Ok(Self) } else { Err(setting(word, "L2norm takes no settings")) })
    }

    fn train(&self, rows: Rows<'_, f32>, _: &Training<'_>) -> Result<Normalise, TrainError> {
        check_rows(self, rows, 1)?;
        Ok(Normalise { dim: rows.dim() })
    }

    fn restore(&self, dim: usize, _: &mut Arrays) -> Result<Normalise, RestoreError> {
        Ok(Normalise { dim })
    }
}

impl Transform for Normalise {
    fn dim_in(&self) -> usize {
        self.dim
    }

    fn dim_out(&self) -> usize {
        self.dim
    }

    fn apply(&self, rows: Rows<'_, f32>, out: &mut [f32]) {
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(self.dim)) {
            let length = kernels::dot(row, row).sqrt();
            let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
            out.iter_mut().zip(row).for_each(|(out, value)| *out = value * scale);
        }
    }

    fn query(&self, query: &[f32], metric: Metric, out: &mut [f32]) -> Frame {
        self.apply(Rows::new(query, self.dim).expect("a query is a row"), out);
        Frame { metric, offset: 0.0 }
    }

    fn reverse(&self, rows: Rows<'_, f32>, out: &mut [f32]) {
        out.copy_from_slice(rows.as_slice());
    }

    fn arrays(&self) -> Vec<Array> {
        Vec::new()
    }
}
