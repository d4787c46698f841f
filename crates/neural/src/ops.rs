//! Our own convolution and batch normalisation as operations of the autodiff graph.
//!
//! Pictures are `[batch, height, width, channels]`. The arithmetic, forward and backward, lives in
//! `kernels`; this file only carries tensors there and gradients back.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};
use kernels::{Activation, Conv, Moments};

/// A convolution with its bias and activation, weights flat.
///
/// # Shapes
/// - `x`: `[batch, height, width, channels]`
/// - `weight`: `[kernel * kernel * channels * filters]`, see [`kernels::Conv`]
/// - `bias`: `[filters]`
/// - output: `[batch, out_height, out_width, filters]`
pub(crate) fn conv(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    geometry: Conv,
    activation: Activation,
) -> Tensor<4> {
    let out = <Dispatch as NetBackend>::conv(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        Layer { geometry, activation },
    );
    Tensor::from_dispatch(out)
}

/// Batch normalisation by the batch's own moments, which come back as `[2 * channels]`: means, then
/// biased variances.
///
/// # Shapes
/// - `x` and output: `[batch, height, width, channels]`
/// - `gamma`, `beta`: `[channels]`
pub(crate) fn batch_norm(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    activation: Activation,
) -> (Tensor<4>, Tensor<1>) {
    let x = x.into_dispatch();
    let moments = <Dispatch as NetBackend>::moments(x.clone());
    let out = <Dispatch as NetBackend>::normalise(
        x,
        gamma.into_dispatch(),
        beta.into_dispatch(),
        moments.clone(),
        Normalise { activation },
    );
    (Tensor::from_dispatch(out), Tensor::from_dispatch(moments))
}

/// A convolution's plain arguments.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    geometry: Conv,
    activation: Activation,
}

/// A batch normalisation's plain arguments.
#[derive(Clone, Copy, Debug)]
pub struct Normalise {
    activation: Activation,
}

/// The operations a backend must bring; their gradients are in [`NetGradients`].
#[backend_extension(Flex, Autodiff)]
pub trait NetBackend: Backend {
    /// Convolution, bias, activation.
    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self>;

    /// Means and variances over all but the last axis, `[2 * channels]`; carries no gradient.
    fn moments(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Normalisation by the moments of `x`, scale, shift, activation.
    fn normalise(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        moments: FloatTensor<Self>,
        how: Normalise,
    ) -> FloatTensor<Self>;
}

/// Gradients of [`NetBackend`]'s operations, in the order of their arguments.
pub trait NetGradients: NetBackend {
    /// Of the input (if wanted), the weights and the bias.
    fn conv_backward(
        state: &ConvState<Self>,
        grad: FloatTensor<Self>,
        want_input: bool,
    ) -> ConvGradients<Self>;

    /// Of the input, gamma and beta.
    fn normalise_backward(state: &NormState<Self>, grad: FloatTensor<Self>) -> [FloatTensor<Self>; 3];
}

/// What a convolution's backward pass needs of its forward pass.
#[derive(Clone, Debug)]
pub struct ConvState<B: Backend> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    out: FloatTensor<B>,
    layer: Layer,
}

/// What a convolution's backward pass gives.
#[derive(Clone, Debug)]
pub struct ConvGradients<B: Backend> {
    x: Option<FloatTensor<B>>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
}

/// What a normalisation's backward pass needs of its forward pass.
#[derive(Clone, Debug)]
pub struct NormState<B: Backend> {
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    moments: FloatTensor<B>,
    out: FloatTensor<B>,
    how: Normalise,
}

/// The values of a tensor, laid out row-major.
fn contiguous(tensor: &FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() { tensor.clone() } else { tensor.to_contiguous() }
}

fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("`contiguous` made it so, and training runs in f32")
}

fn tensor(values: Vec<f32>, shape: impl Into<Vec<usize>>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}

fn split(moments: &FlexTensor) -> Moments {
    let (mean, variance) = values(moments).split_at(values(moments).len() / 2);
    Moments { mean: mean.to_vec(), variance: variance.to_vec() }
}

impl NetBackend for Flex {
    fn conv(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, layer: Layer) -> FlexTensor {
        let (x, weight, bias) = (contiguous(&x), contiguous(&weight), contiguous(&bias));
        let conv = layer.geometry;
        let mut out = vec![0.0; conv.batch * conv.output_len()];
        conv.forward(values(&x), values(&weight), values(&bias), layer.activation, &mut out);
        let (height, width) = conv.output();
        tensor(out, [conv.batch, height, width, conv.filters()])
    }

