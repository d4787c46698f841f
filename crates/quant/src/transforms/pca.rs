//! Principal components: the `n` axes of largest variance, largest first.
//!
//! `y = V (x - mean)`, the rows of `V` (`n x dim`) eigenvectors of the covariance; `W` divides each axis by
//! its standard deviation (then distances are those of the whitened space, for both metrics), `R` then
//! rotates at random so that all axes have about the same variance, as codes of one range like it.
//! An axis that varies less than `1e-12` of the first in variance is numerical noise; whitening makes it
//! zero.
//! Source: Jégou and Chum, ECCV 2012 (whitening in retrieval).

use super::{Affine, TransformConfig};
use crate::matrix;
use crate::spec::{number, setting};
use crate::training::check_rows;
use crate::transforms::mean;
use crate::{Arrays, ParseSpecError, RestoreError, TrainError, Training};
use data::Rows;
use kernels::{Matrix, matmul};
use std::fmt;

/// Rows that the covariance is measured on at most.
const SAMPLE: usize = 1 << 17;
/// The share of the largest variance below which an axis is noise.
const NOISE: f64 = 1e-12;

/// `PCAn`, `PCAWn` or `PCARn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcaConfig {
    /// Axes kept.
    pub dim: usize,
    /// What follows the projection.
    pub then: Then,
}

/// What follows the projection onto principal axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Keep,
    /// Each axis is divided by its standard deviation.
    Whiten,
    /// A random rotation.
    Rotate,
}

impl fmt::Display for PcaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let then = match self.then {
            Then::Keep => "",
            Then::Whiten => "W",
            Then::Rotate => "R",
        };
        write!(f, "PCA{then}{}", self.dim)
    }
}

/// The principal components of some rows.
pub(crate) struct Components {
    pub(crate) mean: Vec<f32>,
    /// Largest first.
    pub(crate) variances: Vec<f64>,
    /// `dim x dim`, one a row.
    pub(crate) axes: Vec<f32>,
}

/// The components of at most 131,072 of `rows`.
pub(crate) fn components(rows: Rows<'_, f32>, seed: u64, what: &str) -> Result<Components, TrainError> {
    let sample = matrix::sample(rows, SAMPLE, seed);
    let sample = Rows::new(&sample, rows.dim()).expect("whole rows");
    let mean = mean(sample);
    let (variances, axes) = matrix::eigen(matrix::covariance(sample, &mean).as_ref(), what)?;
    Ok(Components { mean, variances, axes })
}

impl TransformConfig for PcaConfig {
    type Transform = Affine;

