//! Composite Quantization: additive books whose entries' inner products add up to one constant in every code.
//!
//! With `s = sum_{a != b} <c_a, c_b>` of a code, `|q - x^|^2 = |q|^2 + sum_m (|c_m|^2 - 2 <q, c_m>) + s`: where `s` is
//! a constant no norm is needed. Training minimises
//! `sum |x - x^|^2 + w sum (s - cross)^2` over codes (iterated conditional modes), `cross` (the mean of `s`) and
//! books (L-BFGS, Nocedal and Wright, algorithm 7.5) in turn, from product books, for which `s = 0`; the weight
//! `w` rises. Distances are off by `s - cross`; vectors of mean zero (`Centre,NOCQ8x8`) keep that small.
//!
//! Sources: Zhang, Du and Wang, ICML 2014 (CQ, near-orthogonal NOCQ).

use super::Group;
use super::beam::Beam;
use super::books::Books;
use super::local_search::pairs;
use crate::codebook::{cluster, columns};
use crate::{TrainError, Training};
use data::Rows;
use kernels::{Panels, Seeds, SplitMix64};
use rayon::prelude::*;
use std::collections::VecDeque;

/// Rows that are searched together.
const ROWS: usize = 128;
/// Passes over all books: in training from the last code, else from a beam's.
const TRAINING_PASSES: usize = 3;
const PASSES: usize = 6;
/// Rounds of training, and the weight of a squared deviation in them, in units of the inverse distortion.
const ROUNDS: usize = 20;
const WEIGHTS: [f64; 2] = [0.02, 1.0];
/// Steps of L-BFGS a round, and the pairs it remembers.
const STEPS: usize = 12;
const MEMORY: usize = 6;

/// Books laid out for coding.
#[derive(Clone, Debug)]
pub(super) struct Composite {
    start: Beam,
    cross: f32,
    weight: f32,
    /// All entries of all books.
    panels: Panels,
    /// As in [`super::local_search`].
    pairs: Vec<f32>,
}

impl Composite {
    pub(super) fn new(books: &Books, width: usize, cross: f32, weight: f32) -> Self {
        let panels = Panels::new(&books.values, books.dim);
        Self { start: Beam::new(books, width), cross, weight, panels, pairs: pairs(books) }
    }

    /// Writes the code of each row, `n x books`, on the calling thread.
    pub(super) fn encode(&self, books: &Books, rows: Rows<'_, f32>, numbers: &mut [u16]) {
        self.start.encode(books, rows, numbers);
        self.improve(books, rows, numbers, PASSES);
    }

    fn improve(&self, books: &Books, rows: Rows<'_, f32>, numbers: &mut [u16], passes: usize) {
        let padded = self.panels.padded();
        let mut sums = vec![0.0; books.count];
        for (i, numbers) in numbers.chunks_mut(ROWS * books.books).enumerate() {
            let rows = rows.slice(i * ROWS..(i * ROWS + ROWS).min(rows.len()));
            let mut unary = vec![0.0; rows.len() * padded];
            self.panels.scores(rows.as_slice(), 0, padded, &mut unary);
            for _ in 0..passes {
                for book in 0..books.books {
                    let each = numbers.chunks_exact_mut(books.books).zip(unary.chunks_exact(padded));
                    each.for_each(|(numbers, unary)| {
                        numbers[book] = self.best(books, book, numbers, unary, &mut sums);
                    });
                }
            }
        }
    }

    /// The best number of `book` given the others.
    fn best(&self, books: &Books, book: usize, numbers: &[u16], unary: &[f32], sums: &mut [f32]) -> u16 {
        let count = books.count;
        let row = |book: usize, other: usize| {
            let j = usize::from(numbers[other]);
            &self.pairs[((book * books.books + other) * count + j) * count..][..count]
        };
        let others = || (0..books.books).filter(|&other| other != book);
        // What the others' inner products among themselves deviate by, before this book adds its own.
        let mut rest = -self.cross;
        for other in others() {
            let before = others().take_while(|&before| before < other);
            rest += before.map(|before| row(other, before)[usize::from(numbers[other])]).sum::<f32>();
        }
        sums.fill(0.0);
        for other in others() {
            sums.iter_mut().zip(row(book, other)).for_each(|(sum, pair)| *sum += pair);
        }
        let mut best = (0, f32::INFINITY);
        for (j, (sum, unary)) in (0u16..).zip(sums.iter().zip(&unary[book * count..][..count])) {
            let error = unary + sum + self.weight * (rest + sum) * (rest + sum);
            if error < best.1 {
                best = (j, error);
            }
        }
        best.0
    }
}

