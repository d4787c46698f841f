//! Residual quantization: one book after another, each names what the ones before leave over.
//!
//! A beam keeps the best partial codes: after book `m`, of the codes that extend one of the beam by an
//! entry of that book, the nearest. The distance of an extension is `|r|^2 + |c|^2 - 2 <r, c>` with the
//! residual `r`, one product of the beam's residuals with the book.
//! Sources: Chen, Guan and Wang, Sensors 2010 (residual codes); Babenko and Lempitsky, CVPR 2014 (beam).

use super::books::Books;
use crate::codebook::cluster_by_axes;
use crate::{TrainError, Training};
use data::Rows;
use kernels::{Panels, SplitMix64, below};
use rayon::prelude::*;

/// Rows that share the tiles.
const ROWS: usize = 32;
/// Residuals that a book is learnt from: where rows are fewer, those of several partial codes a row. Books learnt from
/// the nearest code alone fit few rows too well: with 31 of them and 20,000 rows of SIFT a tenth more is left of others.
const RESIDUALS: usize = 1 << 16;
/// Turns of coding and least squares after the books are there; the best is kept.
const TURNS: usize = 4;

/// Books laid out for coding.
#[derive(Clone, Debug)]
pub(super) struct Beam {
    width: usize,
    panels: Vec<Panels>,
}

/// A partial code that might be kept.
#[derive(Clone, Copy)]
struct Extension {
    distance: f32,
    from: usize,
    entry: u32,
}

impl Beam {
    /// Keeps `width` partial codes.
    pub(super) fn new(books: &Books, width: usize) -> Self {
        let panels = (0..books.books).map(|book| Panels::new(books.book(book), books.dim)).collect();
        Self { width, panels }
    }

    /// Writes the code of each row, `n x books`, on the calling thread.
    pub(super) fn encode(&self, books: &Books, rows: Rows<'_, f32>, numbers: &mut [u16]) {
        for (i, numbers) in numbers.chunks_mut(ROWS * books.books).enumerate() {
            let end = (i * ROWS + ROWS).min(rows.len());
            self.group(books, rows.slice(i * ROWS..end), numbers);
        }
    }

    /// As [`Beam::encode`], on the caller's rayon pool.
    pub(super) fn encode_all(&self, books: &Books, rows: Rows<'_, f32>) -> Vec<u16> {
        let mut numbers = vec![0; rows.len() * books.books];
        numbers.par_chunks_mut(ROWS * books.books).enumerate().for_each(|(i, numbers)| {
            let end = (i * ROWS + ROWS).min(rows.len());
            self.group(books, rows.slice(i * ROWS..end), numbers);
        });
        numbers
    }

    fn group(&self, books: &Books, rows: Rows<'_, f32>, numbers: &mut [u16]) {
        let mut partial = Partial::new(rows);
        let mut residuals = rows.as_slice().to_vec();
        for (book, panels) in self.panels.iter().enumerate() {
            partial.extend(books, book, panels, self.width, &mut residuals);
        }
        let codes = partial.codes.chunks_exact(partial.held * books.books);
        for (numbers, codes) in numbers.chunks_exact_mut(books.books).zip(codes) {
            numbers.copy_from_slice(&codes[..books.books]);
        }
    }
}

/// The partial codes of some rows, nearest first.
struct Partial {
    /// Partial codes a row.
    held: usize,
    /// The squared lengths of what they leave over, `rows x held`.
    lengths: Vec<f32>,
    /// `rows x held x books so far`.
    codes: Vec<u16>,
}

impl Partial {
    fn new(rows: Rows<'_, f32>) -> Self {
        let lengths = rows.iter().map(|row| kernels::dot(row, row)).collect();
        Self { held: 1, lengths, codes: Vec::new() }
    }

    /// What the codes leave over, `rows x held x dim`, when `used` books have done their part.
    fn residuals(&self, books: &Books, rows: Rows<'_, f32>, used: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(rows.as_slice().len() * self.held);
        rows.iter().for_each(|row| (0..self.held).for_each(|_| out.extend_from_slice(row)));
        for (row, code) in out.chunks_exact_mut(rows.dim()).zip(self.codes.chunks_exact(used.max(1))) {
            for (book, &j) in code.iter().enumerate() {
                row.iter_mut().zip(books.entry(book, j)).for_each(|(left, value)| *left -= value);
            }
        }
        out
    }

    /// Lets `book` name what is left: `residuals` become those of the `width` nearest extensions.
    fn extend(
        &mut self,
        books: &Books,
        book: usize,
        panels: &Panels,
        width: usize,
        residuals: &mut Vec<f32>,
    ) {
        let (dim, held, padded) = (books.dim, self.held, panels.padded());
        let n = self.lengths.len() / held;
        let mut scores = vec![0.0; n * held * padded];
        panels.scores(residuals, 0, padded, &mut scores);
        let kept = width.min(held * books.count);
        let mut next = Vec::with_capacity(n * kept * dim);
        let mut next_lengths = Vec::with_capacity(n * kept);
        let mut next_codes = Vec::with_capacity(n * kept * (book + 1));
        let mut found = Vec::new();
        for row in 0..n {
            let lengths = &self.lengths[row * held..][..held];
            let scores = &scores[row * held * padded..][..held * padded];
            extend(lengths, scores, books.count, kept, &mut found);
            for extension in &found {
                let parent = row * held + extension.from;
                let entry = books.entry(book, extension.entry as u16);
                let residual = residuals[parent * dim..][..dim].iter().zip(entry);
                next.extend(residual.map(|(left, value)| left - value));
                next_lengths.push(extension.distance);
                next_codes.extend_from_slice(&self.codes[parent * book..][..book]);
                next_codes.push(extension.entry as u16);
            }
        }
        *residuals = next;
        *self = Self { held: kept, lengths: next_lengths, codes: next_codes };
    }
}

