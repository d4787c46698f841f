//! One value more, with which the largest inner product becomes the smallest distance.
//!
//! `limit` is at least the length of every vector. A vector becomes `(x, sqrt(limit^2 - |x|^2)) / sqrt(2)`
//! and a query of inner products `(q, 0) / sqrt(2)`; then
//! `|q' - x'|^2 = (|q|^2 + limit^2) / 2 - <q, x>`, so distances less `(|q|^2 + limit^2) / 2` are the negated
//! inner products, up to rounding: the order is kept, and so is the value.
//! A vector longer than `limit` gets 0 there and ranks lower than it should, by half of
//! `|x|^2 - limit^2`; `limit` is therefore a tenth above the longest training vector.
//! A query of squared distances is augmented as a vector is; its distances are those of the longer
//! vectors: `(|q - x|^2 + (q_0 - x_0)^2) / 2`.
//! Dimensions grow by one; `MIPS,Pad136,PQ8` makes 128 of them divide by 8 again.
//! Source: Neyshabur and Srebro, ICML 2015 (simple augmentation).

use super::{Frame, Transform, TransformConfig};
use crate::spec::setting;
use crate::training::check_rows;
use crate::{Array, Arrays, ParseSpecError, RestoreError, TrainError, Training};
use data::{Metric, Rows};
use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};
use std::fmt;

/// How far beyond the longest training vector the limit lies.
const HEAD_ROOM: f32 = 1.1;

/// `MIPS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AugmentConfig;

/// One value more a vector.
#[derive(Clone, Debug)]
pub struct Augment {
    dim: usize,
    limit: f32,
}

impl fmt::Display for AugmentConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MIPS")
    }
}

impl TransformConfig for AugmentConfig {
    type Transform = Augment;

    const EXAMPLES: &'static [&'static str] = &["MIPS"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let rest = word.strip_prefix("MIPS")?;
        Some(if rest.is_empty() { Ok(Self) } else { Err(setting(word, "MIPS takes no settings")) })
    }

    fn train(&self, rows: Rows<'_, f32>, _: &Training<'_>) -> Result<Augment, TrainError> {
        check_rows(self, rows, 1)?;
        let longest = rows.iter().map(|row| kernels::dot(row, row)).fold(0.0, f32::max).sqrt();
        let limit = longest * HEAD_ROOM;
        if !(limit * limit).is_finite() {
            let why = "the square of the longest vector's length is no finite number";
            return Err(TrainError::Degenerate { what: self.to_string(), why: why.into() });
        }
        Ok(Augment { dim: rows.dim(), limit })
    }

    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Augment, RestoreError> {
        Ok(Augment { dim, limit: arrays.f32("limit", &[1])?[0] })
    }
}

impl Transform for Augment {
    fn dim_in(&self) -> usize {
        self.dim
    }

    fn dim_out(&self) -> usize {
        self.dim + 1
    }

    fn apply(&self, rows: Rows<'_, f32>, out: &mut [f32]) {
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(self.dim + 1)) {
            let rest = self.limit * self.limit - kernels::dot(row, row);
            out[self.dim] = rest.max(0.0).sqrt() * FRAC_1_SQRT_2;
            out.iter_mut().zip(row).for_each(|(out, value)| *out = value * FRAC_1_SQRT_2);
        }
    }

    fn query(&self, query: &[f32], metric: Metric, out: &mut [f32]) -> Frame {
        self.apply(Rows::new(query, self.dim).expect("a query is a row"), out);
        let offset = match metric {
            Metric::L2 => 0.0,
            Metric::Dot => {
                out[self.dim] = 0.0;
                -0.5 * (kernels::dot(query, query) + self.limit * self.limit)
            }
        };
        Frame { metric: Metric::L2, offset }
    }

    fn reverse(&self, rows: Rows<'_, f32>, out: &mut [f32]) {
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(self.dim)) {
            out.iter_mut().zip(row).for_each(|(out, value)| *out = value * SQRT_2);
        }
    }

    fn arrays(&self) -> Vec<Array> {
        vec![Array::f32("limit", &[1], vec![self.limit])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_products_are_kept() {
        let mut random = kernels::SplitMix64::new(2);
        let rows: Vec<f32> = (0..200 * 7).map(|_| random.unit() as f32 * 4.0 - 1.5).collect();
        let rows = Rows::new(&rows, 7).unwrap();
        let augment = AugmentConfig.train(rows, &Training::seeded(0)).unwrap();
        let mut out = vec![0.0; 200 * 8];
        augment.apply(rows, &mut out);
        let (query, mut image) = (rows.row(5), [0.0; 8]);
        let frame = augment.query(query, Metric::Dot, &mut image);
        assert_eq!((frame.metric, image[7]), (Metric::L2, 0.0));
        let got: Vec<f32> = out.chunks(8).map(|row| kernels::l2(&image, row) + frame.offset).collect();
        let want: Vec<f32> = rows.iter().map(|row| -kernels::dot(query, row)).collect();
        assert!(got.iter().zip(&want).all(|(got, want)| (got - want).abs() < 1e-4));
        let order = |distances: &[f32]| {
            let mut ids: Vec<usize> = (0..200).collect();
            ids.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]));
            ids
        };
        assert_eq!(order(&got), order(&want));
    }

    #[test]
    fn all_images_have_one_length() {
        let rows = [3.0, 4.0, 0.0, 1.0]; // the longest has length 5, the limit is 5.5
        let rows = Rows::new(&rows, 2).unwrap();
        let augment = AugmentConfig.train(rows, &Training::seeded(0)).unwrap();
        let mut out = [0.0; 6];
        augment.apply(rows, &mut out);
        assert!(out.chunks(3).all(|row| (kernels::dot(row, row) - 0.5 * 5.5 * 5.5).abs() < 1e-4));
        // Longer than the limit: nothing is added.
        augment.apply(Rows::new(&[6.0, 8.0], 2).unwrap(), &mut out[..3]);
        assert_eq!(out[2], 0.0);
    }
}
