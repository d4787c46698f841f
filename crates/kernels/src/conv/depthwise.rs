//! Depthwise convolution: every channel has its own small kernel, so the loop over channels is the
//! vector loop.
//!
//! Forward, the sums of a few output pixels side by side stay in registers over the taps; for the
//! weights' gradient, those of a kernel row over the pixels of a row. The input's gradient at stride 1 is
//! itself a convolution, by the kernel turned around.

use super::{Activation, Conv};
use crate::widest::widest;

/// Output pixels of a row whose sums are kept in registers together.
const ACROSS: usize = 4;

widest! {
    /// One picture forward.
    fn forward_plane(
        plane: &Plane,
        x: &[f32],
        weight: &[f32],
        bias: &[f32],
        activation: Activation,
        out: &mut [f32],
    );
    avx512: Plane::forward::<32, true>, avx2: Plane::forward::<16, true>, plain: Plane::forward::<16, false>
}

widest! {
    /// Adds one picture to the gradient of the weights.
    fn grad_weight_plane(plane: &Plane, x: &[f32], g: &[f32], grad_weight: &mut [f32]);
    avx512: Plane::grad_weight::<32, true>,
    avx2: Plane::grad_weight::<16, true>,
    plain: Plane::grad_weight::<16, false>
}

widest! {
    /// Adds to one picture's gradient of the input what each output pixel's taps give, at any stride.
    fn scatter_plane(plane: &Plane, weight: &[f32], g: &[f32], grad_x: &mut [f32]);
    avx512: Plane::scatter::<true>, avx2: Plane::scatter::<true>, plain: Plane::scatter::<false>
}

pub(super) fn forward(
    conv: &Conv,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
    out: &mut [f32],
) {
    forward_plane(&Plane::of(conv), x, weight, bias, activation, out);
}

/// `grad_x` is given as zeros; `grad_weight` is added to.
pub(super) fn backward(
    conv: &Conv,
    x: &[f32],
    weight: &[f32],
    g: &[f32],
    grad_x: Option<&mut [f32]>,
    grad_weight: &mut [f32],
) {
    let (plane, turned) = (Plane::of(conv), Plane::turned(conv));
    for (x, g) in x.chunks_exact(conv.input_len()).zip(g.chunks_exact(conv.output_len())) {
        grad_weight_plane(&plane, x, g, grad_weight);
    }
    let Some(grad_x) = grad_x else { return };
    let turned_weight: Vec<f32> = weight.chunks_exact(conv.channels).rev().flatten().copied().collect();
    let none = vec![0.0; conv.channels];
    for (g, grad_x) in g.chunks_exact(conv.output_len()).zip(grad_x.chunks_exact_mut(conv.input_len())) {
        if conv.stride == 1 {
            forward_plane(&turned, g, &turned_weight, &none, Activation::None, grad_x);
        } else {
            scatter_plane(&plane, weight, g, grad_x);
        }
    }
}

/// `a * b + c`, fused where the processor does it in one step (a library call elsewhere).
#[inline(always)]
fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// One picture's convolution, apart from what is multiplied.
#[derive(Clone, Copy)]
struct Plane {
    height: usize,
    width: usize,
    out_width: usize,
    channels: usize,
    kernel: usize,
    stride: usize,
    /// Zeros before the first row and column.
    top: usize,
    left: usize,
}

impl Plane {
    fn of(conv: &Conv) -> Self {
        let (top, left) = conv.before();
        Self {
            height: conv.height,
            width: conv.width,
            out_width: conv.output().1,
            channels: conv.channels,
            kernel: conv.kernel,
            stride: conv.stride,
            top,
            left,
        }
    }

    /// From the gradient of the output to that of the input, at stride 1.
    fn turned(conv: &Conv) -> Self {
        let ((top, left), (height, width)) = (conv.before(), conv.output());
        Self {
            height,
            width,
            out_width: conv.width,
            top: conv.kernel - 1 - top,
            left: conv.kernel - 1 - left,
            ..Self::of(conv)
        }
    }

