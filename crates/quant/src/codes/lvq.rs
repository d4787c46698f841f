//! Locally adaptive scalar quantization: each vector, less the mean, in steps of its own range.
//!
//! `y = (x - mean) / unit`; `c_j = round((y_j - low) / step)` with `2^b - 1` steps from the vector's smallest
//! value to its largest, so `|y_j - y'_j| <= step / 2`. A second level codes what is left by `b2` bits, as
//! `round((y_j - y'_j + step / 2) / step2)` with `step2 = step / (2^b2 - 1)`: no further constants, and off by
//! half of `step2`. `low` and `step` are rounded outwards to sixteen-bit floats, `unit` (a power of two) keeps
//! them in their range.
//!
//! `ceil(dim b / 8) + 4` bytes a vector (`low`, `step`, then the numbers), and `ceil(dim b2 / 8)` for the
//! second level. Distances are those to the decoded vector.
//! Source: Aguerrebere, Bhati, Hildebrand, Tepper and Willke, VLDB 2023.

use super::pq::write_bits;
use super::scalar::{digits, unpack};
use crate::spec::setting;
use crate::training::check_rows;
use crate::transforms::mean;
use crate::{
    Array, Arrays, ByDecoding, Codec, Config, Decoded, ParseSpecError, RestoreError, Scanner, Scorer,
    TrainError, Training, matrix,
};
use data::{Metric, Rows};
use half::f16;
use kernels::digits::Digits;
use kernels::{Isa, dot};
use std::fmt;

/// Bytes of `low` and `step`.
const HEAD: usize = 4;

/// `LVQb` or `LVQbxb2`, both 4 or 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LvqConfig {
    /// Bits a value.
    pub bits: u32,
    /// Bits a value of the second level.
    pub second: Option<u32>,
}

/// A mean and a unit.
#[derive(Clone, Debug)]
pub struct Lvq {
    config: LvqConfig,
    mean: Vec<f32>,
    /// A power of two.
    unit: f32,
}

impl fmt::Display for LvqConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LVQ{}", self.bits)?;
        self.second.map_or(Ok(()), |second| write!(f, "x{second}"))
    }
}

impl Config for LvqConfig {
    type Codec = Lvq;

    const EXAMPLES: &'static [&'static str] = &["LVQ8", "LVQ4", "LVQ4x4", "LVQ4x8", "LVQ8x8"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let rest = word.strip_prefix("LVQ")?;
        let (first, second) = rest.split_once('x').map_or((rest, None), |(a, b)| (a, Some(b)));
        let bits = |text: &str| match text {
            "4" => Some(4),
            "8" => Some(8),
            _ => None,
        };
        let config = match (bits(first), second.map(bits)) {
            (Some(bits), None) => Some(Self { bits, second: None }),
            (Some(bits), Some(Some(second))) => Some(Self { bits, second: Some(second) }),
            _ => None,
        };
        Some(config.ok_or_else(|| setting(word, "write 4 or 8 bits a level, as in LVQ8 or LVQ4x8")))
    }

    fn train(&self, rows: Rows<'_, f32>, _: &Training<'_>) -> Result<Lvq, TrainError> {
        check_rows(self, rows, 1)?;
        let mean = mean(rows);
        let away = |row: &[f32]| row.iter().zip(&mean).fold(0f32, |most, (v, m)| most.max((v - m).abs()));
        let most = rows.iter().map(away).fold(0.0, f32::max);
        if !(4.0 * most).is_finite() {
            return Err(matrix::degenerate(&self.to_string(), "the values span more than a float can"));
        }
        let unit = if most > 0.0 { most.log2().floor().exp2() } else { 1.0 };
        Ok(Lvq { config: *self, mean, unit: unit.max(f32::MIN_POSITIVE) })
    }

    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Lvq, RestoreError> {
        let (mean, unit) = (arrays.f32("mean", &[dim])?, arrays.f32("unit", &[1])?[0]);
        if unit <= 0.0 {
            return Err(RestoreError::Value { name: "unit".into(), why: "is not positive".into() });
        }
        Ok(Lvq { config: *self, mean, unit })
    }
}

/// The largest sixteen-bit float that is at most `value`, the largest of all at most.
fn below(value: f32) -> f16 {
    let near = f16::from_f32(value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()));
    if near.to_f32() <= value || near == f16::MIN { near } else { next_down(near) }
}

