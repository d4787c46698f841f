//! Dense convolution of a few pictures: blocks of output rows, across pictures, are laid out as a
//! matrix (im2col) and multiplied; a 1 x 1 convolution is multiplied as it lies.

use super::{Activation, Conv, PIXELS};
use crate::matmul::{Matrix, matmul};
use crate::widest::widest;

/// Values of the larger side of one block's product: a mebibyte of f32, the size of a second-level cache.
const BLOCK: usize = 1 << 18;

/// Pictures taken together so that one product has enough rows.
pub(super) fn pictures_per_group(conv: &Conv) -> usize {
    let (height, width) = conv.output();
    (PIXELS / (height * width)).max(1)
}

fn rows_per_block(conv: &Conv, taps: usize) -> usize {
    let (_, width) = conv.output();
    (BLOCK / (width * taps.max(conv.filters()))).max(1)
}

pub(super) fn forward(
    conv: &Conv,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
    out: &mut [f32],
) {
    let (filters, taps) = (conv.filters(), conv.kernel * conv.kernel * conv.channels);
    let (_, width) = conv.output();
    let weight = Matrix::new(weight, taps, filters);
    let rows = rows_per_block(conv, taps);
    let mut columns = Vec::new();
    for (block, out) in out.chunks_mut(rows * width * filters).enumerate() {
        let pixels = out.len() / filters;
        let columns = lay_out(conv, x, block * rows, pixels / width, &mut columns);
        matmul(Matrix::new(columns, pixels, taps), weight, out, false);
        finish(activation, bias, out);
    }
}

widest! {
    /// Bias and activation.
    fn finish(activation: Activation, bias: &[f32], out: &mut [f32]);
    avx512: finish_body, avx2: finish_body, plain: finish_body
}

#[inline(always)]
fn finish_body(activation: Activation, bias: &[f32], out: &mut [f32]) {
    for row in out.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(v, &b)| *v = activation.apply(*v + b));
    }
}

/// `grad_x` is given as zeros; `grad_weight` is added to.
pub(super) fn backward(
    conv: &Conv,
    x: &[f32],
    weight: &[f32],
    g: &[f32],
    mut grad_x: Option<&mut [f32]>,
    grad_weight: &mut [f32],
) {
    let (filters, taps) = (conv.filters(), conv.kernel * conv.kernel * conv.channels);
    let (_, width) = conv.output();
    let weight = Matrix::new(weight, taps, filters);
    let rows = rows_per_block(conv, taps);
    let mut columns = Vec::new();
    let mut grad_columns = Vec::new();
    for (block, g) in g.chunks(rows * width * filters).enumerate() {
        let pixels = g.len() / filters;
        let g = Matrix::new(g, pixels, filters);
        let columns = lay_out(conv, x, block * rows, pixels / width, &mut columns);
        matmul(Matrix::new(columns, pixels, taps).transposed(), g, grad_weight, true);
        let Some(grad_x) = grad_x.as_deref_mut() else { continue };
        if conv.is_pointwise() {
            let first = block * rows * width * taps;
            matmul(g, weight.transposed(), &mut grad_x[first..first + pixels * taps], false);
        } else {
            grad_columns.resize(pixels * taps, 0.0);
            matmul(g, weight.transposed(), &mut grad_columns, false);
            gather_back(conv, &grad_columns, block * rows, pixels / width, grad_x);
        }
    }
}

/// The matrix `[pixels, kernel * kernel * channels]` of output rows `first .. first + rows`, counted
/// through all pictures.
fn lay_out<'a>(conv: &Conv, x: &'a [f32], first: usize, rows: usize, columns: &'a mut Vec<f32>) -> &'a [f32] {
    let (_, width) = conv.output();
    let channels = conv.channels;
    if conv.is_pointwise() {
        return &x[first * width * channels..(first + rows) * width * channels];
    }
    columns.resize(rows * width * conv.kernel * conv.kernel * channels, 0.0);
    for_each_run(conv, first, rows, |at, len, source| {
        let to = &mut columns[at..at + len];
        match source {
            Some(from) => to.copy_from_slice(&x[from..from + len]),
            None => to.fill(0.0),
        }
    });
    columns
}

/// Adds each column's gradient to the input value that it was copied from.
fn gather_back(conv: &Conv, grad_columns: &[f32], first: usize, rows: usize, grad_x: &mut [f32]) {
    for_each_run(conv, first, rows, |at, len, source| {
        if let Some(from) = source {
            let to = &mut grad_x[from..from + len];
            to.iter_mut().zip(&grad_columns[at..at + len]).for_each(|(sum, &v)| *sum += v);
        }
    });
}

/// Calls `visit(position in the column matrix, values, position in the pictures)` for the taps of some
/// output rows: the taps of a kernel row lie side by side in the picture too, those outside come apart.
#[inline(always)]
fn for_each_run(conv: &Conv, first: usize, rows: usize, mut visit: impl FnMut(usize, usize, Option<usize>)) {
    let (height, width) = conv.output();
    let (top, left) = conv.before();
    let channels = conv.channels;
    let kernel_row = conv.kernel * channels;
    let mut at = 0;
    for row in first..first + rows {
        let picture = row / height * conv.input_len();
        for out_x in 0..width {
            let start = out_x * conv.stride;
            // Columns of the kernel before, in and after the picture.
            let before = left.saturating_sub(start).min(conv.kernel);
            let end = (conv.width + left).saturating_sub(start).clamp(before, conv.kernel);
            for ky in 0..conv.kernel {
                match conv.source(row % height, ky, top, conv.height) {
                    Some(y) if before == 0 && end == conv.kernel => {
                        let from = picture + (y * conv.width + start - left) * channels;
                        visit(at, kernel_row, Some(from));
                    }
                    Some(y) if before < end => {
                        let from = picture + (y * conv.width + start + before - left) * channels;
                        visit(at, before * channels, None);
                        visit(at + before * channels, (end - before) * channels, Some(from));
                        visit(at + end * channels, (conv.kernel - end) * channels, None);
                    }
                    _ => visit(at, kernel_row, None),
                }
                at += kernel_row;
            }
        }
    }
}
