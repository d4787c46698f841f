//! Rows to their nearest centroids.

use super::{CHUNK, sizes};
use crate::{Isa, Panels};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// The cell of each row and its squared distance to the centroid.
pub(super) struct Cells {
    pub(super) assignment: Vec<u32>,
    pub(super) distances: Vec<f32>,
}

impl Cells {
    pub(super) fn inertia(&self) -> f64 {
        self.distances.iter().map(|&d| f64::from(d)).sum()
    }
}

/// Gives each row to the centroid of least score, with its price if there are `prices`, then fills empty
/// cells.
pub(super) fn assign(
    rows: &[f32],
    dim: usize,
    centroids: &mut [f32],
    prices: Option<&[f32]>,
    stop: &AtomicBool,
) -> Cells {
    let panels = match prices {
        None => Panels::new(centroids, dim),
        Some(prices) => {
            let starts: Vec<f32> =
                centroids.chunks_exact(dim).zip(prices).map(|(c, price)| crate::dot(c, c) + price).collect();
            Panels::with_starts(centroids, dim, &starts)
        }
    };
    let shared = &*centroids;
    let mut cells = each_chunk(rows, dim, stop, |rows, _, assignment, distances| {
        panels.nearest(rows, assignment, distances);
        measure(rows, dim, shared, assignment, distances);
    });
    fill_empty(rows, dim, centroids, &mut cells);
    cells
}

/// Runs `work(rows, first row, assignment, distances)` on every chunk of rows, on none any more once `stop` is set.
pub(super) fn each_chunk(
    rows: &[f32],
    dim: usize,
    stop: &AtomicBool,
    work: impl Fn(&[f32], usize, &mut [u32], &mut [f32]) + Sync,
) -> Cells {
    let n = rows.len() / dim;
    let mut cells = Cells { assignment: vec![0; n], distances: vec![0.0; n] };
    cells
        .assignment
        .par_chunks_mut(CHUNK)
        .zip(cells.distances.par_chunks_mut(CHUNK))
        .zip(rows.par_chunks(CHUNK * dim))
        .enumerate()
        .for_each(|(i, ((assignment, distances), rows))| {
            if !stop.load(Ordering::Relaxed) {
                work(rows, i * CHUNK, assignment, distances);
            }
        });
    cells
}

/// The squared distance of each row to its centroid: scores lose digits to cancellation, this does not.
pub(super) fn measure(
    rows: &[f32],
    dim: usize,
    centroids: &[f32],
    assignment: &[u32],
    distances: &mut [f32],
) {
    let isa = Isa::current();
    for ((row, &cell), distance) in rows.chunks_exact(dim).zip(assignment).zip(distances) {
        *distance = isa.l2(row, &centroids[cell as usize * dim..][..dim]);
    }
}

/// Moves each empty cell onto the row farthest from its centroid among cells that can spare one,
/// which never raises the inertia.
pub(super) fn fill_empty(rows: &[f32], dim: usize, centroids: &mut [f32], cells: &mut Cells) {
    let mut counts = sizes(&cells.assignment, centroids.len() / dim);
    let empty: Vec<usize> = (0..counts.len()).filter(|&cell| counts[cell] == 0).collect();
    if empty.is_empty() {
        return;
    }
    let mut farthest: Vec<u32> = (0..cells.distances.len() as u32).collect();
    farthest.sort_by(|&a, &b| {
        cells.distances[b as usize].total_cmp(&cells.distances[a as usize]).then(a.cmp(&b))
    });
    let mut spare = farthest.into_iter().map(|row| row as usize);
    for cell in empty {
        let row = spare.find(|&row| counts[cells.assignment[row] as usize] > 1);
        let Some(row) = row else { return };
        counts[cells.assignment[row] as usize] -= 1;
        counts[cell] += 1;
        cells.assignment[row] = cell as u32;
        cells.distances[row] = 0.0;
        centroids[cell * dim..][..dim].copy_from_slice(&rows[row * dim..][..dim]);
    }
}
