//! Scalar quantization: each value by itself, in steps of equal width.
//!
//! Value `j` of a vector becomes `c = floor((x_j - low_j) / step_j)`, at most `2^b - 1` and at least 0, and
//! decodes to `low_j + (c + 1/2) step_j`: within a range of `2^b` steps it is off by half a step at most.
//! `SQb` has a range a dimension, `SQbU` one for all. `ceil(dim b / 8)` bytes a vector; distances are those
//! to the decoded vector.
//!
//! The range is the one of least squared error on the training rows among those that leave out the same
//! share of values, 0 to 5 %, on either side; with `_minmax` nothing is left out. Few bits gain from
//! cutting outliers off, eight bits rarely.
//! Source: Max, IRE Trans. Inf. Theory 1960 (the compromise between range and step).

use super::pq::{read_bits, write_bits};
use crate::spec::setting;
use crate::training::check_rows;
use crate::{
    Array, Arrays, ByDecoding, Codec, Config, Decoded, ParseSpecError, RestoreError, Scanner, Scorer,
    TrainError, Training, matrix,
};
use data::{Metric, Rows};
use kernels::digits::Digits;
use kernels::{Isa, dot};
use rayon::prelude::*;
use std::fmt;

/// Rows that ranges are chosen on at most.
const SAMPLE: usize = 1 << 15;
/// Shares of the values left out on either side.
const SHARES: [f64; 9] = [0.0, 1e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2e-2, 3.5e-2, 5e-2];
/// Values that one range over all dimensions is chosen on at most.
const VALUES: usize = 1 << 20;

/// `SQb` or `SQbU`, `b` 4, 6 or 8, and `_minmax` behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScalarConfig {
    /// Bits a value.
    pub bits: u32,
    /// Whether all dimensions share one range.
    pub uniform: bool,
    /// Whether the range has to hold every training value.
    pub min_max: bool,
}

/// Ranges of values, cut into steps.
#[derive(Clone, Debug)]
pub struct Scalar {
    bits: u32,
    /// What code 0 decodes to, a dimension.
    lows: Vec<f32>,
    /// A dimension; zero where all training values were one.
    steps: Vec<f32>,
    uniform: bool,
}

impl fmt::Display for ScalarConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uniform = if self.uniform { "U" } else { "" };
        let min_max = if self.min_max { "_minmax" } else { "" };
        write!(f, "SQ{}{uniform}{min_max}", self.bits)
    }
}

impl Config for ScalarConfig {
    type Codec = Scalar;

    const EXAMPLES: &'static [&'static str] =
        &["SQ8", "SQ6", "SQ4", "SQ8U", "SQ6U", "SQ4U", "SQ8_minmax", "SQ4U_minmax"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let rest = word.strip_prefix("SQ").filter(|rest| !matches!(*rest, "fp16" | "bf16"))?;
        let (rest, min_max) = rest.strip_suffix("_minmax").map_or((rest, false), |rest| (rest, true));
        let (rest, uniform) = rest.strip_suffix('U').map_or((rest, false), |rest| (rest, true));
        let bits = match rest {
            "4" => 4,
            "6" => 6,
            "8" => 8,
            _ => return Some(Err(setting(word, "write 4, 6 or 8 bits, as in SQ8, SQ8U or SQ4_minmax"))),
        };
        Some(Ok(Self { bits, uniform, min_max }))
    }

    fn train(&self, rows: Rows<'_, f32>, training: &Training<'_>) -> Result<Scalar, TrainError> {
        check_rows(self, rows, 1)?;
        let dim = rows.dim();
        let ranges = if self.min_max { extremes(rows, self.bits) } else { self.fitted(rows, training.seed) };
        let ranges =
            if self.uniform && self.min_max { vec![joined(&ranges, self.bits); dim] } else { ranges };
        let (lows, steps): (Vec<f32>, Vec<f32>) = ranges.into_iter().unzip();
        if !steps.iter().all(|step| step.is_finite()) {
            return Err(matrix::degenerate(&self.to_string(), "the values span more than a float can"));
        }
        Ok(Scalar::new(self.bits, &lows, steps, self.uniform))
    }

    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Scalar, RestoreError> {
        let ranges = if self.uniform { 1 } else { dim };
        let (lows, steps) = (arrays.f32("lows", &[ranges])?, arrays.f32("steps", &[ranges])?);
        if steps.iter().any(|&step| step < 0.0) {
            return Err(RestoreError::Value { name: "steps".into(), why: "holds a negative step".into() });
        }
        let all = |values: Vec<f32>| if self.uniform { vec![values[0]; dim] } else { values };
        Ok(Scalar { bits: self.bits, lows: all(lows), steps: all(steps), uniform: self.uniform })
    }
}

