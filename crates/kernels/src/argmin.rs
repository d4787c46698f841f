//! The nearest of many rows for each of many others, in one pass: a matrix product whose tiles are
//! compared while they are still in registers, so that no `n x k` matrix exists.
//!
//! `score(x, c) = |c|^2 - 2 <x, c>`, which is the squared distance less `|x|^2`. It is a chain of fused
//! multiply-adds that starts at `|c|^2` and takes the values in order; every instruction set gives the
//! same bits, and ties go to the lower row.

use crate::widest::widest;

/// Rows side by side in a panel.
const WIDTH: usize = 32;
/// Values of the panels that are compared with all queries before the next ones: half of a small
/// second-level cache.
const CACHED: usize = 1 << 16;

/// One value of 32 rows, on cache lines of its own.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Lanes([f32; WIDTH]);

/// Rows laid out for [`Panels::nearest`]: 32 side by side, value by value.
#[derive(Clone, Debug)]
pub struct Panels {
    dim: usize,
    len: usize,
    /// `panels x dim`, each value times -2, which is exact.
    values: Vec<Lanes>,
    /// One a panel: what a score starts from; infinite where there is no row.
    starts: Vec<Lanes>,
}

impl Panels {
    /// Lays out `rows`, `len x dim`.
    ///
    /// # Panics
    /// When `dim` is zero or does not divide the length, or there are `2^32` rows or more.
    #[must_use]
    pub fn new(rows: &[f32], dim: usize) -> Self {
        assert!(dim > 0 && rows.len().is_multiple_of(dim), "{} values are not rows of {dim}", rows.len());
        let starts: Vec<f32> = rows.chunks_exact(dim).map(|row| crate::dot(row, row)).collect();
        Self::with_starts(rows, dim, &starts)
    }

    /// Lays out `rows` with scores that start from `starts` in place of the squared lengths.
    ///
    /// # Panics
    /// As [`Panels::new`], or when there is not one start a row.
    #[must_use]
    pub fn with_starts(rows: &[f32], dim: usize, starts: &[f32]) -> Self {
        assert!(dim > 0 && rows.len().is_multiple_of(dim), "{} values are not rows of {dim}", rows.len());
        let len = rows.len() / dim;
        assert!(u32::try_from(len).is_ok(), "{len} rows are too many");
        assert_eq!(starts.len(), len, "one start a row");
        let panels = len.div_ceil(WIDTH);
        let mut values = vec![Lanes([0.0; WIDTH]); panels * dim];
        for (panel, rows) in values.chunks_exact_mut(dim).zip(rows.chunks(dim * WIDTH)) {
            for (j, row) in rows.chunks_exact(dim).enumerate() {
                for (value, lanes) in row.iter().zip(&mut *panel) {
                    lanes.0[j] = -2.0 * value;
                }
            }
        }
        let mut padded = vec![Lanes([f32::INFINITY; WIDTH]); panels];
        for (lanes, starts) in padded.iter_mut().zip(starts.chunks(WIDTH)) {
            lanes.0[..starts.len()].copy_from_slice(starts);
        }
        Self { dim, len, values, starts: padded }
    }

    /// Rows laid out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The row of least score for each of `queries` (`n x dim`) to `ids`, and that score to `scores`.
    ///
    /// # Panics
    /// When there is no row, or the lengths are not `n`.
    pub fn nearest(&self, queries: &[f32], ids: &mut [u32], scores: &mut [f32]) {
        assert!(self.len > 0, "there is nothing to be near to");
        assert_eq!(queries.len(), ids.len() * self.dim, "one id a query");
        assert_eq!(ids.len(), scores.len(), "one score a query");
        ids.fill(0);
        scores.fill(f32::INFINITY);
        nearest(self, queries, ids, scores);
    }

