//! A convolutional network as data: blocks of convolutions, each with an optional skip around it.
//!
//! A backbone's file only lists its blocks; forward passes, initialisation and folding are here.
//! Blocks are also the points at which a network can be cut: what comes before is frozen (and can be
//! cached), what comes after is trained.

use crate::ops;
use crate::weights::{Array, Bound, Weights};
use burn::tensor::{Tensor, activation};
use kernels::{Activation, Conv, Kind, Padding};
use rand::Rng;
use rand_distr::{Distribution, Normal};
use std::cell::RefCell;
use std::ops::Range;

/// What stands between a convolution's weights and its activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Norm {
    /// A fixed scale a filter (a normalisation that was folded when the weights were made) and a bias.
    Affine,
    /// Batch normalisation.
    Batch,
}

/// A convolution, its normalisation and its activation.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub name: String,
    pub channels: usize,
    pub kind: Kind,
    pub kernel: usize,
    pub stride: usize,
    pub padding: Padding,
    pub norm: Norm,
    pub activation: Activation,
}

impl Layer {
    fn filters(&self) -> usize {
        match self.kind {
            Kind::Dense { filters } => filters,
            Kind::Depthwise => self.channels,
        }
    }

    /// Rows of the weights as a matrix with a column a filter.
    fn taps(&self) -> usize {
        self.kernel * self.kernel * if self.kind == Kind::Depthwise { 1 } else { self.channels }
    }

    fn part(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }

    fn needs(&self) -> Vec<(String, Vec<usize>)> {
        let vectors: &[&str] = match self.norm {
            Norm::Affine => &["scale", "bias"],
            Norm::Batch => &["gamma", "beta", "mean", "variance"],
        };
        let mut needs = vec![(self.part("weight"), vec![self.taps(), self.filters()])];
        needs.extend(vectors.iter().map(|part| (self.part(part), vec![self.filters()])));
        needs
    }

    /// He et al. (ICCV 2015) normal weights, neutral normalisation.
    fn init(&self, rng: &mut impl Rng, weights: &mut Weights) {
        let normal = Normal::new(0.0f32, (2.0 / self.taps() as f32).sqrt()).expect("a positive deviation");
        for (name, shape) in self.needs() {
            let len = shape.iter().product();
            let values = match name.rsplit('.').next() {
                Some("weight") => normal.sample_iter(&mut *rng).take(len).collect(),
                Some("scale" | "gamma" | "variance") => vec![1.0; len],
                _ => vec![0.0; len],
            };
            weights.insert(name, Array { shape, values });
        }
    }

    /// Weights and bias alone, the normalisation multiplied in.
    fn fold(&self, from: &Weights, to: &mut Weights) {
        let get = |part: &str| from.get(&self.part(part)).expect("weights were checked");
        let (scale, bias) = match self.norm {
            Norm::Affine => (get("scale").values.clone(), get("bias").values.clone()),
            Norm::Batch => {
                let (mean, variance) = (get("mean").values.clone(), get("variance").values.clone());
                let moments = kernels::Moments { mean, variance };
                kernels::scale_and_shift(&moments, &get("gamma").values, &get("beta").values)
            }
        };
        let mut weight = get("weight").clone();
        for row in weight.values.chunks_exact_mut(self.filters()) {
            row.iter_mut().zip(&scale).for_each(|(w, &s)| *w *= s);
        }
        to.insert(self.part("weight"), weight);
        to.insert(self.part("bias"), Array::flat(bias));
    }

    fn forward(&self, pass: &Pass<'_>, x: Tensor<4>) -> Tensor<4> {
        let [batch, height, width, channels] = x.dims();
        let geometry = Conv {
            batch,
            height,
            width,
            channels,
            kind: self.kind,
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
        };
        let weight = pass.bound.flat(&self.part("weight"));
        let vector = |part: &str| pass.bound.flat(&self.part(part));
        if let Form::Folded = pass.form {
            return ops::conv(x, weight, vector("bias"), geometry, self.activation);
        }
        match self.norm {
            Norm::Affine => {
                let weight = weight.reshape([self.taps(), self.filters()]) * vector("scale").unsqueeze();
                ops::conv(x, weight.reshape([-1]), vector("bias"), geometry, self.activation)
            }
            Norm::Batch => {
                let none = Tensor::zeros([self.filters()], &x.device());
                let x = ops::conv(x, weight, none, geometry, Activation::None);
                let (x, moments) = ops::batch_norm(x, vector("gamma"), vector("beta"), self.activation);
                pass.moments.borrow_mut().push((self.name.clone(), moments));
                x
            }
        }
    }
}

