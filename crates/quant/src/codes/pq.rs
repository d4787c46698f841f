//! Product quantization: `m` parts of a vector, each named by one of `2^b` centroids.
//!
//! `table[p][j]` is what centroid `j` of part `p` adds to the distance; the distance to a code is the sum of
//! its `m` entries, and equals that to the decoded vector. Takes `ceil(m b / 8)` bytes a vector, numbers one
//! after another from the low bits up; a table has `m 2^b` floats.
//!
//! With `_SDC` the query is coded as well and entries are distances between centroids, kept for all pairs:
//! `m 2^(2b)` floats that spare computing the table, at a loss of accuracy.
//!
//! Scans are exact (see [`kernels::byte_scan`]). They read four bits two parts a byte, five to eight a byte a
//! part, and more two bytes a part: in memory, packed codes of `b` other than 4 and 8 take `m` or `2 m` bytes,
//! those in files stay as they are. Parts wider than a byte are renumbered for that, so that centroids which
//! share eight bits are near each other.
//! Source: Jégou, Douze and Schmid, TPAMI 2011, equations 12 (`_SDC`) and 13.

use crate::codebook::Codebook;
use crate::spec::{number, setting};
use crate::tables::{BYTE, ByteScanner, ByteScorer, pairs};
use crate::{
    Array, Arrays, Codec, Config, ParseSpecError, RestoreError, Scanner, Scorer, TrainError, Training,
};
use data::{Metric, Rows};
use kernels::byte_scan;
use std::fmt;

/// Parts at most: as many as the longest vectors have values.
const MAX_PARTS: usize = 1 << 16;
/// Floats of all distances between centroids at most: a quarter of a gibibyte.
const MAX_PAIRS: usize = 1 << 26;

/// `PQm`, `PQmxb` or `PQmxb_SDC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PqConfig {
    /// Parts.
    pub parts: usize,
    /// Bits a part.
    pub bits: u32,
    /// Whether queries are coded too.
    pub symmetric: bool,
}

/// A trained product code.
#[derive(Clone, Debug)]
pub struct Pq {
    codebook: Codebook,
    bits: u32,
    /// Where packed codes have the centroids of parts wider than a byte, `parts x 2^b`: those that share their
    /// upper eight bits are near each other.
    places: Option<Vec<u16>>,
    /// `parts x 2^b x 2^b` squared distances between centroids.
    between: Option<Vec<f32>>,
}

impl fmt::Display for PqConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PQ{}", self.parts)?;
        if self.bits != 8 || self.symmetric {
            write!(f, "x{}", self.bits)?;
        }
        f.write_str(if self.symmetric { "_SDC" } else { "" })
    }
}

/// `m` and `b` of `m`, or of `mxb`.
pub(crate) fn parts_and_bits(text: &str) -> Option<(usize, u32)> {
    let (parts, bits) = text.split_once('x').unwrap_or((text, "8"));
    let parts = number(parts).filter(|parts| (1..=MAX_PARTS).contains(parts))?;
    Some((parts, u32::try_from(number(bits)?).ok()?))
}

impl Config for PqConfig {
    type Codec = Pq;

    const EXAMPLES: &'static [&'static str] = &["PQ8", "PQ16x4", "PQ8x6", "PQ4x10", "PQ8x8_SDC"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let rest = word.strip_prefix("PQ")?;
        if rest.contains("fs") || rest.contains("ht") {
            return None;
        }
        let (settings, symmetric) = rest.strip_suffix("_SDC").map_or((rest, false), |rest| (rest, true));
        let Some((parts, bits)) = parts_and_bits(settings).filter(|(_, bits)| (4..=12).contains(bits)) else {
            return Some(Err(setting(word, "write PQ, parts, x and 4 to 12 bits a part, as in PQ16x8")));
        };
        if symmetric && parts << (2 * bits) > MAX_PAIRS {
            let why = "the distances between all centroids take more than 256 MiB; take fewer bits";
            return Some(Err(setting(word, why)));
        }
        Some(Ok(Self { parts, bits, symmetric }))
    }

    fn train(&self, rows: Rows<'_, f32>, training: &Training<'_>) -> Result<Pq, TrainError> {
        let codebook = Codebook::train(rows, self.parts, 1 << self.bits, self, training)?;
        Ok(Pq::new(codebook, self.bits, self.symmetric))
    }

    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Pq, RestoreError> {
        let codebook = Codebook::restore(arrays, dim, self.parts, 1 << self.bits)?;
        Ok(Pq::new(codebook, self.bits, self.symmetric))
    }
}

impl Pq {
    pub(crate) fn new(codebook: Codebook, bits: u32, symmetric: bool) -> Self {
        let between = symmetric.then(|| between(&codebook));
        let places = (bits > 8).then(|| {
            let parts = codebook.centroids.chunks_exact(codebook.count * codebook.sub);
            parts.flat_map(|centroids| places(centroids, codebook.sub)).collect()
        });
        Self { codebook, bits, places, between }
    }

