//! Coupled clusters (DRDL): the pictures of a class lie nearer to their centre than any other picture.
//!
//! `1/2 [|f_p - c|^2 + margin - |f_n - c|^2]+` for each picture `p` of a class with two in the batch; `c` is
//! their mean, which carries no slope, and `n` the picture of another class nearest to `c`.
//! Source: Liu et al., "Deep Relative Distance Learning: Tell the Difference Between Similar Vehicles", CVPR
//! 2016, equations 4 and 5.

use super::numerics::pick;
use super::{Batch, Loss, LossValue, Reduction, Sees, Terms};
use crate::network::floats;
use crate::settings::settings;
use burn::tensor::activation::relu;
use burn::tensor::{Tensor, TensorData};
use std::collections::BTreeMap;

settings! {
    /// Settings of coupled clusters.
    pub struct CoupledClustersConfig {
        /// By how much other classes must be farther from a centre, as squared distances.
        pub margin: f32 = 0.5,
        /// Whether embeddings are scaled to unit length first.
        pub unit: bool = true,
        /// Divisor of the sum over pictures.
        pub reduction: Reduction = Reduction::Active,
    }
}

impl Loss for CoupledClustersConfig {
    fn sees(&self) -> Sees {
        Sees::Classes
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn forward(&self, batch: &Batch<'_>) -> LossValue {
        let (points, count) = (batch.anchors.of(self.unit), batch.classes.len());
        let dim = points.dims()[1];
        let host = floats(points.clone().detach());
        let clusters: Vec<Vec<usize>> = clusters(batch.classes);
        if clusters.is_empty() {
            return LossValue::of(Terms::none(&batch.device()));
        }
        let centres: Vec<f32> = clusters.iter().flat_map(|members| mean(&host, dim, members)).collect();
        let centres = TensorData::new(centres, [1, clusters.len(), dim]);
        let centres = Tensor::<3>::from_data(centres, &batch.device());
        // Differences, not products: a centre may be all but on a picture.
        let apart = points.unsqueeze_dim::<3>(1) - centres;
        let squares = apart.powi_scalar(2).sum_dim(2).reshape([count, clusters.len()]);
        let found = floats(squares.clone().detach());
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for (cluster, members) in clusters.iter().enumerate() {
            let place = |item: usize| item * clusters.len() + cluster;
            let others = (0..count).filter(|&item| batch.classes[item] != batch.classes[members[0]]);
            let nearest = others.reduce(|a, b| if found[place(b)] < found[place(a)] { b } else { a });
            let Some(nearest) = nearest else { continue };
            near.extend(members.iter().map(|&member| place(member)));
            far.extend(members.iter().map(|_| place(nearest)));
        }
        if near.is_empty() {
            return LossValue::of(Terms::none(&batch.device()));
        }
        let gap = pick(squares.clone(), &near) - pick(squares, &far);
        LossValue::of(Terms::hinges(relu(gap.add_scalar(self.margin)) * 0.5, near.len()))
    }
}

/// Members of each class that has at least two.
fn clusters(classes: &[u32]) -> Vec<Vec<usize>> {
    let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    classes.iter().enumerate().for_each(|(item, &class)| members.entry(class).or_default().push(item));
    members.into_values().filter(|items| items.len() > 1).collect()
}

fn mean(points: &[f32], dim: usize, members: &[usize]) -> Vec<f32> {
    let axis = |axis: usize| members.iter().map(|&item| points[item * dim + axis]).sum::<f32>();
    (0..dim).map(|at| axis(at) / members.len() as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::checks::{Given, Sum, close, holds_but_for_slopes, run};

    #[test]
    fn by_hand() {
        // c = 0, f_p = -1 and 1, f_n = 2, margin 4: 1/2 (1 + 4 - 4) each.
        let config = CoupledClustersConfig { margin: 4.0, unit: false, reduction: Reduction::Sum };
        let got = run(&config, &Given::new(&[&[-1.0], &[1.0], &[2.0]], &[0, 0, 1]));
        close(&[got.value], &[1.0]);
        // Slopes f_p - c, and of the negative twice -(f_n - c).
        close(&got.raw, &[-1.0, 1.0, -4.0]);
    }

    #[test]
    fn agrees_with_the_definition() {
        for unit in [true, false] {
            let config = CoupledClustersConfig { unit, ..CoupledClustersConfig::default() };
            holds_but_for_slopes(&config, |given, at| {
                let row = |given: &Given, i: usize| if unit { given.unit(i) } else { given.raw[i].clone() };
                let mut sum = Sum::default();
                for p in 0..given.count() {
                    let class = given.classes[p];
                    let of: Vec<usize> = (0..given.count()).filter(|&i| given.classes[i] == class).collect();
                    let others = (0..given.count()).filter(|&i| given.classes[i] != class);
                    let square = |given: &Given, i: usize| -> f64 {
                        let centre =
                            |axis: usize| of.iter().map(|&m| row(at, m)[axis]).sum::<f64>() / of.len() as f64;
                        row(given, i).iter().enumerate().map(|(axis, v)| (v - centre(axis)).powi(2)).sum()
                    };
                    let nearest = others.map(|i| square(given, i)).reduce(f64::min);
                    if let (Some(nearest), true) = (nearest, of.len() > 1) {
                        sum.add((square(given, p) + 0.5 - nearest).max(0.0) / 2.0);
                    }
                }
                sum.per_active()
            });
        }
    }
}