impl ScalarConfig {
    /// The low end and step of each dimension that lose least.
    fn fitted(&self, rows: Rows<'_, f32>, seed: u64) -> Vec<(f32, f32)> {
        let dim = rows.dim();
        if self.uniform {
            let sample = matrix::sample(rows, (VALUES / dim).max(1), seed);
            return vec![range(sample, self.bits); dim];
        }
        let sample = matrix::sample(rows, SAMPLE, seed);
        let column = |j: usize| sample.iter().skip(j).step_by(dim).copied().collect();
        (0..dim).into_par_iter().map(|j| range(column(j), self.bits)).collect()
    }
}

/// The low end and step of each dimension that hold every value.
fn extremes(rows: Rows<'_, f32>, bits: u32) -> Vec<(f32, f32)> {
    let mut ends = vec![(f32::INFINITY, f32::NEG_INFINITY); rows.dim()];
    for row in rows.iter() {
        ends.iter_mut().zip(row).for_each(|((low, high), &v)| (*low, *high) = (low.min(v), high.max(v)));
    }
    ends.into_iter().map(|(low, high)| (low, (high - low) / (1u32 << bits) as f32)).collect()
}

/// One range that holds all of `ranges`.
fn joined(ranges: &[(f32, f32)], bits: u32) -> (f32, f32) {
    let cells = (1u32 << bits) as f32;
    let low = ranges.iter().fold(f32::INFINITY, |least, range| least.min(range.0));
    let high = ranges.iter().fold(f32::NEG_INFINITY, |most, range| most.max(range.0 + range.1 * cells));
    (low, (high - low) / cells)
}

/// The low end and step of the range of `values` that loses least.
fn range(mut values: Vec<f32>, bits: u32) -> (f32, f32) {
    values.sort_unstable_by(f32::total_cmp);
    let last = values.len() - 1;
    let mut best = (f64::INFINITY, (0.0, 0.0));
    for share in SHARES {
        let out = (share * last as f64) as usize;
        let low = values[out];
        let step = (values[last - out] - low) / (1u32 << bits) as f32;
        let loss = loss(&values, low, step, bits);
        if loss < best.0 {
            best = (loss, (low, step));
        }
    }
    best.1
}

/// The sum of squared differences of `values` to what they decode to.
fn loss(values: &[f32], low: f32, step: f32, bits: u32) -> f64 {
    let most = most(bits);
    let scale = inverse(step);
    let square = |&value: &f32| {
        let code = ((value - low) * scale).clamp(0.0, most).floor();
        f64::from(value - (low + (code + 0.5) * step)).powi(2)
    };
    values.iter().map(square).sum()
}

/// The largest code.
fn most(bits: u32) -> f32 {
    ((1u32 << bits) - 1) as f32
}

/// `1 / step`, 0 for a step of 0.
fn inverse(step: f32) -> f32 {
    let inverse = 1.0 / step;
    if inverse.is_finite() { inverse } else { 0.0 }
}

impl Scalar {
    /// From the low ends of ranges.
    fn new(bits: u32, lows: &[f32], steps: Vec<f32>, uniform: bool) -> Self {
        let lows = lows.iter().zip(&steps).map(|(low, step)| low + 0.5 * step).collect();
        Self { bits, lows, steps, uniform }
    }

    fn code(&self, j: usize, value: f32) -> u16 {
        let code = (value - self.lows[j]) * inverse(self.steps[j]) + 0.5;
        // The cast takes the whole part; NaN, which only a hostile range can make, becomes 0.
        code.clamp(0.0, most(self.bits)) as u16
    }
}

