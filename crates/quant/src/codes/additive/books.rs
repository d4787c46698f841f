//! The codebooks of one additive code, and the least-squares step that all methods share.

use data::Rows;
use rayon::prelude::*;

/// Rows that one task handles.
const CHUNK: usize = 512;
/// Turns of the conjugate gradients; each starts from the books as they are.
const TURNS: usize = 25;
/// Pull towards the books as they are, in rows: it holds entries that few rows use.
const PULL: f64 = 0.01;

/// `books x count x dim` values; a code names an entry of each book, and stands for their sum.
#[derive(Clone, Debug)]
pub(super) struct Books {
    pub(super) dim: usize,
    pub(super) books: usize,
    pub(super) count: usize,
    pub(super) values: Vec<f32>,
}

impl Books {
    pub(super) fn entry(&self, book: usize, j: u16) -> &[f32] {
        &self.values[(book * self.count + usize::from(j)) * self.dim..][..self.dim]
    }

    /// All entries of a book, `count x dim`.
    pub(super) fn book(&self, book: usize) -> &[f32] {
        &self.values[book * self.count * self.dim..][..self.count * self.dim]
    }

    /// Writes the sum of the entries `numbers` to `row`.
    pub(super) fn decode(&self, numbers: impl Iterator<Item = u16>, row: &mut [f32]) {
        row.fill(0.0);
        for (book, j) in numbers.enumerate() {
            row.iter_mut().zip(self.entry(book, j)).for_each(|(sum, value)| *sum += value);
        }
    }

    /// What is left of `rows` when the first `numbers.len() / n` books have done their part, `n x dim`.
    pub(super) fn residuals(&self, rows: Rows<'_, f32>, numbers: &[u16]) -> Vec<f32> {
        let (dim, used) = (self.dim, numbers.len() / rows.len());
        let mut out = rows.as_slice().to_vec();
        out.par_chunks_mut(dim).enumerate().for_each(|(i, row)| {
            for (book, &j) in numbers[i * used..][..used].iter().enumerate() {
                row.iter_mut().zip(self.entry(book, j)).for_each(|(left, value)| *left -= value);
            }
        });
        out
    }

    /// The mean squared distance of rows to what they are coded as.
    pub(super) fn distortion(&self, rows: Rows<'_, f32>, numbers: &[u16]) -> f64 {
        let left = self.residuals(rows, numbers);
        let sum: f64 = left.chunks_exact(self.dim).map(|row| f64::from(kernels::dot(row, row))).sum();
        sum / rows.len() as f64
    }

    /// The books that stand best for `rows` coded as `numbers` (`n x books`): the least squares of
    /// Babenko and Lempitsky, CVPR 2014, section 3.2, by conjugate gradients with the entries' counts as
    /// preconditioner, so that no `(books count)^2` matrix exists.
    pub(super) fn fit(&self, rows: Rows<'_, f32>, numbers: &[u16]) -> Self {
        let members = Members::new(self, numbers);
        let mut residual = members.gather(self, &self.residuals(rows, numbers));
        let mut books = self.clone();
        let mut direction = members.scaled(&residual, self.dim);
        let mut slope = inner(&residual, &direction);
        for _ in 0..TURNS {
            if slope <= 0.0 {
                break;
            }
            let images = Self { values: direction.clone(), ..*self }.images(rows.len(), numbers);
            let mut bent = members.gather(self, &images);
            bent.iter_mut().zip(&direction).for_each(|(bent, d)| *bent += PULL as f32 * d);
            let curve = inner(&direction, &bent);
            if curve <= 0.0 {
                break;
            }
            let step = (slope / curve) as f32;
            books.values.iter_mut().zip(&direction).for_each(|(value, d)| *value += step * d);
            residual.iter_mut().zip(&bent).for_each(|(r, bent)| *r -= step * bent);
            let scaled = members.scaled(&residual, self.dim);
            let next = inner(&residual, &scaled);
            let keep = (next / slope) as f32;
            direction.iter_mut().zip(&scaled).for_each(|(d, s)| *d = s + keep * *d);
            slope = next;
        }
        books
    }

