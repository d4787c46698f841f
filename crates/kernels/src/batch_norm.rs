//! Batch normalisation over the last axis, fused with the activation that follows it.
//!
//! `x` is `[rows, channels]`. Forward: `y = activation(gamma (x - mean) / sqrt(variance + EPSILON) + beta)`
//! with the batch's own mean and (biased) variance. Source: Ioffe and Szegedy, ICML 2015, algorithm 1.
//!
//! Sums run over fixed blocks of rows that are added in order, so that the bits do not depend on the
//! number of threads.

use crate::conv::Activation;
use crate::widest::widest;
use rayon::prelude::*;
use std::ops::Range;

/// Added to the variance.
pub const EPSILON: f32 = 1e-5;

/// Rows summed by one task.
const ROWS: usize = 1024;

/// Statistics of one batch, a value a channel each.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Mean.
    pub mean: Vec<f32>,
    /// Biased variance.
    pub variance: Vec<f32>,
}

/// What [`batch_norm_backward`] gives.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormGradients {
    /// Shaped like the input.
    pub input: Vec<f32>,
    /// One value a channel.
    pub gamma: Vec<f32>,
    /// One value a channel.
    pub beta: Vec<f32>,
}

/// Two sums a channel over all rows, in fixed order; `add(rows of the block, first sums, second sums)`.
fn column_sums(
    rows: usize,
    channels: usize,
    add: impl Fn(Range<usize>, &mut [f32], &mut [f32]) + Sync,
) -> (Vec<f64>, Vec<f64>) {
    let blocks: Vec<(Vec<f32>, Vec<f32>)> = (0..rows.div_ceil(ROWS))
        .into_par_iter()
        .map(|block| {
            let (mut first, mut second) = (vec![0.0; channels], vec![0.0; channels]);
            add(block * ROWS..rows.min((block + 1) * ROWS), &mut first, &mut second);
            (first, second)
        })
        .collect();
    let (mut first, mut second) = (vec![0.0; channels], vec![0.0; channels]);
    for (a, b) in blocks {
        first.iter_mut().zip(a).for_each(|(sum, v)| *sum += f64::from(v));
        second.iter_mut().zip(b).for_each(|(sum, v)| *sum += f64::from(v));
    }
    (first, second)
}

widest! {
    /// Adds up rows and their squares, less `shift`.
    fn add_moments(x: &[f32], shift: &[f32], sums: &mut [f32], squares: &mut [f32]);
    avx512: add_moments_body, avx2: add_moments_body, plain: add_moments_body
}

#[inline(always)]
fn add_moments_body(x: &[f32], shift: &[f32], sums: &mut [f32], squares: &mut [f32]) {
    for row in x.chunks_exact(shift.len()) {
        for (((&v, &s), sum), square) in row.iter().zip(shift).zip(&mut *sums).zip(&mut *squares) {
            *sum += v - s;
            *square += (v - s) * (v - s);
        }
    }
}

widest! {
    /// Rows by a scale and a shift a channel, and the activation.
    fn scale_rows(x: &[f32], scale: &[f32], shift: &[f32], activation: Activation, out: &mut [f32]);
    avx512: scale_rows_body, avx2: scale_rows_body, plain: scale_rows_body
}

#[inline(always)]
fn scale_rows_body(x: &[f32], scale: &[f32], shift: &[f32], activation: Activation, out: &mut [f32]) {
    for (out, x) in out.chunks_exact_mut(scale.len()).zip(x.chunks_exact(scale.len())) {
        for (((out, &x), &scale), &shift) in out.iter_mut().zip(x).zip(scale).zip(shift) {
            *out = activation.apply(x * scale + shift);
        }
    }
}

/// Rows of the input, of the output and of its gradient.
#[derive(Clone, Copy)]
struct Backward<'a> {
    x: &'a [f32],
    output: &'a [f32],
    grad: &'a [f32],
    mean: &'a [f32],
    /// One over the standard deviation.
    inverse: &'a [f32],
    activation: Activation,
}

impl Backward<'_> {
    fn rows(self, rows: Range<usize>) -> Self {
        let at = rows.start * self.mean.len()..rows.end * self.mean.len();
        Self { x: &self.x[at.clone()], output: &self.output[at.clone()], grad: &self.grad[at], ..self }
    }
}

