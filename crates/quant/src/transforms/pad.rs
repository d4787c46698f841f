//! Zeros appended up to `n` values, so that dimensions divide as a code wants; distances stay the same.

use super::{Frame, Transform, TransformConfig};
use crate::spec::{number, setting};
use crate::training::check_rows;
use crate::{Array, Arrays, ParseSpecError, RestoreError, TrainError, Training};
use data::{Metric, Rows};
use std::fmt;

/// The longest vectors, as in a file.
const MAX_DIM: usize = 1 << 16;

/// `Padn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PadConfig {
    /// Values a vector has after.
    pub dim: usize,
}

/// Zeros behind the values.
#[derive(Clone, Debug)]
pub struct Pad {
    dim_in: usize,
    dim_out: usize,
}

impl fmt::Display for PadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pad{}", self.dim)
    }
}

impl TransformConfig for PadConfig {
    type Transform = Pad;

    const EXAMPLES: &'static [&'static str] = &["Pad72"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let dim = number(word.strip_prefix("Pad")?).filter(|dim| (1..=MAX_DIM).contains(dim));
        let why = format!("write the number of values after padding, 1 to {MAX_DIM}, as in Pad128");
        Some(dim.map(|dim| Self { dim }).ok_or_else(|| setting(word, why)))
    }

    fn train(&self, rows: Rows<'_, f32>, _: &Training<'_>) -> Result<Pad, TrainError> {
        check_rows(self, rows, 1)?;
        if rows.dim() > self.dim {
            let why = "padding does not shorten".into();
            return Err(TrainError::Dim { what: self.to_string(), why, dim: rows.dim() });
        }
        Ok(Pad { dim_in: rows.dim(), dim_out: self.dim })
    }

    fn restore(&self, dim: usize, _: &mut Arrays) -> Result<Pad, RestoreError> {
        if dim > self.dim {
            let why = format!("{dim} values do not pad to {}", self.dim);
            return Err(RestoreError::Value { name: self.to_string(), why });
        }
        Ok(Pad { dim_in: dim, dim_out: self.dim })
    }
}

impl Transform for Pad {
    fn dim_in(&self) -> usize {
        self.dim_in
    }

    fn dim_out(&self) -> usize {
        self.dim_out
    }

    fn apply(&self, rows: Rows<'_, f32>, out: &mut [f32]) {
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(self.dim_out)) {
            let (values, zeros) = out.split_at_mut(self.dim_in);
            values.copy_from_slice(row);
            zeros.fill(0.0);
        }
    }

    fn query(&self, query: &[f32], metric: Metric, out: &mut [f32]) -> Frame {
        self.apply(Rows::new(query, self.dim_in).expect("a query is a row"), out);
        Frame { metric, offset: 0.0 }
    }

    fn reverse(&self, rows: Rows<'_, f32>, out: &mut [f32]) {
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(self.dim_in)) {
            out.copy_from_slice(&row[..self.dim_in]);
        }
    }

    fn arrays(&self) -> Vec<Array> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_follow_and_shortening_is_refused() {
        let rows = Rows::new(&[1.0, 2.0, 3.0, 4.0], 2).unwrap();
        let pad = PadConfig { dim: 3 }.train(rows, &Training::seeded(0)).unwrap();
        let mut out = [9.0; 6];
        pad.apply(rows, &mut out);
        assert_eq!(out, [1.0, 2.0, 0.0, 3.0, 4.0, 0.0]);
        let error = PadConfig { dim: 1 }.train(rows, &Training::seeded(0)).unwrap_err();
        assert_eq!(error.to_string(), "Pad1: padding does not shorten, and the vectors have 2");
        assert!(PadConfig { dim: 1 }.restore(2, &mut Arrays::default()).is_err());
        assert!(PadConfig::parse("Pad0").unwrap().is_err());
    }
}
