//! A random rotation, or its first `n` rows: spreads variance evenly over the values.
//!
//! `y = Q x`, `Q` (`n x dim`) the first rows of the orthonormal factor of a Gaussian matrix. Takes
//! `O(dim^2)` a vector; [`hadamard`](super::HadamardConfig) takes `O(dim log dim)`.

use super::{Affine, TransformConfig};
use crate::matrix;
use crate::spec::{number, setting};
use crate::training::check_rows;
use crate::{Arrays, ParseSpecError, RestoreError, TrainError, Training};
use data::Rows;
use std::fmt;

/// `RR` or `RRn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationConfig {
    /// Values kept; all where none is given.
    pub dim: Option<usize>,
}

impl fmt::Display for RotationConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RR")?;
        self.dim.map_or(Ok(()), |dim| write!(f, "{dim}"))
    }
}

impl TransformConfig for RotationConfig {
    type Transform = Affine;

    const EXAMPLES: &'static [&'static str] = &["RR", "RR32"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let rest = word.strip_prefix("RR")?;
        if rest.is_empty() {
            return Some(Ok(Self { dim: None }));
        }
        let dim = number(rest).filter(|&dim| dim > 0);
        let why = "write RR, or the number of values to keep, as in RR64";
        Some(dim.map(|dim| Self { dim: Some(dim) }).ok_or_else(|| setting(word, why)))
    }

    fn train(&self, rows: Rows<'_, f32>, training: &Training<'_>) -> Result<Affine, TrainError> {
        check_rows(self, rows, 1)?;
        let dim = rows.dim();
        let n = self.dim.unwrap_or(dim);
        if n > dim {
            let why = format!("cannot keep {n} values");
            return Err(TrainError::Dim { what: self.to_string(), why, dim });
        }
        let mut rotation = matrix::random_rotation(dim, training.seed);
        rotation.truncate(n * dim);
        Ok(Affine::rotation(None, rotation, dim))
    }

    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Affine, RestoreError> {
        Affine::restore(arrays, dim, self.dim.unwrap_or(dim), false, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Transform;

    #[test]
    fn lengths_stay_and_come_back() {
        let rows: Vec<f32> = (0..30).map(|v| (v as f32).sin()).collect();
        let rows = Rows::new(&rows, 10).unwrap();
        let rotation = RotationConfig { dim: None }.train(rows, &Training::seeded(3)).unwrap();
        let mut out = vec![0.0; 30];
        rotation.apply(rows, &mut out);
        assert!((kernels::dot(&out[..10], &out[..10]) - kernels::dot(rows.row(0), rows.row(0))).abs() < 1e-5);
        let mut back = vec![0.0; 30];
        rotation.reverse(Rows::new(&out, 10).unwrap(), &mut back);
        assert!(back.iter().zip(rows.as_slice()).all(|(a, b)| (a - b).abs() < 1e-5));
        assert!(RotationConfig { dim: Some(11) }.train(rows, &Training::seeded(3)).is_err());
    }
}
