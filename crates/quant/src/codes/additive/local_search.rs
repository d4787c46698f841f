//! LSQ and LSQ++: iterated local search over codes, noise on the books that cools as training goes.
//!
//! With `u_m[j] = |c_mj|^2 - 2 <x, c_mj>` and `p[m,j][m',j'] = 2 <c_mj, c_m'j'>` the error of a code, less
//! `|x|^2`, is `sum_m u_m[i_m] + sum_{m < m'} p[m,i_m][m',i_m']`. Iterated conditional modes sets one book's
//! number at a time to the best given the others, a sum of rows of `p`. The search then changes a few numbers
//! at random, repairs, and keeps what is better. What is changed is the same for every row, so that a row's
//! code does not depend on the rows beside it.
//!
//! Sources: Martinez, Clement, Hoos and Little, ECCV 2016 (LSQ, ICM); Martinez, Zakhmi, Hoos and Little, ECCV
//! 2018 (LSQ++, SR-D).

use super::beam::Beam;
use super::books::Books;
use super::composite::product_books;
use crate::matrix::normal;
use crate::transforms::mean;
use crate::{TrainError, Training};
use data::Rows;
use kernels::{Panels, SplitMix64, dot_tile, least_sum};
use rayon::prelude::*;

/// Rows that are searched together: the pair tables of a book are read once for all.
const ROWS: usize = 256;
/// Numbers changed at random in each turn of the search: half of them, and no more than this.
const CHANGED: usize = 4;
/// Passes over all books in each turn.
const PASSES: usize = 3;
/// Turns of the search, when vectors are encoded and in training. Twice as many take 1.7 times the time and leave 3 %
/// less (`LSQ8x8`, SIFT).
pub(super) const TURNS: usize = 8;
/// Rounds of training.
const ROUNDS: usize = 25;

/// Books laid out for coding.
#[derive(Clone, Debug)]
pub(super) struct LocalSearch {
    start: Beam,
    turns: usize,
    /// All entries of all books.
    panels: Panels,
    /// `p[m',j'][m,j]` as `[m][m'][j'][j]`: setting a book's number reads one part of it.
    pairs: Vec<f32>,
}

impl LocalSearch {
    /// Searches for `turns` turns from the code of a beam of `width`.
    pub(super) fn new(books: &Books, width: usize, turns: usize) -> Self {
        let pairs = pairs(books);
        Self { start: Beam::new(books, width), turns, panels: Panels::new(&books.values, books.dim), pairs }
    }

    /// Writes the code of each row, `n x books`, on the calling thread.
    pub(super) fn encode(&self, books: &Books, rows: Rows<'_, f32>, numbers: &mut [u16]) {
        self.start.encode(books, rows, numbers);
        for (i, numbers) in numbers.chunks_mut(ROWS * books.books).enumerate() {
            let end = (i * ROWS + ROWS).min(rows.len());
            self.improve(books, rows.slice(i * ROWS..end), numbers, 0);
        }
    }

    /// Improves codes that are there, on the caller's rayon pool.
    fn improve_all(&self, books: &Books, rows: Rows<'_, f32>, numbers: &mut [u16], seed: u64) {
        numbers.par_chunks_mut(ROWS * books.books).enumerate().for_each(|(i, numbers)| {
            let end = (i * ROWS + ROWS).min(rows.len());
            self.improve(books, rows.slice(i * ROWS..end), numbers, seed);
        });
    }

    fn improve(&self, books: &Books, rows: Rows<'_, f32>, numbers: &mut [u16], seed: u64) {
        let (m, padded) = (books.books, self.panels.padded());
        let mut unary = vec![0.0; rows.len() * padded];
        self.panels.scores(rows.as_slice(), 0, padded, &mut unary);
        let mut random = SplitMix64::named(seed, 0x15c);
        let mut tried = numbers.to_vec();
        let mut errors: Vec<f32> = numbers
            .chunks_exact(m)
            .zip(unary.chunks_exact(padded))
            .map(|(n, u)| self.error(books, n, u))
            .collect();
        for turn in 0..=self.turns {
            tried.copy_from_slice(numbers);
            // The first turn only repairs.
            if turn > 0 {
                for _ in 0..(m / 2).clamp(1, CHANGED) {
                    let (book, j) = (random.below(m), random.below(books.count) as u16);
                    tried.iter_mut().skip(book).step_by(m).for_each(|number| *number = j);
                }
            }
            let mut order: Vec<usize> = (0..m).collect();
            for i in (1..m).rev() {
                order.swap(i, random.below(i + 1));
            }
            // Numbers set since one last changed: when all have been, nothing more will.
            let mut settled = vec![0; rows.len()];
            for _ in 0..PASSES {
                for &book in &order {
                    let each = tried.chunks_exact_mut(m).zip(unary.chunks_exact(padded)).zip(&mut settled);
                    for ((tried, unary), settled) in each.filter(|(_, settled)| **settled < m) {
                        let best = self.best(books, book, tried, unary);
                        *settled = if best == tried[book] { *settled + 1 } else { 1 };
                        tried[book] = best;
                    }
                }
            }
            let each = numbers.chunks_exact_mut(m).zip(tried.chunks_exact(m)).zip(unary.chunks_exact(padded));
            for (((numbers, tried), unary), error) in each.zip(&mut errors) {
                let now = self.error(books, tried, unary);
                if now < *error {
                    numbers.copy_from_slice(tried);
                    *error = now;
                }
            }
        }
    }