    const EXAMPLES: &'static [&'static str] = &["PCA32", "PCAW32", "PCAR48"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let rest = word.strip_prefix("PCA")?;
        let (then, digits) = match rest.as_bytes().first() {
            Some(b'W') => (Then::Whiten, &rest[1..]),
            Some(b'R') => (Then::Rotate, &rest[1..]),
            _ => (Then::Keep, rest),
        };
        let dim = number(digits).filter(|&dim| dim > 0);
        let why = "write the number of axes to keep, as in PCA64, PCAW64 or PCAR64";
        Some(dim.map(|dim| Self { dim, then }).ok_or_else(|| setting(word, why)))
    }

    fn train(&self, rows: Rows<'_, f32>, training: &Training<'_>) -> Result<Affine, TrainError> {
        check_rows(self, rows, 2)?;
        let (n, dim) = (self.dim, rows.dim());
        if n > dim {
            let why = format!("cannot keep {n} axes");
            return Err(TrainError::Dim { what: self.to_string(), why, dim });
        }
        let Components { mean, variances, mut axes } = components(rows, training.seed, &self.to_string())?;
        axes.truncate(n * dim);
        match self.then {
            Then::Keep => Ok(Affine::rotation(Some(mean), axes, dim)),
            Then::Whiten => {
                if variances[0] <= 0.0 {
                    return Err(matrix::degenerate(&self.to_string(), "the vectors are all the same"));
                }
                for (axis, &variance) in axes.chunks_exact_mut(dim).zip(&variances) {
                    let noise = variance <= NOISE * variances[0];
                    let scale = if noise { 0.0 } else { (1.0 / variance.sqrt()) as f32 };
                    axis.iter_mut().for_each(|value| *value *= scale);
                }
                Ok(Affine::scaled(mean, axes, dim))
            }
            Then::Rotate => {
                let rotation = matrix::random_rotation(n, training.seed);
                let mut turned = vec![0.0; n * dim];
                matmul(Matrix::new(&rotation, n, n), Matrix::new(&axes, n, dim), &mut turned, false);
                Ok(Affine::rotation(Some(mean), turned, dim))
            }
        }
    }

    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Affine, RestoreError> {
        Affine::restore(arrays, dim, self.dim, true, self.then == Then::Whiten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Transform;

    /// 300 rows of 6 values with deviations 6, 5, .., 1, turned.
    fn ellipsoid() -> Vec<f32> {
        let mut random = kernels::SplitMix64::new(5);
        let straight: Vec<f32> =
            (0..300 * 6).map(|i| (6 - i % 6) as f32 * matrix::normal(&mut random) as f32 + 2.0).collect();
        let mut turned = vec![0.0; straight.len()];
        matrix::apply(&matrix::random_rotation(6, 1), Rows::new(&straight, 6).unwrap(), &mut turned);
        turned
    }

    fn image(word: &str, rows: &[f32]) -> (Affine, Vec<f32>) {
        let rows = Rows::new(rows, 6).unwrap();
        let transform = PcaConfig::parse(word).unwrap().unwrap().train(rows, &Training::seeded(1)).unwrap();
        let mut out = vec![0.0; rows.len() * transform.dim_out()];
        transform.apply(rows, &mut out);
        (transform, out)
    }

    #[test]
    fn axes_come_uncorrelated_and_in_order() {
        let rows = ellipsoid();
        let (transform, out) = image("PCA4", &rows);
        assert!(matrix::tests::defect(transform.matrix(), 6) < 1e-5);
        let covariance = matrix::covariance(Rows::new(&out, 4).unwrap(), &[0.0; 4]);
        for i in 0..4 {
            for j in 0..i {
                assert!(covariance[(i, j)].abs() < 1e-3 && covariance[(i, i)] < covariance[(j, j)]);
            }
        }
        let (_, whitened) = image("PCAW4", &rows);
        let covariance = matrix::covariance(Rows::new(&whitened, 4).unwrap(), &[0.0; 4]);
        assert!((0..4).all(|i| (covariance[(i, i)] - 1.0).abs() < 1e-3));
    }

    #[test]
    fn all_axes_keep_distances_and_come_back() {
        let rows = ellipsoid();
        for word in ["PCA6", "PCAR6", "PCAW6"] {
            let (transform, out) = image(word, &rows);
            if word != "PCAW6" {
                let (before, after) =
                    (kernels::l2(&rows[..6], &rows[6..12]), kernels::l2(&out[..6], &out[6..12]));
                assert!((before - after).abs() < 1e-3 * before, "{word}");
            }
            let mut back = vec![0.0; rows.len()];
            transform.reverse(Rows::new(&out, 6).unwrap(), &mut back);
            assert!(back.iter().zip(&rows).all(|(a, b)| (a - b).abs() < 1e-3), "{word}");
        }
    }

    #[test]
    fn too_many_axes_and_no_variance_are_errors() {
        let same = [1.0; 60];
        let train = |word: &str| {
            let config = PcaConfig::parse(word).unwrap().unwrap();
            config.train(Rows::new(&same, 6).unwrap(), &Training::seeded(1)).unwrap_err().to_string()
        };
        assert_eq!(train("PCA7"), "PCA7: cannot keep 7 axes, and the vectors have 6");
        assert_eq!(train("PCAW2"), "PCAW2: the vectors are all the same");
        assert!(PcaConfig::parse("PCAWR8").unwrap().is_err());
    }
}
