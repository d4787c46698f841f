//! Additive codes: a vector is the sum of one entry of each of `m` books.
//!
//! | word | how the books are learnt and vectors coded |
//! |---|---|
//! | `RQmxb` | residual quantization: book after book, by a beam ([`beam`]) |
//! | `AQmxb` | Additive Quantization: any book next, by a beam ([`joint`]) |
//! | `LSQmxb` | LSQ++: iterated local search ([`local_search`]) |
//! | `NOCQmxb` | Composite Quantization: as LSQ, and entries of different books have the same inner product in every code, so that no norm is stored ([`composite`]) |
//! | `PRQsxmxb`, `PLSQsxmxb` | `s` parts of the values, each with `m` books by RQ or LSQ |
//!
//! `|q - x^|^2 = |q|^2 - 2 sum_m <q, c_m> + |x^|^2`: a table of `m 2^b` inner products and the norm of the
//! decoded vector, which the code keeps as one of 256 levels (nothing is written for it), as one of 16
//! (`_Nqint4`), as a float (`_Nfloat`) or not at all (`_Nnone`, which ranks by inner product alone). Takes
//! `m b / 8` bytes and those of the norm. `_Bw` sets the width of the beam.

mod beam;
mod books;
mod composite;
mod joint;
mod local_search;
mod norms;

use crate::codes::pq::{read_bits, write_bits};
use crate::spec::{number, setting};
use crate::tables::{BYTE, ByteScanner, ByteScorer, NIBBLE, pairs};
use crate::training::check_rows;
use crate::{
    Array, Arrays, ByScore, Codec, Config, ParseSpecError, RestoreError, Scanner, Scorer, TrainError,
    Training, codebook, matrix,
};
use books::Books;
use data::{Metric, Rows};
use kernels::byte_scan;
pub use norms::Norm;
use norms::Norms;
use std::fmt;

/// Books at most.
const MAX_BOOKS: usize = 64;
/// Training rows at most, and as many an entry of a book.
const ROWS: usize = 1 << 16;

/// How books are learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `RQ`.
    Residual,
    /// `AQ`.
    Joint,
    /// `LSQ`.
    LocalSearch,
    /// `NOCQ`.
    Composite,
}

/// `RQ8x8`, `AQ8x8`, `LSQ8x8`, `NOCQ8x8`, `PRQ2x4x8`, `PLSQ2x4x8` and their settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdditiveConfig {
    /// How books are learnt.
    pub method: Method,
    /// Parts of the values that have books of their own.
    pub splits: usize,
    /// Books a part.
    pub books: usize,
    /// Bits that name an entry.
    pub bits: u32,
    /// Partial codes that a beam keeps.
    pub width: usize,
    /// What is kept of the decoded vector's length.
    pub norm: Norm,
}

/// The names, the longer before those that start them.
const NAMES: [(&str, Method, bool); 6] = [
    ("PLSQ", Method::LocalSearch, true),
    ("PRQ", Method::Residual, true),
    ("LSQ", Method::LocalSearch, false),
    ("NOCQ", Method::Composite, false),
    ("RQ", Method::Residual, false),
    ("AQ", Method::Joint, false),
];

impl Method {
    fn width(self) -> usize {
        match self {
            Self::Residual => 5,
            Self::Joint => 16,
            Self::LocalSearch | Self::Composite => 2,
        }
    }
}

impl fmt::Display for AdditiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named =
            NAMES.iter().find(|(_, method, split)| *method == self.method && *split == (self.splits > 1));
        let (name, ..) = named.expect("splits have names of their own");
        f.write_str(name)?;
        if self.splits > 1 {
            write!(f, "{}x", self.splits)?;
        }
        write!(f, "{}x{}", self.books, self.bits)?;
        if self.width != self.method.width() {
            write!(f, "_B{}", self.width)?;
        }
        if self.norm == self.default_norm() { Ok(()) } else { write!(f, "_{}", self.norm) }
    }
}

