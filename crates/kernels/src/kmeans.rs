//! Lloyd's k-means from k-means++ seeds, the same bytes at any thread count.
//!
//! Work is cut into chunks of fixed size whose results are joined in order, sums over a cell run in
//! row order in `f64`, and ties go to the lower centroid or row.
//! Sources: Lloyd, IEEE Trans. Inf. Theory 1982; Arthur and Vassilvitskii, SODA 2007 (k-means++).

use crate::{Isa, SplitMix64};
use rayon::prelude::*;

/// Rows a parallel step takes at once; part of the result's definition through the order of sums.
const CHUNK: usize = 256;
/// Centroids compared at once, so that a tile of distances stays in the cache.
const TILE: usize = 256;

/// The cells of [`kmeans`].
#[derive(Clone, Debug, PartialEq)]
pub struct KMeans {
    /// `k x dim`, row-major.
    pub centroids: Vec<f32>,
    /// The cell of each row, `0..k`; no cell is empty.
    pub assignment: Vec<u32>,
    /// Sum of the squared distances of the rows to their centroids.
    pub inertia: f64,
    /// Lloyd iterations run.
    pub iterations: usize,
}

/// Splits `rows` (`n x dim`, row-major) into `k` cells, with `max_iterations` rounds at most.
///
/// Runs on the caller's rayon pool. Memory beside the rows: 12 bytes a row and `2 k x dim` floats.
///
/// # Panics
/// When `dim` is zero or does not divide `rows.len()`, or `k` is not in `1..=n`, or `n >= 2^32`.
#[must_use]
pub fn kmeans(rows: &[f32], dim: usize, k: usize, seed: u64, max_iterations: usize) -> KMeans {
    assert!(dim > 0 && rows.len().is_multiple_of(dim), "{} values are not rows of {dim}", rows.len());
    let n = rows.len() / dim;
    assert!((1..=n).contains(&k), "cannot split {n} rows into {k} cells");
    assert!(u32::try_from(n).is_ok(), "{n} rows are too many for k-means; sample them");
    let mut centroids = plus_plus(rows, dim, k, seed);
    let mut cells = assign(rows, dim, &mut centroids);
    let mut iterations = 0;
    while iterations < max_iterations {
        iterations += 1;
        centroids = means(rows, dim, k, &cells.assignment);
        let next = assign(rows, dim, &mut centroids);
        let settled = next.assignment == cells.assignment;
        cells = next;
        if settled {
            break;
        }
    }
    let inertia = cells.distances.iter().map(|&d| f64::from(d)).sum();
    KMeans { centroids, assignment: cells.assignment, inertia, iterations }
}

/// k-means++: each next seed is a row drawn with weight equal to its squared distance to the seeds.
fn plus_plus(rows: &[f32], dim: usize, k: usize, seed: u64) -> Vec<f32> {
    let n = rows.len() / dim;
    let isa = Isa::current();
    let mut random = SplitMix64::new(seed);
    let mut centroids = Vec::with_capacity(k * dim);
    let mut nearest = vec![f32::INFINITY; n];
    let mut pick = random.below(n);
    loop {
        let centroid = &rows[pick * dim..][..dim];
        centroids.extend_from_slice(centroid);
        if centroids.len() == k * dim {
            return centroids;
        }
        let weights: Vec<f64> = nearest
            .par_chunks_mut(CHUNK)
            .zip(rows.par_chunks(CHUNK * dim))
            .map(|(nearest, rows)| {
                let mut out = [0.0; CHUNK];
                isa.l2_tile(centroid, rows, dim, &mut out[..nearest.len()]);
                nearest.iter_mut().zip(out).for_each(|(nearest, d)| *nearest = nearest.min(d));
                nearest.iter().map(|&d| f64::from(d)).sum()
            })
            .collect();
        pick = draw(&nearest, &weights, &mut random);
    }
}

/// A row drawn with weight `nearest`, whose sums over chunks are `weights`; any row if all are zero.
fn draw(nearest: &[f32], weights: &[f64], random: &mut SplitMix64) -> usize {
    let total: f64 = weights.iter().sum();
    if !(total > 0.0 && total.is_finite()) {
        return random.below(nearest.len());
    }
    let mut left = random.unit() * total;
    let chunk = weights.iter().position(|&weight| {
        let here = left < weight;
        left -= if here { 0.0 } else { weight };
        here
    });
    let start = chunk.unwrap_or(weights.len() - 1) * CHUNK;
    let end = (start + CHUNK).min(nearest.len());
    let mut last = start;
    for (row, &weight) in (start..end).zip(&nearest[start..end]) {
        if weight > 0.0 {
            last = row;
            if left < f64::from(weight) {
                break;
            }
        }
        left -= f64::from(weight);
    }
    last
}

/// The cell of each row and its squared distance to the centroid.
struct Cells {
    assignment: Vec<u32>,
    distances: Vec<f32>,
}

/// Gives each row to its nearest centroid, then fills empty cells.
fn assign(rows: &[f32], dim: usize, centroids: &mut [f32]) -> Cells {
    let n = rows.len() / dim;
    let mut cells = Cells { assignment: vec![0; n], distances: vec![f32::INFINITY; n] };
    let isa = Isa::current();
    let shared = &*centroids;
    cells
        .assignment
        .par_chunks_mut(CHUNK)
        .zip(cells.distances.par_chunks_mut(CHUNK))
        .zip(rows.par_chunks(CHUNK * dim))
        .for_each(|((assignment, distances), rows)| nearest(isa, rows, dim, shared, assignment, distances));
    fill_empty(rows, dim, centroids, &mut cells);
    cells
}

