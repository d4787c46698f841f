//! Inner products and squared Euclidean distances, in the shapes that searches need.
//!
//! Both are sums in `f32` with one defined order of operations (32 lanes of fused multiply-adds, then
//! folded in halves), so a pair has one value: whatever the instruction set, and whether it is computed
//! alone, one-to-many, by row number or in a tile. Trailing zeros change nothing.
//!
//! The free functions run on [`Isa::current`]; loops fetch it once and call the methods of [`Isa`].

use crate::Isa;
use crate::block::{self, Product, SquaredDifference};
use crate::isa::on;

/// Inner product of `a` and `b`.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    Isa::current().dot(a, b)
}

/// Squared Euclidean distance of `a` and `b`.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn l2(a: &[f32], b: &[f32]) -> f32 {
    Isa::current().l2(a, b)
}

/// Inner products of `query` with each of `rows` (row-major, `out.len() x query.len()`).
///
/// # Panics
/// When the sizes disagree.
pub fn dots(query: &[f32], rows: &[f32], out: &mut [f32]) {
    Isa::current().dot_tile(query, rows, query.len(), out);
}

/// Squared distances of `query` to each of `rows` (row-major, `out.len() x query.len()`).
///
/// # Panics
/// When the sizes disagree.
pub fn l2s(query: &[f32], rows: &[f32], out: &mut [f32]) {
    Isa::current().l2_tile(query, rows, query.len(), out);
}

/// Inner products of `query` with the rows named by `ids`, in their order.
///
/// # Panics
/// When `out` and `ids` differ in length or an id is not a row.
pub fn dots_at(query: &[f32], rows: &[f32], ids: &[u32], out: &mut [f32]) {
    Isa::current().dots_at(query, rows, ids, out);
}

/// Squared distances of `query` to the rows named by `ids`, in their order.
///
/// # Panics
/// When `out` and `ids` differ in length or an id is not a row.
pub fn l2s_at(query: &[f32], rows: &[f32], ids: &[u32], out: &mut [f32]) {
    Isa::current().l2s_at(query, rows, ids, out);
}

/// Inner products of every query with every row: `out` is queries x rows, row-major.
///
/// # Panics
/// When `dim` is zero or does not divide a length, or `out` has another size.
pub fn dot_tile(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    Isa::current().dot_tile(queries, rows, dim, out);
}

/// Squared distances of every query to every row: `out` is queries x rows, row-major.
///
/// # Panics
/// When `dim` is zero or does not divide a length, or `out` has another size.
pub fn l2_tile(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    Isa::current().l2_tile(queries, rows, dim, out);
}