impl AdditiveConfig {
    fn default_norm(&self) -> Norm {
        if self.method == Method::Composite { Norm::None } else { Norm::Byte }
    }

    fn read(method: Method, split: bool, settings: &str) -> Option<Self> {
        let mut words = settings.split('_');
        let counts: Vec<usize> = words.next()?.split('x').map(number).collect::<Option<_>>()?;
        let (splits, books, bits) = match (split, counts.as_slice()) {
            (true, &[splits, books, bits]) if splits > 1 => (splits, books, bits),
            (false, &[books, bits]) => (1, books, bits),
            _ => return None,
        };
        let bits = u32::try_from(bits).ok().filter(|bits| (4..=8).contains(bits))?;
        let all = splits.checked_mul(books).filter(|all| (1..=MAX_BOOKS).contains(all));
        let mut config = Self { method, splits, books, bits, width: method.width(), norm: Norm::Byte };
        config.norm = config.default_norm();
        for word in words {
            match word.strip_prefix('B') {
                Some(width) => config.width = number(width).filter(|width| (1..=256).contains(width))?,
                None => config.norm = Norm::parse(word)?,
            }
        }
        let fits = method != Method::Composite || config.norm == Norm::None;
        (all.is_some() && fits).then_some(config)
    }
}

impl Config for AdditiveConfig {
    type Codec = Additive;

    const EXAMPLES: &'static [&'static str] = &[
        "RQ4x8",
        "RQ4x6_B2_Nfloat",
        "RQ5x4_Nqint4",
        "AQ3x5_B4",
        "LSQ4x5",
        "NOCQ4x5",
        "PRQ2x2x8_Nqint4",
        "PLSQ2x2x4",
    ];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let (settings, method, split) = NAMES
            .iter()
            .find_map(|&(name, method, split)| Some((word.strip_prefix(name)?, method, split)))?;
        let why = "write books, x and 4 to 8 bits (as in RQ8x8), before them the parts for PRQ and PLSQ (as in \
                   PRQ2x4x8), at most 64 books in all; then _B and a beam of 1 to 256, and _Nqint8, _Nqint4, \
                   _Nfloat or _Nnone (which alone suits NOCQ)";
        Some(Self::read(method, split, settings).ok_or_else(|| setting(word, why)))
    }

    fn train(&self, rows: Rows<'_, f32>, training: &Training<'_>) -> Result<Additive, TrainError> {
        let sub = codebook::split(rows.dim(), self.splits, self)?;
        let count = 1 << self.bits;
        check_rows(self, rows, count)?;
        let sample = matrix::sample(rows, ROWS.max(256 * count), training.seed);
        let mut groups = Vec::with_capacity(self.splits);
        for split in 0..self.splits {
            let columns = codebook::columns(&sample, rows.dim(), split * sub..(split + 1) * sub);
            let columns = Rows::new(&columns, sub).expect("columns are whole");
            let (books, count, width) = (self.books, count, self.width);
            groups.push(match self.method {
                Method::Residual => Group::plain(beam::train(columns, books, count, width, training)?),
                Method::Joint => Group::plain(joint::train(columns, books, count, width, training)?),
                Method::LocalSearch => {
                    Group::plain(local_search::train(columns, books, count, width, training)?)
                }
                Method::Composite => composite::train(columns, books, count, width, training)?,
            });
        }
        let mut additive = Additive::new(*self, groups, Norms::unused());
        let sample = Rows::new(&sample, rows.dim()).expect("rows are whole");
        additive.norms = Norms::train(self.norm, &additive.lengths(sample), training)?;
        Ok(additive)
    }

    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Additive, RestoreError> {
        if !dim.is_multiple_of(self.splits) {
            let why = format!("{dim} dimensions do not split into {} equal parts", self.splits);
            return Err(RestoreError::Value { name: "books".into(), why });
        }
        let (count, sub) = (1 << self.bits, dim / self.splits);
        let values = arrays.f32("books", &[self.splits, self.books, count, sub])?;
        let constants = match self.method {
            Method::Composite => arrays.f32("constants", &[self.splits, 2])?,
            _ => vec![0.0; 2 * self.splits],
        };
        let groups = values.chunks_exact(self.books * count * sub).zip(constants.as_chunks().0);
        let groups = groups.map(|(values, &[cross, weight])| Group {
            books: Books { dim: sub, books: self.books, count, values: values.to_vec() },
            cross,
            weight,
        });
        Ok(Additive::new(*self, groups.collect(), Norms::restore(self.norm, arrays)?))
    }
}

