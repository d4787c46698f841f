//! Distances from a block of queries to a whole gallery, one tile at a time: the only large buffer of
//! the evaluator, `block x gallery` and never `gallery x gallery`.

use crate::EvalError;
use data::{Hit, Metric, Rows};

/// Gallery rows a tile: 256 rows of 128 dimensions fill 128 KiB, which stays in the second-level cache.
const TILE: usize = 256;
/// Distances compared with a limit at once.
const GROUP: usize = 16;
/// Queries a tile at most: more gain nothing.
const BLOCK: usize = 64;

/// Queries a block so that all threads together stay within `memory` bytes; `candidates` is what a thread
/// keeps besides its strip, bytes.
pub(crate) fn block(
    memory: usize,
    gallery: usize,
    dim: usize,
    candidates: usize,
) -> Result<usize, EvalError> {
    let threads = rayon::current_num_threads();
    let bytes = |block| Strip::bytes(block, gallery, dim).saturating_add(candidates);
    let share = memory / threads;
    if bytes(1) > share {
        return Err(EvalError::Memory { need: bytes(1).saturating_mul(threads), given: memory, threads });
    }
    let per_query = bytes(2) - bytes(1);
    Ok((1 + (share - bytes(1)) / per_query.max(1)).min(BLOCK))
}

/// Reusable buffers of one worker.
pub(crate) struct Strip {
    /// Tile after tile; within a tile, query after query.
    distances: Vec<f32>,
    queries: Vec<f32>,
    rows: Vec<f32>,
    block: usize,
    gallery: usize,
}

impl Strip {
    /// Bytes needed for a block of `block` queries.
    pub(crate) fn bytes(block: usize, gallery: usize, dim: usize) -> usize {
        let values = block
            .saturating_mul(gallery)
            .saturating_add(dim.saturating_mul(block.saturating_add(TILE.min(gallery))));
        values.saturating_mul(size_of::<f32>())
    }

    pub(crate) fn new() -> Self {
        Self { distances: Vec::new(), queries: Vec::new(), rows: Vec::new(), block: 0, gallery: 0 }
    }

    /// Computes the distances of `queries` to `gallery`, both row numbers of `rows`.
    pub(crate) fn fill(&mut self, rows: Rows<'_, f32>, metric: Metric, queries: &[usize], gallery: &[usize]) {
        let dim = rows.dim();
        (self.block, self.gallery) = (queries.len(), gallery.len());
        self.queries.clear();
        queries.iter().for_each(|&query| self.queries.extend_from_slice(rows.row(query)));
        self.distances.resize(queries.len() * gallery.len(), 0.0);
        let tiles = self.distances.chunks_mut((queries.len() * TILE).max(1));
        for (tile, members) in tiles.zip(gallery.chunks(TILE)) {
            let (first, last) = (members[0], members[members.len() - 1]);
            let consecutive = members.windows(2).all(|pair| pair[0] + 1 == pair[1]);
            let tile_rows = if consecutive {
                rows.slice(first..last + 1).as_slice()
            } else {
                self.rows.clear();
                members.iter().for_each(|&member| self.rows.extend_from_slice(rows.row(member)));
                &self.rows
            };
            fill_tile(metric, &self.queries, tile_rows, dim, tile);
        }
    }

    /// Gives `see` the members of the gallery, by their place in it, whose distance to query `query` of
    /// the block is `limit` or less. `see` returns the limit from then on, which must not grow.
    #[inline]
    pub(crate) fn within(&self, query: usize, mut limit: f32, mut see: impl FnMut(usize, f32) -> f32) {
        // This runs once for every pair of pictures, and few pairs are near: sixteen are compared at once.
        for (number, tile) in self.distances.chunks((self.block * TILE).max(1)).enumerate() {
            let members = tile.len() / self.block;
            let (groups, rest) = tile[query * members..(query + 1) * members].as_chunks::<GROUP>();
            let groups = groups.iter().map(<[f32; GROUP]>::as_slice).chain([rest]);
            for (group, distances) in groups.enumerate() {
                if !distances.iter().fold(false, |any, &distance| any | (distance <= limit)) {
                    continue;
                }
                for (i, &distance) in distances.iter().enumerate() {
                    if distance <= limit {
                        limit = see(number * TILE + group * GROUP + i, distance);
                    }
                }
            }
        }
    }
}