    /// What `numbers` stand for, `n x dim`.
    fn images(&self, n: usize, numbers: &[u16]) -> Vec<f32> {
        let mut out = vec![0.0; n * self.dim];
        let each = out.par_chunks_mut(self.dim).zip(numbers.par_chunks(self.books));
        each.for_each(|(row, numbers)| self.decode(numbers.iter().copied(), row));
        out
    }
}

fn inner(a: &[f32], b: &[f32]) -> f64 {
    let chunks = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK));
    let sums: Vec<f64> =
        chunks.map(|(a, b)| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()).collect();
    sums.iter().sum()
}

/// Which rows use which entry.
struct Members {
    /// Where the rows of entry `e` (`books x count`) start in `rows`, and one end.
    starts: Vec<usize>,
    rows: Vec<u32>,
}

impl Members {
    fn new(books: &Books, numbers: &[u16]) -> Self {
        let entry = |(i, &j): (usize, &u16)| i % books.books * books.count + usize::from(j);
        let mut starts = vec![0usize; books.books * books.count + 1];
        for named in numbers.iter().enumerate() {
            starts[entry(named) + 1] += 1;
        }
        for e in 1..starts.len() {
            starts[e] += starts[e - 1];
        }
        let (mut next, mut rows) = (starts.clone(), vec![0; numbers.len()]);
        for (i, j) in numbers.iter().enumerate() {
            let e = entry((i, j));
            rows[next[e]] = (i / books.books) as u32;
            next[e] += 1;
        }
        Self { starts, rows }
    }

    /// For each entry the sum of the `values` (`n x dim`) of its rows.
    fn gather(&self, books: &Books, values: &[f32]) -> Vec<f32> {
        let dim = books.dim;
        let mut out = vec![0.0; books.values.len()];
        out.par_chunks_mut(dim).enumerate().for_each(|(e, out)| {
            let mut sums = vec![0f64; dim];
            for &row in &self.rows[self.starts[e]..self.starts[e + 1]] {
                let row = &values[row as usize * dim..][..dim];
                sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            out.iter_mut().zip(&sums).for_each(|(out, sum)| *out = *sum as f32);
        });
        out
    }

    /// Each entry's values over its count.
    fn scaled(&self, values: &[f32], dim: usize) -> Vec<f32> {
        let entries = values.chunks_exact(dim).zip(self.starts.windows(2));
        let scale = |range: &[usize]| (1.0 / ((range[1] - range[0]) as f64 + PULL)) as f32;
        entries.flat_map(|(values, range)| values.iter().map(move |value| value * scale(range))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::SplitMix64;

    #[test]
    fn the_fit_is_the_least_squares() {
        let mut random = SplitMix64::new(4);
        let books =
            Books { dim: 5, books: 3, count: 4, values: (0..60).map(|_| random.unit() as f32).collect() };
        let rows: Vec<f32> = (0..200 * 5).map(|_| random.unit() as f32).collect();
        let numbers: Vec<u16> = (0..600).map(|_| random.below(4) as u16).collect();
        let rows = Rows::new(&rows, 5).unwrap();
        let fitted = books.fit(rows, &numbers);
        assert!(fitted.distortion(rows, &numbers) < books.distortion(rows, &numbers));
        // At the least squares what is left is orthogonal to every entry's rows.
        let left = fitted.residuals(rows, &numbers);
        for book in 0..3 {
            for j in 0..4u16 {
                for d in 0..5 {
                    let used = (0..200).filter(|i| numbers[i * 3 + book] == j);
                    let sum: f32 = used.map(|i| left[i * 5 + d]).sum();
                    assert!(sum.abs() < 0.02, "entry {j} of book {book}: {sum}");
                }
            }
        }
    }

    #[test]
    fn residuals_take_the_entries_away() {
        let books = Books { dim: 2, books: 2, count: 2, values: vec![1., 0., 0., 1., 5., 5., 7., 7.] };
        let rows = Rows::new(&[10.0, 20.0], 2).unwrap();
        assert_eq!(books.residuals(rows, &[1, 0]), [5.0, 14.0]);
        assert_eq!(books.residuals(rows, &[1]), [10.0, 19.0]);
        assert_eq!(books.distortion(rows, &[1, 0]), 25.0 + 196.0);
    }
}
