//! A random rotation in `O(dim log dim)`: signs, Hadamard transforms and quarter turns.
//!
//! Vectors are padded with zeros to a multiple of 64, `p` values. Let `h` be the largest power of two
//! that is at most `p`. Four rounds: flip the signs that this round drew; transform the first `h` values
//! (rounds 0 and 2) or the last `h` (1 and 3) by the orthonormal Hadamard matrix; where `h < p`, turn the
//! halves against each other, `(a, b) -> (a + b, a - b) / sqrt(2)`. Every step is orthogonal, so lengths
//! and inner products stay. Saved as `4 p` bits.
//! Sources: Ailon and Chazelle, STOC 2006 (signs and Hadamard); Kac, 1956 (random plane turns).

use super::{Frame, Transform, TransformConfig};
use crate::spec::setting;
use crate::training::check_rows;
use crate::{Array, Arrays, ParseSpecError, RestoreError, TrainError, Training};
use data::{Metric, Rows};
use kernels::SplitMix64;
use std::f32::consts::FRAC_1_SQRT_2;
use std::fmt;

/// Rounds of signs and transforms.
const ROUNDS: usize = 4;
/// Padding goes to a multiple of this.
const STEP: usize = 64;

/// `HR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HadamardConfig;

/// A rotation of vectors that are padded with zeros to a multiple of 64.
#[derive(Clone, Debug)]
pub struct Hadamard {
    dim: usize,
    padded: usize,
    /// Of each round, a bit a value: set where the sign flips.
    flips: Vec<u8>,
}

impl fmt::Display for HadamardConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HR")
    }
}

impl TransformConfig for HadamardConfig {
    type Transform = Hadamard;

    const EXAMPLES: &'static [&'static str] = &["HR"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let rest = word.strip_prefix("HR")?;
        Some(if rest.is_empty() { Ok(Self) } else { Err(setting(word, "HR takes no settings")) })
    }

    fn train(&self, rows: Rows<'_, f32>, training: &Training<'_>) -> Result<Hadamard, TrainError> {
        check_rows(self, rows, 1)?;
        Ok(Hadamard::new(rows.dim(), training.seed))
    }

    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Hadamard, RestoreError> {
        let padded = dim.next_multiple_of(STEP);
        Ok(Hadamard { dim, padded, flips: arrays.u8("flips", &[ROUNDS, padded / 8])? })
    }
}

impl Hadamard {
    /// The rotation of `dim` values that `seed` draws.
    #[must_use]
    pub fn new(dim: usize, seed: u64) -> Self {
        let mut random = SplitMix64::named(seed, 0x686164);
        let padded = dim.next_multiple_of(STEP);
        let flips = (0..ROUNDS * padded / 8).map(|_| random.bits() as u8).collect();
        Self { dim, padded, flips }
    }

    fn flip(&self, round: usize, values: &mut [f32]) {
        let flips = self.flips[round * self.padded / 8..].iter();
        for (values, bits) in values.chunks_exact_mut(8).zip(flips) {
            for (i, value) in values.iter_mut().enumerate() {
                *value = f32::from_bits(value.to_bits() ^ (u32::from(bits >> i & 1) << 31));
            }
        }
    }

    /// The values that a round transforms.
    fn part(&self, round: usize) -> std::ops::Range<usize> {
        let half = 1 << self.padded.ilog2();
        if round.is_multiple_of(2) { 0..half } else { self.padded - half..self.padded }
    }

    fn rotate(&self, values: &mut [f32]) {
        for round in 0..ROUNDS {
            self.flip(round, values);
            transform(&mut values[self.part(round)]);
            if !self.padded.is_power_of_two() {
                turn(values);
            }
        }
    }

    fn rotate_back(&self, values: &mut [f32]) {
        for round in (0..ROUNDS).rev() {
            if !self.padded.is_power_of_two() {
                turn(values);
            }
            transform(&mut values[self.part(round)]);
            self.flip(round, values);
        }
    }
}

