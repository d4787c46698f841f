//! RaBitQ: random rotation, then one to eight bits a value, with an unbiased estimate of distances and a bound.
//!
//! | sign | is |
//! |---|---|
//! | `r` | the vector less the training mean, rotated, padded with zeros to `p` values, `p` a multiple of 64 |
//! | `u` | the code, `0 .. 2^b` a value: its top bit says whether `r_i >= 0`, the others are flipped below zero |
//! | `y` | `u - (2^b - 1) / 2`, so `y_i` has the sign of `r_i` and is a half, one and a half and so on |
//! | `f` | `|r|^2 / <y, r>`: `f y` is the point along `y` whose foot on `r` is `r` itself |
//! | `e` | `|f y - r| / sqrt(p - 1)`: the error that a random direction of unit length sees |
//!
//! A query is centred and rotated as vectors are, to `q`. `<r, q>` is estimated by `f <y, q>`: without bias over
//! rotations, and off by more than `epsilon e |q|` in few percent of the pairs at `epsilon` = 1.9 and hardly ever at
//! 3. From it follow the squared distance, `|r|^2 + |q|^2 - 2 <r, q>`, and the inner product of the vector and the query
//! as they were, `<mean, query> + <vector - mean, mean> + <r, q>`: without the middle part, which the code keeps, the
//! mean would be estimated along with the query, and drown it in noise where it is long. Distances are such
//! estimates, not those to the decoded vector; negative squares become zero.
//!
//! `p / 8 + 12` bytes a vector with one bit, `p b / 8 + 20` with more: signs, the other bits
//! ([`kernels::bit_planes::pack`]), `|r|^2`, `<vector - mean, mean>`, `f` of the signs alone, then `f` and `e` of the
//! whole code. For the signs alone `|y|^2 = p / 4`, so that `e` follows from `f` and needs no bytes. The code decodes
//! to the point along `y` that is nearest to `r`.
//! Sources: Gao and Long, SIGMOD 2024 (one bit); Gao et al., SIGMOD 2025 (more bits).

mod levels;
mod scan;
#[cfg(test)]
mod tests;

use self::scan::BlockScanner;
use crate::spec::{number, setting};
use crate::training::check_rows;
use crate::transforms::{Hadamard, HadamardConfig, mean};
use crate::{
    Array, Arrays, Codec, Config, ParseSpecError, RestoreError, Scanner, Scorer, TrainError, Training,
    Transform, TransformConfig,
};
use data::{Metric, Rows};
use kernels::bit_planes::{pack, packed_len, unpack};
use kernels::{Isa, dot};
use std::fmt;

/// `RaBitQ`, or `RaBitQb` with two to eight bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaBitQConfig {
    /// Bits a value.
    pub bits: u32,
}

/// A mean and a rotation.
#[derive(Clone, Debug)]
pub struct RaBitQ {
    bits: u32,
    mean: Vec<f32>,
    rotation: Hadamard,
}

impl fmt::Display for RaBitQConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits {
            1 => f.write_str("RaBitQ"),
            bits => write!(f, "RaBitQ{bits}"),
        }
    }
}

impl Config for RaBitQConfig {
    type Codec = RaBitQ;

    const EXAMPLES: &'static [&'static str] = &["RaBitQ", "RaBitQ2", "RaBitQ4", "RaBitQ7", "RaBitQ8"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let rest = word.strip_prefix("RaBitQ")?;
        let bits = if rest.is_empty() { Some(1) } else { number(rest) };
        Some(match bits {
            Some(bits @ 1..=8) => Ok(Self { bits: bits as u32 }),
            _ => Err(setting(word, "write RaBitQ for one bit a value, RaBitQ2 to RaBitQ8 for more")),
        })
    }

    fn train(&self, rows: Rows<'_, f32>, training: &Training<'_>) -> Result<RaBitQ, TrainError> {
        check_rows(self, rows, 1)?;
        let rotation = Hadamard::new(rows.dim(), training.seed);
        Ok(RaBitQ { bits: self.bits, mean: mean(rows), rotation })
    }

    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<RaBitQ, RestoreError> {
        let rotation = HadamardConfig.restore(dim, arrays)?;
        Ok(RaBitQ { bits: self.bits, mean: arrays.f32("mean", &[dim])?, rotation })
    }
}