/// The smallest that is at least `value`.
fn above(value: f32) -> f16 {
    -below(-value)
}

fn next_down(value: f16) -> f16 {
    let bits = value.to_bits();
    f16::from_bits(match bits {
        0 => 0x8001,
        _ if bits >> 15 == 1 => bits + 1,
        _ => bits - 1,
    })
}

/// Steps of a level.
fn steps(bits: u32) -> f32 {
    ((1u32 << bits) - 1) as f32
}

impl Lvq {
    /// Bytes of a level.
    fn level_len(&self, bits: u32) -> usize {
        (self.mean.len() * bits as usize).div_ceil(8)
    }

    fn encode_one(&self, row: &[f32], numbers: &mut [u16], code: &mut [u8]) {
        let bits = self.config.bits;
        let values: Vec<f32> = row.iter().zip(&self.mean).map(|(v, mean)| (v - mean) / self.unit).collect();
        let least = values.iter().copied().fold(f32::INFINITY, f32::min);
        let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let low = below(least);
        let step = above((most - low.to_f32()).max(0.0) / steps(bits));
        let (head, levels) = code.split_at_mut(HEAD);
        head[..2].copy_from_slice(&low.to_le_bytes());
        head[2..].copy_from_slice(&step.to_le_bytes());
        let (first, second) = levels.split_at_mut(self.level_len(bits));
        let (low, step) = (low.to_f32(), step.to_f32());
        let rounded = |value: f32, step: f32, bits| {
            let number = if step > 0.0 { value / step + 0.5 } else { 0.0 };
            number.clamp(0.0, steps(bits)) as u16
        };
        numbers.iter_mut().zip(&values).for_each(|(n, value)| *n = rounded(value - low, step, bits));
        write_bits(numbers, bits, first);
        let Some(bits) = self.config.second else { return };
        for (number, value) in numbers.iter_mut().zip(&values) {
            let left = value - (low + f32::from(*number) * step) + 0.5 * step;
            *number = rounded(left, step / steps(bits), bits);
        }
        write_bits(numbers, bits, second);
    }
}

impl Codec for Lvq {
    fn dim(&self) -> usize {
        self.mean.len()
    }

    fn code_len(&self) -> usize {
        HEAD + self.level_len(self.config.bits) + self.config.second.map_or(0, |bits| self.level_len(bits))
    }

    fn encode(&self, rows: Rows<'_, f32>, codes: &mut [u8]) {
        let mut numbers = vec![0; self.dim()];
        for (row, code) in rows.iter().zip(codes.chunks_exact_mut(self.code_len())) {
            self.encode_one(row, &mut numbers, code);
        }
    }

    fn decode(&self, codes: &[u8], rows: &mut [f32]) {
        let mut numbers = vec![0.0; self.dim()];
        for (code, row) in codes.chunks_exact(self.code_len()).zip(rows.chunks_exact_mut(self.mean.len())) {
            let (head, levels) = code.split_at(HEAD);
            let low = f16::from_le_bytes([head[0], head[1]]).to_f32();
            let step = f16::from_le_bytes([head[2], head[3]]).to_f32();
            let (first, second) = levels.split_at(self.level_len(self.config.bits));
            unpack(first, self.config.bits, row);
            let (mut low, width) = (low * self.unit, step * self.unit);
            if let Some(bits) = self.config.second {
                low -= 0.5 * width;
                unpack(second, bits, &mut numbers);
                let part = 1.0 / steps(bits);
                row.iter_mut().zip(&numbers).for_each(|(value, number)| *value += number * part);
            }
            row.iter_mut().zip(&self.mean).for_each(|(value, mean)| *value = mean + (low + *value * width));
        }
    }

    fn scorer<'a>(&'a self, query: &[f32], metric: Metric) -> Box<dyn Scorer + 'a> {
        match (self.config.second, digits(self.config.bits)) {
            (None, Some(digits)) => Box::new(LvqScorer::new(self, query, metric, digits)),
            _ => Box::new(Decoded::new(self, query, metric)),
        }
    }

    fn scanner<'a>(&'a self, queries: Rows<'_, f32>, metric: Metric, k: usize) -> Box<dyn Scanner + 'a> {
        Box::new(ByDecoding::new(self, queries, metric, k))
    }

    fn arrays(&self) -> Vec<Array> {
        vec![
            Array::f32("mean", &[self.mean.len()], self.mean.clone()),
            Array::f32("unit", &[1], vec![self.unit]),
        ]
    }
}

