//! SIMD distances, top-k, matrix tiles, k-means and convolutions: the sole home of SIMD unsafe.

mod batch_norm;
mod conv;
mod matmul;

pub use batch_norm::{
    BatchNormGradients, Moments, batch_norm, batch_norm_backward, moments, scale_and_shift,
};
pub use conv::{Activation, Conv, Gradients, Kind, Padding};
pub use matmul::{Matrix, matmul};