/// The numbers beside the bits of a code.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Factors {
    /// `|r|^2`.
    norm: f32,
    /// `<vector - mean, mean>`.
    lean: f32,
    /// `f` of the signs alone.
    rough: f32,
    /// `f` of the whole code.
    scale: f32,
    /// `e` of the whole code.
    error: f32,
}

/// `f = norm / along`, zero where the vector is the mean or too large to be measured.
fn scale(norm: f64, along: f64) -> f32 {
    let scale = (norm / along) as f32;
    if along > 0.0 && scale.is_finite() { scale } else { 0.0 }
}

/// `e` of a code at `f y`, whose squared length is `length`.
fn error(length: f64, norm: f64, padded: usize) -> f32 {
    // Rounding can take the difference below zero when the code fits exactly.
    ((length - norm).max(0.0) / (padded - 1) as f64).sqrt().min(f64::from(f32::MAX)) as f32
}

fn float(bytes: &[u8], at: usize) -> f32 {
    bytes.as_chunks().0.get(at).map_or(0.0, |word| f32::from_le_bytes(*word))
}

/// A query on the axes of the codes: a distance is `own + base - weight <r, q>`, with an `own` that the vector alone
/// decides.
struct Frame {
    values: Vec<f32>,
    sum: f32,
    length: f32,
    metric: Metric,
    base: f32,
    weight: f32,
    /// The least that a distance can be.
    floor: f32,
}

impl Frame {
    /// The estimated distance, which can be below `floor`.
    fn distance(&self, factors: Factors, product: f32) -> f32 {
        let own = match self.metric {
            Metric::L2 => factors.norm,
            Metric::Dot => -factors.lean,
        };
        own + self.base - self.weight * factors.scale * product
    }

    /// `distance`, or `floor` where it is below; NaN, which damaged codes can give, stays.
    fn floored(&self, distance: f32) -> f32 {
        if distance < self.floor { self.floor } else { distance }
    }

    /// `<y, q>` of a code.
    fn product(&self, isa: Isa, signs: &[u8], low: &[u8], bits: u32) -> f32 {
        let signs = isa.dot_packed(&self.values, signs, 1);
        if bits == 1 {
            return signs - 0.5 * self.sum;
        }
        let low = isa.dot_packed(&self.values, low, bits - 1);
        (1u32 << (bits - 1)) as f32 * signs + low - 0.5 * ((1u32 << bits) - 1) as f32 * self.sum
    }
}

impl RaBitQ {
    /// Values of a rotated vector.
    fn padded(&self) -> usize {
        self.rotation.dim_out()
    }

    fn sign_len(&self) -> usize {
        self.padded() / 8
    }

    /// Bytes of the bits below the signs.
    fn low_len(&self) -> usize {
        if self.bits > 1 { packed_len(self.padded(), self.bits - 1) } else { 0 }
    }

