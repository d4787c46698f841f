//! Product codes that keep inner products: an error along a vector costs more than one across it.
//!
//! With `r = x - x'` the error of a code, `u = x / |x|` and `d` dimensions, the loss of a vector is
//! `|r|^2 + (eta - 1) <r, u>^2`, `eta = (d - 1) t^2 / (1 - t^2)`, `t = T |mean| / |x|`: for queries whose inner
//! product with `x` is large, the error along `x` is what moves it. `|mean|` is the mean length of training
//! vectors, so that `T` does not depend on their scale. `eta` is at least 1, where the code is the plain one.
//!
//! Encoding starts from the nearest centroids and then takes the best centroid of each part in turn, given
//! the others, until none changes. Training alternates that with centroids that minimize the loss
//! of all vectors: a least-squares problem, solved by conjugate gradients from the last centroids.
//! Neither raises the loss: a training vector keeps its last codes, improved in the same way, where they
//! are better than those found anew. `ceil(m / 2)` bytes a vector, scanned as [`PqFastScan`](super::PqFastScan).
//! Source: Guo et al., ICML 2020, theorem 3.2 and section 4.

use super::pq::parts_and_bits;
use super::pq_fast_scan::{COUNT, decode, scanner, scorer, write_codes};
use crate::codebook::Codebook;
use crate::spec::setting;
use crate::{
    Array, Arrays, Codec, Config, ParseSpecError, RestoreError, Scanner, Scorer, TrainError, Training, matrix,
};
use data::{Metric, Rows};
use kernels::fast_scan;
use rayon::prelude::*;
use std::fmt;

/// `T` where a word does not say.
const THRESHOLD: f32 = 0.2;
/// The largest `t`: at 1 only the error along a vector would count.
const MOST: f32 = 0.9;
/// Rounds of codes and centroids.
const ROUNDS: usize = 8;
/// Passes over the parts of a vector at most.
const SWEEPS: usize = 5;
/// Steps of conjugate gradients.
const STEPS: usize = 10;
/// Training rows at most.
const SAMPLE: usize = 1 << 15;
/// Stripes that a sum over rows is cut into; part of the result through the order of sums.
const STRIPES: usize = 16;

/// `APQmx4fs_Tf`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnisotropicConfig {
    /// Parts.
    pub parts: usize,
    /// `T`: the cosine from which a query counts as near, 0 up to 1.
    pub threshold: f32,
}

/// A product code of four bits a part and its loss.
#[derive(Clone, Debug)]
pub struct Anisotropic {
    codebook: Codebook,
    /// `T` times the mean length of training vectors.
    reach: f32,
}

impl fmt::Display for AnisotropicConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "APQ{}x4fs_T{}", self.parts, self.threshold)
    }
}

impl Config for AnisotropicConfig {
    type Codec = Anisotropic;

    const EXAMPLES: &'static [&'static str] = &["APQ16x4fs_T0.2"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let rest = word.strip_prefix("APQ")?;
        let (settings, threshold) = rest.split_once("_T").map_or((rest, None), |(a, b)| (a, Some(b)));
        let threshold = threshold.map_or(Some(THRESHOLD), |text| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            text.parse().ok().filter(|threshold| plain && (0.0..1.0).contains(threshold))
        });
        let config = match (settings.strip_suffix("fs").and_then(parts_and_bits), threshold) {
            (Some((parts, 4)), Some(threshold)) => Ok(Self { parts, threshold }),
            _ => Err(setting(word, "write APQ, parts, x4fs and a cosine below 1, as in APQ16x4fs_T0.2")),
        };
        Some(config)
    }

    fn train(&self, rows: Rows<'_, f32>, training: &Training<'_>) -> Result<Anisotropic, TrainError> {
        let codebook = Codebook::train(rows, self.parts, COUNT, self, training)?;
        let sample = matrix::sample(rows, SAMPLE, training.seed);
        let sample = Rows::new(&sample, rows.dim()).expect("whole rows");
        let length: f64 = sample.iter().map(|row| f64::from(kernels::dot(row, row)).sqrt()).sum();
        let reach = self.threshold * (length / sample.len() as f64) as f32;
        let mut codec = Anisotropic { codebook, reach };
        codec.improve(sample, training, &mut |_| {})?;
        Ok(codec)
    }

    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Anisotropic, RestoreError> {
        let codebook = Codebook::restore(arrays, dim, self.parts, COUNT)?;
        Ok(Anisotropic { codebook, reach: arrays.f32("reach", &[1])?[0] })
    }
}

impl Anisotropic {
    /// `row / |row|` to `unit`; returns `eta - 1`.
    fn direction(&self, row: &[f32], unit: &mut [f32]) -> f32 {
        let length = kernels::dot(row, row).sqrt();
        let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
        unit.iter_mut().zip(row).for_each(|(unit, value)| *unit = value * scale);
        let cosine = (self.reach * scale).clamp(0.0, MOST);
        let square = cosine * cosine;
        ((row.len() as f32 - 1.0) * square / (1.0 - square) - 1.0).max(0.0)
    }

