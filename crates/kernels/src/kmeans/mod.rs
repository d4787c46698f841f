//! k-means, the same bytes at any thread count and on any instruction set.
//!
//! Rounds of Lloyd's algorithm: each row goes to its nearest centroid, each centroid becomes the mean of
//! its rows. Work is cut into chunks of fixed size whose results are joined in order, sums over a cell run
//! in row order in `f64`, and ties go to the lower centroid or row. Memory beside the rows: 12 bytes a row,
//! a few times the centroids, and a tile a thread; never `n x k`.
//!
//! Sources: Lloyd, IEEE Trans. Inf. Theory 1982; Arthur and Vassilvitskii, SODA 2007 (k-means++); Dhillon
//! and Modha, Machine Learning 2001 (spherical); Sculley, WWW 2010 (mini-batch).

mod assign;
mod filter;
mod graph;
mod mini_batch;
mod seeds;
mod two_level;

pub use seeds::Seeds;

use assign::{Cells, assign};
use filter::Filter;
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows a parallel step takes at once.
const CHUNK: usize = 256;

/// How to cut rows into cells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KMeansConfig {
    /// Cells.
    pub cells: usize,
    /// Rounds at most; it ends sooner when no row moves.
    pub rounds: usize,
    /// Everything random comes from here.
    pub seed: u64,
    /// Where centroids start.
    pub seeds: Seeds,
    /// How rounds go.
    pub method: Method,
    /// Scale centroids to length one after each round, for rows that are compared by direction.
    pub spherical: bool,
}

/// How the rounds of k-means go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Every row to its nearest centroid in every round. Exact.
    Lloyd,
    /// As Lloyd, but a cell with many rows asks a price that the next round adds to the distance, so that
    /// cells end up alike in size. The price of a cell rises by a tenth of `step` times its own mean squared
    /// distance for each mean size that it is over (two at most), less from round to round, and falls likewise.
    Balanced {
        /// How fast prices rise; 1 is usual.
        step: f32,
    },
    /// Each round moves the centroids by a sample of the rows, each with the weight that its centroid's
    /// count leaves it.
    MiniBatch {
        /// Rows a round.
        rows: usize,
    },
    /// First about the square root of as many cells, then each of those is cut on its own, in proportion to
    /// its rows. For many cells: about `2 sqrt(k)` distances a row and round in place of `k`.
    TwoLevel,
    /// As Lloyd, but from the second round on a row looks only at the centroids near its last one, and
    /// goes on from there while it comes nearer. For many cells.
    Graph {
        /// Neighbours of a centroid; 32 is usual.
        neighbours: usize,
    },
}

impl KMeansConfig {
    /// Twenty-five rounds of Lloyd from k-means++ seeds.
    #[must_use]
    pub fn new(cells: usize, seed: u64) -> Self {
        let (seeds, method) = (Seeds::PlusPlus, Method::Lloyd);
        Self { cells, rounds: 25, seed, seeds, method, spherical: false }
    }
}

/// Rows cut into cells.
#[derive(Clone, Debug, PartialEq)]
pub struct KMeans {
    /// `k x dim`, row-major.
    pub centroids: Vec<f32>,
    /// The cell of each row, `0..k`; no cell is empty.
    pub assignment: Vec<u32>,
    /// Sum of the squared distances of the rows to their centroids.
    pub inertia: f64,
    /// Rounds run.
    pub rounds: usize,
}

impl KMeans {
    /// `k sum(size^2) / n^2`: 1 when all cells are alike in size, the factor by which a search of lists
    /// in proportion to their rows reads more.
    #[must_use]
    pub fn imbalance(&self) -> f64 {
        let n = self.assignment.len() as f64;
        let sizes = sizes(&self.assignment, self.cells());
        sizes.iter().map(|&size| (size as f64).powi(2)).sum::<f64>() * sizes.len() as f64 / (n * n)
    }

    fn cells(&self) -> usize {
        self.assignment.iter().max().map_or(0, |&cell| cell as usize + 1)
    }
}

/// Cuts `rows` (`n x dim`, row-major) into cells, on the caller's rayon pool.
///
/// # Panics
/// When `dim` is zero or does not divide `rows.len()`, the cells are not in `1..=n`, or `n >= 2^32`.
#[must_use]
pub fn kmeans(rows: &[f32], dim: usize, config: &KMeansConfig) -> KMeans {
    kmeans_until(rows, dim, config, &AtomicBool::new(false)).expect("nothing stops it")
}

