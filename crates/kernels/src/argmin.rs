//! The nearest of many rows for each of many others, in one pass: a matrix product whose tiles are
//! compared while they are still in registers, so that no `n x k` matrix exists.
//!
//! `score(x, c) = |c|^2 - 2 <x, c>`, which is the squared distance less `|x|^2`. It is a chain of fused
//! multiply-adds that starts at `|c|^2` and takes the values in order; every instruction set gives the
//! same bits, and ties go to the lower row.

use crate::Isa;
use crate::block::Block;
use crate::isa::on;

/// Rows side by side in a panel.
const WIDTH: usize = 32;
/// Values of the panels that are compared with all queries before the next ones: half of a small
/// second-level cache.
const CACHED: usize = 1 << 16;

/// The two passes of one instruction set, over as many queries at once as stay in registers.
macro_rules! instruction_set {
    ($module:ident, $block:ty, nearest $n:literal, scores $s:literal $(, $feature:literal)?) => {
        /// # Safety
        /// Every function needs the instruction set that the module is named after.
        mod $module {
            use super::Panels;

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn nearest(panels: &Panels, queries: &[f32], ids: &mut [u32], scores: &mut [f32]) {
                // SAFETY: the instruction set is present here.
                unsafe { super::nearest_body::<$block, $n>(panels, queries, ids, scores) }
            }

            $(#[target_feature(enable = $feature)])?
            pub(super) unsafe fn scores(panels: &Panels, queries: &[f32], first: usize, count: usize, out: &mut [f32]) {
                // SAFETY: the instruction set is present here.
                unsafe {
                    // Sums of missing queries would be in vain.
                    if queries.len() <= panels.dim {
                        super::scores_body::<$block, 1>(panels, queries, first, count, out)
                    } else {
                        super::scores_body::<$block, $s>(panels, queries, first, count, out)
                    }
                }
            }
        }
    };
}

instruction_set!(scalar, [f32; crate::block::LANES], nearest 1, scores 1);
#[cfg(target_arch = "x86_64")]
instruction_set!(avx2, crate::x86::Block256, nearest 2, scores 2, "avx2,fma");
#[cfg(target_arch = "x86_64")]
instruction_set!(avx512, crate::x86::Block512, nearest 6, scores 8, "avx512f,avx2,fma");
#[cfg(target_arch = "aarch64")]
instruction_set!(neon, crate::neon::Block128, nearest 2, scores 2, "neon");

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
        on!(Isa::current(), nearest(self, queries, ids, scores));
    }

    /// Scores of `queries` (`n x dim`) against rows `first..first + width`, to `out`, `n x width`.
    ///
    /// # Panics
    /// When `first` or `width` is no multiple of 32, the range leaves the padded rows, or `out` has
    /// another size.
    pub fn scores(&self, queries: &[f32], first: usize, width: usize, out: &mut [f32]) {
        assert!(first.is_multiple_of(WIDTH) && width.is_multiple_of(WIDTH), "rows come in panels");
        assert_eq!(out.len(), queries.len() / self.dim * width, "one score a pair");
        on!(Isa::current(), scores(self, queries, first / WIDTH, width / WIDTH, out));
    }

    /// Rows with their padding, a multiple of 32.
    #[must_use]
    pub fn padded(&self) -> usize {
        self.starts.len() * WIDTH
    }
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
///
/// # Safety
/// The instruction set of `B` must be present.
#[inline(always)]
unsafe fn panel_scores<B: Block, const R: usize>(
    queries: &[[f32; R]],
    panel: &[Lanes],
    start: &Lanes,
) -> [B; R] {
    // SAFETY: `Lanes` are 32 values; the token is the caller's.
    unsafe {
        let mut sums = [B::load(start.0.as_ptr()); R];
        for (query, lanes) in queries.iter().zip(panel) {
            let lanes = B::load(lanes.0.as_ptr());
            for r in 0..R {
                sums[r] = sums[r].fused(B::splat(query[r]), lanes);
            }
        }
        sums
    }
}

/// # Safety
/// The instruction set of `B` must be present.
#[inline(always)]
unsafe fn nearest_body<B: Block, const R: usize>(
    panels: &Panels,
    queries: &[f32],
    ids: &mut [u32],
    scores: &mut [f32],
) {
    let dim = panels.dim;
    let side = interleave::<R>(queries, dim);
    let block = (CACHED / (dim * WIDTH)).max(1);
    let blocks = panels.values.chunks(block * dim).zip(panels.starts.chunks(block));
    for (b, (values, starts)) in blocks.enumerate() {
        let first = (b * block * WIDTH) as u32;
        let groups = side.chunks_exact(dim).zip(ids.chunks_mut(R)).zip(scores.chunks_mut(R));
        for ((queries, ids), scores) in groups {
            // SAFETY: the token is the caller's.
            let (low, at) = unsafe { lowest::<B, R>(queries, dim, values, starts) };
            for (r, (id, score)) in ids.iter_mut().zip(scores).enumerate() {
                let (low, row) = least(&low[r], &at[r]);
                if low < *score || (low == *score && first + row < *id) {
                    (*score, *id) = (low, first + row);
                }
            }
        }
    }
}

