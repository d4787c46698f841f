//! Convolutions over pictures in NHWC order, forward and backward.
//!
//! Notation: `x[n][y][x][c]` input, `w` weights, `b` bias, `g` gradient of the output before the
//! activation. A dense convolution's weights are `[kernel * kernel * channels, filters]`, a depthwise
//! one's `[kernel * kernel, channels]`; with channels last both inner loops run over contiguous memory,
//! and a 1 x 1 convolution is one matrix product without any copy.
//!
//! Work is split by picture. Weight gradients are summed in a fixed number of parts that are then
//! added in order, so that every result has the same bits at any number of threads.

mod dense;
mod depthwise;

use crate::widest::widest;
use rayon::prelude::*;

/// What follows the bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `max(0, v)`.
    Relu,
    /// `min(6, max(0, v))`.
    Relu6,
}

impl Activation {
    #[inline(always)]
    pub(crate) fn apply(self, value: f32) -> f32 {
        match self {
            Self::None => value,
            Self::Relu => value.max(0.0),
            Self::Relu6 => value.clamp(0.0, 6.0),
        }
    }

    /// Whether the slope is one at this *output*; it is zero elsewhere.
    #[inline(always)]
    pub(crate) fn passes(self, output: f32) -> bool {
        match self {
            Self::None => true,
            Self::Relu => output > 0.0,
            Self::Relu6 => output > 0.0 && output < 6.0,
        }
    }
}

/// Which channels a filter sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All of them.
    Dense {
        /// Output channels.
        filters: usize,
    },
    /// Its own only: as many filters as channels.
    Depthwise,
}

/// How the border is filled with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// TensorFlow's SAME: `ceil(size / stride)` outputs, the odd zero after the picture.
    Same,
    /// PyTorch's: `kernel / 2` zeros on every side.
    Symmetric,
}

/// The geometry of one convolution over one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Pictures.
    pub batch: usize,
    /// Input rows.
    pub height: usize,
    /// Input columns.
    pub width: usize,
    /// Input channels.
    pub channels: usize,
    /// Dense or depthwise.
    pub kind: Kind,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Step between outputs.
    pub stride: usize,
    /// Border rule.
    pub padding: Padding,
}

impl Conv {
    /// Output channels.
    #[must_use]
    pub fn filters(&self) -> usize {
        match self.kind {
            Kind::Dense { filters } => filters,
            Kind::Depthwise => self.channels,
        }
    }

    fn axis(&self, size: usize) -> (usize, usize) {
        match self.padding {
            Padding::Same => {
                let out = size.div_ceil(self.stride);
                let total = ((out - 1) * self.stride + self.kernel).saturating_sub(size);
                (out, total / 2)
            }
            Padding::Symmetric => {
                let pad = self.kernel / 2;
                ((size + 2 * pad - self.kernel) / self.stride + 1, pad)
            }
        }
    }

    /// Output rows and columns.
    #[must_use]
    pub fn output(&self) -> (usize, usize) {
        (self.axis(self.height).0, self.axis(self.width).0)
    }

    /// Zeros before the first row and before the first column.
    fn before(&self) -> (usize, usize) {
        (self.axis(self.height).1, self.axis(self.width).1)
    }

    /// Values of one input picture.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Values of one output picture.
    #[must_use]
    pub fn output_len(&self) -> usize {
        let (height, width) = self.output();
        height * width * self.filters()
    }

    /// Values of the weights.
    #[must_use]
    pub fn weight_len(&self) -> usize {
        self.kernel
            * self.kernel
            * match self.kind {
                Kind::Dense { filters } => self.channels * filters,
                Kind::Depthwise => self.channels,
            }
    }

    fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1
    }

    /// Input row (or column) that tap `tap` of output `out` reads, if it lies in the picture.
    #[inline(always)]
    fn source(&self, out: usize, tap: usize, before: usize, size: usize) -> Option<usize> {
        (out * self.stride + tap).checked_sub(before).filter(|&at| at < size)
    }

    fn check(&self, x: &[f32], weight: &[f32], bias: &[f32], out: &[f32]) {
        assert!(self.height > 0 && self.width > 0 && self.channels > 0 && self.stride > 0, "{self:?}");
        assert_eq!(x.len(), self.batch * self.input_len(), "input of {self:?}");
        assert_eq!(weight.len(), self.weight_len(), "weights of {self:?}");
        assert_eq!(bias.len(), self.filters(), "bias of {self:?}");
        assert_eq!(out.len(), self.batch * self.output_len(), "output of {self:?}");
    }

    /// `out = activation(x * weight + bias)`.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn forward(&self, x: &[f32], weight: &[f32], bias: &[f32], activation: Activation, out: &mut [f32]) {
        self.check(x, weight, bias, out);
        match self.kind {
            Kind::Dense { .. } => {
                let pictures = dense::pictures_per_group(self);
                out.par_chunks_mut(pictures * self.output_len())
                    .zip(x.par_chunks(pictures * self.input_len()))
                    .for_each(|(out, x)| dense::forward(self, x, weight, bias, activation, out));
            }
            Kind::Depthwise => out
                .par_chunks_mut(self.output_len())
                .zip(x.par_chunks(self.input_len()))
                .for_each(|(out, x)| depthwise::forward(self, x, weight, bias, activation, out)),
        }
    }

    /// Gradients of the input (only if `want_input`), the weights and the bias, given the forward pass's
    /// input and output and the gradient of that output.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    #[must_use]
    pub fn backward(
        &self,
        x: &[f32],
        weight: &[f32],
        output: &[f32],
        activation: Activation,
        grad_output: &[f32],
        want_input: bool,
    ) -> Gradients {
        assert_eq!(grad_output.len(), output.len(), "gradient of {self:?}");
        self.check(x, weight, &vec![0.0; self.filters()], output);
        let group = self.batch.div_ceil(PARTS).max(1);
        let (x_len, out_len) = (group * self.input_len(), group * self.output_len());
        let mut input = vec![0.0; if want_input { x.len() } else { 0 }];
        let mut grad_x: Vec<Option<&mut [f32]>> = input.chunks_mut(x_len).map(Some).collect();
        grad_x.resize_with(self.batch.div_ceil(group), || None);
        let parts: Vec<(Vec<f32>, Vec<f32>)> = grad_x
            .into_par_iter()
            .zip(x.par_chunks(x_len))
            .zip(output.par_chunks(out_len).zip(grad_output.par_chunks(out_len)))
            .map(|((grad_x, x), (output, grad_output))| {
                self.backward_part(x, weight, (output, activation), grad_output, grad_x)
            })
            .collect();
        let mut gradients =
            Gradients { input, weight: vec![0.0; weight.len()], bias: vec![0.0; self.filters()] };
        for (weight, bias) in parts {
            gradients.weight.iter_mut().zip(weight).for_each(|(sum, v)| *sum += v);
            gradients.bias.iter_mut().zip(bias).for_each(|(sum, v)| *sum += v);
        }
        gradients
    }

    /// Backward over some pictures, a few at a time: gradients of the weights and the bias.
    fn backward_part(
        &self,
        x: &[f32],
        weight: &[f32],
        (output, activation): (&[f32], Activation),
        grad_output: &[f32],
        mut grad_x: Option<&mut [f32]>,
    ) -> (Vec<f32>, Vec<f32>) {
        let (mut grad_weight, mut grad_bias) = (vec![0.0; weight.len()], vec![0.0; self.filters()]);
        let pictures = (BLOCK / self.output_len()).max(PIXELS * self.filters() / self.output_len()).max(1);
        let (x_len, out_len) = (pictures * self.input_len(), pictures * self.output_len());
        let mut gated = Vec::new();
        let blocks = x.chunks(x_len).zip(output.chunks(out_len).zip(grad_output.chunks(out_len)));
        for (block, (x, (output, grad_output))) in blocks.enumerate() {
            let first = block * x_len;
            let grad_x = grad_x.as_deref_mut().map(|grad_x| &mut grad_x[first..first + x.len()]);
            let g = match activation {
                Activation::None => grad_output,
                Activation::Relu | Activation::Relu6 => {
                    gated.resize(grad_output.len(), 0.0);
                    gate(activation, output, grad_output, &mut gated);
                    &gated
                }
            };
            add_rows(g, &mut grad_bias);
            match self.kind {
                Kind::Dense { .. } => dense::backward(self, x, weight, g, grad_x, &mut grad_weight),
                Kind::Depthwise => depthwise::backward(self, x, weight, g, grad_x, &mut grad_weight),
            }
        }
        (grad_weight, grad_bias)
    }
}

/// Values of one block's gradient of the output: they are gated, then used while still in the cache.
const BLOCK: usize = 1 << 17;

/// Output pixels worth one product: fewer make it spend its time packing the weights.
const PIXELS: usize = 512;

/// Parts into which a weight gradient's sum is cut, whatever the number of threads.
const PARTS: usize = 8;

/// What [`Conv::backward`] gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// Shaped like the input; empty when it was not wanted.
    pub input: Vec<f32>,
    /// Shaped like the weights.
    pub weight: Vec<f32>,
    /// One value a filter.
    pub bias: Vec<f32>,
}

widest! {
    /// `grad_output` where the activation lets it pass, else 0.
    fn gate(activation: Activation, output: &[f32], grad_output: &[f32], gated: &mut [f32]);
    avx512: gate_body, avx2: gate_body, plain: gate_body
}

#[inline(always)]
fn gate_body(activation: Activation, output: &[f32], grad_output: &[f32], gated: &mut [f32]) {
    for ((&out, &grad), gated) in output.iter().zip(grad_output).zip(gated) {
        *gated = if activation.passes(out) { grad } else { 0.0 };
    }
}

widest! {
    /// Adds every row of `values` to `sums`.
    fn add_rows(values: &[f32], sums: &mut [f32]);
    avx512: add_rows_body, avx2: add_rows_body, plain: add_rows_body
}

#[inline(always)]
fn add_rows_body(values: &[f32], sums: &mut [f32]) {
    for row in values.chunks_exact(sums.len()) {
        sums.iter_mut().zip(row).for_each(|(sum, &v)| *sum += v);
    }
}

#[cfg(test)]
mod tests;
