//! What losses against a vector for each class share: its first values, its angles with embeddings, and the
//! cross entropy of logits whose own class has been made harder.

use super::numerics::{about_unit, cross_entropy, pick_each};
use super::{Batch, LossShape, Terms};
use crate::model::normalise;
use crate::weights::{Array, Weights};
use burn::tensor::{Tensor, TensorData};
use rand_chacha::ChaCha8Rng;

/// The vectors as a trained parameter, `[rows, dim]`, about as long as what they are compared with.
pub(super) fn first(name: &str, rows: usize, shape: LossShape, rng: &mut ChaCha8Rng) -> Weights {
    let mut weights = Weights::default();
    let values = about_unit(rows, shape.dim, rng);
    weights.insert(name, Array { shape: vec![rows, shape.dim], values });
    weights
}

/// The vectors as they are trained, `[rows, dim]`.
pub(super) fn vectors(batch: &Batch<'_>, name: &str) -> Tensor<2> {
    let dim = batch.anchors.raw.dims()[1];
    let flat = batch.parameters.flat(&format!("loss.{name}"));
    let rows = flat.dims()[0] / dim;
    flat.reshape([rows, dim])
}

/// Cosines of the batch with each vector, `[batch, rows]`.
pub(super) fn cosines(batch: &Batch<'_>, name: &str) -> Tensor<2> {
    batch.anchors.unit.clone().matmul(normalise(vectors(batch, name)).transpose())
}

/// Cross entropy of cosines in which each picture's own class has another value, times `scale` (`[1]`, or one for
/// each picture, `[batch, 1]`).
///
/// # Shapes
/// - `cosines`: `[batch, classes]`
/// - `own`: from the cosines with the own class to what stands for them, `[batch]` to `[batch]`
pub(super) fn with_own(
    batch: &Batch<'_>,
    cosines: Tensor<2>,
    scale: Tensor<2>,
    own: impl Fn(Tensor<1>) -> Tensor<1>,
) -> Terms {
    let (rows, classes) = (batch.classes.len(), cosines.dims()[1]);
    let places: Vec<usize> = batch.classes.iter().map(|&class| class as usize).collect();
    let target = pick_each(cosines.clone(), &places);
    let change = (own(target.clone()) - target).reshape([rows, 1]);
    let mut hot = vec![0.0f32; rows * classes];
    places.iter().enumerate().for_each(|(row, &class)| hot[row * classes + class] = 1.0);
    let hot = Tensor::<2>::from_data(TensorData::new(hot, [rows, classes]), &batch.device());
    let logits = (cosines + hot * change) * scale;
    Terms::smooth(cross_entropy(logits, batch.classes), rows)
}

/// A scale that is the same for all, `[1, 1]`.
pub(super) fn scale(batch: &Batch<'_>, value: f32) -> Tensor<2> {
    Tensor::from_floats([[value]], &batch.device())
}

#[cfg(test)]
pub(super) mod tests {
    use crate::losses::checks::{Given, cross_entropy, dot, unit};

    /// Cosines of picture `i` with every class's vector.
    pub fn cosines(given: &Given, i: usize, name: &str) -> Vec<f64> {
        let dim = given.raw[0].len();
        given.of(name).chunks(dim).map(|row| dot(&given.unit(i), &unit(row))).collect()
    }

    /// The mean cross entropy over pictures, of logits by picture.
    pub fn mean_cross_entropy(given: &Given, logits: impl Fn(usize) -> Vec<f64>) -> f64 {
        let one = |i: usize| cross_entropy(&logits(i), given.classes[i] as usize);
        (0..given.count()).map(one).sum::<f64>() / given.count() as f64
    }
}
