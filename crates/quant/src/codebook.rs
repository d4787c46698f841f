//! Centroids of sub-spaces: what product codes have in common.
//!
//! The `dim` values of a row are cut into `parts` pieces of `sub = dim / parts`; piece `p` is named by the
//! number of the nearest of `count` centroids `c[p][0..count]`, the lower number on a tie.
//! `table[p][j]` holds what centroid `j` of part `p` adds to the distance to a query `q`: `|q_p - c_pj|^2`,
//! or `-<q_p, c_pj>`.
//! Source: Jégou, Douze and Schmid, TPAMI 2011.

use crate::training::{check_rows, go_on};
use crate::transforms::{components, mean};
use crate::{Array, Arrays, RestoreError, TrainError, Training, matrix};
use data::{Metric, Rows};
use kernels::{KMeansConfig, Panels, Seeds, SplitMix64};
use rayon::prelude::*;
use std::sync::atomic::AtomicBool;

/// Rows compared with the centroids at once.
const BLOCK: usize = 256;
/// Rows that one task assigns.
const CHUNK: usize = 512;
/// Training rows a centroid at most; more change little.
const ROWS_A_CENTROID: usize = 256;
/// As many rows as that are taken even for few centroids: their rounds are cheap.
const ROWS: usize = 10 << 10;
/// Rounds of k-means.
const ROUNDS: usize = 25;
/// Parts trained between two reports of progress.
const WAVE: usize = 8;

/// The centroids of all parts.
#[derive(Clone, Debug)]
pub(crate) struct Codebook {
    pub(crate) parts: usize,
    pub(crate) count: usize,
    pub(crate) sub: usize,
    /// `parts x count x sub`.
    pub(crate) centroids: Vec<f32>,
    /// `parts x sub x count`: the loops over centroids are those that vectorize.
    transposed: Vec<f32>,
    /// What assignment reads.
    near: Near,
}

/// Centroids less the mean of their part, which keeps scores free of cancellation.
#[derive(Clone, Debug)]
struct Near {
    /// `parts x sub`.
    means: Vec<f32>,
    /// One a part.
    panels: Vec<Panels>,
}

impl Near {
    fn new(centroids: &[f32], count: usize, sub: usize) -> Self {
        let mut near = Self { means: Vec::new(), panels: Vec::new() };
        for part in centroids.chunks_exact(count * sub) {
            let mean = mean(Rows::new(part, sub).expect("whole centroids"));
            let shifted: Vec<f32> = part
                .chunks_exact(sub)
                .flat_map(|centroid| centroid.iter().zip(&mean).map(|(value, mean)| value - mean))
                .collect();
            near.panels.push(Panels::new(&shifted, sub));
            near.means.extend(mean);
        }
        near
    }
}

impl Codebook {
    /// Centroids from their values, `parts x count x sub`.
    pub(crate) fn new(centroids: Vec<f32>, parts: usize, count: usize) -> Self {
        let sub = centroids.len() / (parts * count);
        let transposed =
            centroids.chunks_exact(count * sub).flat_map(|part| matrix::transpose(part, sub)).collect();
        let near = Near::new(&centroids, count, sub);
        Self { parts, count, sub, centroids, transposed, near }
    }

    /// Learns the centroids of `rows` by k-means in each part.
    pub(crate) fn train(
        rows: Rows<'_, f32>,
        parts: usize,
        count: usize,
        what: &impl ToString,
        training: &Training<'_>,
    ) -> Result<Self, TrainError> {
        let dim = rows.dim();
        let sub = split(dim, parts, what)?;
        check_rows(what, rows, count)?;
        let sample = matrix::sample(rows, (ROWS_A_CENTROID * count).max(ROWS), training.seed);
        let mut centroids = Vec::with_capacity(count * dim);
        let (seed, stop) = (training.seed, training.stop);
        for start in (0..parts).step_by(WAVE) {
            training.step(start, parts)?;
            let wave: Vec<Vec<f32>> = (start..(start + WAVE).min(parts))
                .into_par_iter()
                .map(|part| {
                    let columns = columns(&sample, dim, part * sub..(part + 1) * sub);
                    let seed = SplitMix64::named(seed, part as u64).bits();
                    cluster(&columns, sub, count, seed, ROUNDS, Seeds::Random, stop)
                })
                .collect::<Result<_, _>>()?;
            centroids.extend(wave.into_iter().flatten());
        }
        Ok(Self::new(centroids, parts, count))
    }