pub(super) fn train(
    rows: Rows<'_, f32>,
    books: usize,
    count: usize,
    width: usize,
    training: &Training<'_>,
) -> Result<Group, TrainError> {
    let mut all = product_books(rows, books, count, training)?;
    let mut numbers = vec![0; rows.len() * books];
    // Without a weight the product books code as a product code does, one piece at a time.
    improve_all(&Composite::new(&all, width, 0.0, 0.0), &all, rows, &mut numbers);
    let mut cross = 0.0;
    let mut weight = 0.0;
    for round in 0..ROUNDS {
        training.step(round, ROUNDS)?;
        let unit = all.distortion(rows, &numbers).max(f64::MIN_POSITIVE);
        let rise = (WEIGHTS[1] / WEIGHTS[0]).powf(round as f64 / (ROUNDS - 1) as f64);
        weight = (WEIGHTS[0] * rise / unit).min(1e30);
        all = Descent { rows, numbers: &numbers, cross, weight }.run(all);
        cross = mean_cross(&all, &numbers);
        let composite = Composite::new(&all, width, cross as f32, weight as f32);
        improve_all(&composite, &all, rows, &mut numbers);
        cross = mean_cross(&all, &numbers);
    }
    Ok(Group { books: all, cross: cross as f32, weight: weight as f32 })
}

fn improve_all(composite: &Composite, books: &Books, rows: Rows<'_, f32>, numbers: &mut [u16]) {
    numbers.par_chunks_mut(ROWS * books.books).enumerate().for_each(|(i, numbers)| {
        let end = (i * ROWS + ROWS).min(rows.len());
        composite.improve(books, rows.slice(i * ROWS..end), numbers, TRAINING_PASSES);
    });
}

/// Books of which each has values of its own: k-means of a piece of the rows, zeros elsewhere.
pub(super) fn product_books(
    rows: Rows<'_, f32>,
    books: usize,
    count: usize,
    training: &Training<'_>,
) -> Result<Books, TrainError> {
    let dim = rows.dim();
    let mut values = vec![0.0; books * count * dim];
    for (book, values) in values.chunks_exact_mut(count * dim).enumerate() {
        let piece = book * dim / books..(book + 1) * dim / books;
        if piece.is_empty() {
            continue;
        }
        let own = columns(rows.as_slice(), dim, piece.clone());
        let seed = SplitMix64::named(training.seed, book as u64).bits();
        let centroids = cluster(&own, piece.len(), count, seed, 12, Seeds::Random, training.stop)?;
        for (entry, centroid) in values.chunks_exact_mut(dim).zip(centroids.chunks_exact(piece.len())) {
            entry[piece.clone()].copy_from_slice(centroid);
        }
    }
    Ok(Books { dim, books, count, values })
}

/// `s` of a code, given what it stands for: `|x^|^2 - sum |c_m|^2`.
fn cross_of(books: &Books, numbers: &[u16], decoded: &[f32]) -> f64 {
    let own = |(book, &j): (usize, &u16)| f64::from(kernels::dot(books.entry(book, j), books.entry(book, j)));
    f64::from(kernels::dot(decoded, decoded)) - numbers.iter().enumerate().map(own).sum::<f64>()
}

fn mean_cross(books: &Books, numbers: &[u16]) -> f64 {
    let each: Vec<f64> = numbers
        .par_chunks(ROWS * books.books)
        .map(|numbers| {
            let mut decoded = vec![0.0; books.dim];
            let codes = numbers.chunks_exact(books.books);
            codes
                .map(|numbers| {
                    books.decode(numbers.iter().copied(), &mut decoded);
                    cross_of(books, numbers, &decoded)
                })
                .sum()
        })
        .collect();
    each.iter().sum::<f64>() / (numbers.len() / books.books) as f64
}

/// The books as a smooth function to be made small.
struct Descent<'a> {
    rows: Rows<'a, f32>,
    numbers: &'a [u16],
    cross: f64,
    weight: f64,
}