/// The books of a part of the values.
#[derive(Clone, Debug)]
struct Group {
    books: Books,
    /// What the inner products between the entries of a composite code add up to, both ways.
    cross: f32,
    /// What a squared deviation from that costs when vectors are encoded.
    weight: f32,
}

impl Group {
    fn plain(books: Books) -> Self {
        Self { books, cross: 0.0, weight: 0.0 }
    }
}

/// How the books of a part code.
#[derive(Clone, Debug)]
enum Encoder {
    Beam(beam::Beam),
    Joint(joint::Joint),
    LocalSearch(local_search::LocalSearch),
    Composite(composite::Composite),
}

impl Encoder {
    fn new(config: &AdditiveConfig, group: &Group) -> Self {
        let (books, width) = (&group.books, config.width);
        match config.method {
            Method::Residual => Self::Beam(beam::Beam::new(books, width)),
            Method::Joint => Self::Joint(joint::Joint::new(books, width)),
            Method::LocalSearch => {
                Self::LocalSearch(local_search::LocalSearch::new(books, width, local_search::TURNS))
            }
            Method::Composite => {
                Self::Composite(composite::Composite::new(books, width, group.cross, group.weight))
            }
        }
    }

    fn encode(&self, books: &Books, rows: Rows<'_, f32>, numbers: &mut [u16]) {
        match self {
            Self::Beam(beam) => beam.encode(books, rows, numbers),
            Self::Joint(joint) => joint.encode(books, rows, numbers),
            Self::LocalSearch(search) => search.encode(books, rows, numbers),
            Self::Composite(composite) => composite.encode(books, rows, numbers),
        }
    }
}

/// A trained additive code.
#[derive(Clone, Debug)]
pub struct Additive {
    config: AdditiveConfig,
    /// One a part.
    groups: Vec<Group>,
    encoders: Vec<Encoder>,
    norms: Norms,
}

impl Additive {
    fn new(config: AdditiveConfig, groups: Vec<Group>, norms: Norms) -> Self {
        let encoders = groups.iter().map(|group| Encoder::new(&config, group)).collect();
        Self { config, groups, encoders, norms }
    }

    /// Books of all parts.
    fn all_books(&self) -> usize {
        self.config.splits * self.config.books
    }

    /// The norm is one more number where it has as many bits as the others.
    fn norm_among_numbers(&self) -> bool {
        self.config.norm == Norm::Nibble && self.config.bits == 4
    }

    fn number_bytes(&self) -> usize {
        let numbers = self.all_books() + usize::from(self.norm_among_numbers());
        (numbers * self.config.bits as usize).div_ceil(8)
    }

    fn norm_bytes(&self) -> usize {
        match self.config.norm {
            Norm::None => 0,
            Norm::Nibble if self.norm_among_numbers() => 0,
            Norm::Byte | Norm::Nibble => 1,
            Norm::Float => 4,
        }
    }