    /// As [`Codebook::array`] gave it.
    pub(crate) fn restore(
        arrays: &mut Arrays,
        dim: usize,
        parts: usize,
        count: usize,
    ) -> Result<Self, RestoreError> {
        let name = "centroids";
        if parts == 0 || !dim.is_multiple_of(parts) {
            let why = format!("{dim} dimensions do not split into {parts} equal parts");
            return Err(RestoreError::Value { name: name.into(), why });
        }
        Ok(Self::new(arrays.f32(name, &[parts, count, dim / parts])?, parts, count))
    }

    pub(crate) fn array(&self) -> Array {
        Array::f32("centroids", &[self.parts, self.count, self.sub], self.centroids.clone())
    }

    pub(crate) fn dim(&self) -> usize {
        self.parts * self.sub
    }

    /// Centroid `j` of `part`.
    pub(crate) fn centroid(&self, part: usize, j: usize) -> &[f32] {
        &self.centroids[(part * self.count + j) * self.sub..][..self.sub]
    }

    /// Writes the number of the nearest centroid of each part of each row, `rows.len() x parts`, on the
    /// calling thread.
    pub(crate) fn assign(&self, rows: Rows<'_, f32>, numbers: &mut [u16]) {
        let sub = self.sub;
        let (mut nearest, mut scores) = ([0; BLOCK], [0.0; BLOCK]);
        let mut pieces = Vec::with_capacity(BLOCK * sub);
        for (block, numbers) in numbers.chunks_mut(BLOCK * self.parts).enumerate() {
            let end = (block * BLOCK + BLOCK).min(rows.len());
            let rows = rows.slice(block * BLOCK..end);
            for (part, panels) in self.near.panels.iter().enumerate() {
                let mean = &self.near.means[part * sub..][..sub];
                pieces.clear();
                for row in rows.iter() {
                    pieces.extend(row[part * sub..].iter().zip(mean).map(|(value, mean)| value - mean));
                }
                let nearest = &mut nearest[..rows.len()];
                panels.nearest(&pieces, nearest, &mut scores[..rows.len()]);
                for (numbers, &nearest) in numbers.chunks_exact_mut(self.parts).zip(&*nearest) {
                    numbers[part] = nearest as u16;
                }
            }
        }
    }

    /// As [`Codebook::assign`], on the caller's rayon pool.
    pub(crate) fn assign_all(&self, rows: Rows<'_, f32>) -> Vec<u16> {
        let mut numbers = vec![0; rows.len() * self.parts];
        numbers.par_chunks_mut(CHUNK * self.parts).enumerate().for_each(|(i, numbers)| {
            let end = (i * CHUNK + CHUNK).min(rows.len());
            self.assign(rows.slice(i * CHUNK..end), numbers);
        });
        numbers
    }

    /// Writes what `numbers` (one a part) stand for to `row`.
    pub(crate) fn decode(&self, numbers: impl Iterator<Item = usize>, row: &mut [f32]) {
        for ((part, j), out) in numbers.enumerate().zip(row.chunks_exact_mut(self.sub)) {
            out.copy_from_slice(self.centroid(part, j));
        }
    }

    /// Each centroid moved to the mean of the pieces it stands for; one that stands for none stays.
    pub(crate) fn update(&self, rows: Rows<'_, f32>, numbers: &[u16]) -> Self {
        let (count, sub) = (self.count, self.sub);
        let mut centroids = self.centroids.clone();
        centroids.par_chunks_mut(count * sub).enumerate().for_each(|(part, centroids)| {
            let (mut sums, mut members) = (vec![0f64; count * sub], vec![0usize; count]);
            for (row, numbers) in rows.iter().zip(numbers.chunks_exact(self.parts)) {
                let j = usize::from(numbers[part]);
                members[j] += 1;
                let values = &row[part * sub..][..sub];
                sums[j * sub..][..sub].iter_mut().zip(values).for_each(|(sum, &v)| *sum += f64::from(v));
            }
            for (j, centroid) in centroids.chunks_exact_mut(sub).enumerate().filter(|(j, _)| members[*j] > 0)
            {
                let scale = 1.0 / members[j] as f64;
                let sums = &sums[j * sub..][..sub];
                centroid.iter_mut().zip(sums).for_each(|(value, sum)| *value = (sum * scale) as f32);
            }
        });
        Self::new(centroids, self.parts, count)
    }

