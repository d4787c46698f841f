//! One bit a value: its sign.
//!
//! `ceil(dim / 8)` bytes a vector, from the low bits up; a bit is set where the value is positive. Meant to
//! follow `ITQn`, `RRn` or `PCARn`, whose values are centred.
//!
//! The distance is an estimator and not that to the decoded vector: the number of bits in which the signs
//! of the query differ, for both metrics. Decoding gives each bit the mean of the training values of its
//! sign.
//! Source: Charikar, STOC 2002 (the share of differing signs estimates the angle).

use crate::spec::setting;
use crate::tables::half_words;
use crate::training::check_rows;
use crate::{
    Array, Arrays, Codec, Config, ParseSpecError, RestoreError, Scanner, Scorer, Slab, TrainError, Training,
};
use data::{Metric, Rows};
use kernels::{CountingTopK, Isa, TopK, hamming};
use std::fmt;

/// Rows numbered from zero at once: row numbers of the kernels have 32 bits.
const ROWS: usize = 1 << 30;

/// `Bits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignConfig;

/// The signs of the values.
#[derive(Clone, Debug)]
pub struct Sign {
    /// What a bit that is not set decodes to, a dimension, then what a set one does.
    means: [Vec<f32>; 2],
}

impl fmt::Display for SignConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bits")
    }
}

impl Config for SignConfig {
    type Codec = Sign;

    const EXAMPLES: &'static [&'static str] = &["Bits"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let rest = word.strip_prefix("Bits")?;
        let why = "Bits takes no settings; ITQ64,Bits makes 64 of them";
        Some(if rest.is_empty() { Ok(Self) } else { Err(setting(word, why)) })
    }

    fn train(&self, rows: Rows<'_, f32>, _: &Training<'_>) -> Result<Sign, TrainError> {
        check_rows(self, rows, 1)?;
        let mut sums = vec![[(0f64, 0u32); 2]; rows.dim()];
        for row in rows.iter() {
            for (sums, &value) in sums.iter_mut().zip(row) {
                let (sum, count) = &mut sums[usize::from(value > 0.0)];
                *sum += f64::from(value);
                *count += 1;
            }
        }
        let mean = |side: usize| {
            sums.iter().map(|sums| (sums[side].0 / f64::from(sums[side].1.max(1))) as f32).collect()
        };
        Ok(Sign { means: [mean(0), mean(1)] })
    }

    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Sign, RestoreError> {
        Ok(Sign { means: [arrays.f32("below", &[dim])?, arrays.f32("above", &[dim])?] })
    }
}

/// Writes the signs of `row` to `code`; bits behind the last value are zeros.
fn pack_signs(row: &[f32], code: &mut [u8]) {
    for (values, byte) in row.chunks(8).zip(code) {
        *byte = values.iter().rev().fold(0, |bits, &value| bits << 1 | u8::from(value > 0.0));
    }
}

impl Codec for Sign {
    fn dim(&self) -> usize {
        self.means[0].len()
    }

    fn code_len(&self) -> usize {
        self.dim().div_ceil(8)
    }

    fn encode(&self, rows: Rows<'_, f32>, codes: &mut [u8]) {
        for (row, code) in rows.iter().zip(codes.chunks_exact_mut(self.code_len())) {
            pack_signs(row, code);
        }
    }

    fn decode(&self, codes: &[u8], rows: &mut [f32]) {
        for (code, row) in codes.chunks_exact(self.code_len()).zip(rows.chunks_exact_mut(self.dim())) {
            for (j, value) in row.iter_mut().enumerate() {
                *value = self.means[usize::from(code[j / 8] >> (j % 8) & 1)][j];
            }
        }
    }

    fn scorer<'a>(&'a self, query: &[f32], _: Metric) -> Box<dyn Scorer + 'a> {
        let mut code = vec![0; self.code_len()];
        pack_signs(query, &mut code);
        Box::new(HammingScorer { code })
    }

    fn queries_a_pass(&self) -> usize {
        256
    }

    fn scanner<'a>(&'a self, queries: Rows<'_, f32>, _: Metric, k: usize) -> Box<dyn Scanner + 'a> {
        let code = |query: &[f32]| {
            let mut code = vec![0; self.code_len()];
            pack_signs(query, &mut code);
            code
        };
        let codes: Vec<_> = queries.iter().map(code).collect();
        Box::new(HammingScanner { k, tops: vec![TopK::new(k); codes.len()], codes })
    }

    fn arrays(&self) -> Vec<Array> {
        let array = |name, values: &Vec<f32>| Array::f32(name, &[values.len()], values.clone());
        vec![array("below", &self.means[0]), array("above", &self.means[1])]
    }
}

struct HammingScorer {
    code: Vec<u8>,
}

impl Scorer for HammingScorer {
    fn score(&mut self, codes: &[u8], distances: &mut [f32]) {
        /// Codes counted at once.
        const BLOCK: usize = 256;
        let isa = Isa::current();
        let mut counts = [0; BLOCK];
        for (codes, distances) in codes.chunks(BLOCK * self.code.len()).zip(distances.chunks_mut(BLOCK)) {
            let counts = &mut counts[..distances.len()];
            isa.hammings(&self.code, codes, counts);
            distances.iter_mut().zip(counts).for_each(|(distance, count)| *distance = *count as f32);
        }
    }
}

/// The nearest by differing bits.
struct HammingScanner {
    k: usize,
    codes: Vec<Vec<u8>>,
    tops: Vec<TopK>,
}

impl Scanner for HammingScanner {
    fn scan(&mut self, slab: &Slab<'_>, which: &[u32]) {
        let Some(bytes) = self.codes.first().map(Vec::len) else { return };
        let isa = Isa::current();
        let live = slab.live.map(half_words);
        for (start, rows) in (0..).step_by(ROWS).zip(slab.packed[..slab.len * bytes].chunks(ROWS * bytes)) {
            let mut found = vec![CountingTopK::new(self.k, 8 * bytes as u32); which.len()];
            let queries = which.iter().zip(&mut found);
            let mut queries: Vec<_> = queries
                .map(|(&query, found)| hamming::Query { code: &self.codes[query as usize], found })
                .collect();
            let live = live.as_deref().map(|live| &live[start / 32..]);
            isa.hamming_scan(rows, bytes, 0, live, &mut queries);
            for (found, &query) in found.into_iter().zip(which) {
                let top = &mut self.tops[query as usize];
                for (count, row) in found.into_sorted() {
                    top.push(count as f32, slab.first + start as u64 + u64::from(row));
                }
            }
        }
    }

    fn finish(self: Box<Self>) -> Vec<Vec<(f32, u64)>> {
        self.tops.into_iter().map(TopK::into_sorted).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_their_distances_by_hand() {
        let rows = [-1.0, 2.0, 0.0, 4.0, -3.0, 6.0, 1.0, -4.0, 9.0, -9.0];
        let view = Rows::new(&rows, 10).unwrap();
        let codec = SignConfig.train(view, &Training::seeded(0)).unwrap();
        let mut code = [0; 2];
        codec.encode(view, &mut code);
        assert_eq!(code, [0b0110_1010, 0b01]);
        let mut out = [0.0; 10];
        codec.decode(&code, &mut out);
        assert_eq!(out, rows);
        let mut distance = [0.0];
        let query = [1.0, 1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0, -1.0, -1.0];
        codec.scorer(&query, Metric::Dot).score(&code, &mut distance);
        assert_eq!(distance, [4.0]); // values 0, 2, 7 and 8
    }
}