    /// The numbers of `rows`, `n x books of all parts`.
    fn numbers(&self, rows: Rows<'_, f32>) -> Vec<u16> {
        let (own, all) = (self.config.books, self.all_books());
        let sub = rows.dim() / self.config.splits;
        let mut numbers = vec![0; rows.len() * all];
        let mut part = vec![0; rows.len() * own];
        for (i, (group, encoder)) in self.groups.iter().zip(&self.encoders).enumerate() {
            let columns = codebook::columns(rows.as_slice(), rows.dim(), i * sub..(i + 1) * sub);
            encoder.encode(&group.books, Rows::new(&columns, sub).expect("columns are whole"), &mut part);
            for (numbers, part) in numbers.chunks_exact_mut(all).zip(part.chunks_exact(own)) {
                numbers[i * own..][..own].copy_from_slice(part);
            }
        }
        numbers
    }

    /// Writes what `numbers` of all parts stand for.
    fn sum(&self, mut numbers: impl Iterator<Item = u16>, row: &mut [f32]) {
        let sub = row.len() / self.config.splits;
        for (group, row) in self.groups.iter().zip(row.chunks_exact_mut(sub)) {
            group.books.decode(numbers.by_ref().take(self.config.books), row);
        }
    }

    /// The squared lengths of the decoded rows.
    fn lengths(&self, rows: Rows<'_, f32>) -> Vec<f32> {
        use rayon::prelude::*;
        const CHUNK: usize = 512;
        let starts: Vec<usize> = (0..rows.len()).step_by(CHUNK).collect();
        starts
            .into_par_iter()
            .flat_map_iter(|start| {
                let numbers = self.numbers(rows.slice(start..(start + CHUNK).min(rows.len())));
                let mut row = vec![0.0; rows.dim()];
                let codes: Vec<f32> = numbers
                    .chunks_exact(self.all_books())
                    .map(|numbers| {
                        self.sum(numbers.iter().copied(), &mut row);
                        kernels::dot(&row, &row)
                    })
                    .collect();
                codes
            })
            .collect()
    }

    /// What each entry adds to the distance, `books of all parts x count`, and what is added to all.
    fn table(&self, query: &[f32], metric: Metric) -> (Vec<f32>, f32) {
        let sub = query.len() / self.config.splits;
        let mut table = Vec::with_capacity(self.all_books() << self.config.bits);
        let mut bias = if metric == Metric::L2 { kernels::dot(query, query) } else { 0.0 };
        for (group, query) in self.groups.iter().zip(query.chunks_exact(sub)) {
            let mut products = vec![0.0; group.books.values.len() / sub];
            kernels::dots(query, &group.books.values, &mut products);
            let entries = group.books.values.chunks_exact(sub);
            table.extend(products.iter().zip(entries).map(|(product, entry)| {
                match (metric, self.config.method) {
                    (Metric::Dot, _) => -product,
                    (Metric::L2, Method::Composite) => kernels::dot(entry, entry) - 2.0 * product,
                    (Metric::L2, _) => -2.0 * product,
                }
            }));
            bias += if metric == Metric::L2 { group.cross } else { 0.0 };
        }
        (table, bias)
    }

    /// What a norm adds by its level; nothing where products rank.
    fn norm_table(&self, metric: Metric, len: usize) -> Vec<f32> {
        let level = |i: usize| if metric == Metric::L2 { self.norms.level(i) } else { 0.0 };
        (0..len).map(level).collect()
    }

    /// The entries of a query by the bytes of a code, where bytes hold whole numbers.
    fn bytes(&self, query: &[f32], metric: Metric) -> Option<ByteScorer> {
        if !self.in_bytes() {
            return None;
        }
        let (mut table, bias) = self.table(query, metric);
        if self.norm_among_numbers() {
            table.extend(self.norm_table(metric, NIBBLE));
        }
        let mut table = if self.config.bits == 4 { pairs(&table) } else { table };
        if self.norm_bytes() == 1 {
            table.extend(self.norm_table(metric, BYTE));
        }
        Some(ByteScorer { table, bias })
    }