/// What is added to a block's result.
#[derive(Clone, Debug)]
pub(crate) enum Skip {
    None,
    Identity,
    Projection(Layer),
}

/// A chain of layers with an optional skip around it.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub layers: Vec<Layer>,
    pub skip: Skip,
    /// Follows the sum.
    pub after: Activation,
}

impl Block {
    fn all_layers(&self) -> impl Iterator<Item = &Layer> {
        let projection = match &self.skip {
            Skip::Projection(layer) => Some(layer),
            Skip::None | Skip::Identity => None,
        };
        self.layers.iter().chain(projection)
    }

    fn forward(&self, pass: &Pass<'_>, input: Tensor<4>) -> Tensor<4> {
        let skip = match &self.skip {
            Skip::None => None,
            Skip::Identity => Some(input.clone()),
            Skip::Projection(layer) => Some(layer.forward(pass, input.clone())),
        };
        let x = self.layers.iter().fold(input, |x, layer| layer.forward(pass, x));
        let x = match skip {
            None => x,
            Some(skip) => x + skip,
        };
        match self.after {
            Activation::None => x,
            Activation::Relu => activation::relu(x),
            Activation::Relu6 => x.clamp(0.0, 6.0),
        }
    }
}

/// Which arrays a pass reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The stored ones; batch normalisation uses the batch's own moments.
    Stored,
    /// Those made by [`Network::fold`].
    Folded,
}

/// One forward pass.
pub(crate) struct Pass<'a> {
    bound: &'a Bound,
    form: Form,
    /// The batch's moments of each batch-normalised layer, `[2 * filters]`, in order of use.
    pub moments: RefCell<Vec<(String, Tensor<1>)>>,
}

impl<'a> Pass<'a> {
    pub fn new(bound: &'a Bound, form: Form) -> Self {
        Self { bound, form, moments: RefCell::default() }
    }
}

/// A backbone: pictures to a feature map.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub name: &'static str,
    pub blocks: Vec<Block>,
    /// Channels of the last block.
    pub features: usize,
}

impl Network {
    /// Name and shape of every array.
    pub fn needs(&self) -> Vec<(String, Vec<usize>)> {
        self.needs_of(0..self.blocks.len())
    }

    /// Name and shape of every array of some blocks.
    pub fn needs_of(&self, blocks: Range<usize>) -> Vec<(String, Vec<usize>)> {
        self.blocks[blocks].iter().flat_map(Block::all_layers).flat_map(Layer::needs).collect()
    }

    /// Random weights.
    pub fn init(&self, rng: &mut impl Rng) -> Weights {
        let mut weights = Weights::default();
        self.blocks.iter().flat_map(Block::all_layers).for_each(|layer| layer.init(rng, &mut weights));
        weights
    }

    /// Weights for [`Form::Folded`].
    pub fn fold(&self, weights: &Weights) -> Weights {
        let mut folded = Weights::default();
        self.blocks.iter().flat_map(Block::all_layers).for_each(|layer| layer.fold(weights, &mut folded));
        folded
    }

    /// Names of the arrays of some blocks that a gradient may change: not the fixed scales, nor the
    /// running moments.
    pub fn trainable(&self, blocks: Range<usize>) -> Vec<String> {
        let fixed = |name: &str| [".scale", ".mean", ".variance"].iter().any(|end| name.ends_with(end));
        self.needs_of(blocks).into_iter().map(|(name, _)| name).filter(|name| !fixed(name)).collect()
    }

    /// Runs some blocks.
    ///
    /// # Shapes
    /// - `x`: `[batch, height, width, channels]`, the input of the first of them
    pub fn forward(&self, pass: &Pass<'_>, x: Tensor<4>, blocks: Range<usize>) -> Tensor<4> {
        self.blocks[blocks].iter().fold(x, |x, block| block.forward(pass, x))
    }
}

/// Mean over the feature map: `[batch, height, width, channels]` to `[batch, channels]`.
pub(crate) fn average_pool(x: Tensor<4>) -> Tensor<2> {
    let [batch, height, width, channels] = x.dims();
    x.reshape([batch, height * width, channels]).mean_dim(1).reshape([batch, channels])
}

/// The values of a tensor, row-major.
pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("networks run in f32")
}