    fn moments(x: FlexTensor) -> FlexTensor {
        let x = contiguous(&x);
        let channels = x.layout().shape()[3];
        let Moments { mut mean, variance } = kernels::moments(values(&x), channels);
        mean.extend(variance);
        tensor(mean, [2 * channels])
    }

    fn normalise(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        moments: FlexTensor,
        how: Normalise,
    ) -> FlexTensor {
        let (x, gamma, beta) = (contiguous(&x), contiguous(&gamma), contiguous(&beta));
        let out = kernels::batch_norm(
            values(&x),
            &split(&contiguous(&moments)),
            values(&gamma),
            values(&beta),
            how.activation,
        );
        tensor(out, x.layout().shape().to_vec())
    }
}

impl NetGradients for Flex {
    fn conv_backward(state: &ConvState<Self>, grad: FlexTensor, want_input: bool) -> ConvGradients<Self> {
        let (x, weight) = (contiguous(&state.x), contiguous(&state.weight));
        let (out, grad) = (contiguous(&state.out), contiguous(&grad));
        let Layer { geometry, activation } = state.layer;
        let grads = geometry.backward(
            values(&x),
            values(&weight),
            values(&out),
            activation,
            values(&grad),
            want_input,
        );
        let (weights, filters) = (grads.weight.len(), grads.bias.len());
        ConvGradients {
            x: want_input.then(|| tensor(grads.input, x.layout().shape().to_vec())),
            weight: tensor(grads.weight, [weights]),
            bias: tensor(grads.bias, [filters]),
        }
    }

    fn normalise_backward(state: &NormState<Self>, grad: FlexTensor) -> [FlexTensor; 3] {
        let (x, gamma) = (contiguous(&state.x), contiguous(&state.gamma));
        let (out, grad) = (contiguous(&state.out), contiguous(&grad));
        let grads = kernels::batch_norm_backward(
            values(&x),
            values(&out),
            &split(&contiguous(&state.moments)),
            values(&gamma),
            state.how.activation,
            values(&grad),
        );
        let channels = grads.gamma.len();
        [
            tensor(grads.input, x.layout().shape().to_vec()),
            tensor(grads.gamma, [channels]),
            tensor(grads.beta, [channels]),
        ]
    }
}

#[derive(Debug)]
struct ConvBackward;