widest! {
    /// Adds up the gradients of beta and gamma.
    fn add_slopes(from: Backward<'_>, beta: &mut [f32], gamma: &mut [f32]);
    avx512: add_slopes_body, avx2: add_slopes_body, plain: add_slopes_body
}

#[inline(always)]
fn add_slopes_body(from: Backward<'_>, beta: &mut [f32], gamma: &mut [f32]) {
    let channels = from.mean.len();
    let (mean, inverse) = (from.mean, &from.inverse[..channels]);
    let (beta, gamma) = (&mut beta[..channels], &mut gamma[..channels]);
    let rows = from.x.chunks_exact(channels).zip(from.output.chunks_exact(channels));
    for ((x, out), grad) in rows.zip(from.grad.chunks_exact(channels)) {
        for c in 0..channels {
            let g = if from.activation.passes(out[c]) { grad[c] } else { 0.0 };
            beta[c] += g;
            gamma[c] += g * (x[c] - mean[c]) * inverse[c];
        }
    }
}

widest! {
    /// `to = scale (g - mean_g - xhat mean_gx)`.
    fn input_slopes(from: Backward<'_>, scale: &[f32], mean_g: &[f32], mean_gx: &[f32], to: &mut [f32]);
    avx512: input_slopes_body, avx2: input_slopes_body, plain: input_slopes_body
}

#[inline(always)]
fn input_slopes_body(from: Backward<'_>, scale: &[f32], mean_g: &[f32], mean_gx: &[f32], to: &mut [f32]) {
    let channels = from.mean.len();
    let (mean, inverse, scale) = (from.mean, &from.inverse[..channels], &scale[..channels]);
    let (mean_g, mean_gx) = (&mean_g[..channels], &mean_gx[..channels]);
    let rows = from.x.chunks_exact(channels).zip(from.output.chunks_exact(channels));
    for (((x, out), grad), to) in
        rows.zip(from.grad.chunks_exact(channels)).zip(to.chunks_exact_mut(channels))
    {
        for c in 0..channels {
            let normal = (x[c] - mean[c]) * inverse[c];
            let g = if from.activation.passes(out[c]) { grad[c] } else { 0.0 };
            to[c] = scale[c] * (g - mean_g[c] - normal * mean_gx[c]);
        }
    }
}

/// Mean and variance of every channel of `x`, `[rows, channels]`.
///
/// # Panics
/// When `x` does not split into rows of `channels`, or has none.
#[must_use]
pub fn moments(x: &[f32], channels: usize) -> Moments {
    assert!(!x.is_empty() && x.len().is_multiple_of(channels), "{} values, {channels} channels", x.len());
    let rows = x.len() / channels;
    // Shifted by the first row, so that a large common offset does not cancel the variance away.
    let shift = &x[..channels];
    let (sums, squares) = column_sums(rows, channels, |rows, sums, squares| {
        add_moments(&x[rows.start * channels..rows.end * channels], shift, sums, squares);
    });
    let n = rows as f64;
    let mean = sums.iter().zip(shift).map(|(sum, &s)| (sum / n + f64::from(s)) as f32).collect();
    let variance =
        sums.iter().zip(&squares).map(|(sum, sq)| (sq / n - (sum / n).powi(2)).max(0.0) as f32).collect();
    Moments { mean, variance }
}

/// Normalises `x`, `[rows, channels]`, by the given moments.
///
/// # Panics
/// When a slice has another length than the others say.
#[must_use]
pub fn batch_norm(
    x: &[f32],
    moments: &Moments,
    gamma: &[f32],
    beta: &[f32],
    activation: Activation,
) -> Vec<f32> {
    let (scale, shift) = scale_and_shift(moments, gamma, beta);
    let mut out = vec![0.0; x.len()];
    out.par_chunks_mut(ROWS * gamma.len())
        .zip(x.par_chunks(ROWS * gamma.len()))
        .for_each(|(out, x)| scale_rows(x, &scale, &shift, activation, out));
    out
}

/// `gamma / sqrt(variance + EPSILON)` and `beta - mean * scale`: what a convolution before the
/// normalisation can take in.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn scale_and_shift(moments: &Moments, gamma: &[f32], beta: &[f32]) -> (Vec<f32>, Vec<f32>) {
    assert!(gamma.len() == beta.len() && gamma.len() == moments.mean.len(), "one value a channel");
    let scale: Vec<f32> =
        gamma.iter().zip(&moments.variance).map(|(&g, &v)| g / (v + EPSILON).sqrt()).collect();
    let shift = beta.iter().zip(&moments.mean).zip(&scale).map(|((&b, &m), &s)| b - m * s).collect();
    (scale, shift)
}

/// Gradients through [`batch_norm`] by the batch's own moments, given its input and output.
///
/// # Panics
/// When a slice has another length than the others say.
#[must_use]
pub fn batch_norm_backward(
    x: &[f32],
    output: &[f32],
    moments: &Moments,
    gamma: &[f32],
    activation: Activation,
    grad_output: &[f32],
) -> BatchNormGradients {
    let channels = gamma.len();
    assert!(x.len() == output.len() && x.len() == grad_output.len() && moments.mean.len() == channels);
    let rows = x.len() / channels;
    let inverse: Vec<f32> = moments.variance.iter().map(|v| 1.0 / (v + EPSILON).sqrt()).collect();
    let from = Backward { x, output, grad: grad_output, mean: &moments.mean, inverse: &inverse, activation };
    let (beta, gamma_sums) =
        column_sums(rows, channels, |rows, beta, gamma| add_slopes(from.rows(rows), beta, gamma));
    // dx = gamma / sigma * (g - mean(g) - xhat * mean(g xhat)).
    let n = rows as f64;
    let mean_g: Vec<f32> = beta.iter().map(|&s| (s / n) as f32).collect();
    let mean_gx: Vec<f32> = gamma_sums.iter().map(|&s| (s / n) as f32).collect();
    let mut input = vec![0.0; x.len()];
    let scale: Vec<f32> = gamma.iter().zip(&inverse).map(|(gamma, inverse)| gamma * inverse).collect();
    input.par_chunks_mut(ROWS * channels).enumerate().for_each(|(block, to)| {
        let first = block * ROWS;
        input_slopes(from.rows(first..first + to.len() / channels), &scale, &mean_g, &mean_gx, to);
    });
    BatchNormGradients {
        input,
        gamma: gamma_sums.into_iter().map(|v| v as f32).collect(),
        beta: beta.into_iter().map(|v| v as f32).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(len: usize, seed: u32) -> Vec<f32> {
        let at = |i: usize| (i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(7919)) >> 8;
        (0..len).map(|i| (at(i) % 1000) as f32 / 250.0 - 2.0).collect()
    }

    #[test]
    fn normalises_by_hand() {
        // One channel holding 1 and 3: mean 2, variance 1.
        let moments = moments(&[1.0, 3.0], 1);
        assert_eq!(moments, Moments { mean: vec![2.0], variance: vec![1.0] });
        let out = batch_norm(&[1.0, 3.0], &moments, &[2.0], &[0.5], Activation::Relu);
        assert_eq!(out[0], 0.0);
        assert!((out[1] - 2.5).abs() < 1e-4);
    }

    #[test]
    fn a_large_offset_keeps_the_variance() {
        let x: Vec<f32> = (0..4000).map(|i| 10_000.0 + (i % 2) as f32).collect();
        assert!((moments(&x, 1).variance[0] - 0.25).abs() < 1e-4);
    }

    /// Central differences of `sum(w * y)` over every input, in f64-summed f32.
    #[test]
    fn gradient_agrees_with_differences() {
        let (rows, channels) = (7, 3);
        let x = values(rows * channels, 1);
        let weight = values(rows * channels, 2);
        let (gamma, beta) = (vec![0.7, 1.3, -0.9], vec![0.3, -0.2, 0.4]);
        let loss = |x: &[f32], gamma: &[f32], beta: &[f32]| -> f64 {
            let out = batch_norm(x, &moments(x, channels), gamma, beta, Activation::Relu);
            out.iter().zip(&weight).map(|(&y, &w)| f64::from(y) * f64::from(w)).sum()
        };
        let m = moments(&x, channels);
        let out = batch_norm(&x, &m, &gamma, &beta, Activation::Relu);
        let grads = batch_norm_backward(&x, &out, &m, &gamma, Activation::Relu, &weight);
        let step = 1e-3f32;
        let slope = |f: &dyn Fn(f32) -> f64| (f(step) - f(-step)) / f64::from(2.0 * step);
        let nudged = |v: &[f32], i: usize, by: f32| {
            let mut v = v.to_vec();
            v[i] += by;
            v
        };
        for i in 0..x.len() {
            let want = slope(&|by| loss(&nudged(&x, i, by), &gamma, &beta));
            assert!((f64::from(grads.input[i]) - want).abs() < 1e-2, "{i}: {} {want}", grads.input[i]);
        }
        for c in 0..channels {
            let want = slope(&|by| loss(&x, &nudged(&gamma, c, by), &beta));
            assert!((f64::from(grads.gamma[c]) - want).abs() < 1e-2);
            let want = slope(&|by| loss(&x, &gamma, &nudged(&beta, c, by)));
            assert!((f64::from(grads.beta[c]) - want).abs() < 1e-2);
        }
    }
}
