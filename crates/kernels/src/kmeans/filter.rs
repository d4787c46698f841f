//! Exact rounds of Lloyd that compute few whole distances.
//!
//! Let `P` have orthonormal rows and `x~ = (P x, |x - P'P x|)`. Then `<x, c> <= <x~, c~>`, since what lies
//! outside of `P` has at most the product of the lengths as its inner product. So
//! `|c|^2 - 2 <x~, c~>` is a lower bound of the score of [`Panels`], at the price of a few values in place of
//! `dim`. Only centroids whose bound is below the distance to the row's last centroid are measured, and the
//! nearest of all is among them.
//!
//! `P` spans the directions in which the rows are long, found by orthogonal iteration on a sample (Golub and
//! Van Loan, Matrix Computations, section 8.2.4); any `P` gives the same cells, a good one sooner.

use super::assign::{Cells, each_chunk, fill_empty};
use crate::select::below;
use crate::{Isa, Panels, SplitMix64};
use std::sync::atomic::AtomicBool;

/// Fewer cells or dimensions are compared faster whole.
const LEAST_CELLS: usize = 512;
const LEAST_DIM: usize = 48;
/// Rows from which the directions are learnt.
const SAMPLE: usize = 2048;
/// Rows on which the widths are tried.
const TRIED: usize = 256;
/// Lengths of `x~` that are tried.
const WIDTHS: [usize; 5] = [12, 16, 24, 32, 64];
/// Turns of the orthogonal iteration.
const TURNS: usize = 6;
/// Centroids whose bounds are computed at once, and rows that share them.
const BLOCK: usize = 1024;
const GROUP: usize = 8;
/// Rounding of bounds and scores, as a share of `|x|^2 + |c|^2`.
const SLACK: f32 = 1e-5;

/// The directions `P`.
pub(super) struct Filter {
    dim: usize,
    /// Rows of `P`, to be multiplied.
    basis: Panels,
    directions: usize,
}

impl Filter {
    /// Directions for these rows; none where measuring every distance is as fast.
    pub(super) fn fit(rows: &[f32], dim: usize, centroids: &[f32], assignment: &[u32]) -> Option<Self> {
        let k = centroids.len() / dim;
        if k < LEAST_CELLS || dim < LEAST_DIM {
            return None;
        }
        let widths: Vec<usize> = WIDTHS.into_iter().filter(|&width| 2 * width <= dim).collect();
        let basis = directions(rows, dim, widths.last()? - 1);
        // In units of 32 multiplications that are fused and in registers.
        let whole = (k * dim) as f64 / 32.0;
        let cost = |width: usize| {
            let filter = Self::of(&basis, dim, width);
            let survivors = filter.survivors(rows, centroids, assignment);
            ((k * width) as f64 / 32.0 + k as f64 / 8.0 + survivors * (dim as f64 / 16.0 + 16.0), width)
        };
        let best = widths.iter().map(|&width| cost(width)).min_by(|a, b| a.0.total_cmp(&b.0))?;
        (best.0 < 0.8 * whole).then(|| Self::of(&basis, dim, best.1))
    }

    fn of(basis: &[f32], dim: usize, width: usize) -> Self {
        let directions = width - 1;
        let basis = Panels::with_starts(&basis[..directions * dim], dim, &vec![0.0; directions]);
        Self { dim, basis, directions }
    }

    /// `x~` of each row.
    fn shadows(&self, rows: &[f32]) -> Vec<f32> {
        let (n, padded, width) = (rows.len() / self.dim, self.basis.padded(), self.directions + 1);
        let mut products = vec![0.0; n * padded];
        self.basis.scores(rows, 0, padded, &mut products);
        let mut out = vec![0.0; n * width];
        let each =
            out.chunks_exact_mut(width).zip(products.chunks_exact(padded)).zip(rows.chunks_exact(self.dim));
        for ((out, products), row) in each {
            // Scores are -2 times the products.
            out.iter_mut().zip(&products[..self.directions]).for_each(|(out, p)| *out = -0.5 * p);
            let (all, inside) = (crate::dot(row, row), crate::dot(&out[..width - 1], &out[..width - 1]));
            // Too long is safe, too short is not.
            out[width - 1] = (all * (1.0 + SLACK) - inside).max(0.0).sqrt();
        }
        out
    }

    fn shadow_panels(&self, centroids: &[f32]) -> Panels {
        let starts: Vec<f32> = centroids.chunks_exact(self.dim).map(|c| crate::dot(c, c)).collect();
        Panels::with_starts(&self.shadows(centroids), self.directions + 1, &starts)
    }

    /// Whole distances a row, in the mean of a few rows.
    fn survivors(&self, rows: &[f32], centroids: &[f32], assignment: &[u32]) -> f64 {
        let (n, dim) = (assignment.len(), self.dim);
        let panels = self.shadow_panels(centroids);
        let longest = longest(centroids, dim);
        let tried = TRIED.min(n);
        let mut total = 0;
        let mut search = Search::new(self, &panels, centroids, longest);
        for i in 0..tried {
            let row = i * n / tried;
            let x = &rows[row * dim..][..dim];
            total += search.group(x, &assignment[row..=row], &mut [0], &mut [0.0]);
        }
        total as f64 / tried as f64
    }