/// The `kept` nearest extensions of one row's partial codes, nearest first, to `found`.
fn extend(lengths: &[f32], scores: &[f32], count: usize, kept: usize, found: &mut Vec<Extension>) {
    let padded = scores.len() / lengths.len();
    let of = |from: usize| &scores[from * padded..][..count];
    // When each partial code has an extension within the limit, there are as many as are kept.
    let limit = if lengths.len() < kept {
        f32::INFINITY
    } else {
        let least = |from: usize| lengths[from] + of(from).iter().copied().fold(f32::INFINITY, f32::min);
        let mut least: Vec<f32> = (0..lengths.len()).map(least).collect();
        least.sort_by(f32::total_cmp);
        least[kept - 1]
    };
    found.clear();
    let mut near = Vec::new();
    for (from, &length) in lengths.iter().enumerate() {
        near.clear();
        // A little more than the limit: the difference may round the other way than the sum.
        below(of(from), (limit - length) + 1e-6 * limit.abs().max(length.abs()), 0, &mut near);
        found.extend(near.iter().map(|&entry| Extension {
            distance: length + of(from)[entry as usize],
            from,
            entry,
        }));
    }
    let order = |a: &Extension, b: &Extension| {
        a.distance.total_cmp(&b.distance).then((a.from, a.entry).cmp(&(b.from, b.entry)))
    };
    if found.len() > kept {
        found.select_nth_unstable_by(kept - 1, order);
        found.truncate(kept);
    }
    found.sort_by(order);
}

/// Learns books one after another on what is left, then all of them together by least squares.
pub(super) fn train(
    rows: Rows<'_, f32>,
    books: usize,
    count: usize,
    width: usize,
    training: &Training<'_>,
) -> Result<Books, TrainError> {
    let dim = rows.dim();
    let mut all = Books { dim, books: 0, count, values: Vec::new() };
    let chunk = |i: usize| rows.slice(i * ROWS..((i + 1) * ROWS).min(rows.len()));
    let mut partials: Vec<Partial> = (0..rows.len().div_ceil(ROWS)).map(|i| Partial::new(chunk(i))).collect();
    for book in 0..books {
        training.step(book, books + TURNS)?;
        let ranks = RESIDUALS.div_ceil(rows.len()).clamp(1, width).min(partials[0].held);
        let left: Vec<f32> = partials
            .par_iter()
            .enumerate()
            .flat_map_iter(|(i, partial)| {
                let residuals = partial.residuals(&all, chunk(i), book);
                let each = residuals.chunks_exact(partial.held * dim);
                each.flat_map(|row| row[..ranks * dim].to_vec()).collect::<Vec<f32>>()
            })
            .collect();
        let seed = SplitMix64::named(training.seed, book as u64).bits();
        let left = Rows::new(&left, dim).expect("whole rows");
        let values = cluster_by_axes(left, count, seed, "the books", training.stop)?;
        let panels = Panels::new(&values, dim);
        all.values.extend(values);
        all.books += 1;
        partials.par_iter_mut().enumerate().for_each(|(i, partial)| {
            let mut residuals = partial.residuals(&all, chunk(i), book);
            partial.extend(&all, book, &panels, width, &mut residuals);
        });
    }
    let mut numbers = Beam::new(&all, width).encode_all(&all, rows);
    let mut best = (all.distortion(rows, &numbers), all.clone());
    for turn in 0..TURNS {
        training.step(books + turn, books + TURNS)?;
        all = all.fit(rows, &numbers);
        numbers = Beam::new(&all, width).encode_all(&all, rows);
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

    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::new(seed);
        (0..n).map(|_| random.unit() as f32).collect()
    }

    #[test]
    fn a_beam_of_one_is_greedy_and_a_full_beam_is_exact() {
        let books = Books { dim: 4, books: 3, count: 4, values: noise(48, 1) };
        let data = noise(40 * 4, 2);
        let rows = Rows::new(&data, 4).unwrap();
        let (greedy, full) = (Beam::new(&books, 1), Beam::new(&books, 64));
        let (greedy, full) = (greedy.encode_all(&books, rows), full.encode_all(&books, rows));
        for (i, row) in rows.iter().enumerate() {
            let mut left = row.to_vec();
            for book in 0..3 {
                let to = |j: u16| kernels::l2(&left, books.entry(book, j));
                let best = (0..4u16).min_by(|&a, &b| to(a).total_cmp(&to(b))).unwrap();
                assert_eq!(greedy[i * 3 + book], best);
                left.iter_mut().zip(books.entry(book, best)).for_each(|(left, value)| *left -= value);
            }
            let error = |code: &[u16]| {
                let mut decoded = [0.0; 4];
                books.decode(code.iter().copied(), &mut decoded);
                kernels::l2(row, &decoded)
            };
            let all = (0..64u16).map(|c| error(&[c % 4, c / 4 % 4, c / 16])).fold(f32::INFINITY, f32::min);
            assert!(error(&full[i * 3..][..3]) <= all + 1e-6);
        }
    }

    #[test]
    fn wider_beams_and_more_books_leave_less() {
        let data = noise(3000 * 8, 3);
        let rows = Rows::new(&data, 8).unwrap();
        let left = |books, width| {
            let found = train(rows, books, 16, width, &Training::seeded(1)).unwrap();
            found.distortion(rows, &Beam::new(&found, width).encode_all(&found, rows))
        };
        let (one, two, wide) = (left(1, 1), left(3, 1), left(3, 8));
        assert!(two < 0.8 * one && wide < two, "{one} {two} {wide}");
    }
}