/// The six functions of one instruction set: `$many` rows at once for one query, `$q x $r` in a tile
/// (as many sums as stay in registers).
macro_rules! instruction_set {
    ($module:ident, $block:ty, $many:literal, $q:literal x $r:literal $(, $feature:literal)?) => {
        /// # Safety
        /// Every function needs the instruction set that the module is named after.
        mod $module {
            use super::{Product, SquaredDifference, block};

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn dot(a: &[f32], b: &[f32]) -> f32 {
                // SAFETY: the instruction set is present here.
                unsafe { block::one::<$block, Product>(a, b) }
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn l2(a: &[f32], b: &[f32]) -> f32 {
                // SAFETY: the instruction set is present here.
                unsafe { block::one::<$block, SquaredDifference>(a, b) }
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn dots_at(query: &[f32], rows: &[f32], ids: &[u32], out: &mut [f32]) {
                // SAFETY: the instruction set is present here.
                unsafe { block::at::<$block, Product, $many>(query, rows, ids, out) }
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn l2s_at(query: &[f32], rows: &[f32], ids: &[u32], out: &mut [f32]) {
                // SAFETY: the instruction set is present here.
                unsafe { block::at::<$block, SquaredDifference, $many>(query, rows, ids, out) }
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn dot_tile(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
                // SAFETY: the instruction set is present here.
                unsafe { block::tile::<$block, Product, $q, $r>(queries, rows, dim, out) }
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn l2_tile(queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
                // SAFETY: the instruction set is present here.
                unsafe { block::tile::<$block, SquaredDifference, $q, $r>(queries, rows, dim, out) }
            }
        }
    };
}

instruction_set!(scalar, [f32; block::LANES], 1, 1 x 1);
#[cfg(target_arch = "x86_64")]
instruction_set!(avx2, crate::x86::Block256, 2, 2 x 1, "avx2,fma");
#[cfg(target_arch = "x86_64")]
instruction_set!(avx512, crate::x86::Block512, 4, 4 x 2, "avx512f,avx2,fma");
#[cfg(target_arch = "aarch64")]
instruction_set!(neon, crate::neon::Block128, 2, 2 x 1, "neon");

impl Isa {
    /// As [`dot`](fn@dot).
    ///
    /// # Panics
    /// When the lengths differ.
    #[must_use]
    #[inline]
    pub fn dot(self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "vectors of different lengths");
        on!(self, dot(a, b))
    }

    /// As [`l2`](fn@l2).
    ///
    /// # Panics
    /// When the lengths differ.
    #[must_use]
    #[inline]
    pub fn l2(self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "vectors of different lengths");
        on!(self, l2(a, b))
    }

    /// As [`dots_at`].
    ///
    /// # Panics
    /// When `out` and `ids` differ in length or an id is not a row.
    #[inline]
    pub fn dots_at(self, query: &[f32], rows: &[f32], ids: &[u32], out: &mut [f32]) {
        assert_eq!(ids.len(), out.len(), "one distance an id");
        on!(self, dots_at(query, rows, ids, out));
    }

    /// As [`l2s_at`].
    ///
    /// # Panics
    /// When `out` and `ids` differ in length or an id is not a row.
    #[inline]
    pub fn l2s_at(self, query: &[f32], rows: &[f32], ids: &[u32], out: &mut [f32]) {
        assert_eq!(ids.len(), out.len(), "one distance an id");
        on!(self, l2s_at(query, rows, ids, out));
    }

    /// As [`dot_tile`].
    ///
    /// # Panics
    /// When `dim` is zero or does not divide a length, or `out` has another size.
    #[inline]
    pub fn dot_tile(self, queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
        check_tile(queries, rows, dim, out);
        on!(self, dot_tile(queries, rows, dim, out));
    }

    /// As [`l2_tile`].
    ///
    /// # Panics
    /// When `dim` is zero or does not divide a length, or `out` has another size.
    #[inline]
    pub fn l2_tile(self, queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
        check_tile(queries, rows, dim, out);
        on!(self, l2_tile(queries, rows, dim, out));
    }
}

fn check_tile(queries: &[f32], rows: &[f32], dim: usize, out: &[f32]) {
    assert!(dim > 0, "vectors need at least one dimension");
    assert!(queries.len().is_multiple_of(dim) && rows.len().is_multiple_of(dim), "rows are not whole");
    assert_eq!(out.len(), (queries.len() / dim) * (rows.len() / dim), "one distance a pair");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn plain_dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    }

    fn plain_l2(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
    }

    proptest! {
        #[test]
        fn scalar_agrees_with_the_plain_sum(v in vec((-1f32..1., -1f32..1.), 0..300)) {
            let (a, b): (Vec<f32>, Vec<f32>) = v.into_iter().unzip();
            let allowed = 1e-6 * (1.0 + a.len() as f64);
            prop_assert!((f64::from(Isa::Scalar.dot(&a, &b)) - plain_dot(&a, &b)).abs() <= allowed);
            prop_assert!((f64::from(Isa::Scalar.l2(&a, &b)) - plain_l2(&a, &b)).abs() <= allowed);
        }

        #[test]
        fn every_level_gives_the_bits_of_scalar(v in vec((any::<f32>(), any::<f32>()), 0..300)) {
            let (a, b): (Vec<f32>, Vec<f32>) =
                v.into_iter().filter(|(a, b)| a.is_finite() && b.is_finite()).unzip();
            for isa in Isa::present() {
                for (got, want) in [
                    (isa.dot(&a, &b), Isa::Scalar.dot(&a, &b)),
                    (isa.l2(&a, &b), Isa::Scalar.l2(&a, &b)),
                ] {
                    prop_assert!(same(got, want), "{}: {got} is not {want}", isa.name());
                }
            }
        }

        #[test]
        fn every_shape_gives_the_bits_of_a_pair(
            (dim, queries, rows) in (1usize..140, 0usize..11, 1usize..11)
                .prop_flat_map(|(d, q, r)| (Just(d), vec(-9f32..9., d * q), vec(-9f32..9., d * r))),
            picks in vec(0usize..100, 0..40),
        ) {
            let count = rows.len() / dim;
            let picks: Vec<u32> = picks.into_iter().map(|p| (p % count) as u32).collect();
            for isa in Isa::present() {
                let mut tiles = [vec![0.0; queries.len() / dim * count], vec![0.0; queries.len() / dim * count]];
                isa.dot_tile(&queries, &rows, dim, &mut tiles[0]);
                isa.l2_tile(&queries, &rows, dim, &mut tiles[1]);
                for (q, query) in queries.chunks_exact(dim).enumerate() {
                    let mut at = [vec![0.0; picks.len()], vec![0.0; picks.len()]];
                    isa.dots_at(query, &rows, &picks, &mut at[0]);
                    isa.l2s_at(query, &rows, &picks, &mut at[1]);
                    for (r, row) in rows.chunks_exact(dim).enumerate() {
                        prop_assert!(same(tiles[0][q * count + r], isa.dot(query, row)));
                        prop_assert!(same(tiles[1][q * count + r], isa.l2(query, row)));
                    }
                    for (i, &pick) in picks.iter().enumerate() {
                        let row = &rows[pick as usize * dim..][..dim];
                        prop_assert!(same(at[0][i], isa.dot(query, row)));
                        prop_assert!(same(at[1][i], isa.l2(query, row)));
                    }
                }
            }
        }

        #[test]
        fn trailing_zeros_change_nothing(v in vec((-9f32..9., -9f32..9.), 0..100), zeros in 0usize..70) {
            let (mut a, mut b): (Vec<f32>, Vec<f32>) = v.into_iter().unzip();
            let before = (dot(&a, &b), l2(&a, &b));
            a.resize(a.len() + zeros, 0.0);
            b.resize(b.len() + zeros, 0.0);
            prop_assert!(same(dot(&a, &b), before.0) && same(l2(&a, &b), before.1));
        }
    }

    /// Equal to the bit; which NaN an overflow gives is the hardware's choice.
    fn same(a: f32, b: f32) -> bool {
        a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
    }

    #[test]
    fn distances_by_hand() {
        let (a, rows) = ([1.0, 2.0, 3.0], [0.0, 0.0, 1.0, 3.0, 2.0, 1.0]);
        let (mut dot_out, mut l2_out) = ([0.0; 2], [0.0; 2]);
        dots(&a, &rows, &mut dot_out);
        l2s(&a, &rows, &mut l2_out);
        assert_eq!(dot_out, [3.0, 10.0]); // 3*1; 1*3 + 2*2 + 3*1
        assert_eq!(l2_out, [9.0, 8.0]); // 1 + 4 + 4; 4 + 0 + 4
        assert_eq!((dot(&[], &[]), l2(&[], &[])), (0.0, 0.0));
    }

    #[test]
    #[should_panic(expected = "vectors of different lengths")]
    fn lengths_must_agree() {
        let _ = dot(&[1.0], &[1.0, 2.0]);
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn a_row_must_exist() {
        dots_at(&[1.0, 2.0], &[0.0; 4], &[2], &mut [0.0]);
    }
}