    /// What `numbers`, `n x parts`, stand for, `n x dim`.
    pub(crate) fn decode_all(&self, numbers: &[u16]) -> Vec<f32> {
        let mut rows = vec![0.0; numbers.len() / self.parts * self.dim()];
        let each = rows.par_chunks_mut(self.dim()).zip(numbers.par_chunks(self.parts));
        each.for_each(|(row, numbers)| self.decode(numbers.iter().map(|&j| usize::from(j)), row));
        rows
    }

    /// `table[p][j]` of `query`, `parts x count`.
    pub(crate) fn table(&self, query: &[f32], metric: Metric) -> Vec<f32> {
        let mut table = vec![0.0; self.parts * self.count];
        let columns = self.transposed.chunks_exact(self.count);
        for ((value, column), i) in query.iter().zip(columns).zip(0..) {
            let sums = &mut table[i / self.sub * self.count..][..self.count];
            for (sum, c) in sums.iter_mut().zip(column) {
                *sum += match metric {
                    Metric::L2 => (value - c) * (value - c),
                    Metric::Dot => -value * c,
                };
            }
        }
        table
    }

    /// The mean squared distance of rows to what they are coded as.
    pub(crate) fn distortion(&self, rows: Rows<'_, f32>, numbers: &[u16]) -> f64 {
        let decoded = self.decode_all(numbers);
        let each = rows.iter().zip(decoded.chunks_exact(rows.dim()));
        each.map(|(row, decoded)| f64::from(kernels::l2(row, decoded))).sum::<f64>() / rows.len() as f64
    }
}

/// K-means, the one place it is called. Random seeds suit vectors: k-means++ gives more centroids to outliers,
/// which lowers the squared error a little and loses half a hundredth of recall (`PQ16`, SIFT). Where the
/// error of outliers counts as much as any, as for norms, k-means++ is right.
pub(crate) fn cluster(
    rows: &[f32],
    dim: usize,
    count: usize,
    seed: u64,
    rounds: usize,
    seeds: Seeds,
    stop: &AtomicBool,
) -> Result<Vec<f32>, TrainError> {
    let config = KMeansConfig { rounds, seeds, ..KMeansConfig::new(count, seed) };
    let cut = kernels::kmeans_until(rows, dim, &config, stop).ok_or(TrainError::Stopped)?;
    Ok(cut.centroids)
}

/// K-means along ever more principal axes: on the first, then from there on the first two, and so on, eight for
/// five, to all of them. Where rows spread in many directions alike, as what codes leave over does, plain
/// k-means learns the rows; this learns what generalizes (`RQ15x8`, SIFT: an error lower by a tenth on others).
/// Source: the progressive dimensions of faiss's residual quantizer.
pub(crate) fn cluster_by_axes(
    rows: Rows<'_, f32>,
    count: usize,
    seed: u64,
    what: &str,
    stop: &AtomicBool,
) -> Result<Vec<f32>, TrainError> {
    /// Rounds of k-means for each number of axes.
    const ROUNDS: usize = 10;
    let dim = rows.dim();
    let axes = components(rows, seed, what)?.axes;
    let mut turned = vec![0.0; rows.as_slice().len()];
    matrix::apply(&axes, rows, &mut turned);
    let mut used = 1;
    let first = columns(&turned, dim, 0..1);
    let mut centroids = cluster(&first, 1, count, seed, ROUNDS, Seeds::Random, stop)?;
    while used < dim {
        go_on(stop)?;
        let next = (used * 8).div_ceil(5).min(dim);
        let widened = centroids.chunks_exact(used).flat_map(|centroid| {
            let zeros = std::iter::repeat_n(0.0, next - used);
            centroid.iter().copied().chain(zeros)
        });
        let config = KMeansConfig { rounds: ROUNDS, ..KMeansConfig::new(count, seed) };
        let part = columns(&turned, dim, 0..next);
        centroids = kernels::kmeans_from(&part, next, &config, widened.collect()).centroids;
        used = next;
    }
    let mut back = vec![0.0; centroids.len()];
    let back_axes = matrix::transpose(&axes, dim);
    matrix::apply(&back_axes, Rows::new(&centroids, dim).expect("whole centroids"), &mut back);
    Ok(back)
}