    /// Signs, other bits and factors of a code.
    fn parts<'c>(&self, code: &'c [u8]) -> (&'c [u8], &'c [u8], Factors) {
        let (signs, rest) = code.split_at(self.sign_len());
        let (low, tail) = rest.split_at(self.low_len());
        let (norm, lean, rough) = (float(tail, 0), float(tail, 1), float(tail, 2));
        if self.bits == 1 {
            let (length, norm64) = (f64::from(rough).powi(2) * self.padded() as f64 / 4.0, f64::from(norm));
            let error = error(length, norm64, self.padded());
            return (signs, low, Factors { norm, lean, rough, scale: rough, error });
        }
        (signs, low, Factors { norm, lean, rough, scale: float(tail, 3), error: float(tail, 4) })
    }

    fn frame(&self, query: &[f32], metric: Metric) -> Frame {
        let mut values = vec![0.0; self.padded()];
        let moved: Vec<f32> = query.iter().zip(&self.mean).map(|(value, mean)| value - mean).collect();
        self.rotation.apply(Rows::new(&moved, moved.len()).expect("a query is a row"), &mut values);
        let norm = dot(&values, &values);
        let (base, weight, floor) = match metric {
            Metric::L2 => (norm, 2.0, 0.0),
            Metric::Dot => (-dot(query, &self.mean), 1.0, f32::NEG_INFINITY),
        };
        Frame { sum: values.iter().sum(), length: norm.sqrt(), values, metric, base, weight, floor }
    }

    /// Lower bounds of the distances from `query` (`dim` values) to the vectors that gave `codes`
    /// (`bounds.len() x code_len`): the estimate less `epsilon` times its error.
    ///
    /// The distance is below its bound in about three pairs of a hundred at an `epsilon` of 1.9 and in one of a
    /// thousand at 3, which is what to discard by.
    ///
    /// # Panics
    /// When a size is not as said.
    pub fn lower_bounds(
        &self,
        query: &[f32],
        metric: Metric,
        epsilon: f32,
        codes: &[u8],
        bounds: &mut [f32],
    ) {
        assert_eq!(query.len(), self.mean.len(), "values of a query");
        assert_eq!(codes.len(), bounds.len() * self.code_len(), "one bound a code");
        let (isa, frame) = (Isa::current(), self.frame(query, metric));
        for (code, bound) in codes.chunks_exact(self.code_len()).zip(bounds) {
            let (signs, low, factors) = self.parts(code);
            let product = frame.product(isa, signs, low, self.bits);
            let distance = frame.distance(factors, product);
            let reach = epsilon * frame.length * factors.error;
            *bound = frame.floored(distance - frame.weight * reach);
        }
    }

    /// Writes the code of the rotated vector `r`.
    fn encode_one(&self, r: &[f32], lean: f32, levels: &mut [u8], code: &mut [u8]) {
        let padded = self.padded();
        let (signs, rest) = code.split_at_mut(self.sign_len());
        let (low, tail) = rest.split_at_mut(self.low_len());
        for (values, byte) in r.chunks(8).zip(signs) {
            *byte = values.iter().rev().fold(0, |bits, &value| bits << 1 | u8::from(value >= 0.0));
        }
        let norm: f64 = r.iter().map(|&value| f64::from(value).powi(2)).sum();
        let sizes: f64 = r.iter().map(|&value| f64::from(value.abs())).sum();
        let rough = scale(norm, 0.5 * sizes);
        let stored = if norm.is_finite() { norm.min(f64::from(f32::MAX)) as f32 } else { f32::MAX };
        let mut factors = vec![stored, if lean.is_finite() { lean } else { 0.0 }, rough];
        if self.bits > 1 {
            levels::nearest(r, self.bits, levels);
            let of = |level: u8| f64::from(level) + 0.5;
            let along: f64 = levels.iter().zip(r).map(|(&m, &r)| of(m) * f64::from(r.abs())).sum();
            let length: f64 = levels.iter().map(|&m| of(m).powi(2)).sum();
            let scale = scale(norm, along);
            factors.push(scale);
            // From the exact f: a rounded one would drown the error of many bits.
            factors.push(if scale > 0.0 {
                error((norm / along).powi(2) * length, norm, padded)
            } else {
                0.0
            });
            let mask = (1u8 << (self.bits - 1)) - 1;
            for (level, value) in levels.iter_mut().zip(r) {
                *level = if *value >= 0.0 { *level } else { !*level & mask };
            }
            pack(levels, self.bits - 1, low);
        }
        for (word, factor) in tail.as_chunks_mut().0.iter_mut().zip(factors) {
            *word = factor.to_le_bytes();
        }
    }

    /// Writes the point along the code's direction that is nearest to `r`.
    fn point(&self, code: &[u8], levels: &mut [u8], point: &mut [f32]) {
        let (signs, low, factors) = self.parts(code);
        if self.bits > 1 {
            unpack(low, self.bits - 1, levels);
        }
        let (top, middle) = ((1u32 << (self.bits - 1)) as f32, 0.5 * ((1u32 << self.bits) - 1) as f32);
        for (i, (value, &level)) in point.iter_mut().zip(&*levels).enumerate() {
            let sign = f32::from(signs[i / 8] >> (i % 8) & 1);
            *value = top * sign + f32::from(level) - middle;
        }
        // <y, r> / |y|^2, with <y, r> = |r|^2 / f.
        let scale = if factors.scale > 0.0 { factors.norm / factors.scale / dot(point, point) } else { 0.0 };
        point.iter_mut().for_each(|value| *value *= scale);
    }
}