    /// The entries of a query, `parts x 2^b`.
    fn table(&self, query: &[f32], metric: Metric) -> Vec<f32> {
        let Some(between) = &self.between else { return self.codebook.table(query, metric) };
        let mut numbers = vec![0; self.codebook.parts];
        self.codebook.assign(Rows::new(query, self.dim()).expect("a query is a row"), &mut numbers);
        let count = self.codebook.count;
        match metric {
            Metric::L2 => numbers
                .iter()
                .enumerate()
                .flat_map(|(part, &j)| &between[(part * count + usize::from(j)) * count..][..count])
                .copied()
                .collect(),
            Metric::Dot => {
                let mut coded = vec![0.0; self.dim()];
                self.codebook.decode(numbers.iter().map(|&j| usize::from(j)), &mut coded);
                self.codebook.table(&coded, metric)
            }
        }
    }

    /// The table of a query for packed codes: by their bytes, or by the places of centroids.
    fn packed_table(&self, query: &[f32], metric: Metric) -> Vec<f32> {
        let table = self.table(query, metric);
        if let Some(places) = &self.places {
            let mut moved = vec![0.0; table.len()];
            let count = self.codebook.count;
            let parts = table.chunks_exact(count).zip(places.chunks_exact(count));
            for ((entries, places), moved) in parts.zip(moved.chunks_exact_mut(count)) {
                entries.iter().zip(places).for_each(|(&entry, &place)| moved[usize::from(place)] = entry);
            }
            return moved;
        }
        match self.bits {
            8 => table,
            4 => pairs(&table),
            _ => spread(&table, self.codebook.count),
        }
    }

    /// The scanner of packed codes.
    pub(crate) fn byte_scanner(&self, queries: Rows<'_, f32>, metric: Metric, k: usize) -> ByteScanner {
        let tables = queries.iter().map(|query| self.packed_table(query, metric));
        let scanner = ByteScanner::new(tables.map(|table| ByteScorer { table, bias: 0.0 }).collect(), k);
        if self.bits > 8 { scanner.wide(self.bits - 8) } else { scanner }
    }
}

/// A place for each of `centroids`, a power of two of them: halving them again and again, each time at the median
/// of the value that varies most, leaves near ones side by side.
fn places(centroids: &[f32], sub: usize) -> Vec<u16> {
    let mut order: Vec<u16> = (0..=((centroids.len() / sub - 1) as u16)).collect();
    let value = |j: u16, i: usize| centroids[usize::from(j) * sub + i];
    let mut len = order.len();
    while len > 1 {
        for half in order.chunks_exact_mut(len) {
            let variance = |i: usize| {
                let mean = half.iter().map(|&j| f64::from(value(j, i))).sum::<f64>() / len as f64;
                half.iter().map(|&j| (f64::from(value(j, i)) - mean).powi(2)).sum::<f64>()
            };
            let widest =
                (0..sub).max_by(|&a, &b| variance(a).total_cmp(&variance(b)).then(b.cmp(&a))).unwrap_or(0);
            half.sort_unstable_by(|&a, &b| value(a, widest).total_cmp(&value(b, widest)).then(a.cmp(&b)));
        }
        len /= 2;
    }
    let mut places = vec![0; order.len()];
    (0..).zip(order).for_each(|(place, j)| places[usize::from(j)] = place);
    places
}

/// The byte table of parts with `count` entries. Bytes that stand for none have the part's first, so that
/// they are no smaller and no larger than the others.
fn spread(table: &[f32], count: usize) -> Vec<f32> {
    let part = |entries: &[f32]| -> Vec<f32> {
        (0..BYTE).map(|byte| entries.get(byte).copied().unwrap_or(entries[0])).collect()
    };
    table.chunks_exact(count).flat_map(part).collect()
}

/// Squared distances between the centroids of each part, `parts x count x count`.
fn between(codebook: &Codebook) -> Vec<f32> {
    let (count, sub) = (codebook.count, codebook.sub);
    let mut out = vec![0.0; codebook.parts * count * count];
    for (centroids, out) in
        codebook.centroids.chunks_exact(count * sub).zip(out.chunks_exact_mut(count * count))
    {
        kernels::l2_tile(centroids, centroids, sub, out);
    }
    out
}

/// Writes `numbers` of `bits` each to `code`, from the low bits up.
pub(crate) fn write_bits(numbers: &[u16], bits: u32, code: &mut [u8]) {
    let (mut held, mut filled) = (0u32, 0);
    let mut bytes = code.iter_mut();
    for &number in numbers {
        held |= u32::from(number) << filled;
        filled += bits;
        while filled >= 8 {
            if let Some(byte) = bytes.next() {
                *byte = held as u8;
            }
            held >>= 8;
            filled -= 8;
        }
    }
    if let Some(byte) = bytes.next() {
        *byte = held as u8;
    }
}

