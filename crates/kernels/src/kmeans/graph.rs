//! Rounds that look only at centroids near the last one.

use super::assign::{Cells, each_chunk, fill_empty};
use crate::{Isa, Panels, TopK};
use rayon::prelude::*;
use std::sync::atomic::AtomicBool;

/// Centroids whose neighbours one task finds at once.
const GROUP: usize = 32;
/// Centroids compared with a group at once.
const BLOCK: usize = 1024;

/// Moves each row from its last cell to nearer ones among that cell's `neighbours`, while there are any.
pub(super) fn assign(
    rows: &[f32],
    dim: usize,
    centroids: &mut [f32],
    last: &[u32],
    neighbours: usize,
    stop: &AtomicBool,
) -> Cells {
    let k = centroids.len() / dim;
    let neighbours = neighbours.clamp(1, k.max(2) - 1);
    let near = nearest_centroids(centroids, dim, neighbours.min(k - 1));
    let isa = Isa::current();
    let shared = &*centroids;
    let mut cells = each_chunk(rows, dim, stop, |rows, first, assignment, distances| {
        let mut found = vec![0.0; neighbours];
        for (i, row) in rows.chunks_exact(dim).enumerate() {
            let mut cell = last[first + i];
            let mut distance = isa.l2(row, &shared[cell as usize * dim..][..dim]);
            loop {
                let around = &near[cell as usize];
                let found = &mut found[..around.len()];
                isa.l2s_at(row, shared, around, found);
                let best = around.iter().zip(&*found).min_by(|a, b| a.1.total_cmp(b.1).then(a.0.cmp(b.0)));
                match best {
                    Some((&next, &d)) if d < distance => (cell, distance) = (next, d),
                    _ => break,
                }
            }
            (assignment[i], distances[i]) = (cell, distance);
        }
    });
    fill_empty(rows, dim, centroids, &mut cells);
    cells
}

/// For each centroid the `count` nearest others, nearest first.
fn nearest_centroids(centroids: &[f32], dim: usize, count: usize) -> Vec<Vec<u32>> {
    let panels = Panels::new(centroids, dim);
    centroids
        .par_chunks(GROUP * dim)
        .enumerate()
        .flat_map_iter(|(group, queries)| {
            let n = queries.len() / dim;
            let mut tops = vec![TopK::new(count + 1); n];
            let mut scores = Vec::new();
            for first in (0..panels.padded()).step_by(BLOCK) {
                let width = BLOCK.min(panels.padded() - first);
                scores.resize(n * width, 0.0);
                panels.scores(queries, first, width, &mut scores);
                for (top, scores) in tops.iter_mut().zip(scores.chunks_exact(width)) {
                    for (id, &score) in (first as u64..).zip(scores) {
                        if top.would_keep(score) {
                            top.push(score, id);
                        }
                    }
                }
            }
            tops.into_iter().enumerate().map(move |(i, top)| {
                let own = (group * GROUP + i) as u64;
                let others =
                    top.into_sorted().into_iter().filter(|&(score, id)| id != own && score.is_finite());
                others.take(count).map(|(_, id)| id as u32).collect()
            })
        })
        .collect()
}