/// The least of the lanes, none of which is NaN, and the lowest row among those that have it.
///
/// Halves are compared with each other, which compilers do in registers: lane after lane took longer than the
/// products of few and short rows.
#[inline(always)]
fn least(low: &[f32; WIDTH], at: &[f32; WIDTH]) -> (f32, u32) {
    let mut halves = *low;
    let mut width = WIDTH / 2;
    while width > 0 {
        let (left, right) = halves.split_at_mut(width);
        for (left, &right) in left.iter_mut().zip(&right[..width]) {
            *left = if right < *left { right } else { *left };
        }
        width /= 2;
    }
    let row = |j: usize| at[j].to_bits() * WIDTH as u32 + j as u32;
    let rows = (0..WIDTH).map(|j| if low[j] == halves[0] { row(j) } else { u32::MAX });
    (halves[0], rows.fold(u32::MAX, u32::min))
}

/// In each lane the least score of `R` interleaved queries, and the bits of the number of its panel.
///
/// # Safety
/// The instruction set of `B` must be present.
#[inline(always)]
unsafe fn lowest<B: Block, const R: usize>(
    queries: &[[f32; R]],
    dim: usize,
    values: &[Lanes],
    starts: &[Lanes],
) -> ([[f32; WIDTH]; R], [[f32; WIDTH]; R]) {
    // SAFETY: every array stored to has 32 values; the token is the caller's.
    unsafe {
        let mut low = [B::splat(f32::INFINITY); R];
        let mut at = [B::zero(); R];
        for (p, (panel, start)) in (0u32..).zip(values.chunks_exact(dim).zip(starts)) {
            let sums = panel_scores::<B, R>(queries, panel, start);
            let here = B::splat(f32::from_bits(p));
            for r in 0..R {
                sums[r].keep_less(&mut low[r], &mut at[r], here);
            }
        }
        let mut out = ([[0.0; WIDTH]; R], [[0.0; WIDTH]; R]);
        for r in 0..R {
            low[r].store(out.0[r].as_mut_ptr());
            at[r].store(out.1[r].as_mut_ptr());
        }
        out
    }
}

/// Scores against panels `first..first + count`.
///
/// # Safety
/// The instruction set of `B` must be present.
#[inline(always)]
unsafe fn scores_body<B: Block, const R: usize>(
    panels: &Panels,
    queries: &[f32],
    first: usize,
    count: usize,
    out: &mut [f32],
) {
    let (dim, width) = (panels.dim, count * WIDTH);
    let values = &panels.values[first * dim..][..count * dim];
    let starts = &panels.starts[first..][..count];
    let side = interleave::<R>(queries, dim);
    for (side, out) in side.chunks_exact(dim).zip(out.chunks_mut(R * width)) {
        let present = out.len() / width;
        for (p, (panel, start)) in values.chunks_exact(dim).zip(starts).enumerate() {
            // SAFETY: the token is the caller's.
            let sums = unsafe { panel_scores::<B, R>(side, panel, start) };
            for r in 0..R {
                if r < present {
                    let to = &mut out[r * width + p * WIDTH..][..WIDTH];
                    // SAFETY: `to` has 32 values; the token is the caller's.
                    unsafe { sums[r].store(to.as_mut_ptr()) };
                }
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
            for isa in Isa::present() {
                ids.fill(0);
                scores.fill(f32::INFINITY);
                on!(isa, nearest(&panels, &queries, &mut ids, &mut scores));
                let mut again = (vec![0; n], vec![0.0; n]);
                panels.nearest(&queries, &mut again.0, &mut again.1);
                prop_assert_eq!((&ids, &scores), (&again.0, &again.1), "{}", isa.name());
            }
            let mut all = vec![0.0; n * panels.padded()];
            panels.scores(&queries, 0, panels.padded(), &mut all);
            for (i, query) in queries.chunks_exact(dim).enumerate() {
                let want: Vec<f32> = rows.chunks_exact(dim).map(|row| score(query, row)).collect();
                prop_assert_eq!(&all[i * panels.padded()..][..want.len()], &want[..]);
                let mut alone = vec![0.0; panels.padded()];
                panels.scores(query, 0, panels.padded(), &mut alone);
                prop_assert_eq!(&alone[..want.len()], &want[..]);
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
