//! A random rotation in `O(dim log dim)`: signs, Hadamard transforms and quarter turns.
//!
//! Vectors are padded with zeros to a multiple of 64, `p` values, and go through four rounds of
//! [`kernels::hadamard`], so lengths and inner products stay. Saved as `4 p` bits.

use super::{Frame, Transform, TransformConfig};
use crate::spec::setting;
use crate::training::check_rows;
use crate::{Array, Arrays, ParseSpecError, RestoreError, TrainError, Training};
use data::{Metric, Rows};
use kernels::hadamard::STEP;
use kernels::{Isa, SplitMix64};
use std::fmt;

/// Rounds of signs and transforms.
const ROUNDS: usize = 4;

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
    /// The same, a sign bit a value.
    words: Vec<u32>,
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
        Ok(Hadamard::restored(dim, arrays.u8("flips", &[ROUNDS, padded / 8])?))
    }
}

impl Hadamard {
    /// The rotation of `dim` values that `seed` draws.
    #[must_use]
    pub fn new(dim: usize, seed: u64) -> Self {
        let mut random = SplitMix64::named(seed, 0x686164);
        let padded = dim.next_multiple_of(STEP);
        let flips = (0..ROUNDS * padded / 8).map(|_| random.bits() as u8).collect();
        Self::restored(dim, flips)
    }

    fn restored(dim: usize, flips: Vec<u8>) -> Self {
        let word = |(byte, i): (u8, usize)| u32::from(byte >> i & 1) << 31;
        let words = flips.iter().flat_map(|&byte| (0..8).map(move |i| word((byte, i)))).collect();
        Self { dim, padded: dim.next_multiple_of(STEP), flips, words }
    }
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
            Isa::current().rotate(&self.words, out);
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
            Isa::current().rotate_back(&self.words, &mut values);
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
