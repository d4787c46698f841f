//! A random rotation in `O(n log n)`: signs, Hadamard transforms and quarter turns.
//!
//! Of `n` values, a multiple of 64, let `h` be the largest power of two that is at most `n`. A round flips the signs
//! that were drawn for it; transforms the first `h` values (even rounds) or the last `h` (odd ones) by the orthonormal
//! Hadamard matrix; and, where `h < n`, turns the halves against each other, `(a, b) -> (a + b, a - b) / sqrt(2)`.
//! Every step is orthogonal, so lengths and inner products stay, and has one order of operations on every
//! instruction set.
//! Sources: Ailon and Chazelle, STOC 2006 (signs and Hadamard); Kac, 1956 (random plane turns).

#[cfg(target_arch = "x86_64")]
mod x86;

use crate::Isa;
use std::f32::consts::FRAC_1_SQRT_2;
use std::ops::Range;

/// Values must be whole groups of this many.
pub const STEP: usize = 64;
/// Values whose steps stay in registers.
const FEW: usize = 16;

impl Isa {
    /// Rotates `values` in place; `flips` holds a word a value for each round, the sign bit or nothing.
    ///
    /// # Panics
    /// When the values are no multiple of [`STEP`], or the flips are not whole rounds of them.
    pub fn rotate(self, flips: &[u32], values: &mut [f32]) {
        check(flips, values);
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves AVX-512F.
            Self::Avx512(_) => unsafe { x86::rotate_512(flips, values) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves AVX2.
            Self::Avx2(_) => unsafe { x86::rotate_256(flips, values) },
            _ => rotate_with(flips, values, few_plain),
        }
    }

    /// Undoes [`Isa::rotate`].
    ///
    /// # Panics
    /// As there.
    pub fn rotate_back(self, flips: &[u32], values: &mut [f32]) {
        check(flips, values);
        for (round, flips) in flips.chunks_exact(values.len()).enumerate().rev() {
            turn(values);
            transform(&mut values[part(round, flips.len())], few_plain);
            flip(flips, values);
        }
    }
}

fn check(flips: &[u32], values: &[f32]) {
    let whole = !values.is_empty() && values.len().is_multiple_of(STEP);
    assert!(
        whole && flips.len().is_multiple_of(values.len()),
        "whole rounds of whole groups of {STEP} values"
    );
}

/// The definition, but for the steps within [`FEW`] values.
#[inline(always)]
fn rotate_with(flips: &[u32], values: &mut [f32], few: impl Fn(&mut [f32; FEW])) {
    for (round, flips) in flips.chunks_exact(values.len()).enumerate() {
        flip(flips, values);
        transform(&mut values[part(round, flips.len())], &few);
        turn(values);
    }
}

/// The values that a round transforms.
fn part(round: usize, len: usize) -> Range<usize> {
    let half = 1 << len.ilog2();
    if round.is_multiple_of(2) { 0..half } else { len - half..len }
}

#[inline(always)]
fn flip(flips: &[u32], values: &mut [f32]) {
    for (value, flip) in values.iter_mut().zip(flips) {
        *value = f32::from_bits(value.to_bits() ^ flip);
    }
}

/// The halves turned against each other, unless the Hadamard matrix mixes all.
#[inline(always)]
fn turn(values: &mut [f32]) {
    if !values.len().is_power_of_two() {
        let (a, b) = values.split_at_mut(values.len() / 2);
        butterfly(a, b);
        values.iter_mut().for_each(|value| *value *= FRAC_1_SQRT_2);
    }
}

/// `(a + b, a - b)`.
#[inline(always)]
fn butterfly(a: &mut [f32], b: &mut [f32]) {
    for (a, b) in a.iter_mut().zip(b) {
        (*a, *b) = (*a + *b, *a - *b);
    }
}

/// The orthonormal Hadamard transform of a power of two of values, at least [`STEP`]; its own inverse.
#[inline(always)]
fn transform(values: &mut [f32], few: impl Fn(&mut [f32; FEW])) {
    values.as_chunks_mut::<FEW>().0.iter_mut().for_each(few);
    let mut width = FEW;
    while width < values.len() {
        for pair in values.chunks_exact_mut(2 * width) {
            let (a, b) = pair.split_at_mut(width);
            butterfly(a, b);
        }
        width *= 2;
    }
    let scale = 1.0 / (values.len() as f32).sqrt();
    values.iter_mut().for_each(|value| *value *= scale);
}

/// The transform of 16 values, four times as long.
#[inline(always)]
fn few_plain(few: &mut [f32; FEW]) {
    for width in [1, 2, 4, 8] {
        for pair in few.chunks_exact_mut(2 * width) {
            let (a, b) = pair.split_at_mut(width);
            butterfly(a, b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;
    use proptest::prelude::*;

    fn drawn(seed: u64, groups: usize, rounds: usize) -> (Vec<u32>, Vec<f32>) {
        let mut random = SplitMix64::new(seed);
        let n = groups * STEP;
        let flips = (0..rounds * n).map(|_| (random.bits() as u32) & (1 << 31)).collect();
        (flips, (0..n).map(|_| random.unit() as f32 - 0.5).collect())
    }

    proptest! {
        #[test]
        fn every_level_gives_the_same_bits(seed: u64, groups in 1usize..14, rounds in 0usize..5) {
            let (flips, values) = drawn(seed, groups, rounds);
            let mut want = values.clone();
            rotate_with(&flips, &mut want, few_plain);
            for isa in Isa::present() {
                let mut got = values.clone();
                isa.rotate(&flips, &mut got);
                prop_assert_eq!(&got, &want, "{:?}", isa);
            }
        }

        #[test]
        fn lengths_stay_and_all_is_undone(seed: u64, groups in 1usize..14) {
            let (flips, values) = drawn(seed, groups, 4);
            let mut turned = values.clone();
            Isa::current().rotate(&flips, &mut turned);
            let square = |v: &[f32]| v.iter().map(|v| f64::from(v * v)).sum::<f64>();
            prop_assert!((square(&turned) / square(&values) - 1.0).abs() < 1e-5);
            Isa::current().rotate_back(&flips, &mut turned);
            prop_assert!(turned.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }

    #[test]
    fn the_transform_is_the_matrix_of_parities() {
        let mut random = SplitMix64::new(2);
        let values: Vec<f32> = (0..STEP).map(|_| random.unit() as f32).collect();
        let mut got = values.clone();
        Isa::current().rotate(&[0; STEP], &mut got);
        for (i, got) in got.iter().enumerate() {
            let sign = |j: usize| if (i & j).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
            let want: f64 =
                values.iter().enumerate().map(|(j, v)| sign(j) * f64::from(*v)).sum::<f64>() / 8.0;
            assert!((f64::from(*got) - want).abs() < 1e-5);
        }
    }
}