    fn in_bytes(&self) -> bool {
        matches!(self.config.bits, 4 | 8) && self.config.norm != Norm::Float
    }
}

impl Codec for Additive {
    fn dim(&self) -> usize {
        self.groups.iter().map(|group| group.books.dim).sum()
    }

    fn code_len(&self) -> usize {
        self.number_bytes() + self.norm_bytes()
    }

    fn encode(&self, rows: Rows<'_, f32>, codes: &mut [u8]) {
        let numbers = self.numbers(rows);
        let mut row = vec![0.0; rows.dim()];
        let mut own = Vec::with_capacity(self.all_books() + 1);
        for (numbers, code) in
            numbers.chunks_exact(self.all_books()).zip(codes.chunks_exact_mut(self.code_len()))
        {
            self.sum(numbers.iter().copied(), &mut row);
            let length = kernels::dot(&row, &row);
            own.clear();
            own.extend_from_slice(numbers);
            if self.norm_among_numbers() {
                own.push(u16::from(self.norms.nearest(length)));
            }
            let (numbers, norm) = code.split_at_mut(self.number_bytes());
            write_bits(&own, self.config.bits, numbers);
            match norm {
                [] => {}
                [byte] => *byte = self.norms.nearest(length),
                bytes => bytes.copy_from_slice(&length.to_le_bytes()),
            }
        }
    }

    fn decode(&self, codes: &[u8], rows: &mut [f32]) {
        for (code, row) in codes.chunks_exact(self.code_len()).zip(rows.chunks_exact_mut(self.dim())) {
            self.sum(read_bits(code, self.config.bits).map(|number| number as u16), row);
        }
    }

    fn scorer<'a>(&'a self, query: &[f32], metric: Metric) -> Box<dyn Scorer + 'a> {
        if let Some(scorer) = self.bytes(query, metric) {
            return Box::new(scorer);
        }
        let (table, bias) = self.table(query, metric);
        Box::new(NumberScorer { codec: self, table, bias, metric })
    }

    fn pack(&self, codes: Vec<u8>) -> Vec<u8> {
        if self.in_bytes() { byte_scan::pack(&codes, self.code_len()) } else { codes }
    }

    fn packed_len(&self, rows: usize) -> usize {
        if self.in_bytes() { byte_scan::packed_len(rows, self.code_len()) } else { rows * self.code_len() }
    }

    fn scanner<'a>(&'a self, queries: Rows<'_, f32>, metric: Metric, k: usize) -> Box<dyn Scanner + 'a> {
        let scorers: Option<Vec<_>> = queries.iter().map(|query| self.bytes(query, metric)).collect();
        match scorers {
            Some(scorers) if self.in_bytes() => Box::new(ByteScanner::new(scorers, k)),
            _ => Box::new(ByScore::new(self, queries, metric, k)),
        }
    }

    fn arrays(&self) -> Vec<Array> {
        let AdditiveConfig { splits, books, bits, .. } = self.config;
        let values = self.groups.iter().flat_map(|group| group.books.values.iter().copied()).collect();
        let mut arrays = vec![Array::f32("books", &[splits, books, 1 << bits, self.dim() / splits], values)];
        if self.config.method == Method::Composite {
            let constants = self.groups.iter().flat_map(|group| [group.cross, group.weight]).collect();
            arrays.push(Array::f32("constants", &[splits, 2], constants));
        }
        arrays.extend(self.norms.array());
        arrays
    }
}

/// Sums of entries whose numbers straddle bytes, or whose norm is a float.
struct NumberScorer<'a> {
    codec: &'a Additive,
    table: Vec<f32>,
    bias: f32,
    metric: Metric,
}