impl Codec for Scalar {
    fn dim(&self) -> usize {
        self.lows.len()
    }

    fn code_len(&self) -> usize {
        (self.lows.len() * self.bits as usize).div_ceil(8)
    }

    fn encode(&self, rows: Rows<'_, f32>, codes: &mut [u8]) {
        let mut numbers = vec![0; self.dim()];
        for (row, code) in rows.iter().zip(codes.chunks_exact_mut(self.code_len())) {
            let each = numbers.iter_mut().zip(row).enumerate();
            each.for_each(|(j, (number, &value))| *number = self.code(j, value));
            write_bits(&numbers, self.bits, code);
        }
    }

    fn decode(&self, codes: &[u8], rows: &mut [f32]) {
        for (code, row) in codes.chunks_exact(self.code_len()).zip(rows.chunks_exact_mut(self.lows.len())) {
            unpack(code, self.bits, row);
            let ranges = self.lows.iter().zip(&self.steps);
            row.iter_mut().zip(ranges).for_each(|(value, (low, step))| *value = low + *value * step);
        }
    }

    fn scorer<'a>(&'a self, query: &[f32], metric: Metric) -> Box<dyn Scorer + 'a> {
        match digits(self.bits) {
            Some(digits) => Box::new(ScalarScorer::new(self, query, metric, digits)),
            None => Box::new(Decoded::new(self, query, metric)),
        }
    }

    fn scanner<'a>(&'a self, queries: Rows<'_, f32>, metric: Metric, k: usize) -> Box<dyn Scanner + 'a> {
        Box::new(ByDecoding::new(self, queries, metric, k))
    }

    fn arrays(&self) -> Vec<Array> {
        let ranges = if self.uniform { 1 } else { self.dim() };
        let array = |name, values: &[f32]| Array::f32(name, &[ranges], values[..ranges].to_vec());
        vec![array("lows", &self.lows), array("steps", &self.steps)]
    }
}

/// Distances by the steps of codes, without decoding them.
struct ScalarScorer<'a> {
    codec: &'a Scalar,
    digits: Digits,
    metric: Metric,
    /// `low - query` for distances, `query step` for products.
    query: Vec<f32>,
    /// `-<query, low>`, for products.
    base: f32,
}

impl<'a> ScalarScorer<'a> {
    fn new(codec: &'a Scalar, query: &[f32], metric: Metric, digits: Digits) -> Self {
        let (values, base): (Vec<f32>, f32) = match metric {
            Metric::L2 => (codec.lows.iter().zip(query).map(|(low, q)| low - q).collect(), 0.0),
            Metric::Dot => {
                (codec.steps.iter().zip(query).map(|(step, q)| step * q).collect(), -dot(query, &codec.lows))
            }
        };
        Self { codec, digits, metric, query: values, base }
    }
}

impl Scorer for ScalarScorer<'_> {
    fn score(&mut self, codes: &[u8], distances: &mut [f32]) {
        let isa = Isa::current();
        for (code, distance) in codes.chunks_exact(self.codec.code_len()).zip(distances) {
            *distance = match self.metric {
                Metric::L2 => isa.l2_stepped(&self.query, &self.codec.steps, self.digits, code),
                Metric::Dot => self.base - isa.dot_digits(&self.query, self.digits, code),
            };
        }
    }
}

/// How kernels read numbers of so many bits, if they do.
pub(crate) fn digits(bits: u32) -> Option<Digits> {
    match bits {
        8 => Some(Digits::Bytes),
        4 => Some(Digits::Nibbles),
        _ => None,
    }
}

