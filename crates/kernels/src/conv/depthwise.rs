//! Depthwise convolution: every channel has its own small kernel, so the loop over
//! channels is the vector loop and a block of accumulators stays in registers over the taps.

use super::{Activation, Conv};

/// Channels whose sums are kept in registers.
const LANES: usize = 32;

pub(super) fn forward(
    conv: &Conv,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
    out: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F, which implies FMA and AVX2.
            return unsafe { forward_avx512(conv, x, weight, bias, activation, out) };
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA.
            return unsafe { forward_avx2(conv, x, weight, bias, activation, out) };
        }
    }
    forward_body::<false>(conv, x, weight, bias, activation, out);
}

pub(super) fn backward(
    conv: &Conv,
    x: &[f32],
    weight: &[f32],
    g: &[f32],
    grad_x: Option<&mut [f32]>,
    grad_weight: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F, which implies FMA and AVX2.
            return unsafe { backward_avx512(conv, x, weight, g, grad_x, grad_weight) };
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA.
            return unsafe { backward_avx2(conv, x, weight, g, grad_x, grad_weight) };
        }
    }
    backward_body::<false>(conv, x, weight, g, grad_x, grad_weight);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn forward_avx512(conv: &Conv, x: &[f32], w: &[f32], b: &[f32], activation: Activation, out: &mut [f32]) {
    forward_body::<true>(conv, x, w, b, activation, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn forward_avx2(conv: &Conv, x: &[f32], w: &[f32], b: &[f32], activation: Activation, out: &mut [f32]) {
    forward_body::<true>(conv, x, w, b, activation, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn backward_avx512(conv: &Conv, x: &[f32], w: &[f32], g: &[f32], gx: Option<&mut [f32]>, gw: &mut [f32]) {
    backward_body::<true>(conv, x, w, g, gx, gw);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn backward_avx2(conv: &Conv, x: &[f32], w: &[f32], g: &[f32], gx: Option<&mut [f32]>, gw: &mut [f32]) {
    backward_body::<true>(conv, x, w, g, gx, gw);
}

/// `a * b + c`, fused where the processor does it in one step (a library call elsewhere).
#[inline(always)]
fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn forward_body<const FUSED: bool>(
    conv: &Conv,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
    out: &mut [f32],
) {
    let channels = conv.channels;
    let (_, width) = conv.output();
    for (pixel, out) in out.chunks_exact_mut(channels).enumerate() {
        let taps = Taps::new(conv, pixel / width, pixel % width);
        let mut first = 0;
        while first + LANES <= channels {
            let mut sums = [0.0f32; LANES];
            sums.copy_from_slice(&bias[first..first + LANES]);
            for (from, tap) in taps.iter() {
                let x = &x[from + first..][..LANES];
                let w = &weight[tap * channels + first..][..LANES];
                for lane in 0..LANES {
                    sums[lane] = fma::<FUSED>(x[lane], w[lane], sums[lane]);
                }
            }
            for lane in 0..LANES {
                out[first + lane] = activation.apply(sums[lane]);
            }
            first += LANES;
        }
        for channel in first..channels {
            let sum = taps.iter().fold(bias[channel], |sum, (from, tap)| {
                fma::<FUSED>(x[from + channel], weight[tap * channels + channel], sum)
            });
            out[channel] = activation.apply(sum);
        }
    }
}

#[inline(always)]
fn backward_body<const FUSED: bool>(
    conv: &Conv,
    x: &[f32],
    weight: &[f32],
    g: &[f32],
    mut grad_x: Option<&mut [f32]>,
    grad_weight: &mut [f32],
) {
    let channels = conv.channels;
    let (height, width) = conv.output();
    for (pixel, g) in g.chunks_exact(channels).enumerate() {
        let picture = pixel / (height * width) * conv.input_len();
        let taps = Taps::new(conv, pixel / width % height, pixel % width);
        for (from, tap) in taps.iter() {
            let from = picture + from;
            let x = &x[from..from + channels];
            let grad_weight = &mut grad_weight[tap * channels..][..channels];
            for ((sum, &x), &g) in grad_weight.iter_mut().zip(x).zip(g) {
                *sum = fma::<FUSED>(x, g, *sum);
            }
            if let Some(grad_x) = grad_x.as_deref_mut() {
                let grad_x = &mut grad_x[from..from + channels];
                let weight = &weight[tap * channels..][..channels];
                for ((sum, &w), &g) in grad_x.iter_mut().zip(weight).zip(g) {
                    *sum = fma::<FUSED>(w, g, *sum);
                }
            }
        }
    }
}

/// The taps of one output pixel that lie in the picture.
struct Taps {
    /// Kernel rows and columns in use: `ky`, `kx` ranges.
    rows: std::ops::Range<usize>,
    cols: std::ops::Range<usize>,
    /// Input position of the (virtual) first tap, in values; may lie before the picture.
    origin: isize,
    row_step: usize,
    channels: usize,
    kernel: usize,
}

impl Taps {
    #[inline(always)]
    fn new(conv: &Conv, out_y: usize, out_x: usize) -> Self {
        let (top, left) = conv.before();
        let range = |out: usize, before: usize, size: usize| {
            let start = out * conv.stride;
            before.saturating_sub(start)..conv.kernel.min((size + before).saturating_sub(start))
        };
        let y = (out_y * conv.stride).cast_signed() - top.cast_signed();
        let x = (out_x * conv.stride).cast_signed() - left.cast_signed();
        Self {
            rows: range(out_y, top, conv.height),
            cols: range(out_x, left, conv.width),
            origin: (y * conv.width.cast_signed() + x) * conv.channels.cast_signed(),
            row_step: conv.width * conv.channels,
            channels: conv.channels,
            kernel: conv.kernel,
        }
    }

    /// `(position in the picture, tap)` of each.
    #[inline(always)]
    fn iter(&self) -> impl Iterator<Item = (usize, usize)> {
        self.rows.clone().flat_map(move |ky| {
            self.cols.clone().map(move |kx| {
                let at = self.origin + (ky * self.row_step + kx * self.channels).cast_signed();
                (at.cast_unsigned(), ky * self.kernel + kx)
            })
        })
    }
}