    /// The best numbers of `row` that single changes reach from `numbers`, or from `last` if those are
    /// better.
    fn refine(&self, row: &[f32], unit: &mut [f32], numbers: &mut [u16], last: Option<&[u16]>) {
        let excess = self.direction(row, unit);
        if excess == 0.0 {
            return;
        }
        let squares = self.codebook.table(row, Metric::L2);
        let mut along = self.codebook.table(unit, Metric::Dot);
        let sub = self.codebook.sub;
        let pieces = row.chunks_exact(sub).zip(unit.chunks_exact(sub));
        for (along, (row, unit)) in along.chunks_exact_mut(COUNT).zip(pieces) {
            let own = kernels::dot(row, unit);
            along.iter_mut().for_each(|value| *value += own);
        }
        let costs = Costs { squares, along, excess };
        let found = costs.descend(numbers);
        if let Some(last) = last {
            let mut other = last.to_vec();
            if costs.descend(&mut other) < found {
                numbers.copy_from_slice(&other);
            }
        }
    }

    /// Writes the numbers of `rows`; `last`, where given, are earlier ones.
    fn assign(&self, rows: Rows<'_, f32>, numbers: &mut [u16], last: Option<&[u16]>) {
        let parts = self.codebook.parts;
        self.codebook.assign(rows, numbers);
        let mut unit = vec![0.0; rows.dim()];
        for (i, (row, numbers)) in rows.iter().zip(numbers.chunks_exact_mut(parts)).enumerate() {
            self.refine(row, &mut unit, numbers, last.map(|last| &last[i * parts..][..parts]));
        }
    }

    /// Rounds of codes and centroids; tells `watch` the loss after each half of a round.
    fn improve(
        &mut self,
        rows: Rows<'_, f32>,
        training: &Training<'_>,
        watch: &mut dyn FnMut(f64),
    ) -> Result<(), TrainError> {
        let mut unit = vec![0.0; rows.dim()];
        if rows.iter().all(|row| self.direction(row, &mut unit) == 0.0) {
            return Ok(());
        }
        let mut last = None;
        for round in 0..ROUNDS {
            training.step(round, ROUNDS)?;
            let system = System::new(self, rows, last.as_deref());
            watch(system.loss(&self.codebook));
            self.codebook = system.solve(&self.codebook);
            watch(system.loss(&self.codebook));
            last = Some(system.numbers);
        }
        Ok(())
    }
}

/// What the centroids cost one vector.
struct Costs {
    /// `|x_p - c_pj|^2`, `parts x 16`.
    squares: Vec<f32>,
    /// `<x_p - c_pj, u_p>`, `parts x 16`.
    along: Vec<f32>,
    /// `eta - 1`.
    excess: f32,
}

impl Costs {
    /// Takes the best centroid of each part in turn until none changes; returns the loss.
    fn descend(&self, numbers: &mut [u16]) -> f32 {
        let entry = |part: usize, j: u16| part * COUNT + usize::from(j);
        let mut sum: f32 = numbers.iter().enumerate().map(|(part, &j)| self.along[entry(part, j)]).sum();
        for _ in 0..SWEEPS {
            let mut changed = false;
            for (part, number) in numbers.iter_mut().enumerate() {
                let rest = sum - self.along[entry(part, *number)];
                let cost = |j: u16| {
                    let at = entry(part, j);
                    self.squares[at] + self.excess * (rest + self.along[at]).powi(2)
                };
                let (mut best, mut least) = (*number, cost(*number));
                for j in 0..COUNT as u16 {
                    let cost = cost(j);
                    if cost < least {
                        (best, least) = (j, cost);
                    }
                }
                changed |= best != *number;
                *number = best;
                sum = rest + self.along[entry(part, best)];
            }
            if !changed {
                break;
            }
        }
        let squares = numbers.iter().enumerate().map(|(part, &j)| self.squares[entry(part, j)]);
        squares.sum::<f32>() + self.excess * sum * sum
    }
}

/// The least-squares problem of the centroids: with `v` what a vector's codes decode to, the sum of
/// `v + (eta - 1) u <u, v>` over the vectors of a centroid has to equal that of `eta x`.
struct System<'a> {
    rows: Rows<'a, f32>,
    parts: usize,
    /// `n x dim`.
    units: Vec<f32>,
    /// `eta - 1`, one a row.
    excesses: Vec<f32>,
    /// `n x parts`.
    numbers: Vec<u16>,
}