    /// The pairs of entry `j` of `other` with the entries of `book`.
    fn row(&self, books: &Books, book: usize, other: usize, j: u16) -> &[f32] {
        let count = books.count;
        &self.pairs[((book * books.books + other) * count + usize::from(j)) * count..][..count]
    }

    /// The best number of `book` given the others.
    fn best(&self, books: &Books, book: usize, numbers: &[u16], unary: &[f32]) -> u16 {
        let count = books.count;
        let mut rows: [&[f32]; super::MAX_BOOKS] = [&[]; super::MAX_BOOKS];
        rows[0] = &unary[book * count..][..count];
        let others = numbers.iter().enumerate().filter(|(other, _)| *other != book);
        for (slot, (other, &j)) in rows[1..].iter_mut().zip(others) {
            *slot = self.row(books, book, other, j);
        }
        least_sum(&rows[..books.books]).0 as u16
    }

    /// The squared error of a code, less `|x|^2`.
    fn error(&self, books: &Books, numbers: &[u16], unary: &[f32]) -> f32 {
        let mut sum = 0.0;
        for (book, &j) in numbers.iter().enumerate() {
            sum += unary[book * books.count + usize::from(j)];
            let before = numbers[..book].iter().enumerate();
            sum += before.map(|(other, &i)| self.row(books, book, other, i)[usize::from(j)]).sum::<f32>();
        }
        sum
    }
}

/// Twice the inner products of all entries, as `[m][m'][j'][j]`.
pub(super) fn pairs(books: &Books) -> Vec<f32> {
    let (m, tile) = (books.books, books.count * books.count);
    let mut pairs = vec![0.0; m * m * tile];
    pairs.par_chunks_mut(tile).enumerate().for_each(|(i, out)| {
        dot_tile(books.book(i % m), books.book(i / m), books.dim, out);
        out.iter_mut().for_each(|pair| *pair *= 2.0);
    });
    pairs
}

/// Starts from product books, then fits and searches by turns while noise on the books cools.
pub(super) fn train(
    rows: Rows<'_, f32>,
    books: usize,
    count: usize,
    width: usize,
    training: &Training<'_>,
) -> Result<Books, TrainError> {
    let mut all = product_books(rows, books, count, training)?;
    let mut numbers = vec![0; rows.len() * books];
    LocalSearch::new(&all, width, 0).improve_all(&all, rows, &mut numbers, training.seed);
    let spread = spread(rows);
    let mut best = (f64::INFINITY, all.clone());
    for round in 0..ROUNDS {
        training.step(round, ROUNDS)?;
        let fitted = all.fit(rows, &numbers);
        let distortion = fitted.distortion(rows, &numbers);
        if distortion < best.0 {
            best = (distortion, fitted.clone());
        }
        let heat = (1.0 - (round + 1) as f32 / ROUNDS as f32).sqrt() / books as f32;
        all = fitted;
        let mut random = SplitMix64::named(training.seed, 1000 + round as u64);
        for entry in all.values.chunks_exact_mut(all.dim) {
            entry.iter_mut().zip(&spread).for_each(|(v, s)| *v += heat * s * normal(&mut random) as f32);
        }
        let search = LocalSearch::new(&all, width, TURNS);
        search.improve_all(&all, rows, &mut numbers, training.seed.wrapping_add(round as u64));
    }
    let fitted = all.fit(rows, &numbers);
    Ok(if fitted.distortion(rows, &numbers) < best.0 { fitted } else { best.1 })
}

/// The standard deviation of each value.
fn spread(rows: Rows<'_, f32>) -> Vec<f32> {
    let mean = mean(rows);
    let mut sums = vec![0f64; rows.dim()];
    for row in rows.iter() {
        for ((sum, &value), &mean) in sums.iter_mut().zip(row).zip(&mean) {
            *sum += f64::from(value - mean).powi(2);
        }
    }
    sums.iter().map(|sum| (sum / rows.len() as f64).sqrt() as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::new(seed);
        (0..n).map(|_| random.unit() as f32).collect()
    }

    #[test]
    fn the_error_is_that_of_the_decoded_vector() {
        let books = Books { dim: 6, books: 3, count: 8, values: noise(144, 1) };
        let search = LocalSearch::new(&books, 1, 0);
        let row = noise(6, 2);
        let mut unary = vec![0.0; search.panels.padded()];
        search.panels.scores(&row, 0, search.panels.padded(), &mut unary);
        let mut decoded = [0.0; 6];
        books.decode([5, 0, 7].into_iter(), &mut decoded);
        let want = kernels::l2(&row, &decoded) - kernels::dot(&row, &row);
        assert!((search.error(&books, &[5, 0, 7], &unary) - want).abs() < 1e-4);
        // The best of one book given the others, by trying all.
        let error = |j: u16| search.error(&books, &[5, j, 7], &unary);
        let best = (0..8u16).min_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap();
        assert_eq!(search.best(&books, 1, &[5, 3, 7], &unary), best);
    }

    #[test]
    fn searching_longer_never_leaves_more() {
        let data = noise(600 * 12, 3);
        let rows = Rows::new(&data, 12).unwrap();
        let books = super::super::beam::train(rows, 4, 16, 2, &Training::seeded(1)).unwrap();
        let left = |turns| {
            let mut numbers = vec![0; 600 * 4];
            LocalSearch::new(&books, 2, turns).encode(&books, rows, &mut numbers);
            books.distortion(rows, &numbers)
        };
        let beam = books.distortion(rows, &Beam::new(&books, 2).encode_all(&books, rows));
        let (repaired, searched) = (left(0), left(16));
        assert!(repaired <= beam + 1e-6 && searched < repaired, "{beam} {repaired} {searched}");
    }
}