    /// As [`assign`](super::assign::assign), from the cells of the last round.
    pub(super) fn assign(
        &self,
        rows: &[f32],
        centroids: &mut [f32],
        last: &[u32],
        stop: &AtomicBool,
    ) -> Cells {
        let panels = self.shadow_panels(centroids);
        let longest = longest(centroids, self.dim);
        let shared = &*centroids;
        let mut cells = each_chunk(rows, self.dim, stop, |rows, first, assignment, distances| {
            let mut search = Search::new(self, &panels, shared, longest);
            let groups = rows.chunks(GROUP * self.dim).zip(last[first..].chunks(GROUP));
            let out = assignment.chunks_mut(GROUP).zip(distances.chunks_mut(GROUP));
            for ((rows, last), (assignment, distances)) in groups.zip(out) {
                search.group(rows, &last[..assignment.len()], assignment, distances);
            }
        });
        fill_empty(rows, self.dim, centroids, &mut cells);
        cells
    }
}

/// The greatest squared length.
fn longest(rows: &[f32], dim: usize) -> f32 {
    rows.chunks_exact(dim).map(|row| crate::dot(row, row)).fold(0.0, f32::max)
}

/// Buffers of one thread.
struct Search<'a> {
    filter: &'a Filter,
    panels: &'a Panels,
    centroids: &'a [f32],
    longest: f32,
    bounds: Vec<f32>,
    near: Vec<u32>,
    found: Vec<f32>,
}

impl<'a> Search<'a> {
    fn new(filter: &'a Filter, panels: &'a Panels, centroids: &'a [f32], longest: f32) -> Self {
        let (bounds, near, found) = (Vec::new(), Vec::new(), Vec::new());
        Self { filter, panels, centroids, longest, bounds, near, found }
    }

    /// The nearest centroid of each of a few rows; returns how many distances that took.
    fn group(&mut self, rows: &[f32], last: &[u32], assignment: &mut [u32], distances: &mut [f32]) -> usize {
        let (isa, dim) = (Isa::current(), self.filter.dim);
        let shadows = self.filter.shadows(rows);
        let mut measured = 0;
        for (i, row) in rows.chunks_exact(dim).enumerate() {
            assignment[i] = last[i];
            distances[i] = isa.l2(row, &self.centroids[last[i] as usize * dim..][..dim]);
        }
        for first in (0..self.panels.padded()).step_by(BLOCK) {
            let width = BLOCK.min(self.panels.padded() - first);
            self.bounds.resize(last.len() * width, 0.0);
            self.panels.scores(&shadows, first, width, &mut self.bounds);
            for (i, (row, bounds)) in rows.chunks_exact(dim).zip(self.bounds.chunks_exact(width)).enumerate()
            {
                let length = crate::dot(row, row);
                let limit = distances[i] - length + SLACK * (length + self.longest);
                self.near.clear();
                below(bounds, limit, first as u32, &mut self.near);
                measured += self.near.len();
                self.found.resize(self.near.len(), 0.0);
                isa.l2s_at(row, self.centroids, &self.near, &mut self.found);
                for (&cell, &distance) in self.near.iter().zip(&self.found) {
                    if distance < distances[i] || (distance == distances[i] && cell < assignment[i]) {
                        (assignment[i], distances[i]) = (cell, distance);
                    }
                }
            }
        }
        measured
    }
}

/// `count` orthonormal directions, those in which a sample of the rows is longest first.
fn directions(rows: &[f32], dim: usize, count: usize) -> Vec<f32> {
    let n = rows.len() / dim;
    let taken = SAMPLE.min(n);
    let mut moments = vec![0f64; dim * dim];
    for i in 0..taken {
        let row = &rows[i * n / taken * dim..][..dim];
        for (moments, &a) in moments.chunks_exact_mut(dim).zip(row) {
            moments.iter_mut().zip(row).for_each(|(m, &b)| *m += f64::from(a) * f64::from(b));
        }
    }
    let mut random = SplitMix64::new(0);
    let mut basis: Vec<f64> = (0..count * dim).map(|_| random.unit() - 0.5).collect();
    orthonormalise(&mut basis, dim, &mut random);
    for _ in 0..TURNS {
        for direction in basis.chunks_exact_mut(dim) {
            let mut image = vec![0f64; dim];
            for (moments, &weight) in moments.chunks_exact(dim).zip(&*direction) {
                image.iter_mut().zip(moments).for_each(|(image, m)| *image += weight * m);
            }
            direction.copy_from_slice(&image);
        }
        orthonormalise(&mut basis, dim, &mut random);
    }
    basis.into_iter().map(|value| value as f32).collect()
}

/// Gram and Schmidt, twice for each direction; one that vanishes starts anew at random.
fn orthonormalise(basis: &mut [f64], dim: usize, random: &mut SplitMix64) {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for i in 0..basis.len() / dim {
        let (before, rest) = basis.split_at_mut(i * dim);
        let own = &mut rest[..dim];
        loop {
            let whole = product(own, own).sqrt();
            for _ in 0..2 {
                for other in before.chunks_exact(dim) {
                    let share = product(own, other);
                    own.iter_mut().zip(other).for_each(|(own, other)| *own -= share * other);
                }
            }
            let length = product(own, own).sqrt();
            if length > 1e-9 * whole && length > 0.0 {
                own.iter_mut().for_each(|value| *value /= length);
                break;
            }
            own.iter_mut().for_each(|value| *value = random.unit() - 0.5);
        }
    }
}
