//! Dense f32 matrix products: a safe door to the `gemm` crate.
//!
//! One product runs on the calling thread, so its result does not depend on the number of threads;
//! callers spread independent products over their own pool.

/// A borrowed row-major matrix, possibly read as its transpose.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Views `data` as `rows x cols`, row-major.
    ///
    /// # Panics
    /// When `data` does not hold exactly `rows * cols` values.
    #[must_use]
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a {rows} x {cols} matrix");
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The same values read as `cols x rows`.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }
}

/// `out = a b`, or `out += a b` when `accumulate`; `out` is row-major, `a.rows x b.cols`.
///
/// # Panics
/// When the shapes do not fit together.
pub fn matmul(a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32], accumulate: bool) {
    assert_eq!(a.cols, b.rows, "inner sizes of a product");
    assert_eq!(out.len(), a.rows * b.cols, "size of a product");
    if out.is_empty() {
        return;
    }
    if a.cols == 0 {
        if !accumulate {
            out.fill(0.0);
        }
        return;
    }
    // SAFETY: `Matrix::new` checked that each operand holds `rows * cols` values reached by its two
    // strides, `out` holds `a.rows * b.cols` values with strides (b.cols, 1), and `&mut` keeps it
    // apart from both operands.
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            out.as_mut_ptr(),
            1,
            b.cols.cast_signed(),
            accumulate,
            a.data.as_ptr(),
            a.col_stride.cast_signed(),
            a.row_stride.cast_signed(),
            b.data.as_ptr(),
            b.col_stride.cast_signed(),
            b.row_stride.cast_signed(),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_product_by_hand() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
        let (a, b) = (Matrix::new(&a, 2, 2), Matrix::new(&b, 2, 2));
        let mut out = [0.0; 4];
        matmul(a, b, &mut out, false);
        assert_eq!(out, [19.0, 22.0, 43.0, 50.0]);
        matmul(a.transposed(), b, &mut out, true);
        assert_eq!(out, [19.0 + 26.0, 22.0 + 30.0, 43.0 + 38.0, 50.0 + 44.0]);
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(m in 0usize..20, n in 0usize..20, k in 0usize..40, seed in 0u32..1000) {
            let value = |i: usize| (((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) % 200) as f32 / 100.0 - 1.0;
            let a: Vec<f32> = (0..m * k).map(value).collect();
            let b: Vec<f32> = (0..k * n).map(|i| value(i + 7)).collect();
            let mut out = vec![f32::NAN; m * n];
            matmul(Matrix::new(&a, m, k), Matrix::new(&b, k, n), &mut out, false);
            for row in 0..m {
                for col in 0..n {
                    let want: f32 = (0..k).map(|i| a[row * k + i] * b[i * n + col]).sum();
                    prop_assert!((out[row * n + col] - want).abs() < 1e-4);
                }
            }
        }
    }
}