impl<'a> System<'a> {
    /// Encodes `rows`, whose codes were `last`.
    fn new(codec: &Anisotropic, rows: Rows<'a, f32>, last: Option<&[u16]>) -> Self {
        const CHUNK: usize = 256;
        let (dim, parts) = (rows.dim(), codec.codebook.parts);
        let mut units = vec![0.0; rows.as_slice().len()];
        let mut excesses = vec![0.0; rows.len()];
        let mut numbers = vec![0; rows.len() * parts];
        units
            .par_chunks_mut(CHUNK * dim)
            .zip(excesses.par_chunks_mut(CHUNK))
            .zip(numbers.par_chunks_mut(CHUNK * parts))
            .zip(rows.as_slice().par_chunks(CHUNK * dim))
            .enumerate()
            .for_each(|(i, (((units, excesses), numbers), rows))| {
                let last = last.map(|last| &last[i * CHUNK * parts..][..numbers.len()]);
                codec.assign(Rows::new(rows, dim).expect("whole rows"), numbers, last);
                for ((unit, excess), row) in
                    units.chunks_exact_mut(dim).zip(excesses).zip(rows.chunks_exact(dim))
                {
                    *excess = codec.direction(row, unit);
                }
            });
        Self { rows, parts, units, excesses, numbers }
    }

    /// Where the part of a row's piece lies among the centroids: the row's values in order.
    fn places(&self, row: usize, sub: usize) -> impl Iterator<Item = usize> {
        let numbers = self.numbers[row * self.parts..][..self.parts].iter().enumerate();
        numbers.flat_map(move |(part, &j)| {
            let start = (part * COUNT + usize::from(j)) * sub;
            start..start + sub
        })
    }

    /// The sum over all rows of what `add(row, sums)` adds, in stripes joined in order.
    fn sum(&self, add: impl Fn(usize, &mut [f64]) + Sync) -> Vec<f64> {
        let n = self.rows.len();
        let step = n.div_ceil(STRIPES).max(1);
        let starts: Vec<usize> = (0..n).step_by(step).collect();
        let stripes: Vec<Vec<f64>> = starts
            .into_par_iter()
            .map(|start| {
                let mut sums = vec![0.0; COUNT * self.rows.dim()];
                (start..(start + step).min(n)).for_each(|row| add(row, &mut sums));
                sums
            })
            .collect();
        let mut total = vec![0.0; COUNT * self.rows.dim()];
        for stripe in stripes {
            total.iter_mut().zip(stripe).for_each(|(total, value)| *total += value);
        }
        total
    }

    /// The left side for `centroids`.
    fn left(&self, centroids: &[f64]) -> Vec<f64> {
        let dim = self.rows.dim();
        let sub = dim / self.parts;
        self.sum(|row, sums| {
            let unit = &self.units[row * dim..][..dim];
            let along: f64 =
                self.places(row, sub).zip(unit).map(|(at, &u)| centroids[at] * f64::from(u)).sum();
            let along = along * f64::from(self.excesses[row]);
            for (at, &u) in self.places(row, sub).zip(unit) {
                sums[at] += centroids[at] + along * f64::from(u);
            }
        })
    }

    /// The right side.
    fn right(&self) -> Vec<f64> {
        let sub = self.rows.dim() / self.parts;
        self.sum(|row, sums| {
            let eta = 1.0 + f64::from(self.excesses[row]);
            for (at, &value) in self.places(row, sub).zip(self.rows.row(row)) {
                sums[at] += eta * f64::from(value);
            }
        })
    }

    /// Better centroids than `codebook`'s. Source: Hestenes and Stiefel, J. Res. NBS 1952.
    fn solve(&self, codebook: &Codebook) -> Codebook {
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut centroids: Vec<f64> = codebook.centroids.iter().map(|&value| f64::from(value)).collect();
        let right = self.right();
        let mut residual: Vec<f64> = right.iter().zip(self.left(&centroids)).map(|(b, a)| b - a).collect();
        let mut way = residual.clone();
        let mut square = product(&residual, &residual);
        let enough = 1e-12 * product(&right, &right);
        for _ in 0..STEPS {
            let image = self.left(&way);
            let bend = product(&way, &image);
            if square <= enough || bend <= 0.0 {
                break;
            }
            let step = square / bend;
            centroids.iter_mut().zip(&way).for_each(|(value, way)| *value += step * way);
            residual.iter_mut().zip(&image).for_each(|(value, image)| *value -= step * image);
            let next = product(&residual, &residual);
            way.iter_mut().zip(&residual).for_each(|(way, value)| *way = value + next / square * *way);
            square = next;
        }
        Codebook::new(centroids.into_iter().map(|value| value as f32).collect(), self.parts, COUNT)
    }