impl Descent<'_> {
    /// The objective, and its gradient by the values of the books.
    ///
    /// `d/dc = sum over the rows of an entry of -2 (x - x^) + 4 w (s - cross) (x^ - c)`.
    fn slope(&self, books: &Books) -> (f64, Vec<f64>) {
        let (dim, m) = (books.dim, books.books);
        let mut pulls = vec![0.0f32; self.rows.len() * dim];
        let parts: Vec<(f64, Vec<f64>)> = pulls
            .par_chunks_mut(ROWS * dim)
            .enumerate()
            .map(|(chunk, pulls)| {
                let (mut value, mut weights, mut decoded) = (0.0, Vec::new(), vec![0.0; dim]);
                for (i, pull) in (chunk * ROWS..).zip(pulls.chunks_exact_mut(dim)) {
                    let numbers = &self.numbers[i * m..][..m];
                    books.decode(numbers.iter().copied(), &mut decoded);
                    let off = cross_of(books, numbers, &decoded) - self.cross;
                    value += f64::from(kernels::l2(self.rows.row(i), &decoded)) + self.weight * off * off;
                    let bend = (4.0 * self.weight * off) as f32;
                    for ((pull, x), decoded) in pull.iter_mut().zip(self.rows.row(i)).zip(&decoded) {
                        *pull = -2.0 * (x - decoded) + bend * decoded;
                    }
                    weights.push(f64::from(bend));
                }
                (value, weights)
            })
            .collect();
        let value = parts.iter().map(|(value, _)| value).sum();
        let bends: Vec<f64> = parts.into_iter().flat_map(|(_, weights)| weights).collect();
        let mut slope = vec![0f64; books.values.len()];
        slope.par_chunks_mut(books.count * dim).enumerate().for_each(|(book, slope)| {
            let mut own = vec![0f64; books.count];
            for (i, (pull, bend)) in pulls.chunks_exact(dim).zip(&bends).enumerate() {
                let j = usize::from(self.numbers[i * m + book]);
                own[j] += bend;
                slope[j * dim..][..dim].iter_mut().zip(pull).for_each(|(sum, &v)| *sum += f64::from(v));
            }
            for (j, (slope, own)) in slope.chunks_exact_mut(dim).zip(own).enumerate() {
                let entry = books.entry(book, j as u16);
                slope.iter_mut().zip(entry).for_each(|(sum, &value)| *sum -= own * f64::from(value));
            }
        });
        (value, slope)
    }

    fn run(&self, mut books: Books) -> Books {
        let (mut value, mut slope) = self.slope(&books);
        let mut memory: VecDeque<(Vec<f64>, Vec<f64>)> = VecDeque::new();
        // An entry of mean use has a curvature of twice its rows.
        let first = books.count as f64 / (2.0 * self.rows.len() as f64);
        for _ in 0..STEPS {
            let direction = direction(&slope, &memory, first);
            let along = inner(&direction, &slope);
            if along >= 0.0 {
                return books;
            }
            let mut step = 1.0;
            let taken = loop {
                let moved =
                    books.values.iter().zip(&direction).map(|(v, d)| (f64::from(*v) + step * d) as f32);
                let next = Books { values: moved.collect(), ..books };
                let (next_value, next_slope) = self.slope(&next);
                // Armijo's condition; NaN fails it.
                if next_value <= value + 1e-4 * step * along {
                    break Some((next, next_value, next_slope));
                }
                step *= 0.3;
                if step < 1e-3 {
                    break None;
                }
            };
            let Some((next, next_value, next_slope)) = taken else { return books };
            let moved = direction.iter().map(|d| step * d).collect();
            let turned: Vec<f64> = next_slope.iter().zip(&slope).map(|(a, b)| a - b).collect();
            memory.push_back((moved, turned));
            if memory.len() > MEMORY {
                memory.pop_front();
            }
            (books, value, slope) = (next, next_value, next_slope);
        }
        books
    }
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The direction of the two-loop recursion.
fn direction(slope: &[f64], memory: &VecDeque<(Vec<f64>, Vec<f64>)>, first: f64) -> Vec<f64> {
    let mut out: Vec<f64> = slope.iter().map(|v| -v).collect();
    let mut shares = Vec::with_capacity(memory.len());
    let usable = || memory.iter().filter(|(moved, turned)| inner(moved, turned) > 0.0);
    for (moved, turned) in usable().collect::<Vec<_>>().into_iter().rev() {
        let share = inner(moved, &out) / inner(moved, turned);
        out.iter_mut().zip(turned).for_each(|(v, turned)| *v -= share * turned);
        shares.push(share);
    }
    let scale =
        usable().next_back().map_or(first, |(moved, turned)| inner(moved, turned) / inner(turned, turned));
    out.iter_mut().for_each(|v| *v *= scale);
    for ((moved, turned), share) in usable().zip(shares.into_iter().rev()) {
        let back = inner(turned, &out) / inner(moved, turned);
        out.iter_mut().zip(moved).for_each(|(v, moved)| *v += (share - back) * moved);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::new(seed);
        (0..n).map(|_| random.unit() as f32 - 0.5).collect()
    }

    #[test]
    fn product_books_have_no_cross_term_and_code_as_a_product_code() {
        let data = noise(400 * 8, 1);
        let rows = Rows::new(&data, 8).unwrap();
        let books = product_books(rows, 4, 16, &Training::seeded(3)).unwrap();
        let mut numbers = vec![0; 1600];
        Composite::new(&books, 1, 0.0, 1.0).improve(&books, rows, &mut numbers, 1);
        for (row, numbers) in rows.iter().zip(numbers.chunks(4)) {
            let mut decoded = [0.0; 8];
            books.decode(numbers.iter().copied(), &mut decoded);
            assert!(cross_of(&books, numbers, &decoded).abs() < 1e-5);
            for book in 0..4 {
                let to = |j: u16| kernels::l2(&row[2 * book..][..2], &books.entry(book, j)[2 * book..][..2]);
                let best = (0..16).map(to).fold(f32::INFINITY, f32::min);
                assert!(to(numbers[book]) <= best + 1e-5);
            }
        }
    }

    #[test]
    fn the_slope_is_that_of_differences() {
        let data = noise(50 * 4, 2);
        let rows = Rows::new(&data, 4).unwrap();
        let mut random = SplitMix64::new(3);
        let books = Books { dim: 4, books: 2, count: 3, values: noise(24, 4) };
        let numbers: Vec<u16> = (0..100).map(|_| random.below(3) as u16).collect();
        let descent = Descent { rows, numbers: &numbers, cross: 0.1, weight: 0.7 };
        let (_, slope) = descent.slope(&books);
        for (at, slope) in slope.iter().enumerate() {
            let at_offset = |by: f32| {
                let mut books = books.clone();
                books.values[at] += by;
                descent.slope(&books).0
            };
            let want = (at_offset(1e-2) - at_offset(-1e-2)) / 2e-2;
            assert!((slope - want).abs() < 1e-2 * want.abs().max(1.0), "{at}: {slope} not {want}");
        }
    }

    #[test]
    fn training_beats_product_books_and_keeps_the_cross_term() {
        let mut data = noise(2000 * 8, 5);
        // Values that depend on each other, which product books cannot use.
        data.chunks_exact_mut(8).for_each(|row| (0..7).for_each(|i| row[i + 1] += row[i]));
        let rows = Rows::new(&data, 8).unwrap();
        let product = product_books(rows, 4, 16, &Training::seeded(1)).unwrap();
        let mut numbers = vec![0; 8000];
        Composite::new(&product, 1, 0.0, 0.0).improve(&product, rows, &mut numbers, 1);
        let before = product.distortion(rows, &numbers);
        let group = train(rows, 4, 16, 5, &Training::seeded(1)).unwrap();
        Composite::new(&group.books, 5, group.cross, group.weight).encode(&group.books, rows, &mut numbers);
        let after = group.books.distortion(rows, &numbers);
        assert!(after < 0.95 * before, "{after} after {before}");
        let mut decoded = [0.0; 8];
        let off = numbers.chunks(4).map(|numbers| {
            group.books.decode(numbers.iter().copied(), &mut decoded);
            (cross_of(&group.books, numbers, &decoded) - f64::from(group.cross)).powi(2)
        });
        let off = (off.sum::<f64>() / 2000.0).sqrt();
        assert!(off < 0.5 * after, "cross terms differ by {off} at a distortion of {after}");
    }
}