    /// Scores of `queries` (`n x dim`) against rows `first..first + width`, to `out`, `n x width`.
    ///
    /// # Panics
    /// When `first` or `width` is no multiple of 32, the range leaves the padded rows, or `out` has
    /// another size.
    pub(crate) fn scores(&self, queries: &[f32], first: usize, width: usize, out: &mut [f32]) {
        assert!(first.is_multiple_of(WIDTH) && width.is_multiple_of(WIDTH), "rows come in panels");
        assert_eq!(out.len(), queries.len() / self.dim * width, "one score a pair");
        let (first, width) = (first / WIDTH, width / WIDTH);
        let values = &self.values[first * self.dim..][..width * self.dim];
        write_scores(queries, self.dim, values, &self.starts[first..][..width], out);
    }

    /// Rows with their padding.
    pub(crate) fn padded(&self) -> usize {
        self.starts.len() * WIDTH
    }
}

widest! {
    fn nearest(panels: &Panels, queries: &[f32], ids: &mut [u32], scores: &mut [f32]);
    avx512: nearest_body::<6>, avx2: nearest_body::<2>, plain: nearest_body::<2>
}

widest! {
    fn write_scores(queries: &[f32], dim: usize, values: &[Lanes], starts: &[Lanes], out: &mut [f32]);
    avx512: scores_body::<8>, avx2: scores_body::<3>, plain: scores_body::<2>
}

/// Groups of `R` queries side by side, value by value, so that the inner loop reads them in order; those
/// that are missing are zeros.
#[inline(always)]
fn interleave<const R: usize>(queries: &[f32], dim: usize) -> Vec<[f32; R]> {
    let mut side = vec![[0.0; R]; queries.len().div_ceil(R * dim) * dim];
    for (queries, side) in queries.chunks(R * dim).zip(side.chunks_exact_mut(dim)) {
        for (r, query) in queries.chunks_exact(dim).enumerate() {
            for (value, lanes) in query.iter().zip(&mut *side) {
                lanes[r] = *value;
            }
        }
    }
    side
}

/// The scores of `R` interleaved queries against one panel.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "lanes of equal length, which the compiler keeps in registers")]
fn panel_scores<const R: usize>(queries: &[[f32; R]], panel: &[Lanes], start: &Lanes) -> [[f32; WIDTH]; R] {
    let mut sums = [start.0; R];
    for (query, lanes) in queries.iter().zip(panel) {
        for r in 0..R {
            for j in 0..WIDTH {
                sums[r][j] = query[r].mul_add(lanes.0[j], sums[r][j]);
            }
        }
    }
    sums
}

#[inline(always)]
fn nearest_body<const R: usize>(panels: &Panels, queries: &[f32], ids: &mut [u32], scores: &mut [f32]) {
    let dim = panels.dim;
    let side = interleave::<R>(queries, dim);
    let block = (CACHED / (dim * WIDTH)).max(1);
    let blocks = panels.values.chunks(block * dim).zip(panels.starts.chunks(block));
    for (b, (values, starts)) in blocks.enumerate() {
        let first = (b * block * WIDTH) as u32;
        let groups = side.chunks_exact(dim).zip(ids.chunks_mut(R)).zip(scores.chunks_mut(R));
        for ((queries, ids), scores) in groups {
            let (low, at) = lowest(queries, dim, values, starts);
            for (r, (id, score)) in ids.iter_mut().zip(scores).enumerate() {
                for j in 0..WIDTH {
                    let (low, row) = (low[r][j], first + at[r][j] * WIDTH as u32 + j as u32);
                    // Within a block lanes hold rows out of order; across blocks rows ascend.
                    if low < *score || (low == *score && row < *id) {
                        (*score, *id) = (low, row);
                    }
                }
            }
        }
    }
}

