//! Sixteen bits a value: `F16` (11 significant bits, up to 65,504) or `BF16` (8 bits, the range of `f32`).
//!
//! `2 dim` bytes a vector, little-endian, rounded to the nearest even; distances are those to the rounded
//! vectors. Values beyond the range of `F16` become its largest.

use crate::spec::setting;
use crate::training::check_rows;
use crate::{
    Array, Arrays, ByDecoding, Codec, Config, ParseSpecError, RestoreError, Scanner, Scorer, TrainError,
    Training,
};
use data::{Metric, Rows};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use kernels::Isa;
use std::fmt;

/// Values converted at once.
const CHUNK: usize = 64;

/// `F16` or `BF16`; `SQfp16` and `SQbf16` are read too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfConfig {
    /// IEEE half precision.
    F16,
    /// The upper half of an `f32`.
    Bf16,
}

/// Vectors of sixteen-bit floats.
#[derive(Clone, Debug)]
pub struct Half {
    dim: usize,
    kind: HalfConfig,
}

impl fmt::Display for HalfConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        })
    }
}

impl Config for HalfConfig {
    type Codec = Half;

    const EXAMPLES: &'static [&'static str] = &["F16", "BF16"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        match word {
            "F16" | "SQfp16" => Some(Ok(Self::F16)),
            "BF16" | "SQbf16" => Some(Ok(Self::Bf16)),
            _ if word.starts_with("F16") || word.starts_with("BF16") => {
                Some(Err(setting(word, "F16 and BF16 take no settings")))
            }
            _ => None,
        }
    }

    fn train(&self, rows: Rows<'_, f32>, _: &Training<'_>) -> Result<Half, TrainError> {
        check_rows(self, rows, 1)?;
        Ok(Half { dim: rows.dim(), kind: *self })
    }

    fn restore(&self, dim: usize, _: &mut Arrays) -> Result<Half, RestoreError> {
        Ok(Half { dim, kind: *self })
    }
}

impl Codec for Half {
    fn dim(&self) -> usize {
        self.dim
    }

    fn code_len(&self) -> usize {
        2 * self.dim
    }

    fn encode(&self, rows: Rows<'_, f32>, codes: &mut [u8]) {
        for (&value, code) in rows.as_slice().iter().zip(codes.as_chunks_mut().0) {
            *code = match self.kind {
                HalfConfig::F16 => {
                    let most = f32::from(f16::MAX);
                    f16::from_f32(value.clamp(-most, most)).to_le_bytes()
                }
                HalfConfig::Bf16 => {
                    let most = f32::from(bf16::MAX);
                    bf16::from_f32(value.clamp(-most, most)).to_le_bytes()
                }
            };
        }
    }

    fn decode(&self, codes: &[u8], rows: &mut [f32]) {
        for (codes, rows) in codes.as_chunks().0.chunks(CHUNK).zip(rows.chunks_mut(CHUNK)) {
            match self.kind {
                HalfConfig::F16 => {
                    let mut values = [f16::ZERO; CHUNK];
                    values.iter_mut().zip(codes).for_each(|(value, code)| *value = f16::from_le_bytes(*code));
                    values[..rows.len()].convert_to_f32_slice(rows);
                }
                HalfConfig::Bf16 => {
                    for (value, &code) in rows.iter_mut().zip(codes) {
                        *value = f32::from_bits(u32::from(u16::from_le_bytes(code)) << 16);
                    }
                }
            }
        }
    }

    fn scorer<'a>(&'a self, query: &[f32], metric: Metric) -> Box<dyn Scorer + 'a> {
        match self.kind {
            HalfConfig::F16 => Box::new(HalfScorer {
                query: query.to_vec(),
                metric,
                rows: Vec::new(),
                read: f16::from_le_bytes,
            }),
            HalfConfig::Bf16 => Box::new(HalfScorer {
                query: query.to_vec(),
                metric,
                rows: Vec::new(),
                read: bf16::from_le_bytes,
            }),
        }
    }

    fn scanner<'a>(&'a self, queries: Rows<'_, f32>, metric: Metric, k: usize) -> Box<dyn Scanner + 'a> {
        Box::new(ByDecoding::new(self, queries, metric, k))
    }

    fn arrays(&self) -> Vec<Array> {
        Vec::new()
    }
}

/// Distances by sixteen-bit floats in registers, to the bit those to the decoded vectors.
struct HalfScorer<H, F> {
    query: Vec<f32>,
    metric: Metric,
    /// Codes may lie at odd addresses: they are copied here.
    rows: Vec<H>,
    read: F,
}

impl<H: kernels::halves::Half, F: Fn([u8; 2]) -> H> Scorer for HalfScorer<H, F> {
    fn score(&mut self, codes: &[u8], distances: &mut [f32]) {
        let isa = Isa::current();
        self.rows.clear();
        self.rows.extend(codes.as_chunks().0.iter().map(|&code| (self.read)(code)));
        match self.metric {
            Metric::L2 => isa.l2s_half(&self.query, &self.rows, distances),
            Metric::Dot => {
                isa.dots_half(&self.query, &self.rows, distances);
                distances.iter_mut().for_each(|distance| *distance = -*distance);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(kind: HalfConfig, values: &[f32]) -> Vec<f32> {
        let half = Half { dim: values.len(), kind };
        let mut codes = vec![0; half.code_len()];
        half.encode(Rows::new(values, values.len()).unwrap(), &mut codes);
        let mut out = vec![0.0; values.len()];
        half.decode(&codes, &mut out);
        out
    }

    #[test]
    fn values_round_to_the_nearest_even() {
        // 1 + 2^-11 lies between 1 and 1 + 2^-10, 1 + 2^-8 between 1 and 1 + 2^-7.
        assert_eq!(
            through(HalfConfig::F16, &[1.0, -0.5, 1.0 + 0.5f32.powi(11), 1e9]),
            [1.0, -0.5, 1.0, 65504.0]
        );
        assert_eq!(
            through(HalfConfig::Bf16, &[1.0 + 0.5f32.powi(8), 3.0 * 0.5f32.powi(8) + 1.0]),
            [1.0, 1.015_625]
        );
        assert!(through(HalfConfig::Bf16, &[f32::MAX])[0].is_finite());
        let many: Vec<f32> = (0..150).map(|i| i as f32).collect();
        assert_eq!(through(HalfConfig::F16, &many), many);
        assert_eq!(through(HalfConfig::Bf16, &many), many);
    }

    #[test]
    fn names_of_others_are_read() {
        assert_eq!(HalfConfig::parse("SQfp16").unwrap().unwrap().to_string(), "F16");
        assert_eq!(HalfConfig::parse("SQbf16").unwrap().unwrap().to_string(), "BF16");
        assert!(HalfConfig::parse("F161").unwrap().is_err());
    }
}
