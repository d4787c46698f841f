//! The k nearest rows of many queries: tiles of distances with the selection fused in.
//!
//! Distances are those of [`l2`](fn@crate::l2) and [`dot`](fn@crate::dot), to the bit; no more than a tile of
//! them exists at a time. Pairs are ordered by `(distance, row)`, so neither the number of threads nor
//! the cut into tiles changes a result.

use crate::{Isa, Reservoir};
use rayon::prelude::*;

/// Queries of a tile.
const QUERIES: usize = 32;
/// Bytes of a tile's rows, which stay in the L2 cache while the queries pass by.
const TILE: usize = 128 << 10;
/// Distances looked at together; hardly any is small enough.
const TOGETHER: usize = 16;

/// For each query (`queries x dim`, row-major), the `k` rows (`rows x dim`) at the smallest squared
/// distance: pairs `(distance, row)`, nearest first.
///
/// Runs on the caller's rayon pool. Memory beside the result, for each thread: at most 128 KiB of distances
/// and the reservoirs of some hundred queries.
///
/// # Panics
/// When `dim` is zero or does not divide a length, or there are `2^32` rows or more.
#[must_use]
pub fn l2_nearest(queries: &[f32], rows: &[f32], dim: usize, k: usize) -> Vec<Vec<(f32, u32)>> {
    nearest(queries, rows, dim, k, Isa::l2_offer)
}

/// As [`l2_nearest`], by the largest inner product; distances are negated products.
///
/// # Panics
/// As for [`l2_nearest`].
#[must_use]
pub fn dot_nearest(queries: &[f32], rows: &[f32], dim: usize, k: usize) -> Vec<Vec<(f32, u32)>> {
    nearest(queries, rows, dim, k, Isa::dot_offer)
}

type Offer = fn(Isa, &[f32], &[f32], usize, u32, &mut [Reservoir]);

fn nearest(queries: &[f32], rows: &[f32], dim: usize, k: usize, offer: Offer) -> Vec<Vec<(f32, u32)>> {
    check(queries, rows, dim, 0);
    let isa = Isa::current();
    let (count, blocks) = (rows.len() / dim, (queries.len() / dim).div_ceil(QUERIES).max(1));
    // Few queries share the threads by rows, four slabs a thread.
    let slabs = (4 * rayon::current_num_threads()).div_ceil(blocks);
    let slab =
        if blocks < rayon::current_num_threads() { count.div_ceil(slabs).max(1024) } else { count.max(1) };
    queries
        .par_chunks(QUERIES * dim)
        .flat_map_iter(|queries| {
            let each = queries.len() / dim;
            let parts: Vec<Vec<Reservoir>> = rows
                .par_chunks(slab * dim)
                .enumerate()
                .map(|(part, rows)| {
                    let mut found = vec![Reservoir::new(k); each];
                    offer(isa, queries, rows, dim, (part * slab) as u32, &mut found);
                    found
                })
                .collect();
            merge(parts, each, k)
        })
        .collect()
}

/// The `k` nearest of each query over all parts.
fn merge(parts: Vec<Vec<Reservoir>>, queries: usize, k: usize) -> Vec<Vec<(f32, u32)>> {
    let mut found = vec![Reservoir::new(k); queries];
    for part in parts {
        for (all, part) in found.iter_mut().zip(part) {
            part.into_sorted().into_iter().for_each(|(distance, row)| all.push(distance, row));
        }
    }
    found.into_iter().map(Reservoir::into_sorted).collect()
}

impl Isa {
    /// Offers each of `rows`, numbered from `first`, to the reservoir of each query at its squared distance.
    /// Runs on the calling thread.
    ///
    /// # Panics
    /// When `dim` is zero or does not divide a length, there is not one reservoir a query, or row numbers pass
    /// `u32`.
    pub fn l2_offer(self, queries: &[f32], rows: &[f32], dim: usize, first: u32, found: &mut [Reservoir]) {
        let tile = |queries: &[f32], rows: &[f32], out: &mut [f32]| self.l2_tile(queries, rows, dim, out);
        offer(queries, rows, dim, first, found, tile);
    }