/// In each lane the least score of `R` interleaved queries, and the panel it is in.
#[inline(always)]
fn lowest<const R: usize>(
    queries: &[[f32; R]],
    dim: usize,
    values: &[Lanes],
    starts: &[Lanes],
) -> ([[f32; WIDTH]; R], [[u32; WIDTH]; R]) {
    let mut low = [[f32::INFINITY; WIDTH]; R];
    let mut at = [[0u32; WIDTH]; R];
    for (p, (panel, start)) in (0u32..).zip(values.chunks_exact(dim).zip(starts)) {
        let sums = panel_scores(queries, panel, start);
        for r in 0..R {
            for j in 0..WIDTH {
                let less = sums[r][j] < low[r][j];
                low[r][j] = if less { sums[r][j] } else { low[r][j] };
                at[r][j] = if less { p } else { at[r][j] };
            }
        }
    }
    (low, at)
}

#[inline(always)]
fn scores_body<const R: usize>(
    queries: &[f32],
    dim: usize,
    values: &[Lanes],
    starts: &[Lanes],
    out: &mut [f32],
) {
    let width = starts.len() * WIDTH;
    let side = interleave::<R>(queries, dim);
    for (side, out) in side.chunks_exact(dim).zip(out.chunks_mut(R * width)) {
        for (p, (panel, start)) in values.chunks_exact(dim).zip(starts).enumerate() {
            let sums = panel_scores(side, panel, start);
            for (sums, out) in sums.iter().zip(out.chunks_exact_mut(width)) {
                out[p * WIDTH..][..WIDTH].copy_from_slice(sums);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn score(query: &[f32], row: &[f32]) -> f32 {
        query.iter().zip(row).fold(crate::dot(row, row), |sum, (q, c)| q.mul_add(-2.0 * c, sum))
    }

    proptest! {
        #[test]
        fn it_finds_what_the_definition_finds(
            (dim, rows, queries) in (1usize..40, 1usize..200, 0usize..20).prop_flat_map(|(d, r, q)| (
                Just(d),
                prop::collection::vec((-4i8..5).prop_map(f32::from), d * r),
                prop::collection::vec((-4i8..5).prop_map(f32::from), d * q),
            )),
        ) {
            let panels = Panels::new(&rows, dim);
            let n = queries.len() / dim;
            let (mut ids, mut scores) = (vec![0; n], vec![0.0; n]);
            panels.nearest(&queries, &mut ids, &mut scores);
            let mut all = vec![0.0; n * panels.padded()];
            panels.scores(&queries, 0, panels.padded(), &mut all);
            for (i, query) in queries.chunks_exact(dim).enumerate() {
                let want: Vec<f32> = rows.chunks_exact(dim).map(|row| score(query, row)).collect();
                prop_assert_eq!(&all[i * panels.padded()..][..want.len()], &want[..]);
                let best = (0..want.len()).min_by(|&a, &b| want[a].total_cmp(&want[b])).unwrap();
                prop_assert_eq!((ids[i] as usize, scores[i]), (best, want[best]));
            }
        }
    }

    #[test]
    fn by_hand() {
        // |c|^2 - 2 x c for x = 3 and c = 0, 2, 5: 0, 4 - 12, 25 - 30.
        let panels = Panels::new(&[0.0, 2.0, 5.0], 1);
        let (mut ids, mut scores) = ([9], [9.0]);
        panels.nearest(&[3.0], &mut ids, &mut scores);
        assert_eq!((ids, scores), ([1], [-8.0]));
    }

    #[test]
    fn blocks_larger_than_the_cache_agree() {
        let mut random = crate::SplitMix64::new(3);
        let mut values = |n: usize| -> Vec<f32> { (0..n).map(|_| random.unit() as f32).collect() };
        let (rows, queries) = (values(3000 * 70), values(13 * 70));
        let panels = Panels::new(&rows, 70);
        let (mut ids, mut scores) = (vec![0; 13], vec![0.0; 13]);
        panels.nearest(&queries, &mut ids, &mut scores);
        for (i, query) in queries.chunks_exact(70).enumerate() {
            let want = rows.chunks_exact(70).map(|row| score(query, row)).enumerate();
            let (best, low) = want.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            assert_eq!((ids[i] as usize, scores[i]), (best, low));
        }
    }
}