/// Distances by the steps of codes of one level, without decoding them.
struct LvqScorer<'a> {
    codec: &'a Lvq,
    digits: Digits,
    metric: Metric,
    /// `mean - query` for distances, `query` for products.
    query: Vec<f32>,
    ones: Vec<f32>,
    /// The sum of the query's values, and `-<query, mean>`.
    sums: [f32; 2],
}

impl<'a> LvqScorer<'a> {
    fn new(codec: &'a Lvq, query: &[f32], metric: Metric, digits: Digits) -> Self {
        let ones = vec![1.0; query.len()];
        let sums = [dot(query, &ones), -dot(query, &codec.mean)];
        let query = match metric {
            Metric::L2 => codec.mean.iter().zip(query).map(|(mean, q)| mean - q).collect(),
            Metric::Dot => query.to_vec(),
        };
        Self { codec, digits, metric, query, ones, sums }
    }
}

impl Scorer for LvqScorer<'_> {
    fn score(&mut self, codes: &[u8], distances: &mut [f32]) {
        let (isa, unit) = (Isa::current(), self.codec.unit);
        for (code, distance) in codes.chunks_exact(self.codec.code_len()).zip(distances) {
            let (head, code) = code.split_at(HEAD);
            let low = unit * f16::from_le_bytes([head[0], head[1]]).to_f32();
            let step = unit * f16::from_le_bytes([head[2], head[3]]).to_f32();
            *distance = match self.metric {
                Metric::L2 => isa.l2_shifted(&self.query, &self.ones, [low, step], self.digits, code),
                Metric::Dot => {
                    let [sum, base] = self.sums;
                    base - low * sum - step * isa.dot_digits(&self.query, self.digits, code)
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(codec: &Lvq, rows: &[f32]) -> (Vec<f32>, Vec<u8>) {
        let rows = Rows::new(rows, codec.dim()).unwrap();
        let mut codes = vec![0; rows.len() * codec.code_len()];
        codec.encode(rows, &mut codes);
        let mut out = vec![0.0; rows.as_slice().len()];
        codec.decode(&codes, &mut out);
        (out, codes)
    }

    #[test]
    fn values_are_off_by_half_a_step_of_the_last_level_at_most() {
        let mut random = kernels::SplitMix64::new(4);
        for scale in [1.0, 1e6, 1e-6] {
            let rows: Vec<f32> =
                (0..200 * 20).map(|_| scale * (matrix::normal(&mut random) as f32 + 2.0)).collect();
            for word in LvqConfig::EXAMPLES {
                let config = LvqConfig::parse(word).unwrap().unwrap();
                let codec = config.train(Rows::new(&rows, 20).unwrap(), &Training::seeded(0)).unwrap();
                let (out, codes) = through(&codec, &rows);
                for ((row, out), code) in
                    rows.chunks(20).zip(out.chunks(20)).zip(codes.chunks(codec.code_len()))
                {
                    let step = f16::from_le_bytes([code[2], code[3]]).to_f32() * codec.unit;
                    let last = config.second.map_or(step, |bits| step / steps(bits));
                    for (value, out) in row.iter().zip(out) {
                        assert!((value - out).abs() <= 0.5 * last + 1e-6 * scale, "{word}: {value} is {out}");
                    }
                }
            }
        }
    }

    #[test]
    fn codes_have_the_promised_length() {
        let rows = [0.5; 21];
        let len = |word: &str| {
            let config = LvqConfig::parse(word).unwrap().unwrap();
            config.train(Rows::new(&rows, 21).unwrap(), &Training::seeded(0)).unwrap().code_len()
        };
        assert_eq!([len("LVQ8"), len("LVQ4"), len("LVQ4x8")], [25, 15, 36]);
        assert!(LvqConfig::parse("LVQ5").unwrap().is_err() && LvqConfig::parse("LVQ4x").unwrap().is_err());
    }

    #[test]
    fn rounding_goes_outwards() {
        for value in [0.1f32, -0.1, 1.0, 1e-9, -1e-9, 7e4, -7e4, 0.0] {
            let (low, high) = (below(value).to_f32(), above(value).to_f32());
            assert!(low <= value || value < -65504.0, "{value}: {low}");
            assert!(high >= value || value > 65504.0, "{value}: {high}");
            assert!(low.is_finite() && high.is_finite());
        }
    }
}