impl Codec for RaBitQ {
    fn dim(&self) -> usize {
        self.mean.len()
    }

    fn code_len(&self) -> usize {
        self.sign_len() + self.low_len() + if self.bits > 1 { 20 } else { 12 }
    }

    fn encode(&self, rows: Rows<'_, f32>, codes: &mut [u8]) {
        let mut moved = vec![0.0; self.dim()];
        let (mut rotated, mut levels) = (vec![0.0; self.padded()], vec![0; self.padded()]);
        for (row, code) in rows.iter().zip(codes.chunks_exact_mut(self.code_len())) {
            moved.iter_mut().zip(row).zip(&self.mean).for_each(|((out, value), mean)| *out = value - mean);
            self.rotation.apply(Rows::new(&moved, self.dim()).expect("a row"), &mut rotated);
            self.encode_one(&rotated, dot(&moved, &self.mean), &mut levels, code);
        }
    }

    fn decode(&self, codes: &[u8], rows: &mut [f32]) {
        let (mut point, mut levels) = (vec![0.0; self.padded()], vec![0; self.padded()]);
        for (code, row) in codes.chunks_exact(self.code_len()).zip(rows.chunks_exact_mut(self.dim())) {
            self.point(code, &mut levels, &mut point);
            self.rotation.reverse(Rows::new(&point, self.padded()).expect("a point"), row);
            row.iter_mut().zip(&self.mean).for_each(|(value, mean)| *value += mean);
        }
    }

    fn scorer<'a>(&'a self, query: &[f32], metric: Metric) -> Box<dyn Scorer + 'a> {
        Box::new(RaBitQScorer { codec: self, frame: self.frame(query, metric) })
    }

    fn pack(&self, codes: Vec<u8>) -> Vec<u8> {
        scan::pack(self, &codes)
    }

    fn packed_len(&self, rows: usize) -> usize {
        scan::packed_len(self, rows)
    }

    fn scanner<'a>(&'a self, queries: Rows<'_, f32>, metric: Metric, k: usize) -> Box<dyn Scanner + 'a> {
        Box::new(BlockScanner::new(self, queries.iter().map(|query| self.frame(query, metric)).collect(), k))
    }

    fn arrays(&self) -> Vec<Array> {
        let mut arrays = self.rotation.arrays();
        arrays.push(Array::f32("mean", &[self.dim()], self.mean.clone()));
        arrays
    }
}

/// Estimates by the whole code, the query as it is: masked sums of floats take less time than the bit planes of a
/// query rounded to four bits (8 to 22 ns at 128 values, 38 to 166 at 960, AVX-512) and lose nothing.
struct RaBitQScorer<'a> {
    codec: &'a RaBitQ,
    frame: Frame,
}

impl Scorer for RaBitQScorer<'_> {
    fn score(&mut self, codes: &[u8], distances: &mut [f32]) {
        let (isa, bits) = (Isa::current(), self.codec.bits);
        for (code, distance) in codes.chunks_exact(self.codec.code_len()).zip(distances) {
            let (signs, low, factors) = self.codec.parts(code);
            let product = self.frame.product(isa, signs, low, bits);
            *distance = self.frame.floored(self.frame.distance(factors, product));
        }
    }
}