/// `(a + b, a - b)`, both times `scale`, over two halves; its own inverse for `1 / sqrt(2)`.
fn butterfly(a: &mut [f32], b: &mut [f32], scale: f32) {
    for (a, b) in a.iter_mut().zip(b) {
        (*a, *b) = ((*a + *b) * scale, (*a - *b) * scale);
    }
}

/// The halves turned against each other.
fn turn(values: &mut [f32]) {
    let (a, b) = values.split_at_mut(values.len() / 2);
    butterfly(a, b, FRAC_1_SQRT_2);
}

/// The orthonormal Hadamard transform of a power of two of values; its own inverse.
fn transform(values: &mut [f32]) {
    let mut width = 1;
    while width < values.len() {
        for pair in values.chunks_exact_mut(2 * width) {
            let (a, b) = pair.split_at_mut(width);
            butterfly(a, b, 1.0);
        }
        width *= 2;
    }
    let scale = 1.0 / (values.len() as f32).sqrt();
    values.iter_mut().for_each(|value| *value *= scale);
}

impl Transform for Hadamard {
    fn dim_in(&self) -> usize {
        self.dim
    }

    fn dim_out(&self) -> usize {
        self.padded
    }

    fn apply(&self, rows: Rows<'_, f32>, out: &mut [f32]) {
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(self.padded)) {
            out[..self.dim].copy_from_slice(row);
            out[self.dim..].fill(0.0);
            self.rotate(out);
        }
    }

    fn query(&self, query: &[f32], metric: Metric, out: &mut [f32]) -> Frame {
        self.apply(Rows::new(query, self.dim).expect("a query is a row"), out);
        Frame { metric, offset: 0.0 }
    }

    fn reverse(&self, rows: Rows<'_, f32>, out: &mut [f32]) {
        let mut values = vec![0.0; self.padded];
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(self.dim)) {
            values.copy_from_slice(row);
            self.rotate_back(&mut values);
            out.copy_from_slice(&values[..self.dim]);
        }
    }

    fn arrays(&self) -> Vec<Array> {
        vec![Array::u8("flips", &[ROUNDS, self.padded / 8], self.flips.clone())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transform_by_hand() {
        // Of (1, 2, 3, 4): (1+2+3+4, 1-2+3-4, 1+2-3-4, 1-2-3+4) / 2.
        let mut values = [1.0, 2.0, 3.0, 4.0];
        transform(&mut values);
        assert_eq!(values, [5.0, -1.0, -2.0, 0.0]);
    }

    #[test]
    fn lengths_stay_and_rows_come_back() {
        for dim in [1, 63, 64, 100, 192, 300] {
            let hadamard = Hadamard::new(dim, 5);
            assert_eq!(hadamard.dim_out(), dim.div_ceil(64) * 64);
            let row: Vec<f32> = (0..dim).map(|i| (i as f32 * 1.7).cos()).collect();
            let mut out = vec![0.0; hadamard.dim_out()];
            hadamard.apply(Rows::new(&row, dim).unwrap(), &mut out);
            let (before, after) = (kernels::dot(&row, &row), kernels::dot(&out, &out));
            assert!((before - after).abs() < 1e-4 * before, "{dim}");
            let mut back = vec![0.0; dim];
            hadamard.reverse(Rows::new(&out, hadamard.dim_out()).unwrap(), &mut back);
            assert!(back.iter().zip(&row).all(|(a, b)| (a - b).abs() < 1e-5), "{dim}");
        }
    }

    #[test]
    fn one_spike_spreads_over_all_values() {
        for dim in [128, 192] {
            let hadamard = Hadamard::new(dim, 1);
            let mut spike = vec![0.0; dim];
            spike[3] = 1.0;
            let mut out = vec![0.0; dim];
            hadamard.apply(Rows::new(&spike, dim).unwrap(), &mut out);
            let peak = out.iter().fold(0f32, |peak, value| peak.max(value.abs()));
            assert!(peak < 6.0 / (dim as f32).sqrt(), "{dim}: {peak}");
        }
    }
}