/// The numbers of `bits` each in `code`.
pub(crate) fn read_bits(code: &[u8], bits: u32) -> impl Iterator<Item = usize> {
    let (mut held, mut filled) = (0u32, 0);
    let mut bytes = code.iter();
    std::iter::from_fn(move || {
        while filled < bits {
            held |= u32::from(*bytes.next()?) << filled;
            filled += 8;
        }
        let number = held & ((1 << bits) - 1);
        held >>= bits;
        filled -= bits;
        Some(number as usize)
    })
}

impl Codec for Pq {
    fn dim(&self) -> usize {
        self.codebook.dim()
    }

    fn code_len(&self) -> usize {
        (self.codebook.parts * self.bits as usize).div_ceil(8)
    }

    fn encode(&self, rows: Rows<'_, f32>, codes: &mut [u8]) {
        let parts = self.codebook.parts;
        let mut numbers = vec![0; rows.len() * parts];
        self.codebook.assign(rows, &mut numbers);
        for (numbers, code) in numbers.chunks_exact(parts).zip(codes.chunks_exact_mut(self.code_len())) {
            write_bits(numbers, self.bits, code);
        }
    }

    fn decode(&self, codes: &[u8], rows: &mut [f32]) {
        for (code, row) in codes.chunks_exact(self.code_len()).zip(rows.chunks_exact_mut(self.dim())) {
            self.codebook.decode(read_bits(code, self.bits), row);
        }
    }

    fn scorer<'a>(&'a self, query: &[f32], metric: Metric) -> Box<dyn Scorer + 'a> {
        if matches!(self.bits, 4 | 8) {
            return Box::new(ByteScorer { table: self.packed_table(query, metric), bias: 0.0 });
        }
        let table = self.table(query, metric);
        Box::new(BitScorer { table, bits: self.bits, code_len: self.code_len() })
    }

    fn pack(&self, codes: Vec<u8>) -> Vec<u8> {
        if matches!(self.bits, 4 | 8) {
            return byte_scan::pack(&codes, self.code_len());
        }
        let (parts, count) = (self.codebook.parts, self.codebook.count);
        let numbers =
            codes.chunks_exact(self.code_len()).flat_map(|code| read_bits(code, self.bits).take(parts));
        match &self.places {
            None => byte_scan::pack(&numbers.map(|number| number as u8).collect::<Vec<u8>>(), parts),
            Some(places) => {
                let starts = (0..places.len()).step_by(count).cycle();
                let numbers: Vec<u16> =
                    numbers.zip(starts).map(|(number, start)| places[start + number]).collect();
                byte_scan::pack_wide(&numbers, parts, self.bits - 8)
            }
        }
    }

    fn packed_len(&self, rows: usize) -> usize {
        match self.bits {
            4 | 8 => byte_scan::packed_len(rows, self.code_len()),
            _ if self.places.is_some() => 2 * byte_scan::packed_len(rows, self.codebook.parts),
            _ => byte_scan::packed_len(rows, self.codebook.parts),
        }
    }

    fn scanner<'a>(&'a self, queries: Rows<'_, f32>, metric: Metric, k: usize) -> Box<dyn Scanner + 'a> {
        Box::new(self.byte_scanner(queries, metric, k))
    }

    fn arrays(&self) -> Vec<Array> {
        vec![self.codebook.array()]
    }
}

/// Sums of entries whose numbers straddle bytes.
struct BitScorer {
    /// `parts x 2^b`.
    table: Vec<f32>,
    bits: u32,
    code_len: usize,
}

impl BitScorer {
    /// The number of the part that starts `bit` bits into a code; none where four bytes are not left.
    #[inline(always)]
    fn number(&self, codes: &[u8], bit: usize) -> Option<usize> {
        let word = codes.get(bit / 8..)?.first_chunk::<4>()?;
        Some((u32::from_le_bytes(*word) >> (bit % 8)) as usize & ((1 << self.bits) - 1))
    }

    /// The sums of `N` codes from the first of `codes` on, beside each other, which hides the time a look-up
    /// takes.
    #[inline(always)]
    fn sums<const N: usize>(&self, codes: &[u8]) -> Option<[f32; N]> {
        let mut sums = [0.0; N];
        for (part, entries) in self.table.chunks_exact(1 << self.bits).enumerate() {
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum += entries[self.number(codes, 8 * row * self.code_len + part * self.bits as usize)?];
            }
        }
        Some(sums)
    }
}