/// The nearest centroid of each of a few rows, the lower one on a tie.
fn nearest(
    isa: Isa,
    rows: &[f32],
    dim: usize,
    centroids: &[f32],
    assignment: &mut [u32],
    distances: &mut [f32],
) {
    let mut out = vec![0.0; assignment.len() * TILE];
    for (tile, centroids) in centroids.chunks(TILE * dim).enumerate() {
        let width = centroids.len() / dim;
        let out = &mut out[..assignment.len() * width];
        isa.l2_tile(rows, centroids, dim, out);
        for (i, found) in out.chunks_exact(width).enumerate() {
            for (c, &d) in found.iter().enumerate() {
                if d < distances[i] {
                    distances[i] = d;
                    assignment[i] = (tile * TILE + c) as u32;
                }
            }
        }
    }
}

/// Moves each empty cell onto the row farthest from its centroid among cells that can spare one,
/// which never raises the inertia.
fn fill_empty(rows: &[f32], dim: usize, centroids: &mut [f32], cells: &mut Cells) {
    let mut counts = vec![0usize; centroids.len() / dim];
    for &cell in &cells.assignment {
        counts[cell as usize] += 1;
    }
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

/// The mean of each cell; sums run in row order.
fn means(rows: &[f32], dim: usize, k: usize, assignment: &[u32]) -> Vec<f32> {
    let mut ends = vec![0usize; k];
    for &cell in assignment {
        ends[cell as usize] += 1;
    }
    let mut total = 0;
    for end in &mut ends {
        total += *end;
        *end = total;
    }
    let mut members = vec![0u32; assignment.len()];
    for (row, &cell) in assignment.iter().enumerate().rev() {
        // Filled from the back, so that each end becomes the start of its cell.
        ends[cell as usize] -= 1;
        members[ends[cell as usize]] = row as u32;
    }
    let starts = ends;
    let mut centroids = vec![0.0; k * dim];
    centroids.par_chunks_mut(dim).enumerate().for_each(|(cell, centroid)| {
        let end = starts.get(cell + 1).copied().unwrap_or(members.len());
        let members = &members[starts[cell]..end];
        let mut sums = vec![0f64; dim];
        for &row in members {
            let row = &rows[row as usize * dim..][..dim];
            sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        let scale = 1.0 / members.len() as f64;
        centroid.iter_mut().zip(&sums).for_each(|(c, sum)| *c = (sum * scale) as f32);
    });
    centroids
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn random_rows(n: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::new(seed);
        (0..n * dim).map(|_| random.unit() as f32).collect()
    }

    #[test]
    fn two_clumps_by_hand() {
        // 0, 1 | 10, 12: means 0.5 and 11, inertia 4 * 0.25 - 0.5 = 0.5, plus 1 + 1.
        let got = kmeans(&[0.0, 1.0, 10.0, 12.0], 1, 2, 1, 20);
        let mut centroids = got.centroids.clone();
        centroids.sort_by(f32::total_cmp);
        assert_eq!(centroids, [0.5, 11.0]);
        assert_eq!(got.inertia, 2.5);
        assert_eq!(got.assignment[0], got.assignment[1]);
        assert_ne!(got.assignment[1], got.assignment[2]);
    }

    #[test]
    fn thread_count_changes_no_bit() {
        let rows = random_rows(3000, 20, 5);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| kmeans(&rows, 20, 300, 9, 6))
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(5));
        assert_ne!(one.centroids, kmeans(&rows, 20, 300, 10, 6).centroids);
    }

    #[test]
    fn inertia_falls_with_iterations() {
        let rows = random_rows(2000, 8, 3);
        let inertia: Vec<f64> =
            (0..8).map(|iterations| kmeans(&rows, 8, 40, 2, iterations).inertia).collect();
        assert!(inertia.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-6)), "{inertia:?}");
        assert!(inertia[7] < inertia[0]);
    }

    proptest! {
        #[test]
        fn no_cell_is_empty_and_rows_lie_in_the_nearest(
            values in prop::collection::vec(0u8..4, 1..60), k in 1usize..60, iterations in 0usize..4,
        ) {
            // Few distinct values: more cells than points is the hard case.
            let rows: Vec<f32> = values.iter().map(|&v| f32::from(v)).collect();
            let k = k.min(rows.len());
            let got = kmeans(&rows, 1, k, 4, iterations);
            for cell in 0..k {
                prop_assert!(got.assignment.contains(&(cell as u32)));
            }
            let inertia: f64 = rows.iter().zip(&got.assignment)
                .map(|(v, &cell)| f64::from(v - got.centroids[cell as usize]).powi(2)).sum();
            prop_assert!((inertia - got.inertia).abs() < 1e-4);
        }
    }

    #[test]
    #[should_panic(expected = "cannot split 2 rows into 3 cells")]
    fn more_cells_than_rows_are_refused() {
        let _ = kmeans(&[1.0, 2.0], 1, 3, 0, 1);
    }
}