    /// As [`Isa::l2_offer`], at the negated inner product.
    ///
    /// # Panics
    /// As for [`Isa::l2_offer`].
    pub fn dot_offer(self, queries: &[f32], rows: &[f32], dim: usize, first: u32, found: &mut [Reservoir]) {
        let tile = |queries: &[f32], rows: &[f32], out: &mut [f32]| {
            self.dot_tile(queries, rows, dim, out);
            out.iter_mut().for_each(|product| *product = -*product);
        };
        offer(queries, rows, dim, first, found, tile);
    }
}

fn offer(
    queries: &[f32],
    rows: &[f32],
    dim: usize,
    first: u32,
    found: &mut [Reservoir],
    tile: impl Fn(&[f32], &[f32], &mut [f32]),
) {
    check(queries, rows, dim, first);
    assert_eq!(found.len(), queries.len() / dim, "one reservoir a query");
    let width = (TILE / (4 * dim)).clamp(16, 1024).min((rows.len() / dim).max(1));
    let mut out = vec![0.0; QUERIES.min(found.len()) * width];
    for (number, rows) in rows.chunks(width * dim).enumerate() {
        let (first, width) = (first + (number * width) as u32, rows.len() / dim);
        for (queries, found) in queries.chunks(QUERIES * dim).zip(found.chunks_mut(QUERIES)) {
            let out = &mut out[..found.len() * width];
            tile(queries, rows, out);
            for (distances, found) in out.chunks_exact(width).zip(found) {
                push_row(distances, first, found);
            }
        }
    }
}

/// Offers a row of a tile.
#[inline]
fn push_row(distances: &[f32], first: u32, found: &mut Reservoir) {
    for (group, distances) in distances.chunks(TOGETHER).enumerate() {
        // NaN does not count as beyond: the reservoir knows what to do with it.
        let limit = found.limit();
        if distances.iter().fold(true, |beyond, &distance| beyond & (distance > limit)) {
            continue;
        }
        for (i, &distance) in distances.iter().enumerate() {
            found.push(distance, first + (group * TOGETHER + i) as u32);
        }
    }
}

fn check(queries: &[f32], rows: &[f32], dim: usize, first: u32) {
    assert!(dim > 0, "vectors need at least one dimension");
    assert!(queries.len().is_multiple_of(dim) && rows.len().is_multiple_of(dim), "rows are not whole");
    let last = (first as usize).checked_add(rows.len() / dim);
    assert!(last.is_some_and(|last| last <= u32::MAX as usize), "row numbers fit in 32 bits");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SplitMix64, dot, l2};
    use proptest::prelude::*;

    /// Few distinct values, so that distances tie.
    fn coarse(n: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::new(seed);
        (0..n).map(|_| random.below(5) as f32 - 2.0).collect()
    }

    fn sorted(
        queries: &[f32],
        rows: &[f32],
        dim: usize,
        k: usize,
        measure: impl Fn(&[f32], &[f32]) -> f32,
    ) -> Vec<Vec<(f32, u32)>> {
        let near = |query: &[f32]| {
            let mut all: Vec<(f32, u32)> =
                rows.chunks_exact(dim).map(|row| measure(query, row)).zip(0..).collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            all.truncate(k);
            all
        };
        queries.chunks_exact(dim).map(near).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn it_finds_what_a_sort_would(
            dim in 1usize..9, queries in 0usize..70, rows in 0usize..2500, k in 0usize..90,
            threads in 1usize..4, seed in any::<u64>(),
        ) {
            let (queries, rows) = (coarse(queries * dim, seed), coarse(rows * dim, seed ^ 1));
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (by_l2, by_dot) = pool.install(|| (
                l2_nearest(&queries, &rows, dim, k), dot_nearest(&queries, &rows, dim, k),
            ));
            prop_assert_eq!(by_l2, sorted(&queries, &rows, dim, k, l2));
            prop_assert_eq!(by_dot, sorted(&queries, &rows, dim, k, |a, b| -dot(a, b)));
        }
    }

    #[test]
    fn rows_are_numbered_from_the_first() {
        let mut found = [Reservoir::new(1)];
        Isa::current().l2_offer(&[1.0], &[5.0, 2.0], 1, 40, &mut found);
        let [found] = found;
        assert_eq!(found.into_sorted(), [(1.0, 41)]);
    }

    #[test]
    #[should_panic(expected = "rows are not whole")]
    fn rows_must_be_whole() {
        let _ = l2_nearest(&[0.0; 4], &[0.0; 5], 2, 1);
    }
}
