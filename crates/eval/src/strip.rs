//! Distances from a block of queries to a whole gallery, one tile at a time: the only large buffer of
//! the evaluator, `block x gallery` and never `gallery x gallery`.

use data::{Hit, Metric, Rows};

/// Gallery rows a tile: 256 rows of 128 dimensions fill 128 KiB, which stays in the second-level cache.
const TILE: usize = 256;

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

    /// Distances of query `query` of the block, in the gallery's order.
    pub(crate) fn of(&self, query: usize) -> impl Iterator<Item = f32> {
        self.distances.chunks((self.block * TILE).max(1)).flat_map(move |tile| {
            let members = tile.len() / self.block;
            tile[query * members..(query + 1) * members].iter().copied()
        })
    }
}

fn fill_tile(metric: Metric, queries: &[f32], rows: &[f32], dim: usize, out: &mut [f32]) {
    match metric {
        Metric::Dot => {
            kernels::dot_tile(queries, rows, dim, out);
            out.iter_mut().for_each(|value| *value = -*value);
        }
        // Norms and a product would be quicker, but lose what separates near-duplicates to cancellation.
        Metric::L2 => {
            let members = rows.len() / dim;
            for (query, out) in queries.chunks_exact(dim).zip(out.chunks_exact_mut(members)) {
                for (row, out) in rows.chunks_exact(dim).zip(out) {
                    *out = kernels::l2(query, row);
                }
            }
        }
    }
}

/// The `k` nearest of `hits`, by distance then id, nearest first.
///
/// Keeps at most `2 k` candidates and halves them when full: linear time however large `k` is.
pub(crate) fn nearest(hits: impl Iterator<Item = Hit>, k: usize, kept: &mut Vec<Hit>) {
    kept.clear();
    if k == 0 {
        return;
    }
    let mut furthest = f32::INFINITY;
    for hit in hits {
        if hit.distance > furthest {
            continue;
        }
        kept.push(hit);
        if kept.len() >= 2 * k {
            let (_, last, _) = kept.select_nth_unstable_by(k - 1, Hit::order);
            furthest = last.distance;
            kept.truncate(k);
        }
    }
    if kept.len() > k {
        kept.select_nth_unstable_by(k - 1, Hit::order);
        kept.truncate(k);
    }
    kept.sort_unstable_by(Hit::order);
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
            let mut got = Vec::new();
            nearest(hits.into_iter(), k, &mut got);
            prop_assert_eq!(got, want);
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
                let got: Vec<f32> = strip.of(i).collect();
                let want: Vec<f32> = gallery.iter().map(|&other| {
                    let pairs = || rows.row(query).iter().zip(rows.row(other));
                    if l2 { pairs().map(|(a, b)| (a - b) * (a - b)).sum() } else { -pairs().map(|(a, b)| a * b).sum::<f32>() }
                }).collect();
                prop_assert_eq!(got, want); // whole numbers: exact in f32
            }
        }
    }
}