/// As [`kmeans`]; none once `stop` is set from elsewhere, which is looked at for every few hundred rows.
///
/// # Panics
/// As [`kmeans`].
#[must_use]
pub fn kmeans_until(rows: &[f32], dim: usize, config: &KMeansConfig, stop: &AtomicBool) -> Option<KMeans> {
    assert!(dim > 0 && rows.len().is_multiple_of(dim), "{} values are not rows of {dim}", rows.len());
    let n = rows.len() / dim;
    assert!((1..=n).contains(&config.cells), "cannot split {n} rows into {} cells", config.cells);
    assert!(u32::try_from(n).is_ok(), "{n} rows are too many for k-means; sample them");
    if config.method == Method::TwoLevel && config.cells > 3 {
        return two_level::two_level(rows, dim, config, stop);
    }
    let mut centroids = seeds::seeds(rows, dim, config, stop)?;
    let cut = match config.method {
        Method::MiniBatch { rows: batch } => {
            mini_batch::rounds(rows, dim, config, batch, &mut centroids, stop)
        }
        _ => lloyd(rows, dim, config, centroids, stop),
    };
    (!stop.load(Ordering::Relaxed)).then_some(cut)
}

/// As [`kmeans`] by Lloyd's rounds, from these `centroids` (`cells x dim`).
///
/// # Panics
/// As [`kmeans`], and when the centroids are not as many as the cells.
#[must_use]
pub fn kmeans_from(rows: &[f32], dim: usize, config: &KMeansConfig, centroids: Vec<f32>) -> KMeans {
    assert!(dim > 0 && rows.len().is_multiple_of(dim), "{} values are not rows of {dim}", rows.len());
    assert!((1..=rows.len() / dim).contains(&config.cells), "rows do not fill {} cells", config.cells);
    assert_eq!(centroids.len(), config.cells * dim, "{} cells have as many centroids", config.cells);
    let config = KMeansConfig { method: Method::Lloyd, ..*config };
    lloyd(rows, dim, &config, centroids, &AtomicBool::new(false))
}

/// Rounds of all rows. Once `stop` is set, what it gives means nothing.
fn lloyd(
    rows: &[f32],
    dim: usize,
    config: &KMeansConfig,
    mut centroids: Vec<f32>,
    stop: &AtomicBool,
) -> KMeans {
    let k = config.cells;
    let mut cells = assign(rows, dim, &mut centroids, None, stop);
    let filter = match config.method {
        Method::Lloyd | Method::TwoLevel => Filter::fit(rows, dim, &centroids, &cells.assignment),
        _ => None,
    };
    let mut prices = vec![0.0; k];
    let mut rounds = 0;
    while rounds < config.rounds && !stop.load(Ordering::Relaxed) {
        rounds += 1;
        centroids = means(rows, dim, k, &cells.assignment);
        if config.spherical {
            to_unit_length(&mut centroids, dim);
        }
        let next = match (config.method, &filter) {
            (Method::Balanced { step }, _) => {
                raise(&mut prices, &cells, step / (rounds as f32).sqrt());
                assign(rows, dim, &mut centroids, Some(&prices), stop)
            }
            (Method::Graph { neighbours }, _) => {
                graph::assign(rows, dim, &mut centroids, &cells.assignment, neighbours, stop)
            }
            (_, Some(filter)) => filter.assign(rows, &mut centroids, &cells.assignment, stop),
            (_, None) => assign(rows, dim, &mut centroids, None, stop),
        };
        let settled = next.assignment == cells.assignment;
        cells = next;
        if settled {
            break;
        }
    }
    KMeans { inertia: cells.inertia(), centroids, assignment: cells.assignment, rounds }
}

/// Raises the price of cells over the mean size and lowers that of cells under it.
///
/// Each in units of its own mean squared distance: what moves a row in a dense part of the space is little.
fn raise(prices: &mut [f32], cells: &Cells, step: f32) {
    let mean = cells.assignment.len() as f32 / prices.len() as f32;
    let mut sums = vec![(0usize, 0f64); prices.len()];
    for (&cell, &distance) in cells.assignment.iter().zip(&cells.distances) {
        let (size, sum) = &mut sums[cell as usize];
        *size += 1;
        *sum += f64::from(distance);
    }
    for (price, (size, sum)) in prices.iter_mut().zip(sums) {
        let own = (sum / size.max(1) as f64) as f32;
        // A cell of many times the mean size must not leap so far that it is empty next.
        // Below zero a cell among few rows would undercut all cells of a dense part at once.
        *price = (*price + 0.1 * step * own * (size as f32 / mean - 1.0).min(2.0)).max(0.0);
    }
}

