//! Additive Quantization: books of equal standing, coded by a beam that may take any book next.
//!
//! Source: Babenko and Lempitsky, CVPR 2014: section 3.1 (beam search), 3.2 (least squares).

use super::books::Books;
use super::composite::product_books;
use crate::{TrainError, Training};
use data::Rows;
use kernels::{Panels, below};
use rayon::prelude::*;

/// Rows that share the tiles.
const ROWS: usize = 8;
/// Turns of coding and least squares; the best is kept.
const TURNS: usize = 10;
/// No entry chosen yet.
const OPEN: u16 = u16::MAX;

/// Books laid out for coding.
#[derive(Clone, Debug)]
pub(super) struct Joint {
    width: usize,
    /// All entries of all books.
    panels: Panels,
}

/// A partial code.
#[derive(Clone, Debug)]
struct Partial {
    /// One a book, [`OPEN`] where none is chosen.
    numbers: Vec<u16>,
    residual: Vec<f32>,
    distance: f32,
}

impl Joint {
    /// Keeps `width` partial codes.
    pub(super) fn new(books: &Books, width: usize) -> Self {
        Self { width, panels: Panels::new(&books.values, books.dim) }
    }

    /// Writes the code of each row, `n x books`, on the calling thread.
    pub(super) fn encode(&self, books: &Books, rows: Rows<'_, f32>, numbers: &mut [u16]) {
        for (i, numbers) in numbers.chunks_mut(ROWS * books.books).enumerate() {
            let end = (i * ROWS + ROWS).min(rows.len());
            self.group(books, rows.slice(i * ROWS..end), numbers);
        }
    }

    /// As [`Joint::encode`], on the caller's rayon pool.
    pub(super) fn encode_all(&self, books: &Books, rows: Rows<'_, f32>) -> Vec<u16> {
        let mut numbers = vec![0; rows.len() * books.books];
        numbers.par_chunks_mut(ROWS * books.books).enumerate().for_each(|(i, numbers)| {
            let end = (i * ROWS + ROWS).min(rows.len());
            self.group(books, rows.slice(i * ROWS..end), numbers);
        });
        numbers
    }

    fn group(&self, books: &Books, rows: Rows<'_, f32>, numbers: &mut [u16]) {
        let start = |row: &[f32]| Partial {
            numbers: vec![OPEN; books.books],
            residual: row.to_vec(),
            distance: kernels::dot(row, row),
        };
        let mut beams: Vec<Vec<Partial>> = rows.iter().map(|row| vec![start(row)]).collect();
        let padded = self.panels.padded();
        let mut scores = Vec::new();
        for _ in 0..books.books {
            let residuals: Vec<f32> =
                beams.iter().flatten().flat_map(|p| p.residual.iter().copied()).collect();
            scores.resize(residuals.len() / books.dim * padded, 0.0);
            self.panels.scores(&residuals, 0, padded, &mut scores);
            let mut rest = &scores[..];
            for beam in &mut beams {
                let (own, others) = rest.split_at(beam.len() * padded);
                *beam = self.extend(books, beam, own);
                rest = others;
            }
        }
        for (numbers, beam) in numbers.chunks_exact_mut(books.books).zip(&beams) {
            numbers.copy_from_slice(&beam[0].numbers);
        }
    }

    /// The nearest extensions of `beam` by an entry of any open book, nearest first.
    fn extend(&self, books: &Books, beam: &[Partial], scores: &[f32]) -> Vec<Partial> {
        let count = books.count;
        let mut found: Vec<(f32, usize, usize, u16)> = Vec::new();
        let mut near = Vec::new();
        for (from, (partial, scores)) in
            beam.iter().zip(scores.chunks_exact(self.panels.padded())).enumerate()
        {
            let open = (0..books.books).filter(|&book| partial.numbers[book] == OPEN);
            // One partial code has at most as many extensions in the beam as the beam holds, each from as
            // many parents as there are books.
            let mut own: Vec<(f32, usize, usize, u16)> = Vec::new();
            for book in open {
                let scores = &scores[book * count..][..count];
                let limit = nth_least(scores, self.width);
                near.clear();
                below(scores, limit, 0, &mut near);
                let distance = |j: u32| partial.distance + scores[j as usize];
                own.extend(near.iter().map(|&j| (distance(j), from, book, j as u16)));
            }
            found.extend(own);
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3))));
        let mut next: Vec<Partial> = Vec::with_capacity(self.width);
        for (distance, from, book, j) in found {
            let mut numbers = beam[from].numbers.clone();
            numbers[book] = j;
            // The same entries in another order.
            if next.iter().any(|kept| kept.numbers == numbers) {
                continue;
            }
            let residual = beam[from].residual.iter().zip(books.entry(book, j)).map(|(r, c)| r - c).collect();
            next.push(Partial { numbers, residual, distance });
            if next.len() == self.width {
                break;
            }
        }
        next
    }
}

/// The `n`-th least of `values`, or the greatest where there are fewer.
fn nth_least(values: &[f32], n: usize) -> f32 {
    let mut values = values.to_vec();
    let at = n.min(values.len()) - 1;
    *values.select_nth_unstable_by(at, f32::total_cmp).1
}

/// Starts from product books, then codes and fits by turns.
pub(super) fn train(
    rows: Rows<'_, f32>,
    books: usize,
    count: usize,
    width: usize,
    training: &Training<'_>,
) -> Result<Books, TrainError> {
    let mut all = product_books(rows, books, count, training)?;
    let mut numbers = Joint::new(&all, width).encode_all(&all, rows);
    let mut best = (all.distortion(rows, &numbers), all.clone());
    for turn in 0..TURNS {
        training.step(turn, TURNS)?;
        all = all.fit(rows, &numbers);
        numbers = Joint::new(&all, width).encode_all(&all, rows);
        let distortion = all.distortion(rows, &numbers);
        if distortion < best.0 {
            best = (distortion, all.clone());
        }
    }
    Ok(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::SplitMix64;

    #[test]
    fn a_wide_beam_finds_the_best_code() {
        let mut random = SplitMix64::new(5);
        let books =
            Books { dim: 3, books: 3, count: 4, values: (0..36).map(|_| random.unit() as f32).collect() };
        let data: Vec<f32> = (0..60).map(|_| 2.0 * random.unit() as f32).collect();
        let rows = Rows::new(&data, 3).unwrap();
        let numbers = Joint::new(&books, 256).encode_all(&books, rows);
        for (row, numbers) in rows.iter().zip(numbers.chunks(3)) {
            let error = |code: [u16; 3]| {
                let mut decoded = [0.0; 3];
                books.decode(code.into_iter(), &mut decoded);
                kernels::l2(row, &decoded)
            };
            let best = (0..64u16).map(|c| error([c % 4, c / 4 % 4, c / 16])).fold(f32::INFINITY, f32::min);
            assert!(error([numbers[0], numbers[1], numbers[2]]) <= best + 1e-6);
        }
    }
}
