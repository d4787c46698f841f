//! Small dense linear algebra for transforms: what training needs, in `f64`, and what is applied, in `f32`.
//!
//! Matrices are row-major. Sums over rows run in stripes of fixed bounds that are joined in order, so
//! that threads change no bit; a decomposition runs on the calling thread.

use crate::TrainError;
use data::Rows;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par, Side};
use kernels::{Isa, SplitMix64};
use rayon::prelude::*;

/// Stripes that a sum over rows is cut into; each holds a `dim x dim` matrix while it runs.
const STRIPES: usize = 8;
/// Rows multiplied at once.
const CHUNK: usize = 512;

/// Writes `matrix` (`out_dim x rows.dim()`) times each row to `out`, `rows.len() x out_dim`.
///
/// Each value is a [`kernels::dot`], so a row's image does not depend on the rows beside it.
pub(crate) fn apply(matrix: &[f32], rows: Rows<'_, f32>, out: &mut [f32]) {
    Isa::current().dot_tile(rows.as_slice(), matrix, rows.dim(), out);
}

/// The transpose of `matrix`, `rows x cols`.
pub(crate) fn transpose(matrix: &[f32], cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|col| matrix.iter().skip(col).step_by(cols)).copied().collect()
}

/// At most `limit` of `rows`, evenly likely and in their order.
pub(crate) fn sample(rows: Rows<'_, f32>, limit: usize, seed: u64) -> Vec<f32> {
    if rows.len() <= limit {
        return rows.as_slice().to_vec();
    }
    let mut random = SplitMix64::named(seed, 0x73616d);
    let mut taken = Vec::with_capacity(limit * rows.dim());
    let mut wanted = limit;
    for (i, row) in rows.iter().enumerate() {
        // Knuth's selection sampling: take with probability wanted / left.
        if random.below(rows.len() - i) < wanted {
            taken.extend_from_slice(row);
            wanted -= 1;
        }
    }
    taken
}

/// The sum of `part` over stripes of `0..n`, joined in order, on the caller's rayon pool.
fn striped(n: usize, part: impl Fn(std::ops::Range<usize>) -> Mat<f64> + Sync) -> Mat<f64> {
    let step = n.div_ceil(STRIPES).max(1);
    let starts: Vec<usize> = (0..n).step_by(step).collect();
    let parts: Vec<Mat<f64>> =
        starts.into_par_iter().map(|start| part(start..(start + step).min(n))).collect();
    parts.into_iter().reduce(|sum, part| sum + part).expect("at least one row")
}

/// Some of `rows` less `mean`, in `f64`, a row of the matrix each.
fn widened(rows: Rows<'_, f32>, mean: &[f32]) -> Mat<f64> {
    Mat::from_fn(rows.len(), rows.dim(), |i, j| f64::from(rows.row(i)[j]) - f64::from(mean[j]))
}

/// `sum_i (a_i - mean_a) (b_i - mean_b)^T`, `a.dim() x b.dim()`, of as many rows in `a` as in `b`.
pub(crate) fn products(a: Rows<'_, f32>, mean_a: &[f32], b: Rows<'_, f32>, mean_b: &[f32]) -> Mat<f64> {
    striped(a.len(), |stripe| {
        let mut sum = Mat::zeros(a.dim(), b.dim());
        for start in stripe.clone().step_by(CHUNK) {
            let chunk = start..(start + CHUNK).min(stripe.end);
            let (a, b) = (widened(a.slice(chunk.clone()), mean_a), widened(b.slice(chunk), mean_b));
            matmul(sum.as_mut(), Accum::Add, a.transpose(), b.as_ref(), 1.0, Par::Seq);
        }
        sum
    })
}

/// The covariance of `rows` about `mean`.
pub(crate) fn covariance(rows: Rows<'_, f32>, mean: &[f32]) -> Mat<f64> {
    let sum = products(rows, mean, rows, mean);
    faer::Scale(1.0 / rows.len() as f64) * sum
}

/// Eigenvalues, largest first, and their vectors, one a row, `dim x dim`; of each vector the entry of
/// largest magnitude (the first of several) is positive.
pub(crate) fn eigen(matrix: MatRef<'_, f64>, what: &str) -> Result<(Vec<f64>, Vec<f32>), TrainError> {
    let failed = |_| degenerate(what, "the eigenvalues of the covariance did not converge");
    let found = matrix.self_adjoint_eigen(Side::Lower).map_err(failed)?;
    let dim = matrix.nrows();
    let mut values = Vec::with_capacity(dim);
    let mut vectors = Vec::with_capacity(dim * dim);
    for i in (0..dim).rev() {
        // Rounding can leave a value a little below zero.
        values.push(found.S()[i].max(0.0));
        let vector = found.U().col(i);
        let peak = (0..dim).fold(0, |peak, j| if vector[j].abs() > vector[peak].abs() { j } else { peak });
        let sign = if vector[peak] < 0.0 { -1.0 } else { 1.0 };
        vectors.extend((0..dim).map(|j| (sign * vector[j]) as f32));
    }
    Ok((values, vectors))
}

