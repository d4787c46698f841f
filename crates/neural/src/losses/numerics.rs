//! The few operations that need care in floating point, once for all losses.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData, activation};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Under the root: its slope at a distance of zero would be infinite.
pub(super) const SMALLEST_SQUARE: f32 = 1e-8;

/// Square root of values that are not negative, with a slope of at most 5,000.
pub(super) fn root<const D: usize>(square: Tensor<D>) -> Tensor<D> {
    square.add_scalar(SMALLEST_SQUARE).sqrt()
}

/// `ln(1 + e^x)`, without overflow and with slope 1/2 at 0.
pub(super) fn softplus<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::log_sigmoid(x.neg()).neg()
}

/// `ln sum e^x` over the masked entries of each row, `[rows]`; a row without any is 0, and so is its slope.
pub(super) fn log_sum_exp(x: Tensor<2>, mask: Tensor<2, Bool>) -> Tensor<1> {
    let most = masked_most(&x, &mask);
    let sum = masked_exp(x - most.clone(), &mask).sum_dim(1);
    let filled = mask.float().sum_dim(1).clamp_max(1.0);
    // An empty row's sum of 0 becomes 1 before the logarithm.
    let empty = filled.clone().neg().add_scalar(1.0);
    ((sum + empty).log() + most * filled).reshape([-1])
}

/// `ln(1 + sum e^x)` over the masked entries of each row, `[rows]`.
pub(super) fn log_one_plus_sum_exp(x: Tensor<2>, mask: &Tensor<2, Bool>) -> Tensor<1> {
    let most = masked_most(&x, mask).clamp_min(0.0);
    let sum = masked_exp(x - most.clone(), mask).sum_dim(1);
    ((sum + most.clone().neg().exp()).log() + most).reshape([-1])
}

/// The largest masked entry of each row, `[rows, 1]`, without gradient; 0 for an empty row.
fn masked_most(x: &Tensor<2>, mask: &Tensor<2, Bool>) -> Tensor<2> {
    let most = x.clone().detach().mask_fill(mask.clone().bool_not(), f32::MIN).max_dim(1);
    let empty = most.clone().equal_elem(f32::MIN);
    most.mask_fill(empty, 0.0)
}

/// `e^x` where masked, 0 elsewhere; what is not masked cannot overflow.
fn masked_exp(x: Tensor<2>, mask: &Tensor<2, Bool>) -> Tensor<2> {
    let hidden = mask.clone().bool_not();
    x.mask_fill(hidden.clone(), 0.0).exp().mask_fill(hidden, 0.0)
}

/// `-ln softmax` at each row's class, `[rows]`.
pub(super) fn cross_entropy(logits: Tensor<2>, classes: &[u32]) -> Tensor<1> {
    let at: Vec<usize> = classes.iter().map(|&class| class as usize).collect();
    pick_each(activation::log_softmax(logits, 1), &at).neg()
}

/// The entry of each row in the column named for it, `[rows]`.
pub(super) fn pick_each(x: Tensor<2>, columns: &[usize]) -> Tensor<1> {
    let width = x.dims()[1];
    let flat: Vec<usize> = columns.iter().enumerate().map(|(row, &column)| row * width + column).collect();
    pick(x, &flat)
}

/// Entries of a matrix by their places in row-major order, `[places]`.
pub(super) fn pick<const D: usize>(x: Tensor<D>, places: &[usize]) -> Tensor<1> {
    let device = x.device();
    x.reshape([-1]).select(0, indices(places, &device))
}

/// Rows of a matrix, `[rows, columns]`.
pub(super) fn rows(x: Tensor<2>, places: &[usize]) -> Tensor<2> {
    let device = x.device();
    x.select(0, indices(places, &device))
}

/// Numbers as a tensor of indices.
pub(super) fn indices(places: &[usize], device: &Device) -> Tensor<1, Int> {
    let places: Vec<i64> = places.iter().map(|&place| place as i64).collect();
    let count = places.len();
    Tensor::from_data(TensorData::new(places, [count]), device)
}

/// True in each row at its class, `[rows, count]`.
pub(super) fn one_hot(classes: &[u32], count: usize, device: &Device) -> Tensor<2, Bool> {
    let mut mask = vec![false; classes.len() * count];
    classes.iter().enumerate().for_each(|(row, &class)| mask[row * count + class as usize] = true);
    Tensor::from_data(TensorData::new(mask, [classes.len(), count]), device)
}

/// Random rows of about unit length, `rows x dim`.
pub(super) fn about_unit(rows: usize, dim: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let shrink = 1.0 / (dim as f32).sqrt();
    let draw = |_| -> f32 { StandardNormal.sample(&mut *rng) };
    (0..rows * dim).map(draw).map(|v| v * shrink).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::floats;

    fn close(got: &[f32], want: &[f32]) {
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5), "{got:?} {want:?}");
    }

    #[test]
    fn masked_sums_by_hand() {
        let device = Device::flex().autodiff();
        // Row 0: ln(e^0 + e^1) = 1.313262; row 1 empty; row 2: 200 alone, beyond where e^x overflows.
        let x = Tensor::<2>::from_floats([[0.0, 1.0, 900.0], [5.0, 6.0, 7.0], [1.0, 200.0, 3.0]], &device);
        let x = x.require_grad();
        let mask = || {
            let mask = [[true, true, false], [false, false, false], [false, true, false]];
            Tensor::<2, Bool>::from_data(mask, &device)
        };
        let got = log_sum_exp(x.clone(), mask());
        close(&floats(got.clone()), &[1.313_262, 0.0, 200.0]);
        let slopes = floats(x.grad(&got.sum().backward()).unwrap());
        close(&slopes, &[0.268_941, 0.731_059, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        // With the extra 1: ln(1 + 1 + e) = 1.551445, ln 1 = 0, 200.
        let got = log_one_plus_sum_exp(x.clone(), &mask());
        close(&floats(got.clone()), &[1.551_445, 0.0, 200.0]);
        let slopes = floats(x.grad(&got.sum().backward()).unwrap());
        close(&slopes, &[0.211_942, 0.576_117, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn soft_and_root_keep_a_slope_at_zero() {
        let device = Device::flex().autodiff();
        let x = Tensor::<1>::from_floats([0.0, 100.0, -100.0], &device).require_grad();
        let got = softplus(x.clone());
        close(&floats(got.clone()), &[std::f32::consts::LN_2, 100.0, 0.0]);
        close(&floats(x.grad(&got.sum().backward()).unwrap()), &[0.5, 1.0, 0.0]);
        let got = root(x.clone().narrow(0, 0, 1));
        close(&floats(got.clone()), &[1e-4]);
        close(&floats(x.grad(&got.sum().backward()).unwrap()), &[5000.0, 0.0, 0.0]);
    }
}
