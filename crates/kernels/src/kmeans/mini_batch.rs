//! Mini-batch rounds: a sample of the rows pulls its centroids.

use super::assign::{assign, each_chunk, measure};
use super::{KMeans, KMeansConfig, means, seeds, sizes, to_unit_length};
use crate::{Panels, SplitMix64};
use std::sync::atomic::{AtomicBool, Ordering};

/// Moves `centroids` by `batch` rows a round, then gives every row its cell.
pub(super) fn rounds(
    rows: &[f32],
    dim: usize,
    config: &KMeansConfig,
    batch: usize,
    centroids: &mut [f32],
    stop: &AtomicBool,
) -> KMeans {
    let n = rows.len() / dim;
    let batch = batch.clamp(1, n);
    let mut random = SplitMix64::named(config.seed, 1);
    // The seeds are rows themselves: each starts with the weight of one.
    let mut counts = vec![1usize; config.cells];
    let mut sample = Vec::with_capacity(batch * dim);
    for _ in 0..config.rounds {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        sample.clear();
        for row in seeds::choose(n, batch, &mut random) {
            sample.extend_from_slice(&rows[row * dim..][..dim]);
        }
        let panels = Panels::new(centroids, dim);
        let shared = &*centroids;
        let cells = each_chunk(&sample, dim, stop, |rows, _, assignment, distances| {
            panels.nearest(rows, assignment, distances);
            measure(rows, dim, shared, assignment, distances);
        });
        let pulls = means(&sample, dim, config.cells, &cells.assignment);
        let here = sizes(&cells.assignment, config.cells);
        for (cell, (centroid, pull)) in
            centroids.chunks_exact_mut(dim).zip(pulls.chunks_exact(dim)).enumerate()
        {
            if here[cell] == 0 {
                continue;
            }
            counts[cell] += here[cell];
            let share = here[cell] as f32 / counts[cell] as f32;
            centroid.iter_mut().zip(pull).for_each(|(c, p)| *c += share * (p - *c));
        }
        if config.spherical {
            to_unit_length(centroids, dim);
        }
    }
    let mut centroids = centroids.to_vec();
    let cells = assign(rows, dim, &mut centroids, None, stop);
    KMeans { inertia: cells.inertia(), centroids, assignment: cells.assignment, rounds: config.rounds }
}