/// `u v^T` of the singular value decomposition `u s v^T` of `matrix`: the matrix with orthonormal rows
/// (it has no more rows than columns) that is nearest in angle. Row-major.
pub(crate) fn procrustes(matrix: MatRef<'_, f64>, what: &str) -> Result<Vec<f32>, TrainError> {
    let failed = |_| degenerate(what, "the singular values did not converge");
    let found = matrix.thin_svd().map_err(failed)?;
    let product = found.U() * found.V().transpose();
    Ok(row_major(product.as_ref()))
}

/// A random rotation, `dim x dim`: the orthonormal factor of a Gaussian matrix, signs fixed so that it is
/// uniform over all rotations and reflections.
pub(crate) fn random_rotation(dim: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::named(seed, 0x726f74);
    let gaussian = Mat::from_fn(dim, dim, |_, _| normal(&mut random));
    let qr = gaussian.qr();
    let (q, r) = (qr.compute_Q(), qr.R());
    let q = Mat::from_fn(dim, dim, |i, j| if r[(j, j)] < 0.0 { -q[(i, j)] } else { q[(i, j)] });
    row_major(q.as_ref())
}

/// A standard normal value. Source: Box and Muller, Ann. Math. Stat. 1958.
pub(crate) fn normal(random: &mut SplitMix64) -> f64 {
    // 1 - unit() is never zero.
    let radius = (-2.0 * (1.0 - random.unit()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.unit()).cos()
}

fn row_major(matrix: MatRef<'_, f64>) -> Vec<f32> {
    (0..matrix.nrows()).flat_map(|i| (0..matrix.ncols()).map(move |j| matrix[(i, j)] as f32)).collect()
}

pub(crate) fn degenerate(what: &str, why: &str) -> TrainError {
    TrainError::Degenerate { what: what.into(), why: why.into() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The largest deviation of `m m^T` from the identity, `m` with rows of `cols`.
    pub(crate) fn defect(matrix: &[f32], cols: usize) -> f32 {
        let rows = matrix.len() / cols;
        let product =
            |i: usize, j: usize| kernels::dot(&matrix[i * cols..][..cols], &matrix[j * cols..][..cols]);
        (0..rows * rows)
            .map(|at| (product(at / rows, at % rows) - f32::from(u8::from(at / rows == at % rows))).abs())
            .fold(0.0, f32::max)
    }

    #[test]
    fn a_covariance_and_its_axes_by_hand() {
        // Points (3, 4) k for k = -1, 0, 1: variance 2/3 * 25 along (0.6, 0.8), none across.
        let rows = [-3.0, -4.0, 0.0, 0.0, 3.0, 4.0];
        let matrix = covariance(Rows::new(&rows, 2).unwrap(), &[0.0, 0.0]);
        assert!((matrix[(0, 0)] - 6.0).abs() < 1e-12 && (matrix[(0, 1)] - 8.0).abs() < 1e-12);
        let (values, vectors) = eigen(matrix.as_ref(), "test").unwrap();
        assert!((values[0] - 50.0 / 3.0).abs() < 1e-9 && values[1].abs() < 1e-9);
        assert!((vectors[0] - 0.6).abs() < 1e-6 && (vectors[1] - 0.8).abs() < 1e-6);
        assert!((vectors[2] - 0.8).abs() < 1e-6 && (vectors[3] + 0.6).abs() < 1e-6);
    }

    #[test]
    fn rotations_are_orthonormal_and_differ_by_seed() {
        let rotation = random_rotation(37, 3);
        assert!(defect(&rotation, 37) < 1e-5);
        assert_ne!(rotation, random_rotation(37, 4));
        let flat = Mat::from_fn(3, 5, |i, j| ((i * 5 + j) as f64 * 0.7).sin());
        assert!(defect(&procrustes(flat.as_ref(), "test").unwrap(), 5) < 1e-5);
    }

    #[test]
    fn samples_are_rows_in_order() {
        let rows: Vec<f32> = (0..200).map(|v| v as f32).collect();
        let got = sample(Rows::new(&rows, 2).unwrap(), 30, 1);
        assert_eq!(got.len(), 60);
        assert!(got.chunks(2).all(|row| row[0] % 2.0 == 0.0 && row[1] == row[0] + 1.0));
        assert!(got.chunks(2).zip(got.chunks(2).skip(1)).all(|(a, b)| a[0] < b[0]));
    }

    #[test]
    fn a_transpose_by_hand() {
        assert_eq!(transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