/// The numbers of a code as floats; loops over whole bytes are those that vectorize.
pub(crate) fn unpack(code: &[u8], bits: u32, numbers: &mut [f32]) {
    match bits {
        8 => numbers.iter_mut().zip(code).for_each(|(number, &byte)| *number = f32::from(byte)),
        4 => {
            for (pair, &byte) in numbers.chunks_mut(2).zip(code) {
                pair[0] = f32::from(byte & 15);
                if let Some(high) = pair.get_mut(1) {
                    *high = f32::from(byte >> 4);
                }
            }
        }
        6 => {
            let (fours, rest) = numbers.as_chunks_mut::<4>();
            let (whole, part) = code.split_at(3 * fours.len());
            for (numbers, &[a, b, c]) in fours.iter_mut().zip(whole.as_chunks().0) {
                let four = u32::from_le_bytes([a, b, c, 0]);
                *numbers = std::array::from_fn(|i| f32::from((four >> (6 * i) & 63) as u16));
            }
            let each = rest.iter_mut().zip(read_bits(part, bits));
            each.for_each(|(number, read)| *number = f32::from(read as u16));
        }
        _ => {
            let each = numbers.iter_mut().zip(read_bits(code, bits));
            each.for_each(|(number, read)| *number = f32::from(read as u16));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trained(word: &str, rows: &[f32], dim: usize) -> Scalar {
        let config = ScalarConfig::parse(word).unwrap().unwrap();
        config.train(Rows::new(rows, dim).unwrap(), &Training::seeded(1)).unwrap()
    }

    fn through(codec: &Scalar, rows: &[f32]) -> Vec<f32> {
        let rows = Rows::new(rows, codec.dim()).unwrap();
        let mut codes = vec![0; rows.len() * codec.code_len()];
        codec.encode(rows, &mut codes);
        let mut out = vec![0.0; rows.as_slice().len()];
        codec.decode(&codes, &mut out);
        out
    }

    /// Values of three dimensions, of different ranges, with tails.
    fn normals(n: usize) -> Vec<f32> {
        let mut random = kernels::SplitMix64::new(6);
        (0..3 * n).map(|i| matrix::normal(&mut random) as f32 * (1 + 4 * (i % 3)) as f32 + 3.0).collect()
    }

    #[test]
    fn sixteen_steps_by_hand() {
        // 0 .. 16 in steps of 1: 4.9 lies in step 4 and decodes to its middle; beyond the range is its end.
        let rows = [0.0, 16.0];
        let codec = trained("SQ4_minmax", &rows, 1);
        assert_eq!(through(&codec, &[4.9, 0.0, 16.0, 99.0, -5.0]), [4.5, 0.5, 15.5, 15.5, 0.5]);
    }

    #[test]
    fn values_are_off_by_half_a_step_at_most() {
        let rows = normals(500);
        for word in ["SQ8_minmax", "SQ6_minmax", "SQ4U_minmax"] {
            let codec = trained(word, &rows, 3);
            for (i, (out, value)) in through(&codec, &rows).iter().zip(&rows).enumerate() {
                assert!((out - value).abs() <= 0.5001 * codec.steps[i % 3], "{word}: {value} becomes {out}");
            }
        }
    }

    #[test]
    fn the_chosen_range_never_loses_more() {
        let rows = normals(4000);
        let loss = |word: &str| {
            let codec = trained(word, &rows, 3);
            through(&codec, &rows).iter().zip(&rows).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        };
        for bits in [4, 6, 8] {
            for uniform in ["", "U"] {
                let word = format!("SQ{bits}{uniform}");
                let (chosen, all) = (loss(&word), loss(&format!("{word}_minmax")));
                assert!(chosen <= all * 1.000_001, "{word}");
                assert!(bits > 4 || chosen < 0.9 * all, "{word}: {chosen}, not well below {all}");
            }
        }
    }

    #[test]
    fn six_bits_unpack_at_any_length() {
        for len in 1..14u16 {
            let numbers: Vec<u16> = (0..len).map(|i| (i * 23 + 5) % 64).collect();
            let mut code = vec![0; usize::from(len * 6).div_ceil(8)];
            write_bits(&numbers, 6, &mut code);
            let mut out = vec![0.0; usize::from(len)];
            unpack(&code, 6, &mut out);
            assert!(out.iter().zip(&numbers).all(|(out, number)| *out == f32::from(*number)), "{len}");
        }
    }

    #[test]
    fn one_value_is_kept_exactly() {
        assert_eq!(through(&trained("SQ8", &[7.25; 8], 2), &[7.25; 4]), [7.25; 4]);
    }
}