fn sizes(assignment: &[u32], k: usize) -> Vec<usize> {
    let mut sizes = vec![0; k];
    for &cell in assignment {
        sizes[cell as usize] += 1;
    }
    sizes
}

/// Scales each row to length one; a zero row stays.
fn to_unit_length(rows: &mut [f32], dim: usize) {
    for row in rows.chunks_exact_mut(dim) {
        let length = crate::dot(row, row).sqrt();
        if length > 0.0 {
            row.iter_mut().for_each(|value| *value /= length);
        }
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
    use crate::SplitMix64;
    use proptest::prelude::*;

    const METHODS: [Method; 5] = [
        Method::Lloyd,
        Method::Balanced { step: 1.0 },
        Method::MiniBatch { rows: 500 },
        Method::TwoLevel,
        Method::Graph { neighbours: 16 },
    ];

    fn random_rows(n: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::new(seed);
        (0..n * dim).map(|_| random.unit() as f32).collect()
    }

    /// Rows that lie near a plane of few dimensions, as embeddings do.
    fn flat_rows(n: usize, dim: usize, seed: u64) -> Vec<f32> {
        let (inside, plane) = (random_rows(n, 6, seed), random_rows(6, dim, seed + 1));
        let noise = random_rows(n, dim, seed + 2);
        let mut rows = vec![0.0; n * dim];
        for ((row, inside), noise) in
            rows.chunks_exact_mut(dim).zip(inside.chunks_exact(6)).zip(noise.chunks_exact(dim))
        {
            for (weight, axis) in inside.iter().zip(plane.chunks_exact(dim)) {
                row.iter_mut().zip(axis).for_each(|(value, axis)| *value += weight * (axis - 0.5));
            }
            row.iter_mut().zip(noise).for_each(|(value, noise)| *value += 0.1 * noise);
        }
        rows
    }

    fn config(cells: usize, seed: u64, rounds: usize) -> KMeansConfig {
        KMeansConfig { rounds, ..KMeansConfig::new(cells, seed) }
    }

    #[test]
    fn a_stop_is_heard_by_every_method() {
        let (rows, stop) = (random_rows(2000, 8, 1), AtomicBool::new(true));
        for method in METHODS {
            for seeds in [Seeds::Random, Seeds::PlusPlus] {
                let config = KMeansConfig { method, seeds, ..config(40, 1, 1 << 40) };
                assert_eq!(kmeans_until(&rows, 8, &config, &stop), None, "{method:?} {seeds:?}");
            }
        }
    }

    #[test]
    fn rounds_from_given_centroids_by_hand() {
        let found = kmeans_from(&[0.0, 1.0, 10.0, 12.0], 1, &config(2, 1, 5), vec![12.0, 0.0]);
        assert_eq!(found.centroids, [11.0, 0.5]);
        assert_eq!(found.assignment, [1, 1, 0, 0]);
        // Where k-means ended it stays.
        let rows = flat_rows(2000, 20, 3);
        let ended = kmeans(&rows, 20, &config(16, 4, 500));
        assert_eq!(
            kmeans_from(&rows, 20, &config(16, 9, 10), ended.centroids.clone()).centroids,
            ended.centroids
        );
    }

    #[test]
    fn two_clumps_by_hand() {
        // 0, 1 | 10, 12: means 0.5 and 11, inertia 4 * 0.25 - 0.5 = 0.5, plus 1 + 1.
        let got = kmeans(&[0.0, 1.0, 10.0, 12.0], 1, &config(2, 1, 20));
        let mut centroids = got.centroids.clone();
        centroids.sort_by(f32::total_cmp);
        assert_eq!(centroids, [0.5, 11.0]);
        assert_eq!(got.inertia, 2.5);
        assert_eq!(got.assignment[0], got.assignment[1]);
        assert_ne!(got.assignment[1], got.assignment[2]);
        assert_eq!(got.imbalance(), 1.0);
        // 2 (9 + 1) / 16.
        assert_eq!(KMeans { assignment: vec![0, 0, 1, 0], ..got }.imbalance(), 1.25);
    }

    #[test]
    fn thread_count_changes_no_bit() {
        let rows = random_rows(3000, 20, 5);
        for method in METHODS {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| kmeans(&rows, 20, &KMeansConfig { method, ..config(300, 9, 6) }))
            };
            let one = run(1);
            assert_eq!(one, run(2), "{method:?}");
            assert_eq!(one, run(5), "{method:?}");
            assert_ne!(one.centroids, kmeans(&rows, 20, &config(300, 10, 6)).centroids);
        }
    }

    #[test]
    fn the_filter_finds_what_every_distance_finds() {
        let (dim, k) = (64, 600);
        let rows = flat_rows(4000, dim, 7);
        let mut centroids = rows[..k * dim].to_vec();
        let stop = AtomicBool::new(false);
        let first = assign(&rows, dim, &mut centroids.clone(), None, &stop);
        let filter = Filter::fit(&rows, dim, &centroids, &first.assignment).expect("the rows are flat");
        for _ in 0..3 {
            centroids = means(&rows, dim, k, &assign(&rows, dim, &mut centroids, None, &stop).assignment);
            let whole = assign(&rows, dim, &mut centroids, None, &stop);
            let filtered = filter.assign(&rows, &mut centroids, &first.assignment, &stop);
            assert_eq!(whole.assignment, filtered.assignment);
            assert_eq!(whole.distances, filtered.distances);
        }
    }

    #[test]
    fn inertia_falls_with_rounds() {
        for rows in [random_rows(2000, 8, 3), flat_rows(2000, 64, 3)] {
            let dim = rows.len() / 2000;
            let cells = if dim == 8 { 40 } else { 520 };
            let inertia: Vec<f64> =
                (0..8).map(|rounds| kmeans(&rows, dim, &config(cells, 2, rounds)).inertia).collect();
            assert!(inertia.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-6)), "{inertia:?}");
            assert!(inertia[7] < inertia[0]);
        }
    }

    #[test]
    fn every_method_comes_near_lloyd() {
        let rows = flat_rows(6000, 16, 11);
        let lloyd = kmeans(&rows, 16, &config(200, 3, 20));
        let start = kmeans(&rows, 16, &config(200, 3, 0));
        for (method, share) in METHODS.into_iter().zip([0.0, 0.35, 0.6, 0.5, 0.1]) {
            let got = kmeans(&rows, 16, &KMeansConfig { method, ..config(200, 3, 20) });
            let allowed = lloyd.inertia + share * (start.inertia - lloyd.inertia);
            assert!(got.inertia <= allowed, "{method:?}: {} over {allowed}", got.inertia);
            assert_eq!(got.centroids.len(), 200 * 16);
        }
    }

    #[test]
    fn balanced_cells_are_more_alike() {
        // Half of the rows lie closer together.
        let mut rows = flat_rows(4000, 32, 5);
        rows[..2000 * 32].iter_mut().for_each(|value| *value *= 0.7);
        let plain = kmeans(&rows, 32, &config(100, 3, 25));
        let balanced = Method::Balanced { step: 1.0 };
        let balanced = kmeans(&rows, 32, &KMeansConfig { method: balanced, ..config(100, 3, 25) });
        let (before, after) = (plain.imbalance(), balanced.imbalance());
        assert!(after < 1.0 + 0.5 * (before - 1.0), "{after} after {before}");
    }

    #[test]
    fn spherical_centroids_have_length_one() {
        let mut rows = random_rows(500, 6, 8);
        to_unit_length(&mut rows, 6);
        for method in METHODS {
            let got = kmeans(&rows, 6, &KMeansConfig { spherical: true, method, ..config(20, 1, 5) });
            for centroid in got.centroids.chunks_exact(6) {
                assert!((crate::dot(centroid, centroid) - 1.0).abs() < 1e-5, "{method:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_cell_is_empty_and_rows_lie_in_the_nearest(
            values in prop::collection::vec(0u8..4, 1..60), k in 1usize..60, rounds in 0usize..4,
            method in prop::sample::select(METHODS.to_vec()), random in any::<bool>(),
        ) {
            // Few distinct values: more cells than points is the hard case.
            let rows: Vec<f32> = values.iter().map(|&v| f32::from(v)).collect();
            let k = k.min(rows.len());
            let seeds = if random { Seeds::Random } else { Seeds::PlusPlus };
            let got = kmeans(&rows, 1, &KMeansConfig { method, seeds, ..config(k, 4, rounds) });
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
        let _ = kmeans(&[1.0, 2.0], 1, &config(3, 0, 1));
    }
}