fn fill_tile(metric: Metric, queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    match metric {
        Metric::Dot => {
            kernels::dot_tile(queries, rows, dim, out);
            // Not a negation, which gives a zero of either sign: those would differ where ids should decide.
            out.iter_mut().for_each(|value| *value = 0.0 - *value);
        }
        Metric::L2 => kernels::l2_tile(queries, rows, dim, out),
    }
}

/// The `k` nearest of a stream, by distance then id.
///
/// Keeps at most `2 k` candidates and halves them when full: linear time however large `k` is, which a
/// heap is not; here `k` is as large as a class.
pub(crate) struct Nearest {
    k: usize,
    kept: Vec<Hit>,
    furthest: f32,
}

impl Nearest {
    pub(crate) fn new() -> Self {
        Self { k: 0, kept: Vec::new(), furthest: f32::NEG_INFINITY }
    }

    /// Starts over, for another `k`.
    pub(crate) fn reset(&mut self, k: usize) {
        self.k = k;
        self.kept.clear();
        self.furthest = if k == 0 { f32::NEG_INFINITY } else { f32::INFINITY };
    }

    /// Only candidates at this distance or less are wanted.
    #[inline]
    pub(crate) fn limit(&self) -> f32 {
        self.furthest
    }

    /// Takes a candidate that is wanted.
    pub(crate) fn offer(&mut self, hit: Hit) {
        self.kept.push(hit);
        if self.kept.len() >= self.k.saturating_mul(2) {
            self.shrink();
            self.furthest = self.kept.iter().fold(f32::NEG_INFINITY, |most, hit| most.max(hit.distance));
        }
    }

    /// The nearest, nearest first.
    pub(crate) fn finish(&mut self) -> &[Hit] {
        self.shrink();
        self.kept.sort_unstable_by(Hit::order);
        &self.kept
    }

    fn shrink(&mut self) {
        if self.kept.len() > self.k {
            self.kept.select_nth_unstable_by(self.k - 1, Hit::order);
            self.kept.truncate(self.k);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nearest_agrees_with_sorting(values in prop::collection::vec(0u8..20, 0..200), k in 0usize..30) {
            let hits: Vec<Hit> = values
                .iter()
                .enumerate()
                .map(|(i, &value)| Hit { id: (i * 37 % 211) as u64, distance: f32::from(value) })
                .collect();
            let mut want = hits.clone();
            want.sort_by(Hit::order);
            want.truncate(k);
            let mut nearest = Nearest::new();
            nearest.reset(k);
            for hit in hits {
                if hit.distance <= nearest.limit() {
                    nearest.offer(hit);
                }
            }
            prop_assert_eq!(nearest.finish(), want);
        }

        #[test]
        fn strips_agree_with_single_distances(
            block in 1usize..5, gallery in prop::collection::vec(0usize..700, 1..600), l2: bool,
        ) {
            let values: Vec<f32> = (0..700 * 3).map(|i| (i * 31 % 17) as f32 - 8.0).collect();
            let rows = Rows::new(&values, 3).unwrap();
            let metric = if l2 { Metric::L2 } else { Metric::Dot };
            let queries: Vec<usize> = (0..block).map(|i| i * 91).collect();
            let mut strip = Strip::new();
            strip.fill(rows, metric, &queries, &gallery);
            for (i, &query) in queries.iter().enumerate() {
                let mut got = Vec::new();
                strip.within(i, f32::INFINITY, |place, distance| {
                    assert_eq!(place, got.len());
                    got.push(distance);
                    f32::INFINITY
                });
                let mut near = 0;
                strip.within(i, 3.0, |_, distance| {
                    assert!(distance <= 3.0);
                    near += 1;
                    3.0
                });
                prop_assert_eq!(near, got.iter().filter(|distance| **distance <= 3.0).count());
                let want: Vec<f32> = gallery.iter().map(|&other| {
                    let pairs = || rows.row(query).iter().zip(rows.row(other));
                    if l2 { pairs().map(|(a, b)| (a - b) * (a - b)).sum() } else { -pairs().map(|(a, b)| a * b).sum::<f32>() }
                }).collect();
                prop_assert_eq!(got, want); // whole numbers: exact in f32
            }
        }
    }
}
