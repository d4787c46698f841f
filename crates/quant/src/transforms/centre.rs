//! The mean of the training rows moved to the origin.

use super::{Frame, Transform, TransformConfig};
use crate::spec::setting;
use crate::training::check_rows;
use crate::{Array, Arrays, ParseSpecError, RestoreError, TrainError, Training};
use data::{Metric, Rows};
use std::fmt;

/// `Centre`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CentreConfig;

/// A shift by `-mean`.
#[derive(Clone, Debug)]
pub struct Centre {
    mean: Vec<f32>,
}

impl fmt::Display for CentreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Centre")
    }
}

/// The mean of `rows`, summed in row order in `f64`.
pub(crate) fn mean(rows: Rows<'_, f32>) -> Vec<f32> {
    let mut sums = vec![0f64; rows.dim()];
    for row in rows.iter() {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let scale = 1.0 / rows.len().max(1) as f64;
    sums.iter().map(|sum| (sum * scale) as f32).collect()
}

impl TransformConfig for CentreConfig {
    type Transform = Centre;

    const EXAMPLES: &'static [&'static str] = &["Centre"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let rest = word.strip_prefix("Centre")?;
        Some(if rest.is_empty() { Ok(Self) } else { Err(setting(word, "Centre takes no settings")) })
    }

    fn train(&self, rows: Rows<'_, f32>, _: &Training<'_>) -> Result<Centre, TrainError> {
        check_rows(self, rows, 1)?;
        Ok(Centre { mean: mean(rows) })
    }

    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Centre, RestoreError> {
        Ok(Centre { mean: arrays.f32("mean", &[dim])? })
    }
}

impl Transform for Centre {
    fn dim_in(&self) -> usize {
        self.mean.len()
    }

    fn dim_out(&self) -> usize {
        self.mean.len()
    }

    fn apply(&self, rows: Rows<'_, f32>, out: &mut [f32]) {
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(self.mean.len())) {
            out.iter_mut().zip(row).zip(&self.mean).for_each(|((out, value), mean)| *out = value - mean);
        }
    }

    fn query(&self, query: &[f32], metric: Metric, out: &mut [f32]) -> Frame {
        match metric {
            Metric::L2 => {
                self.apply(Rows::new(query, self.mean.len()).expect("a query is a row"), out);
                Frame { metric, offset: 0.0 }
            }
            // <q, x> = <q, x - mean> + <q, mean>: the query stays where it is.
            Metric::Dot => {
                out.copy_from_slice(query);
                Frame { metric, offset: -kernels::dot(query, &self.mean) }
            }
        }
    }

    fn reverse(&self, rows: Rows<'_, f32>, out: &mut [f32]) {
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(self.mean.len())) {
            out.iter_mut().zip(row).zip(&self.mean).for_each(|((out, value), mean)| *out = value + mean);
        }
    }

    fn arrays(&self) -> Vec<Array> {
        vec![Array::f32("mean", &[self.mean.len()], self.mean.clone())]
    }
}
