//! SIMD distances, table scans, top-k, matrix tiles, k-means and convolutions: the sole home of SIMD unsafe.
//!
//! | for | see |
//! |---|---|
//! | rows of `f32`, 16-bit floats, bytes and nibbles | [`distance`], [`halves`], [`integers`] |
//! | numbers of steps, for queries of `f32` | [`digits`] |
//! | bits, and codes of few bits a dimension | [`hamming`], [`bit_planes`] |
//! | product-quantization codes of 4 and 8 bits | [`fast_scan`], [`byte_scan`] |
//! | signs of a graph node's neighbours | [`sign_scan`] |
//! | the k nearest | [`TopK`] (few), [`Reservoir`] (many), [`CountingTopK`] (small integers), [`l2_nearest`] |
//!
//! Kernels are methods of [`Isa`]: fetch [`Isa::current`] once a query, outside of loops.
//!
//! Distances are defined to the bit (see [`distance`]): every instruction set, batch shape and
//! thread count returns the same value, so an index built on one machine is the index built on all.

mod argmin;
mod batch_norm;
pub mod bit_planes;
mod block;
pub mod byte_scan;
mod conv;
mod counting;
pub mod digits;
pub mod distance;
pub mod fast_scan;
pub mod hadamard;
pub mod halves;
pub mod hamming;
pub mod integers;
mod isa;
mod kmeans;
mod line;
mod live;
mod matmul;
mod nearest;
#[cfg(target_arch = "aarch64")]
mod neon;
mod prefetch;
mod random;
mod reservoir;
mod select;
pub mod sign_scan;
mod sorted;
mod top_k;
mod widest;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use argmin::Panels;
pub use batch_norm::{
    BatchNormGradients, Moments, batch_norm, batch_norm_backward, moments, scale_and_shift,
};
pub use conv::{Activation, Conv, Gradients, Kind, Padding};
pub use counting::CountingTopK;
pub use distance::{dot, dot_tile, dots, dots_at, l2, l2_tile, l2s, l2s_at};
pub use isa::Isa;
#[cfg(target_arch = "aarch64")]
pub use isa::Neon;
#[cfg(target_arch = "x86_64")]
pub use isa::{Avx2, Avx512, Extensions};
pub use kmeans::{KMeans, KMeansConfig, Method, Seeds, kmeans, kmeans_from, kmeans_until};
pub use matmul::{Matrix, matmul};
pub use nearest::{dot_nearest, l2_nearest};
pub use prefetch::prefetch;
pub use random::SplitMix64;
pub use reservoir::Reservoir;
pub use select::{below, least_sum};
pub use sorted::SortedKeys;
pub use top_k::TopK;
