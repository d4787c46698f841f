//! What every builder works with.

use super::points::NearRows;
use super::pool::{Candidate, Pools};
use crate::distance::Distance;
use crate::vectors::Vectors;
use crate::{BuildError, Phase, Watch};
use data::Metric;
use rayon::prelude::*;
use std::borrow::Cow;

/// Rows whose distances to the mean one task computes.
const CHUNK: usize = 1024;

/// The nodes of a graph under construction, which are rows of vectors, and how to compare them.
pub(super) struct Site<'a> {
    pub(super) vectors: &'a Vectors,
    pub(super) metric: Metric,
    pub(super) distance: Distance,
    pub(super) seed: u64,
    pub(super) pools: &'a Pools,
    pub(super) watch: Watch<'a>,
}

impl<'a> Site<'a> {
    /// Number of nodes.
    pub(super) fn len(&self) -> usize {
        self.vectors.len()
    }

    /// Tells how many nodes are done, and learns whether to go on.
    pub(super) fn step(&self, phase: Phase, done: usize) -> Result<(), BuildError> {
        self.watch.step(phase, done, self.len())
    }

    /// The vector of a node, padded.
    #[inline]
    pub(super) fn row(&self, node: u32) -> &'a [f32] {
        &self.vectors.as_slice()[node as usize * self.vectors.stride()..][..self.vectors.stride()]
    }

    /// The distance of two nodes.
    #[inline]
    pub(super) fn pair(&self, a: u32, b: u32) -> f32 {
        self.distance.pair(self.row(a), self.row(b))
    }

    /// A node as a query.
    pub(super) fn near(&self, node: u32) -> NearRows<'a> {
        NearRows {
            distance: self.distance,
            rows: self.vectors.as_slice(),
            query: Cow::Borrowed(self.row(node)),
        }
    }

    /// Nodes with their distances to `node`, nearest first.
    pub(super) fn ranked(&self, node: u32, ids: &[u32]) -> Vec<Candidate> {
        let mut distances = vec![0.0; ids.len()];
        self.distance.at(self.row(node), self.vectors.as_slice(), ids, &mut distances);
        let mut ranked: Vec<_> = ids.iter().zip(distances).map(|(&id, d)| Candidate::new(d, id)).collect();
        ranked.sort_unstable();
        ranked
    }

    /// The node nearest to the mean, the first on a tie.
    pub(super) fn central(&self) -> u32 {
        let (stride, distance) = (self.vectors.stride(), Distance::new(Metric::L2));
        let mut sums = vec![0f64; stride];
        for row in self.vectors.as_slice().chunks_exact(stride) {
            sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        let mean: Vec<f32> = sums.into_iter().map(|sum| (sum / self.len() as f64) as f32).collect();
        let nearest = self.vectors.as_slice().par_chunks(CHUNK * stride).enumerate().map(|(i, rows)| {
            let mut distances = vec![0.0; rows.len() / stride];
            distance.tile(&mean, rows, stride, &mut distances);
            let nodes = (i * CHUNK) as u32..;
            distances.into_iter().zip(nodes).map(|(d, node)| Candidate::new(d, node)).min()
        });
        nearest.flatten().min().map_or(0, Candidate::id)
    }
}