impl Scorer for BitScorer {
    fn score(&mut self, codes: &[u8], distances: &mut [f32]) {
        const TOGETHER: usize = 4;
        for (group, distances) in distances.chunks_mut(TOGETHER).enumerate() {
            let codes = &codes[group * TOGETHER * self.code_len..];
            if let (TOGETHER, Some(sums)) = (distances.len(), self.sums::<TOGETHER>(codes)) {
                distances.copy_from_slice(&sums);
                continue;
            }
            // The end, where four bytes cannot be read at once.
            for (code, distance) in codes.chunks_exact(self.code_len).zip(distances) {
                let entries = self.table.chunks_exact(1 << self.bits).zip(read_bits(code, self.bits));
                *distance = entries.fold(0.0, |sum, (entries, number)| sum + entries[number]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::SplitMix64;
    use proptest::prelude::*;

    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::new(seed);
        (0..n).map(|_| random.unit() as f32).collect()
    }

    fn trained(word: &str, rows: &[f32], dim: usize) -> Pq {
        let config = PqConfig::parse(word).unwrap().unwrap();
        config.train(Rows::new(rows, dim).unwrap(), &Training::seeded(1)).unwrap()
    }

    #[test]
    fn distances_are_those_to_the_decoded_vector() {
        let rows = noise(1200 * 12, 1);
        for word in ["PQ4", "PQ3x4", "PQ6x4", "PQ4x5", "PQ2x10"] {
            let pq = trained(word, &rows, 12);
            let mut codes = vec![0; 100 * pq.code_len()];
            pq.encode(Rows::new(&rows[..1200], 12).unwrap(), &mut codes);
            let mut decoded = vec![0.0; 1200];
            pq.decode(&codes, &mut decoded);
            let query = noise(12, 9);
            let mut distances = vec![0.0; 100];
            for metric in [Metric::L2, Metric::Dot] {
                pq.scorer(&query, metric).score(&codes, &mut distances);
                for (row, distance) in decoded.chunks(12).zip(&distances) {
                    let want = match metric {
                        Metric::L2 => kernels::l2(&query, row),
                        Metric::Dot => -kernels::dot(&query, row),
                    };
                    assert!((want - distance).abs() < 1e-4, "{word} {metric}: {distance}, not {want}");
                }
            }
        }
    }

    #[test]
    fn symmetric_distances_are_those_between_decoded_vectors() {
        let rows = noise(300 * 8, 2);
        let pq = trained("PQ2x5_SDC", &rows, 8);
        let view = Rows::new(&rows[..40], 8).unwrap();
        let mut codes = vec![0; 5 * pq.code_len()];
        pq.encode(view, &mut codes);
        let mut decoded = vec![0.0; 40];
        pq.decode(&codes, &mut decoded);
        let mut distances = [0.0; 5];
        for (a, query) in view.iter().enumerate() {
            pq.scorer(query, Metric::L2).score(&codes, &mut distances);
            for b in 0..5 {
                let want = kernels::l2(&decoded[a * 8..][..8], &decoded[b * 8..][..8]);
                assert!((want - distances[b]).abs() < 1e-5);
            }
            assert_eq!(distances[a], 0.0);
        }
        let between = pq.between.unwrap();
        assert!((0..32).all(|i| between[i * 33] == 0.0));
        assert!((0..32).all(|i| (0..32).all(|j| between[i * 32 + j] == between[j * 32 + i])));
    }

    #[test]
    fn errors_name_the_way_out() {
        let rows = noise(255 * 6, 3);
        let train = |word: &str| {
            let config = PqConfig::parse(word).unwrap().unwrap();
            config.train(Rows::new(&rows, 6).unwrap(), &Training::seeded(1)).unwrap_err().to_string()
        };
        assert_eq!(train("PQ3"), "PQ3: needs at least 256 training vectors, got 255");
        assert_eq!(
            train("PQ4x4"),
            "PQ4x4: 6 dimensions do not split into 4 equal parts; pad them, or take another number"
        );
        for word in ["PQ", "PQ0", "PQ8x3", "PQ8x13", "PQ8x12_SDC", "PQ8x"] {
            assert!(PqConfig::parse(word).unwrap().is_err(), "{word}");
        }
        assert!(PqConfig::parse("PQ8x4fs").is_none());
    }

    proptest! {
        #[test]
        fn bits_come_back(numbers in prop::collection::vec(0u16..4096, 1..20), bits in 4u32..=12) {
            let numbers: Vec<u16> = numbers.into_iter().map(|number| number & ((1 << bits) - 1)).collect();
            let mut code = vec![0xaa; (numbers.len() * bits as usize).div_ceil(8)];
            write_bits(&numbers, bits, &mut code);
            let back: Vec<u16> = read_bits(&code, bits).take(numbers.len()).map(|n| n as u16).collect();
            prop_assert_eq!(back, numbers);
        }
    }
}
