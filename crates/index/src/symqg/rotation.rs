//! A random rotation in `O(dim log dim)`, so that signs say equally much along every axis.
//!
//! Vectors less a mean are padded with zeros to a multiple of 64, `p` values. Let `h` be the largest power of
//! two that is at most `p`. Four rounds: flip the signs that this round drew; transform the first `h` values
//! (rounds 0 and 2) or the last `h` (1 and 3) by the orthonormal Hadamard matrix; where `h < p`, turn the halves
//! against each other.
//! Sources: Ailon and Chazelle, STOC 2006 (signs and Hadamard); Kac, 1956 (random plane turns).

use kernels::SplitMix64;
use std::f32::consts::FRAC_1_SQRT_2;

/// Rounds of signs and transforms.
const ROUNDS: usize = 4;

/// Values of a rotated vector of `dim` values.
pub(super) fn rotated_len(dim: usize) -> usize {
    dim.next_multiple_of(64)
}

/// A mean and the signs that a seed drew.
pub(super) struct Rotation {
    mean: Vec<f32>,
    /// `ROUNDS x p`: the sign bit of each value, or none.
    flips: Vec<u32>,
    /// What makes the transforms of all rounds orthonormal.
    scale: f32,
}

impl Rotation {
    pub(super) fn new(mean: &[f32], seed: u64) -> Self {
        let mut random = SplitMix64::named(seed, 0x7379_6d71);
        let len = rotated_len(mean.len());
        let flips = (0..ROUNDS * len).map(|_| (random.bits() as u32) & (1 << 31)).collect();
        let transformed = 1u64 << len.ilog2();
        Self { mean: mean.to_vec(), flips, scale: 1.0 / (transformed as f32).sqrt() }
    }

    /// What [`Rotation::words`] gave; none where it is not whole.
    pub(super) fn from_words(dim: usize, words: &[u32]) -> Option<Self> {
        let len = rotated_len(dim);
        let (mean, flips) = words.split_at_checked(dim)?;
        if flips.len() != ROUNDS * len || flips.iter().any(|flip| flip << 1 != 0) {
            return None;
        }
        let mean: Vec<f32> = mean.iter().map(|&bits| f32::from_bits(bits)).collect();
        Some(Self { flips: flips.to_vec(), ..Self::new(&mean, 0) })
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
        let half = 1 << out.len().ilog2();
        for (round, flips) in self.flips.chunks_exact(out.len()).enumerate() {
            for (value, flip) in out.iter_mut().zip(flips) {
                *value = f32::from_bits(value.to_bits() ^ flip);
            }
            let from = if round.is_multiple_of(2) { 0 } else { out.len() - half };
            transform(&mut out[from..from + half]);
            out[from..from + half].iter_mut().for_each(|value| *value *= self.scale);
            if half < out.len() {
                let (a, b) = out.split_at_mut(out.len() / 2);
                butterfly(a, b);
                out.iter_mut().for_each(|value| *value *= FRAC_1_SQRT_2);
            }
        }
    }
}

/// `(a + b, a - b)`.
#[inline(always)]
fn butterfly(a: &mut [f32], b: &mut [f32]) {
    for (a, b) in a.iter_mut().zip(b) {
        (*a, *b) = (*a + *b, *a - *b);
    }
}

/// The Hadamard transform of a power of two of values, at least 64; lengths grow by the root of their number.
fn transform(values: &mut [f32]) {
    // The short steps within 16 values at once: they stay in registers.
    for few in values.as_chunks_mut::<16>().0 {
        for width in [1, 2, 4, 8] {
            for pair in few.chunks_exact_mut(2 * width) {
                let (a, b) = pair.split_at_mut(width);
                butterfly(a, b);
            }
        }
    }
    let mut width = 16;
    while width < values.len() {
        for pair in values.chunks_exact_mut(2 * width) {
            let (a, b) = pair.split_at_mut(width);
            butterfly(a, b);
        }
        width *= 2;
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