/// `dim / parts`, where that is whole.
pub(crate) fn split(dim: usize, parts: usize, what: &impl ToString) -> Result<usize, TrainError> {
    if parts == 0 || !dim.is_multiple_of(parts) {
        return Err(TrainError::Split { what: what.to_string(), dim, parts });
    }
    Ok(dim / parts)
}

/// Columns `range` of rows of `dim`.
pub(crate) fn columns(rows: &[f32], dim: usize, range: std::ops::Range<usize>) -> Vec<f32> {
    rows.chunks_exact(dim).flat_map(|row| &row[range.clone()]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::new(seed);
        (0..n).map(|_| random.unit() as f32 * 2.0 + 100.0).collect()
    }

    #[test]
    fn clusters_by_axes_serve_rows_they_have_not_seen() {
        // Noise in every direction, more along some: few rows for many centroids, which plain k-means learns by heart.
        let dim = 32;
        let rows = |n: usize, seed| -> Vec<f32> {
            let noise = noise(n * dim, seed);
            noise.iter().enumerate().map(|(i, v)| v * (1.0 + 8.0 / (1 + i % dim) as f32)).collect()
        };
        let (seen, unseen) = (rows(1000, 7), rows(1000, 8));
        let seen = Rows::new(&seen, dim).unwrap();
        let by_axes = cluster_by_axes(seen, 128, 1, "test", &AtomicBool::new(false)).unwrap();
        assert_eq!(by_axes.len(), 128 * dim);
        let plain =
            cluster(seen.as_slice(), dim, 128, 1, 25, Seeds::Random, &AtomicBool::new(false)).unwrap();
        let left = |centroids: &[f32]| {
            let codebook = Codebook::new(centroids.to_vec(), 1, 128);
            let rows = Rows::new(&unseen, dim).unwrap();
            codebook.distortion(rows, &codebook.assign_all(rows))
        };
        assert!(left(&by_axes) < 0.99 * left(&plain), "{} {}", left(&by_axes), left(&plain));
    }

    #[test]
    fn rows_take_their_nearest_centroids() {
        let codebook = Codebook::new(noise(3 * 50 * 5, 1), 3, 50);
        let rows = noise(40 * 15, 2);
        let rows = Rows::new(&rows, 15).unwrap();
        let mut numbers = vec![0; 40 * 3];
        codebook.assign(rows, &mut numbers);
        for (row, numbers) in rows.iter().zip(numbers.chunks(3)) {
            for part in 0..3 {
                let piece = &row[part * 5..][..5];
                let to = |j: usize| kernels::l2(piece, codebook.centroid(part, j));
                let best = (0..50).map(to).fold(f32::INFINITY, f32::min);
                assert!(to(usize::from(numbers[part])) <= best * (1.0 + 1e-4));
            }
        }
        assert_eq!(codebook.assign_all(rows), numbers);
    }

    #[test]
    fn tables_hold_the_parts_of_the_distance() {
        let codebook = Codebook::new(noise(2 * 4 * 3, 3), 2, 4);
        let query = noise(6, 4);
        let mut row = vec![0.0; 6];
        codebook.decode([1, 3].into_iter(), &mut row);
        let l2 = codebook.table(&query, Metric::L2);
        assert!((l2[1] + l2[4 + 3] - kernels::l2(&query, &row)).abs() < 1e-4);
        let dot = codebook.table(&query, Metric::Dot);
        assert!((dot[1] + dot[4 + 3] + kernels::dot(&query, &row)).abs() < 0.1);
    }

    #[test]
    fn updates_never_raise_the_distortion() {
        let rows = noise(500 * 6, 5);
        let rows = Rows::new(&rows, 6).unwrap();
        let mut codebook = Codebook::new(noise(2 * 8 * 3, 6), 2, 8);
        let mut last = f64::INFINITY;
        for _ in 0..5 {
            let numbers = codebook.assign_all(rows);
            let now = codebook.distortion(rows, &numbers);
            assert!(now <= last * (1.0 + 1e-6));
            last = now;
            codebook = codebook.update(rows, &numbers);
        }
    }
}