    /// The mean loss of the rows' codes.
    fn loss(&self, codebook: &Codebook) -> f64 {
        let dim = self.rows.dim();
        let decoded = codebook.decode_all(&self.numbers);
        let each = self.rows.iter().zip(decoded.chunks_exact(dim)).zip(self.units.chunks_exact(dim));
        let losses = each.zip(&self.excesses).map(|(((row, decoded), unit), &excess)| {
            let along = f64::from(kernels::dot(row, unit) - kernels::dot(decoded, unit));
            f64::from(kernels::l2(row, decoded)) + f64::from(excess) * along * along
        });
        losses.sum::<f64>() / self.rows.len() as f64
    }
}

impl Codec for Anisotropic {
    fn dim(&self) -> usize {
        self.codebook.dim()
    }

    fn code_len(&self) -> usize {
        fast_scan::code_len(self.codebook.parts)
    }

    fn encode(&self, rows: Rows<'_, f32>, codes: &mut [u8]) {
        let mut numbers = vec![0; rows.len() * self.codebook.parts];
        self.assign(rows, &mut numbers, None);
        write_codes(&numbers, self.codebook.parts, codes);
    }

    fn decode(&self, codes: &[u8], rows: &mut [f32]) {
        decode(&self.codebook, codes, rows);
    }

    fn scorer<'a>(&'a self, query: &[f32], metric: Metric) -> Box<dyn Scorer + 'a> {
        Box::new(scorer(&self.codebook, query, metric))
    }

    fn pack(&self, codes: Vec<u8>) -> Vec<u8> {
        fast_scan::pack(&codes, self.codebook.parts)
    }

    fn packed_len(&self, rows: usize) -> usize {
        fast_scan::packed_len(rows, self.codebook.parts)
    }

    fn queries_a_pass(&self) -> usize {
        32
    }

    fn scanner<'a>(&'a self, queries: Rows<'_, f32>, metric: Metric, k: usize) -> Box<dyn Scanner + 'a> {
        Box::new(scanner(&self.codebook, queries, metric, k))
    }

    fn arrays(&self) -> Vec<Array> {
        vec![self.codebook.array(), Array::f32("reach", &[1], vec![self.reach])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::Code;

    /// 800 rows of 24 values, of lengths about one.
    fn rows() -> Vec<f32> {
        let mut random = kernels::SplitMix64::new(13);
        (0..800 * 24).map(|_| 0.2 * matrix::normal(&mut random) as f32).collect()
    }

    fn trained(rows: Rows<'_, f32>, threshold: f32) -> Anisotropic {
        AnisotropicConfig { parts: 6, threshold }.train(rows, &Training::seeded(2)).unwrap()
    }

    #[test]
    fn without_a_threshold_it_is_the_plain_code() {
        let rows = rows();
        let rows = Rows::new(&rows, 24).unwrap();
        let plain = Code::parse("PQ6x4fs").unwrap().train(rows, &Training::seeded(2)).unwrap();
        let codec = trained(rows, 0.0);
        assert_eq!(codec.arrays()[0], plain.arrays()[0]);
        let codec: &dyn Codec = &codec;
        assert_eq!(codec.encode_all(rows).unwrap(), plain.encode_all(rows).unwrap());
    }

    #[test]
    fn the_loss_never_rises() {
        let rows = rows();
        let rows = Rows::new(&rows, 24).unwrap();
        let mut codec = trained(rows, 0.0);
        codec.reach = 0.5;
        let mut losses = Vec::new();
        codec.improve(rows, &Training::seeded(2), &mut |loss| losses.push(loss)).unwrap();
        assert_eq!(losses.len(), 2 * ROUNDS);
        assert!(losses.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-5)), "{losses:?}");
        assert!(losses[2 * ROUNDS - 1] < 0.95 * losses[0]);
    }

    #[test]
    fn errors_along_the_vectors_shrink() {
        let rows = rows();
        let rows = Rows::new(&rows, 24).unwrap();
        let along = |codec: &dyn Codec| {
            let mut decoded = vec![0.0; rows.as_slice().len()];
            codec.decode(&codec.encode_all(rows).unwrap(), &mut decoded);
            let error = |(row, decoded): (&[f32], &[f32])| {
                (kernels::dot(row, row) - kernels::dot(row, decoded)).powi(2)
            };
            rows.iter().zip(decoded.chunks(24)).map(error).sum::<f32>()
        };
        assert!(along(&trained(rows, 0.5)) < 0.5 * along(&trained(rows, 0.0)));
    }

    #[test]
    fn words_carry_the_threshold() {
        assert_eq!(AnisotropicConfig::parse("APQ8x4fs").unwrap().unwrap().to_string(), "APQ8x4fs_T0.2");
        for word in ["APQ8", "APQ8x4fs_T1", "APQ8x4fs_T", "APQ8x4fs_Tinf", "APQ8x4fs_T-0.1", "APQ8x8fs"] {
            assert!(AnisotropicConfig::parse(word).unwrap().is_err(), "{word}");
        }
    }
}
