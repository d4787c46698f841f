//! Two levels: cells of cells.

use super::{KMeans, KMeansConfig, Method, kmeans_until, sizes};
use std::sync::atomic::AtomicBool;

/// Cuts the rows into about the square root of as many cells, and each of these in proportion to its rows.
///
/// Beside the rows it holds a copy of one coarse cell at a time.
pub(super) fn two_level(
    rows: &[f32],
    dim: usize,
    config: &KMeansConfig,
    stop: &AtomicBool,
) -> Option<KMeans> {
    let n = rows.len() / dim;
    let lloyd = KMeansConfig { method: Method::Lloyd, ..*config };
    let coarse_cells = (config.cells as f64).sqrt().round() as usize;
    let coarse = kmeans_until(rows, dim, &KMeansConfig { cells: coarse_cells, ..lloyd }, stop)?;
    let shares = shares(&sizes(&coarse.assignment, coarse_cells), config.cells);
    let mut all = KMeans {
        centroids: Vec::with_capacity(config.cells * dim),
        assignment: vec![0; n],
        inertia: 0.0,
        rounds: coarse.rounds,
    };
    let mut first = 0;
    for (cell, &cells) in shares.iter().enumerate() {
        let members: Vec<usize> = (0..n).filter(|&row| coarse.assignment[row] as usize == cell).collect();
        let own: Vec<f32> = members.iter().flat_map(|&row| &rows[row * dim..][..dim]).copied().collect();
        let seed = config.seed.wrapping_add(1 + cell as u64);
        let fine = kmeans_until(&own, dim, &KMeansConfig { cells, seed, ..lloyd }, stop)?;
        for (&row, &cell) in members.iter().zip(&fine.assignment) {
            all.assignment[row] = first + cell;
        }
        all.centroids.extend(fine.centroids);
        all.inertia += fine.inertia;
        all.rounds = all.rounds.max(fine.rounds);
        first += cells as u32;
    }
    Some(all)
}

/// `total` cells in proportion to `sizes`, each at least one and at most its size; the largest remainders
/// take what rounding leaves.
fn shares(sizes: &[usize], total: usize) -> Vec<usize> {
    let n: usize = sizes.iter().sum();
    let exact = |size: usize| size as f64 * total as f64 / n as f64;
    let mut shares: Vec<usize> =
        sizes.iter().map(|&size| (exact(size) as usize).clamp(1, size.max(1))).collect();
    loop {
        let have: usize = shares.iter().sum();
        let lack = |cell: usize| exact(sizes[cell]) - shares[cell] as f64;
        let order = |a: &usize, b: &usize| lack(*a).total_cmp(&lack(*b)).then(b.cmp(a));
        if have < total {
            let most = (0..sizes.len()).filter(|&cell| shares[cell] < sizes[cell]).max_by(order);
            shares[most.expect("there are at least as many rows as cells")] += 1;
        } else if have > total {
            let least = (0..sizes.len()).filter(|&cell| shares[cell] > 1).min_by(order);
            shares[least.expect("there are no more coarse cells than cells")] -= 1;
        } else {
            return shares;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_sizes_and_add_up() {
        assert_eq!(shares(&[60, 30, 10], 10), [6, 3, 1]);
        assert_eq!(shares(&[97, 2, 1], 10), [8, 1, 1]);
        assert_eq!(shares(&[1, 1, 98], 100), [1, 1, 98]);
    }
}