    /// The input row that kernel row `ky` reads for output row `y`, if it lies in the picture.
    #[inline(always)]
    fn row<'a>(&self, x: &'a [f32], y: usize, ky: usize) -> Option<&'a [f32]> {
        let at = (y * self.stride + ky).checked_sub(self.top).filter(|&at| at < self.height)?;
        let len = self.width * self.channels;
        Some(&x[at * len..][..len])
    }

    /// The input column where the taps of `pixels` outputs from column `out_x` on begin, if all of them lie
    /// in the picture.
    #[inline(always)]
    fn inside(&self, out_x: usize, pixels: usize) -> Option<usize> {
        let from = (out_x * self.stride).checked_sub(self.left)?;
        (from + (pixels - 1) * self.stride + self.kernel <= self.width).then_some(from)
    }

    /// The input column that column `kx` of the kernel reads for output column `out_x`, if it lies in the
    /// picture.
    #[inline(always)]
    fn column(&self, out_x: usize, kx: usize) -> Option<usize> {
        (out_x * self.stride + kx).checked_sub(self.left).filter(|&at| at < self.width)
    }

    /// Forward for the `PIXELS` outputs from column `out_x` of row `y` on.
    #[inline(always)]
    fn pixels<const WIDE: usize, const PIXELS: usize, const FUSED: bool>(
        &self,
        (x, weight, bias): (&[f32], &[f32], &[f32]),
        activation: Activation,
        (y, out_x): (usize, usize),
        out_row: &mut [f32],
    ) {
        let mut first = 0;
        while first + WIDE <= self.channels {
            self.sums::<WIDE, PIXELS, FUSED>((x, weight, bias), activation, (y, out_x, first), out_row);
            first += WIDE;
        }
        while first + 16 <= self.channels {
            self.sums::<16, PIXELS, FUSED>((x, weight, bias), activation, (y, out_x, first), out_row);
            first += 16;
        }
        while first < self.channels {
            self.sums::<1, PIXELS, FUSED>((x, weight, bias), activation, (y, out_x, first), out_row);
            first += 1;
        }
    }

    #[expect(
        clippy::needless_range_loop,
        reason = "counted loops over arrays of known length become registers"
    )]
    #[inline(always)]
    fn sums<const LANES: usize, const PIXELS: usize, const FUSED: bool>(
        &self,
        (x, weight, bias): (&[f32], &[f32], &[f32]),
        activation: Activation,
        (y, out_x, first): (usize, usize, usize),
        out_row: &mut [f32],
    ) {
        let start: [f32; LANES] = bias[first..first + LANES].try_into().expect("a slice of that length");
        let mut sums = [start; PIXELS];
        let step = self.stride * self.channels;
        let inside = self.inside(out_x, PIXELS);
        for ky in 0..self.kernel {
            let Some(row) = self.row(x, y, ky) else { continue };
            let weight = &weight[ky * self.kernel * self.channels..][..self.kernel * self.channels];
            if let Some(from) = inside {
                let reach = (PIXELS - 1) * step + (self.kernel - 1) * self.channels + LANES;
                let row = &row[from * self.channels + first..][..reach];
                for kx in 0..self.kernel {
                    let at = kx * self.channels;
                    let w = &weight[at + first..][..LANES];
                    for pixel in 0..PIXELS {
                        // SAFETY: the largest start is `reach - LANES`.
                        let x = unsafe { row.get_unchecked(at + pixel * step..at + pixel * step + LANES) };
                        for lane in 0..LANES {
                            sums[pixel][lane] = fma::<FUSED>(x[lane], w[lane], sums[pixel][lane]);
                        }
                    }
                }
                continue;
            }
            for kx in 0..self.kernel {
                let w = &weight[kx * self.channels + first..][..LANES];
                for pixel in 0..PIXELS {
                    let Some(at) = self.column(out_x + pixel, kx) else { continue };
                    let x = &row[at * self.channels + first..][..LANES];
                    for lane in 0..LANES {
                        sums[pixel][lane] = fma::<FUSED>(x[lane], w[lane], sums[pixel][lane]);
                    }
                }
            }
        }
        for pixel in 0..PIXELS {
            let out = &mut out_row[(out_x + pixel) * self.channels + first..][..LANES];
            for lane in 0..LANES {
                out[lane] = activation.apply(sums[pixel][lane]);
            }
        }
    }

    /// Every output row of one picture.
    #[inline(always)]
    fn forward<const WIDE: usize, const FUSED: bool>(
        &self,
        x: &[f32],
        weight: &[f32],
        bias: &[f32],
        activation: Activation,
        out: &mut [f32],
    ) {
        let operands = (x, weight, bias);
        for (y, out_row) in out.chunks_exact_mut(self.out_width * self.channels).enumerate() {
            let mut out_x = 0;
            while out_x < self.out_width {
                if self.out_width < ACROSS {
                    self.pixels::<WIDE, 1, FUSED>(operands, activation, (y, out_x), out_row);
                    out_x += 1;
                } else {
                    // The last few begin earlier and are computed twice rather than one by one.
                    let from = out_x.min(self.out_width - ACROSS);
                    self.pixels::<WIDE, ACROSS, FUSED>(operands, activation, (y, from), out_row);
                    out_x += ACROSS;
                }
            }
        }
    }

    /// Adds one picture to the gradient of the weights.
    #[inline(always)]
    fn grad_weight<const WIDE: usize, const FUSED: bool>(
        &self,
        x: &[f32],
        g: &[f32],
        grad_weight: &mut [f32],
    ) {
        for (y, g) in g.chunks_exact(self.out_width * self.channels).enumerate() {
            for (ky, sums) in grad_weight.chunks_exact_mut(self.kernel * self.channels).enumerate() {
                let Some(row) = self.row(x, y, ky) else { continue };
                match self.kernel {
                    5 => self.grad_kernel_row::<WIDE, 5, FUSED>(row, g, 0, sums),
                    3 => self.grad_kernel_row::<WIDE, 3, FUSED>(row, g, 0, sums),
                    _ => (0..self.kernel)
                        .for_each(|kx| self.grad_kernel_row::<WIDE, 1, FUSED>(row, g, kx, sums)),
                }
            }
        }
    }

    /// One row of outputs and one row of the kernel, `KERNEL` columns of it from `kx` on.
    #[inline(always)]
    fn grad_kernel_row<const WIDE: usize, const KERNEL: usize, const FUSED: bool>(
        &self,
        row: &[f32],
        g: &[f32],
        kx: usize,
        grad_weight: &mut [f32],
    ) {
        let mut first = 0;
        while first + WIDE <= self.channels {
            self.grad_taps::<WIDE, KERNEL, FUSED>(row, g, (kx, first), grad_weight);
            first += WIDE;
        }
        while first + 16 <= self.channels {
            self.grad_taps::<16, KERNEL, FUSED>(row, g, (kx, first), grad_weight);
            first += 16;
        }
        while first < self.channels {
            self.grad_taps::<1, KERNEL, FUSED>(row, g, (kx, first), grad_weight);
            first += 1;
        }
    }

    #[expect(
        clippy::needless_range_loop,
        reason = "counted loops over arrays of known length become registers"
    )]
    #[inline(always)]
    fn grad_taps<const LANES: usize, const KERNEL: usize, const FUSED: bool>(
        &self,
        row: &[f32],
        g: &[f32],
        (from_kx, first): (usize, usize),
        grad_weight: &mut [f32],
    ) {
        let mut sums = [[0.0f32; LANES]; KERNEL];
        for out_x in 0..self.out_width {
            let g = &g[out_x * self.channels + first..][..LANES];
            if let Some(from) = self.inside(out_x, 1) {
                let reach = (KERNEL - 1) * self.channels + LANES;
                let row = &row[(from + from_kx) * self.channels + first..][..reach];
                for kx in 0..KERNEL {
                    let at = kx * self.channels;
                    // SAFETY: the largest start is `reach - LANES`.
                    let x = unsafe { row.get_unchecked(at..at + LANES) };
                    for lane in 0..LANES {
                        sums[kx][lane] = fma::<FUSED>(x[lane], g[lane], sums[kx][lane]);
                    }
                }
                continue;
            }
            for kx in 0..KERNEL {
                let Some(at) = self.column(out_x, from_kx + kx) else { continue };
                let x = &row[at * self.channels + first..][..LANES];
                for lane in 0..LANES {
                    sums[kx][lane] = fma::<FUSED>(x[lane], g[lane], sums[kx][lane]);
                }
            }
        }
        for kx in 0..KERNEL {
            let to = &mut grad_weight[(from_kx + kx) * self.channels + first..][..LANES];
            for lane in 0..LANES {
                to[lane] += sums[kx][lane];
            }
        }
    }

    #[inline(always)]
    fn scatter<const FUSED: bool>(&self, weight: &[f32], g: &[f32], grad_x: &mut [f32]) {
        let channels = self.channels;
        for (pixel, g) in g.chunks_exact(channels).enumerate() {
            let (out_y, out_x) = (pixel / self.out_width, pixel % self.out_width);
            for (tap, weight) in weight.chunks_exact(channels).enumerate() {
                let y = (out_y * self.stride + tap / self.kernel).wrapping_sub(self.top);
                let x = (out_x * self.stride + tap % self.kernel).wrapping_sub(self.left);
                if y >= self.height || x >= self.width {
                    continue;
                }
                let to = &mut grad_x[(y * self.width + x) * channels..][..channels];
                for ((sum, &w), &g) in to.iter_mut().zip(weight).zip(g) {
                    *sum = fma::<FUSED>(w, g, *sum);
                }
            }
        }
    }
}