impl<B: NetGradients> Backward<B, 3> for ConvBackward {
    type State = ConvState<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [x, weight, bias] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let found = B::conv_backward(&ops.state, grad, x.is_some());
        for (node, grad) in [(x, found.x), (weight, Some(found.weight)), (bias, Some(found.bias))] {
            if let (Some(node), Some(grad)) = (node, grad) {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

#[derive(Debug)]
struct BatchNormBackward;

impl<B: NetGradients> Backward<B, 3> for BatchNormBackward {
    type State = NormState<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let found = B::normalise_backward(&ops.state, grad);
        for (node, grad) in ops.parents.into_iter().zip(found) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

impl<B: NetGradients, C: CheckpointStrategy> NetBackend for Autodiff<B, C> {
    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        layer: Layer,
    ) -> FloatTensor<Self> {
        let prepared = ConvBackward.prepare::<C>([x.node(), weight.node(), bias.node()]).compute_bound();
        let out = B::conv(x.primitive().clone(), weight.primitive().clone(), bias.into_primitive(), layer);
        match prepared.stateful() {
            OpsKind::Tracked(prepared) => {
                let state = ConvState {
                    x: x.into_primitive(),
                    weight: weight.into_primitive(),
                    out: out.clone(),
                    layer,
                };
                prepared.finish(state, out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        }
    }

    fn moments(x: FloatTensor<Self>) -> FloatTensor<Self> {
        FloatTensor::<Self>::new(B::moments(x.into_primitive()))
    }

    fn normalise(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        moments: FloatTensor<Self>,
        how: Normalise,
    ) -> FloatTensor<Self> {
        let prepared = BatchNormBackward.prepare::<C>([x.node(), gamma.node(), beta.node()]).compute_bound();
        let moments = moments.into_primitive();
        let out = B::normalise(
            x.primitive().clone(),
            gamma.primitive().clone(),
            beta.into_primitive(),
            moments.clone(),
            how,
        );
        match prepared.stateful() {
            OpsKind::Tracked(prepared) => {
                let (x, gamma) = (x.into_primitive(), gamma.into_primitive());
                prepared.finish(NormState { x, gamma, moments, out: out.clone(), how }, out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution, module, ops::ConvOptions};
    use kernels::{Kind, Padding};

    fn geometry(kind: Kind, kernel: usize, stride: usize) -> Conv {
        Conv { batch: 2, height: 6, width: 5, channels: 4, kind, kernel, stride, padding: Padding::Symmetric }
    }

    /// Our convolution and the framework's own, output and all three gradients.
    #[test]
    fn conv_agrees_with_the_framework() {
        let device = Device::flex().autodiff();
        for (kind, groups, filters) in [(Kind::Dense { filters: 3 }, 1, 3), (Kind::Depthwise, 4, 4)] {
            let conv_shape = geometry(kind, 3, 2);
            let x = Tensor::<4>::random([2, 6, 5, 4], Distribution::Normal(0.0, 1.0), &device).require_grad();
            let per_group = 4 / groups;
            let weight =
                Tensor::<4>::random([filters, per_group, 3, 3], Distribution::Normal(0.0, 1.0), &device)
                    .require_grad();
            let bias = Tensor::<1>::random([filters], Distribution::Normal(0.0, 1.0), &device).require_grad();
            // [filter, channel, ky, kx] -> [ky, kx, channel, filter], flat.
            let ours_weight = match kind {
                Kind::Dense { .. } => weight.clone().permute([2, 3, 1, 0]),
                Kind::Depthwise => weight.clone().permute([2, 3, 1, 0]),
            }
            .reshape([-1]);
            let ours = conv(x.clone(), ours_weight, bias.clone(), conv_shape, Activation::Relu);
            let theirs = burn::tensor::activation::relu(
                module::conv2d(
                    x.clone().permute([0, 3, 1, 2]),
                    weight.clone(),
                    Some(bias.clone()),
                    ConvOptions::new([2, 2], [1, 1], [1, 1], groups),
                )
                .permute([0, 2, 3, 1]),
            );
            ours.clone().into_data().assert_approx_eq::<f32>(
                &theirs.clone().into_data(),
                burn::tensor::Tolerance::absolute(1e-4),
            );
            let pattern = Tensor::<4>::random(ours.shape(), Distribution::Normal(0.0, 1.0), &device);
            let ours = (ours * pattern.clone()).sum().backward();
            let theirs = (theirs * pattern).sum().backward();
            let tolerance = burn::tensor::Tolerance::absolute(1e-3);
            x.grad(&ours)
                .unwrap()
                .into_data()
                .assert_approx_eq::<f32>(&x.grad(&theirs).unwrap().into_data(), tolerance);
            weight
                .grad(&ours)
                .unwrap()
                .into_data()
                .assert_approx_eq::<f32>(&weight.grad(&theirs).unwrap().into_data(), tolerance);
            bias.grad(&ours)
                .unwrap()
                .into_data()
                .assert_approx_eq::<f32>(&bias.grad(&theirs).unwrap().into_data(), tolerance);
        }
    }

    #[test]
    fn batch_norm_carries_gradients_and_moments() {
        let device = Device::flex().autodiff();
        let x = Tensor::<4>::random([3, 2, 2, 2], Distribution::Normal(5.0, 2.0), &device).require_grad();
        let gamma = Tensor::<1>::from_floats([1.5, 0.5], &device).require_grad();
        let beta = Tensor::<1>::from_floats([0.1, -0.1], &device).require_grad();
        let (out, moments) = batch_norm(x.clone(), gamma.clone(), beta.clone(), Activation::None);
        let flat = x.clone().reshape([12, 2]);
        let (variance, mean) = flat.clone().var_mean_bias(0);
        let theirs = ((flat - mean.clone()) / (variance.clone() + 1e-5).sqrt()) * gamma.clone().unsqueeze()
            + beta.clone().unsqueeze();
        let tolerance = burn::tensor::Tolerance::absolute(1e-4);
        out.clone()
            .reshape([12, 2])
            .into_data()
            .assert_approx_eq::<f32>(&theirs.clone().into_data(), tolerance);
        let want = Tensor::cat(vec![mean.reshape([2]), variance.reshape([2])], 0);
        moments.into_data().assert_approx_eq::<f32>(&want.into_data(), tolerance);
        let ours = out.reshape([12, 2]).powf_scalar(3.0).sum().backward();
        let theirs = theirs.powf_scalar(3.0).sum().backward();
        let tolerance = burn::tensor::Tolerance::absolute(1e-2);
        for parameter in [&gamma, &beta] {
            parameter
                .grad(&ours)
                .unwrap()
                .into_data()
                .assert_approx_eq::<f32>(&parameter.grad(&theirs).unwrap().into_data(), tolerance);
        }
        x.grad(&ours)
            .unwrap()
            .into_data()
            .assert_approx_eq::<f32>(&x.grad(&theirs).unwrap().into_data(), tolerance);
    }
}
