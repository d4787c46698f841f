//! Balanced k-d trees, cut off where leaves hold few rows: each split halves a range of rows by one of their values.
//!
//! A tree is a permutation of the rows and, in the order of a heap, an axis and a value for each split. A leaf is a
//! range of the permutation that follows from the number of rows alone. Axes are drawn from those of largest variance,
//! so that trees differ.
//! Sources: Bentley, CACM 1975; Silpa-Anan and Hartley, CVPR 2008 (several random trees).

use super::site::Site;
use crate::BuildError;
use crate::array::Array;
use crate::file::{OpenError, Part, PartKind, Sections};
use kernels::SplitMix64;
use rayon::prelude::*;
use std::ops::Range;

/// Most rows of a leaf.
const LEAF: usize = 32;
/// Axes of largest variance of which one is drawn.
const AXES: usize = 5;
/// Rows that variances are computed from at most.
const SAMPLE: usize = 128;

/// Trees over the same rows.
pub(super) struct Trees {
    n: usize,
    /// Splits on the way to a leaf.
    depth: u32,
    /// `trees x (2^depth - 1) x 2`: axis, and the bits of the value.
    splits: Array<u32>,
    /// `trees x n`.
    orders: Array<u32>,
}

/// Splits on the way to a leaf among `n` rows.
fn depth(n: usize) -> u32 {
    (0..32).find(|&depth| n.div_ceil(1 << depth) <= LEAF).unwrap_or(32)
}

fn half(range: &Range<usize>) -> usize {
    range.start + range.len() / 2
}

impl Trees {
    pub(super) fn build(site: &Site<'_>, count: usize) -> Result<Self, BuildError> {
        let (n, depth) = (site.len(), depth(site.len()));
        let mut splits = Array::filled(count * ((1 << depth) - 1) * 2, 0u32);
        let mut orders = Array::filled(count * n, 0u32);
        for tree in 0..count {
            let order = &mut orders.as_mut()[tree * n..][..n];
            order.iter_mut().zip(0..).for_each(|(slot, row)| *slot = row);
            let own = ((1 << depth) - 1) * 2;
            let splits = &mut splits.as_mut()[tree * own..][..own];
            let seed = SplitMix64::named(site.seed, 0x7472_6565 + tree as u64).bits();
            // One level after another: the ranges of a level do not touch.
            for level in 0..depth {
                site.watch.go_on()?;
                let (first, ranges) = ((1usize << level) - 1, ranges(n, level));
                let mut rest = &mut order[..];
                let mut tasks = Vec::with_capacity(ranges.len());
                for (range, split) in ranges.into_iter().zip(splits[2 * first..].chunks_exact_mut(2)) {
                    let (rows, after) = rest.split_at_mut(range.len());
                    rest = after;
                    tasks.push((rows, split));
                }
                tasks.into_par_iter().enumerate().for_each(|(i, (rows, split))| {
                    let (axis, value) = halve(site, rows, SplitMix64::named(seed, (first + i) as u64));
                    split.copy_from_slice(&[axis, value.to_bits()]);
                });
            }
        }
        Ok(Self { n, depth, splits, orders })
    }

    pub(super) fn open(n: usize, count: usize, sections: &Sections<'_>) -> Result<Self, OpenError> {
        let depth = depth(n);
        let splits = 1usize.checked_shl(depth).and_then(|leaves| (leaves - 1).checked_mul(2 * count));
        Ok(Self {
            n,
            depth,
            splits: sections.array(PartKind::TreeSplits, splits)?,
            orders: sections.array(PartKind::TreeOrders, n.checked_mul(count))?,
        })
    }

    pub(super) fn parts(&self) -> [Part<'_>; 2] {
        [Part::new(PartKind::TreeSplits, &self.splits[..]), Part::new(PartKind::TreeOrders, &self.orders[..])]
    }

    /// Numbers rows by their place in `order`.
    pub(super) fn renumber(&mut self, order: &[u32]) {
        let places = super::order::places(order);
        self.orders.as_mut().iter_mut().for_each(|row| *row = places[*row as usize]);
    }

    fn count(&self) -> usize {
        self.orders.len() / self.n
    }