impl Scorer for NumberScorer<'_> {
    fn score(&mut self, codes: &[u8], distances: &mut [f32]) {
        let bits = self.codec.config.bits;
        for (code, distance) in codes.chunks_exact(self.codec.code_len()).zip(distances) {
            let (numbers, norm) = code.split_at(self.codec.number_bytes());
            let entries = self.table.chunks_exact(1 << bits).zip(read_bits(numbers, bits));
            *distance = entries.fold(self.bias, |sum, (entries, number)| sum + entries[number]);
            if self.metric == Metric::L2 {
                *distance += match norm {
                    [] => 0.0,
                    [byte] => self.codec.norms.level(usize::from(*byte)),
                    bytes => bytes.first_chunk().map_or(0.0, |bytes| f32::from_le_bytes(*bytes)),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::SplitMix64;

    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::new(seed);
        (0..n).map(|_| random.unit() as f32).collect()
    }

    #[test]
    fn distances_are_those_to_the_decoded_vector() {
        let data = noise(800 * 12, 1);
        let rows = Rows::new(&data, 12).unwrap();
        for (word, allowed) in [
            ("RQ3x5_Nfloat", 1e-4),
            ("RQ3x8", 0.02),
            ("AQ2x4_B3", 0.02),
            ("LSQ3x4_Nqint4", 0.3),
            ("PRQ3x2x4_Nfloat", 1e-4),
        ] {
            let config = AdditiveConfig::parse(word).unwrap().unwrap();
            let codec = config.train(rows, &Training::seeded(1)).unwrap();
            let mut codes = vec![0; 100 * codec.code_len()];
            codec.encode(rows.slice(0..100), &mut codes);
            let mut decoded = vec![0.0; 1200];
            codec.decode(&codes, &mut decoded);
            let query = noise(12, 9);
            let mut distances = vec![0.0; 100];
            for metric in [Metric::L2, Metric::Dot] {
                codec.scorer(&query, metric).score(&codes, &mut distances);
                for (row, distance) in decoded.chunks(12).zip(&distances) {
                    let want = match metric {
                        Metric::L2 => kernels::l2(&query, row),
                        Metric::Dot => -kernels::dot(&query, row),
                    };
                    let allowed = if metric == Metric::L2 { allowed } else { 1e-4 };
                    assert!((want - distance).abs() < allowed, "{word} {metric}: {distance}, not {want}");
                }
            }
        }
    }

    #[test]
    fn better_methods_leave_less() {
        let data = noise(2000 * 16, 4);
        let rows = Rows::new(&data, 16).unwrap();
        let left = |word: &str| {
            let codec =
                AdditiveConfig::parse(word).unwrap().unwrap().train(rows, &Training::seeded(1)).unwrap();
            let (mut codes, mut decoded) = (vec![0; 2000 * codec.code_len()], vec![0.0; data.len()]);
            codec.encode(rows, &mut codes);
            codec.decode(&codes, &mut decoded);
            kernels::l2(&data, &decoded)
        };
        let (residual, joint, search) = (left("RQ4x4"), left("AQ4x4"), left("LSQ4x4"));
        assert!(joint < residual && search < residual, "{residual} {joint} {search}");
    }

    #[test]
    fn words_that_cannot_be_say_what_can() {
        for word in [
            "RQ",
            "RQ8",
            "RQ8x3",
            "RQ8x9",
            "RQ65x8",
            "PRQ1x8x8",
            "PRQ8x8",
            "RQ8x8_B0",
            "RQ8x8_Nx",
            "NOCQ4x8_Nfloat",
        ] {
            assert!(AdditiveConfig::parse(word).unwrap().is_err(), "{word}");
        }
        let same = |word: &str| AdditiveConfig::parse(word).unwrap().unwrap().to_string();
        assert_eq!(same("RQ8x8_Nqint8"), "RQ8x8");
        assert_eq!(same("LSQ8x8_Ncqint8"), "LSQ8x8");
        assert_eq!(same("RQ8x8_B5"), "RQ8x8");
        assert_eq!(same("PRQ2x4x8_Nqint4_B16"), "PRQ2x4x8_B16_Nqint4");
    }
}
