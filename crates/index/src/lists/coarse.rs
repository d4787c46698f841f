//! The centroids of lists, whatever finds them.

use super::nearest::Nearest;
use super::product::Product;
use super::spec::Partition;
use crate::build::BuildError;
use crate::file::{OpenError, Part, Sections};
use crate::{Phase, Watch};
use data::{Metric, Rows};
use kernels::SplitMix64;
use std::borrow::Cow;

/// Rows after which it is told how many lie in lists.
const ROUND: usize = 1 << 16;

/// How rows are put into lists.
pub(super) enum Coarse {
    /// By nearest centroid.
    Nearest(Nearest),
    /// By the nearest centroids of both halves.
    Product(Product),
}

impl Coarse {
    /// Learns centroids from a sample of `rows`.
    pub(super) fn train(
        partition: &Partition,
        rows: Rows<'_, f32>,
        metric: Metric,
        seed: u64,
        watch: &Watch<'_>,
    ) -> Result<Self, BuildError> {
        Ok(match partition {
            Partition::Nearest { router, .. } => Self::Nearest(Nearest::train(
                partition.lists(),
                router.as_deref(),
                rows,
                metric,
                seed,
                watch,
            )?),
            Partition::Product { bits } => Self::Product(Product::train(*bits, rows, metric, seed, watch)?),
        })
    }

    pub(super) fn open(partition: &Partition, sections: &Sections<'_>) -> Result<Self, OpenError> {
        Ok(match partition {
            Partition::Nearest { router, .. } => {
                Self::Nearest(Nearest::open(partition.lists(), router.as_deref(), sections)?)
            }
            Partition::Product { bits } => Self::Product(Product::open(*bits, sections)?),
        })
    }

    pub(super) fn parts(&self) -> Vec<Part<'_>> {
        match self {
            Self::Nearest(nearest) => nearest.parts(),
            Self::Product(product) => vec![product.part()],
        }
    }

    /// The list of each row.
    pub(super) fn assign(
        &self,
        rows: Rows<'_, f32>,
        metric: Metric,
        watch: &Watch<'_>,
    ) -> Result<Vec<u32>, BuildError> {
        let mut lists = vec![0; rows.len()];
        let rounds = lists.chunks_mut(ROUND).zip(rows.as_slice().chunks(ROUND * rows.dim())).enumerate();
        for (round, (lists, values)) in rounds {
            watch.step(Phase::Assigning, round * ROUND, rows.len())?;
            let part = Rows::new(values, rows.dim()).expect("whole rows");
            match self {
                Self::Nearest(nearest) => nearest.assign(part, metric, watch, lists),
                Self::Product(product) => product.assign(part, metric, watch, lists),
            }
        }
        watch.step(Phase::Assigning, rows.len(), rows.len())?;
        Ok(lists)
    }

    /// The centroid of a list, in two pieces one after the other.
    pub(super) fn centroid(&self, list: usize) -> [&[f32]; 2] {
        match self {
            Self::Nearest(nearest) => [nearest.centroid(list), &[]],
            Self::Product(product) => product.centroid(list),
        }
    }

    /// Appends `row` less the centroid of a list.
    pub(super) fn subtract(&self, row: &[f32], list: usize, residuals: &mut Vec<f32>) {
        let [first, second] = self.centroid(list);
        residuals.extend(row.iter().zip(first.iter().chain(second)).map(|(x, c)| x - c));
    }

    /// Appends what to look for among the residuals of a list, and gives what to add to their distances.
    pub(super) fn residual(
        &self,
        query: &[f32],
        list: usize,
        metric: Metric,
        residuals: &mut Vec<f32>,
    ) -> f32 {
        match metric {
            Metric::L2 => {
                self.subtract(query, list, residuals);
                0.0
            }
            Metric::Dot => {
                residuals.extend(query);
                let [first, second] = self.centroid(list);
                let (head, tail) = query.split_at(first.len());
                -(kernels::dot(head, first) + kernels::dot(tail, second))
            }
        }
    }
}

/// At most `most` different rows, in their order.
pub(crate) fn sample(rows: Rows<'_, f32>, most: usize, seed: u64) -> Cow<'_, [f32]> {
    if rows.len() <= most {
        return Cow::Borrowed(rows.as_slice());
    }
    // One of each stretch, so that rows in order of their class are all met.
    let mut random = SplitMix64::named(seed, 0x6c69_7374);
    let place = |i: usize| (i as u128 * rows.len() as u128 / most as u128) as usize;
    (0..most).flat_map(|i| rows.row(place(i) + random.below(place(i + 1) - place(i)))).copied().collect()
}
