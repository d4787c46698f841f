//! A random rotation in `O(dim log dim)`, so that signs say equally much along every axis.
//!
//! Vectors less a mean are padded with zeros to a multiple of 64 values, and go through four rounds of
//! [`kernels::hadamard`].

use kernels::hadamard::STEP;
use kernels::{Isa, SplitMix64};

/// Rounds of signs and transforms.
const ROUNDS: usize = 4;

/// Values of a rotated vector of `dim` values.
pub(super) fn rotated_len(dim: usize) -> usize {
    dim.next_multiple_of(STEP)
}

/// A mean and the signs that a seed drew.
pub(super) struct Rotation {
    mean: Vec<f32>,
    /// `ROUNDS x p`: the sign bit of each value, or none.
    flips: Vec<u32>,
}

impl Rotation {
    pub(super) fn new(mean: &[f32], seed: u64) -> Self {
        let mut random = SplitMix64::named(seed, 0x7379_6d71);
        let len = rotated_len(mean.len());
        let flips = (0..ROUNDS * len).map(|_| (random.bits() as u32) & (1 << 31)).collect();
        Self { mean: mean.to_vec(), flips }
    }

    /// What [`Rotation::words`] gave; none where it is not whole.
    pub(super) fn from_words(dim: usize, words: &[u32]) -> Option<Self> {
        let len = rotated_len(dim);
        let (mean, flips) = words.split_at_checked(dim)?;
        if flips.len() != ROUNDS * len || flips.iter().any(|flip| flip << 1 != 0) {
            return None;
        }
        let mean = mean.iter().map(|&bits| f32::from_bits(bits)).collect();
        Some(Self { mean, flips: flips.to_vec() })
    }

    /// The mean, then the flips.
    pub(super) fn words(&self) -> impl Iterator<Item = u32> {
        self.mean.iter().map(|value| value.to_bits()).chain(self.flips.iter().copied())
    }

    /// Writes `vector` less the mean, rotated, to `out` (`rotated_len` values).
    pub(super) fn apply(&self, vector: &[f32], out: &mut [f32]) {
        for ((to, value), mean) in out.iter_mut().zip(vector).zip(&self.mean) {
            *to = value - mean;
        }
        out[vector.len()..].fill(0.0);
        Isa::current().rotate(&self.flips, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_angles_stay() {
        let mut random = SplitMix64::new(1);
        for dim in [1, 5, 64, 100, 128, 200, 300] {
            let mut draw = || (0..dim).map(|_| random.unit() as f32 - 0.5).collect::<Vec<_>>();
            let (mean, a, b) = (draw(), draw(), draw());
            let rotation = Rotation::new(&mean, 3);
            let (mut x, mut y) = (vec![9.0; rotated_len(dim)], vec![9.0; rotated_len(dim)]);
            rotation.apply(&a, &mut x);
            rotation.apply(&b, &mut y);
            let moved = |v: &[f32]| v.iter().zip(&mean).map(|(v, m)| v - m).collect::<Vec<_>>();
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            assert!((dot(&x, &y) - dot(&moved(&a), &moved(&b))).abs() < 1e-4, "{dim}");
            assert!((dot(&x, &x) - dot(&moved(&a), &moved(&a))).abs() < 1e-4, "{dim}");
        }
    }

    #[test]
    fn one_value_is_spread_over_all() {
        let rotation = Rotation::new(&[0.0; 128], 3);
        let mut vector = [0.0; 128];
        vector[7] = 1.0;
        let mut out = [0.0; 128];
        rotation.apply(&vector, &mut out);
        // A random direction of 128 values has none near one.
        assert!(out.iter().all(|v| v.abs() < 0.5));
    }
}