    /// The rows of the leaf of each tree where `query` belongs.
    pub(super) fn leaves(&self, query: &[f32], rows: &mut Vec<u32>) {
        for tree in 0..self.count() {
            let leaf = self.fall(tree, query, 0, 0..self.n);
            rows.extend_from_slice(&self.orders[tree * self.n..][leaf]);
        }
    }

    /// The leaf that `query` falls into from a split.
    fn fall(&self, tree: usize, query: &[f32], mut split: usize, mut range: Range<usize>) -> Range<usize> {
        let own = (1 << self.depth) - 1;
        while split < own {
            let at = 2 * (tree * own + split);
            let (axis, value) = (self.splits[at] as usize, f32::from_bits(self.splits[at + 1]));
            let middle = half(&range);
            // A damaged file may name any axis.
            if query.get(axis).is_some_and(|&q| q < value) {
                (split, range) = (2 * split + 1, range.start..middle);
            } else {
                (split, range) = (2 * split + 2, middle..range.end);
            }
        }
        range
    }

    /// Where each row lies in each tree: `trees x n`.
    pub(super) fn places(&self) -> Vec<u32> {
        let mut places = vec![0; self.orders.len()];
        for (order, places) in self.orders.chunks_exact(self.n).zip(places.chunks_exact_mut(self.n)) {
            order.iter().zip(0..).for_each(|(&row, place)| places[row as usize] = place);
        }
        places
    }

    /// The rows near `row` in the trees: those of its leaf, and for each of the `up` splits above it those of the
    /// leaf on the other side that the row would fall into.
    pub(super) fn around(&self, row: u32, vector: &[f32], places: &[u32], up: u32) -> Vec<u32> {
        let mut rows = Vec::new();
        for tree in 0..self.count() {
            let order = &self.orders[tree * self.n..][..self.n];
            let place = places[tree * self.n + row as usize] as usize;
            let (mut split, mut range) = (0, 0..self.n);
            for level in 0..self.depth {
                let middle = half(&range);
                let (left, right) =
                    ((2 * split + 1, range.start..middle), (2 * split + 2, middle..range.end));
                let (own, other) = if place < middle { (left, right) } else { (right, left) };
                if self.depth - level <= up {
                    rows.extend_from_slice(&order[self.fall(tree, vector, other.0, other.1)]);
                }
                (split, range) = own;
            }
            rows.extend_from_slice(&order[range]);
        }
        rows
    }
}

/// The ranges of a level.
fn ranges(n: usize, level: u32) -> Vec<Range<usize>> {
    if level == 0 {
        return std::iter::once(0..n).collect();
    }
    let halves = |range: Range<usize>| [range.start..half(&range), half(&range)..range.end];
    ranges(n, level - 1).into_iter().flat_map(halves).collect()
}

/// Halves rows by an axis: those before the middle have smaller values, or equal ones and lower numbers.
fn halve(site: &Site<'_>, rows: &mut [u32], mut random: SplitMix64) -> (u32, f32) {
    let dim = site.vectors.dim();
    let sample: Vec<&[f32]> = (0..rows.len().min(SAMPLE))
        .map(|i| &site.row(rows[i * rows.len() / rows.len().min(SAMPLE)])[..dim])
        .collect();
    let count = sample.len() as f64;
    let mut spread: Vec<(f64, u32)> = (0..dim)
        .map(|axis| {
            let values = sample.iter().map(|row| f64::from(row[axis]));
            let (sum, squares) = values.fold((0.0, 0.0), |(sum, squares), v| (sum + v, squares + v * v));
            (squares / count - (sum / count).powi(2), axis as u32)
        })
        .collect();
    spread.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let axis = spread[random.below(AXES.min(dim))].1;
    let value = |row: u32| site.row(row)[axis as usize];
    let middle = rows.len() / 2;
    rows.select_nth_unstable_by(middle, |&a, &b| value(a).total_cmp(&value(b)).then(a.cmp(&b)));
    // Which rows lie on either side is decided; their order within is not, until it is sorted.
    rows[..middle].sort_unstable();
    rows[middle..].sort_unstable();
    let least = rows[middle..].iter().map(|&row| value(row)).fold(f32::INFINITY, f32::min);
    (axis, least)
}
