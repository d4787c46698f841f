//! Product quantization by four bits a part, scanned with tables in registers.
//!
//! As [`Pq`](super::Pq) with 16 centroids a part; `ceil(m / 2)` bytes a vector, and the scan packs 32 vectors
//! to a block of a multiple of four parts. The scorer's distance is exact. The scanner rounds the entries of
//! a query to bytes, `floor(a (t - least_p) + 1/2)` with one scale `a` for all parts, so that its distances
//! are off by `m / (2 a)` at most and near neighbours may swap: score what it finds again.
//! Sources: André, Kermarrec and Le Scouarnec, VLDB 2015 and ICMR 2017.

use super::pq::{parts_and_bits, read_bits, write_bits};
use crate::codebook::Codebook;
use crate::spec::setting;
use crate::tables::{ByteScorer, NibbleScanner, Rounded, pairs};
use crate::{
    Array, Arrays, Codec, Config, ParseSpecError, RestoreError, Scanner, Scorer, TrainError, Training,
};
use data::{Metric, Rows};
use kernels::fast_scan;
use std::fmt;

/// Bits a part, and centroids.
const BITS: u32 = 4;
pub(crate) const COUNT: usize = 16;
/// Parts whose bytes still have eight steps in a sum of sixteen bits.
const MAX_PARTS: usize = 1 << 13;

/// `PQmx4fs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PqFastScanConfig {
    /// Parts.
    pub parts: usize,
}

/// A trained product code of four bits a part.
#[derive(Clone, Debug)]
pub struct PqFastScan {
    codebook: Codebook,
}

impl fmt::Display for PqFastScanConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PQ{}x4fs", self.parts)
    }
}

impl Config for PqFastScanConfig {
    type Codec = PqFastScan;

    const EXAMPLES: &'static [&'static str] = &["PQ16x4fs", "PQ32x4fs"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let rest = word.strip_prefix("PQ").filter(|rest| rest.contains("fs"))?;
        let settings = rest.strip_suffix("fs").and_then(parts_and_bits);
        Some(match settings {
            Some((parts, BITS)) if parts <= MAX_PARTS => Ok(Self { parts }),
            Some((_, BITS)) => {
                Err(setting(word, format!("sums of more than {MAX_PARTS} parts leave few steps a part")))
            }
            _ => Err(setting(word, "write PQ, parts and x4fs, as in PQ16x4fs: the scan takes four bits")),
        })
    }

    fn train(&self, rows: Rows<'_, f32>, training: &Training<'_>) -> Result<PqFastScan, TrainError> {
        Ok(PqFastScan { codebook: Codebook::train(rows, self.parts, COUNT, self, training)? })
    }

    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<PqFastScan, RestoreError> {
        Ok(PqFastScan { codebook: Codebook::restore(arrays, dim, self.parts, COUNT)? })
    }
}

/// Writes `numbers`, `n x parts`, to row-major codes.
pub(crate) fn write_codes(numbers: &[u16], parts: usize, codes: &mut [u8]) {
    let codes = codes.chunks_exact_mut(fast_scan::code_len(parts));
    numbers.chunks_exact(parts).zip(codes).for_each(|(numbers, code)| write_bits(numbers, BITS, code));
}

/// Decodes row-major codes.
pub(crate) fn decode(codebook: &Codebook, codes: &[u8], rows: &mut [f32]) {
    let codes = codes.chunks_exact(fast_scan::code_len(codebook.parts));
    for (code, row) in codes.zip(rows.chunks_exact_mut(codebook.dim())) {
        codebook.decode(read_bits(code, BITS), row);
    }
}

/// The exact scorer of `query`.
pub(crate) fn scorer(codebook: &Codebook, query: &[f32], metric: Metric) -> ByteScorer {
    ByteScorer { table: pairs(&codebook.table(query, metric)), bias: 0.0 }
}

/// The scanner of codes packed by [`fast_scan::pack`].
pub(crate) fn scanner(
    codebook: &Codebook,
    queries: Rows<'_, f32>,
    metric: Metric,
    k: usize,
) -> NibbleScanner {
    let tables = queries.iter().map(|query| Rounded::new(&codebook.table(query, metric), 0.0)).collect();
    NibbleScanner::new(tables, codebook.parts, k)
}

impl Codec for PqFastScan {
    fn dim(&self) -> usize {
        self.codebook.dim()
    }

    fn code_len(&self) -> usize {
        fast_scan::code_len(self.codebook.parts)
    }

    fn encode(&self, rows: Rows<'_, f32>, codes: &mut [u8]) {
        let mut numbers = vec![0; rows.len() * self.codebook.parts];
        self.codebook.assign(rows, &mut numbers);
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
        vec![self.codebook.array()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slab;

    #[test]
    fn odd_parts_score_and_scan() {
        let mut random = kernels::SplitMix64::new(8);
        let rows: Vec<f32> = (0..400 * 15).map(|_| random.unit() as f32).collect();
        let rows = Rows::new(&rows, 15).unwrap();
        let codec = PqFastScanConfig { parts: 5 }.train(rows, &Training::seeded(1)).unwrap();
        let mut codes = vec![0; 400 * 3];
        codec.encode(rows, &mut codes);
        let mut decoded = vec![0.0; 400 * 15];
        codec.decode(&codes, &mut decoded);
        let mut distances = vec![0.0; 400];
        codec.scorer(rows.row(7), Metric::L2).score(&codes, &mut distances);
        for (row, distance) in decoded.chunks(15).zip(&distances) {
            assert!((kernels::l2(rows.row(7), row) - distance).abs() < 1e-4);
        }
        let packed = codec.pack(codes);
        let mut scanner = codec.scanner(rows.slice(7..8), Metric::L2, 3);
        scanner.scan(&Slab::new(&packed, 400, 100), &[0]);
        let (distance, id) = scanner.finish()[0][0];
        assert!((distance - distances[id as usize - 100]).abs() < 0.05);
    }

    #[test]
    fn other_widths_are_refused() {
        for word in ["PQ8fs", "PQ8x5fs", "PQx4fs", "PQ0x4fs"] {
            assert!(PqFastScanConfig::parse(word).unwrap().is_err(), "{word}");
        }
        assert!(PqFastScanConfig::parse("PQ8x4").is_none());
    }
}
