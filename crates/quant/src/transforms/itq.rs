//! Iterative quantization: a rotation of the principal axes after which signs lose least.
//!
//! With `V` the `n` first principal components (as [`PCA`](super::PcaConfig) has them) and `X = V (x - mean)`,
//! alternate `B = sign(X R)` and the orthogonal `R` nearest to mapping `X` on `B` (Procrustes). The loss
//! `|B - X R|^2` never rises. Made for the code `Bits`: `ITQ64,Bits`.
//! Source: Gong, Lazebnik, Gordo and Perronnin, TPAMI 2013.

use super::pca::{Components, components};
use super::{Affine, TransformConfig};
use crate::matrix;
use crate::spec::{number, setting};
use crate::training::check_rows;
use crate::{Arrays, ParseSpecError, RestoreError, TrainError, Training};
use data::Rows;
use kernels::{Matrix, matmul};
use std::fmt;

/// Rounds; the loss settles well before.
const ROUNDS: usize = 50;
/// Rows that the rotation is learnt on at most.
const SAMPLE: usize = 1 << 16;

/// `ITQn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItqConfig {
    /// Values, and later bits, kept.
    pub dim: usize,
}

impl fmt::Display for ItqConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ITQ{}", self.dim)
    }
}

impl TransformConfig for ItqConfig {
    type Transform = Affine;

    const EXAMPLES: &'static [&'static str] = &["ITQ32"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let dim = number(word.strip_prefix("ITQ")?).filter(|&dim| dim > 0);
        let why = "write the number of bits, as in ITQ64";
        Some(dim.map(|dim| Self { dim }).ok_or_else(|| setting(word, why)))
    }

    fn train(&self, rows: Rows<'_, f32>, training: &Training<'_>) -> Result<Affine, TrainError> {
        check_rows(self, rows, 2)?;
        let (n, dim) = (self.dim, rows.dim());
        if n > dim {
            let why = format!("cannot make {n} bits");
            return Err(TrainError::Dim { what: self.to_string(), why, dim });
        }
        let Components { mean, mut axes, .. } = components(rows, training.seed, &self.to_string())?;
        axes.truncate(n * dim);
        let project = Affine::rotation(Some(mean.clone()), axes.clone(), dim);
        let sample = matrix::sample(rows, SAMPLE, training.seed);
        let image = crate::chain::apply_all(&project, Rows::new(&sample, dim).expect("whole rows"));
        let rotation = rotate(Rows::new(&image, n).expect("whole rows"), training, &self.to_string())?;
        let mut turned = vec![0.0; n * dim];
        matmul(Matrix::new(&rotation, n, n), Matrix::new(&axes, n, dim), &mut turned, false);
        Ok(Affine::rotation(Some(mean), turned, dim))
    }

    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Affine, RestoreError> {
        Affine::restore(arrays, dim, self.dim, true, false)
    }
}

/// The rotation of centred `rows` (`dim x dim`, applied from the left) whose signs fit them best.
fn rotate(rows: Rows<'_, f32>, training: &Training<'_>, what: &str) -> Result<Vec<f32>, TrainError> {
    let n = rows.dim();
    let zero = vec![0.0; n];
    let mut rotation = matrix::random_rotation(n, training.seed);
    for round in 0..ROUNDS {
        training.step(round, ROUNDS)?;
        let mut image = crate::chain::apply_all(&Affine::rotation(None, rotation, n), rows);
        image.iter_mut().for_each(|value| *value = if *value > 0.0 { 1.0 } else { -1.0 });
        let image = Rows::new(&image, n).expect("whole rows");
        rotation = matrix::procrustes(matrix::products(image, &zero, rows, &zero).as_ref(), what)?;
    }
    Ok(rotation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Transform;
    use crate::transforms::PcaConfig;

    /// The sum of `(|y| - 1)^2` over the images of all rows, scaled so that the values' mean square is 1.
    fn loss(transform: &Affine, rows: Rows<'_, f32>) -> f64 {
        let mut out = vec![0.0; rows.len() * transform.dim_out()];
        transform.apply(rows, &mut out);
        let square = out.iter().map(|v| f64::from(v * v)).sum::<f64>() / out.len() as f64;
        out.iter().map(|&v| (f64::from(v.abs()) / square.sqrt() - 1.0).powi(2)).sum::<f64>()
            / out.len() as f64
    }

    #[test]
    fn it_is_orthogonal_and_fits_signs_better_than_the_axes() {
        let mut random = kernels::SplitMix64::new(4);
        let rows: Vec<f32> =
            (0..1000 * 12).map(|i| matrix::normal(&mut random) as f32 / (1 + i % 12) as f32).collect();
        let rows = Rows::new(&rows, 12).unwrap();
        let training = Training::seeded(2);
        let itq = ItqConfig { dim: 8 }.train(rows, &training).unwrap();
        assert!(matrix::tests::defect(itq.matrix(), 12) < 1e-4);
        let pca = PcaConfig::parse("PCA8").unwrap().unwrap().train(rows, &training).unwrap();
        let turned = PcaConfig::parse("PCAR8").unwrap().unwrap().train(rows, &training).unwrap();
        assert!(loss(&itq, rows) < loss(&turned, rows) && loss(&itq, rows) < loss(&pca, rows));
    }

    #[test]
    fn more_bits_than_values_are_refused() {
        let rows = [0.5; 40];
        let error =
            ItqConfig { dim: 5 }.train(Rows::new(&rows, 4).unwrap(), &Training::seeded(2)).unwrap_err();
        assert_eq!(error.to_string(), "ITQ5: cannot make 5 bits, and the vectors have 4");
    }
}
