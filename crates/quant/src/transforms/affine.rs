//! A shift and a matrix: what most transforms come to once they are learnt.
//!
//! `y = A (x - mean)`, where the rows of `A` (`out x in`) are orthogonal: of length one in a rotation or
//! projection, of another in whitening. The inverse on the image is `x = A^T S y + mean` with
//! `S = diag(1 / |row|^2)`.

use super::{Frame, Transform};
use crate::matrix;
use crate::{Array, Arrays, RestoreError};
use data::{Metric, Rows};

/// Rows whose difference from the mean is held at once.
const CHUNK: usize = 64;

/// A shift by `-mean`, then a matrix with orthogonal rows.
#[derive(Clone, Debug)]
pub struct Affine {
    /// None where nothing is shifted.
    mean: Option<Vec<f32>>,
    /// `out x in`.
    forward: Vec<f32>,
    /// `in x out`.
    back: Vec<f32>,
    dim_in: usize,
    dim_out: usize,
    scaled: bool,
}

impl Affine {
    /// A rotation or projection: the rows of `forward` have length one.
    pub(crate) fn rotation(mean: Option<Vec<f32>>, forward: Vec<f32>, dim_in: usize) -> Self {
        let back = matrix::transpose(&forward, dim_in);
        let dim_out = forward.len() / dim_in;
        Self { mean, forward, back, dim_in, dim_out, scaled: false }
    }

    /// Axes of any length; a row of zeros takes its axis away.
    pub(crate) fn scaled(mean: Vec<f32>, forward: Vec<f32>, dim_in: usize) -> Self {
        let scales = forward.chunks_exact(dim_in).map(|row| {
            let square = kernels::dot(row, row);
            if square > 0.0 { 1.0 / square } else { 0.0 }
        });
        let undone: Vec<f32> = forward
            .chunks_exact(dim_in)
            .zip(scales)
            .flat_map(|(row, scale)| row.iter().map(move |value| value * scale))
            .collect();
        let back = matrix::transpose(&undone, dim_in);
        Self { scaled: true, back, ..Self::rotation(Some(mean), forward, dim_in) }
    }

    /// The matrix, `dim_out x dim_in`.
    #[must_use]
    pub fn matrix(&self) -> &[f32] {
        &self.forward
    }

    /// What [`Transform::arrays`] gave, for vectors of `dim_in` that become `dim_out`.
    pub(crate) fn restore(
        arrays: &mut Arrays,
        dim_in: usize,
        dim_out: usize,
        shifted: bool,
        scaled: bool,
    ) -> Result<Self, RestoreError> {
        let mean = if shifted { Some(arrays.f32("mean", &[dim_in])?) } else { None };
        let forward = arrays.f32("matrix", &[dim_out, dim_in])?;
        Ok(match mean {
            Some(mean) if scaled => Self::scaled(mean, forward, dim_in),
            mean => Self::rotation(mean, forward, dim_in),
        })
    }
}

impl Transform for Affine {
    fn dim_in(&self) -> usize {
        self.dim_in
    }

    fn dim_out(&self) -> usize {
        self.dim_out
    }

    fn apply(&self, rows: Rows<'_, f32>, out: &mut [f32]) {
        let Some(mean) = &self.mean else { return matrix::apply(&self.forward, rows, out) };
        let mut shifted = Vec::with_capacity(CHUNK * self.dim_in);
        for (i, out) in out.chunks_mut(CHUNK * self.dim_out).enumerate() {
            let end = (i * CHUNK + CHUNK).min(rows.len());
            shifted.clear();
            for row in rows.slice(i * CHUNK..end).iter() {
                shifted.extend(row.iter().zip(mean).map(|(value, mean)| value - mean));
            }
            matrix::apply(&self.forward, Rows::new(&shifted, self.dim_in).expect("whole rows"), out);
        }
    }

    fn query(&self, query: &[f32], metric: Metric, out: &mut [f32]) -> Frame {
        let query = Rows::new(query, self.dim_in).expect("a query is a row");
        match (metric, &self.mean) {
            // <q, x> = <A q, A (x - mean)> + <q, mean> where A is a rotation: the query is not shifted.
            (Metric::Dot, Some(mean)) if !self.scaled => {
                matrix::apply(&self.forward, query, out);
                Frame { metric, offset: -kernels::dot(query.as_slice(), mean) }
            }
            _ => {
                self.apply(query, out);
                Frame { metric, offset: 0.0 }
            }
        }
    }

    fn reverse(&self, rows: Rows<'_, f32>, out: &mut [f32]) {
        matrix::apply(&self.back, rows, out);
        if let Some(mean) = &self.mean {
            for out in out.chunks_exact_mut(self.dim_in) {
                out.iter_mut().zip(mean).for_each(|(out, mean)| *out += mean);
            }
        }
    }

    fn arrays(&self) -> Vec<Array> {
        let mean = self.mean.iter().map(|mean| Array::f32("mean", &[self.dim_in], mean.clone()));
        let matrix = Array::f32("matrix", &[self.dim_out, self.dim_in], self.forward.clone());
        mean.chain([matrix]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_turn_by_hand() {
        // Mean (1, 1), then (x, y) -> (y, -x).
        let turn = Affine::rotation(Some(vec![1.0, 1.0]), vec![0.0, 1.0, -1.0, 0.0], 2);
        let mut out = [0.0; 2];
        turn.apply(Rows::new(&[3.0, 6.0], 2).unwrap(), &mut out);
        assert_eq!(out, [5.0, -2.0]);
        let mut back = [0.0; 2];
        turn.reverse(Rows::new(&out, 2).unwrap(), &mut back);
        assert_eq!(back, [3.0, 6.0]);
        // <(2, 5), (3, 6)> = 36: turned, <(5, -2), (5, -2)> = 29, and <(2, 5), (1, 1)> = 7 is added.
        let mut query = [0.0; 2];
        let frame = turn.query(&[2.0, 5.0], Metric::Dot, &mut query);
        assert_eq!((query, frame.offset), ([5.0, -2.0], -7.0));
    }

    #[test]
    fn scaled_axes_come_back() {
        let twice = Affine::scaled(vec![0.0, 1.0], vec![2.0, 0.0, 0.0, 0.0], 2);
        let mut out = [0.0; 2];
        twice.apply(Rows::new(&[3.0, 9.0], 2).unwrap(), &mut out);
        assert_eq!(out, [6.0, 0.0]);
        let mut back = [0.0; 2];
        twice.reverse(Rows::new(&out, 2).unwrap(), &mut back);
        assert_eq!(back, [3.0, 1.0]); // the second axis is gone: the mean is left
    }
}
