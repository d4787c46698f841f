//! Polysemous codes: product codes of eight bits whose numbers are also compared bit by bit.
//!
//! Centroids of a part are renumbered so that numbers of near centroids differ in few bits: with
//! `d_ij` the distances between centroids, moved and scaled to the mean and deviation of Hamming distances,
//! simulated annealing over swaps lowers `sum_ij 2^(-d_ij) (hamming(n_i, n_j) - d_ij)^2`. Renumbering changes
//! no distance.
//!
//! A scan looks only at codes that differ from the query's in fewer than `h` bits; `h` of half of all bits
//! passes about half. Until `k` rows are held the gate is open, so that a scan never finds fewer than there
//! are: it finds the `k` nearest of the first `k` rows and of those that pass. Bits tell of squared distances
//! alone: for inner products the gate stays open, as it does under a filter. Scorers have none. `m` bytes a vector.
//! Codes are packed and scanned as product codes are (see [`kernels::byte_scan`]).
//! Source: Douze, Jégou and Perronnin, ECCV 2016, equation 6.

use super::pq::{Pq, parts_and_bits};
use crate::codebook::Codebook;
use crate::spec::{number, setting};
use crate::{
    Array, Arrays, Codec, Config, ParseSpecError, RestoreError, Scanner, Scorer, TrainError, Training,
};
use data::{Metric, Rows};
use kernels::SplitMix64;
use rayon::prelude::*;
use std::fmt;

/// Bits a part, and centroids.
const BITS: u32 = 8;
const COUNT: usize = 256;
/// Swaps tried a part.
const SWAPS: usize = 300_000;
/// The chance that a swap which raises the cost is taken, at first.
const TEMPERATURE: f64 = 0.7;
/// What 500 swaps leave of it.
const COOLING: f64 = 0.9;

/// `PQmx8hth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolysemousConfig {
    /// Parts.
    pub parts: usize,
    /// Codes that differ from the query's in as many bits are not looked at.
    pub threshold: u32,
}

/// A product code and the width of its gate.
#[derive(Clone, Debug)]
pub struct Polysemous {
    pq: Pq,
    threshold: u32,
}

impl fmt::Display for PolysemousConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PQ{}x8ht{}", self.parts, self.threshold)
    }
}

impl Config for PolysemousConfig {
    type Codec = Polysemous;

    const EXAMPLES: &'static [&'static str] = &["PQ8x8ht30"];

    fn parse(word: &str) -> Option<Result<Self, ParseSpecError>> {
        let (settings, threshold) = word.strip_prefix("PQ")?.split_once("ht")?;
        let config = match (parts_and_bits(settings), number(threshold)) {
            (Some((parts, BITS)), Some(h)) if (1..=8 * parts).contains(&h) => {
                Some(Self { parts, threshold: h as u32 })
            }
            _ => None,
        };
        let why = "write PQ, parts, x8ht and the bits below which codes are looked at, as in PQ8x8ht22";
        Some(config.ok_or_else(|| setting(word, why)))
    }

    fn train(&self, rows: Rows<'_, f32>, training: &Training<'_>) -> Result<Polysemous, TrainError> {
        let codebook = Codebook::train(rows, self.parts, COUNT, self, training)?;
        let (size, seed) = (COUNT * codebook.sub, training.seed);
        let mut centroids = vec![0.0; codebook.centroids.len()];
        training.step(self.parts, self.parts)?;
        let each = centroids.par_chunks_mut(size).zip(codebook.centroids.par_chunks(size)).enumerate();
        each.for_each(|(part, (out, centroids))| {
            let cost = Cost::new(centroids, codebook.sub);
            let numbers = cost.anneal(&mut SplitMix64::named(seed, 0x706f_6c79 + part as u64));
            for (centroid, &number) in centroids.chunks_exact(codebook.sub).zip(&numbers) {
                out[usize::from(number) * codebook.sub..][..codebook.sub].copy_from_slice(centroid);
            }
        });
        let codebook = Codebook::new(centroids, self.parts, COUNT);
        Ok(Polysemous { pq: Pq::new(codebook, BITS, false), threshold: self.threshold })
    }

    fn restore(&self, dim: usize, arrays: &mut Arrays) -> Result<Polysemous, RestoreError> {
        let codebook = Codebook::restore(arrays, dim, self.parts, COUNT)?;
        Ok(Polysemous { pq: Pq::new(codebook, BITS, false), threshold: self.threshold })
    }
}

/// How far Hamming distances of numbers are from distances of centroids.
struct Cost {
    /// Wanted Hamming distances, `256 x 256`.
    wanted: Vec<f32>,
    /// `2^-wanted`.
    weights: Vec<f32>,
}

impl Cost {
    fn new(centroids: &[f32], sub: usize) -> Self {
        let mut wanted = vec![0.0; COUNT * COUNT];
        kernels::l2_tile(centroids, centroids, sub, &mut wanted);
        let moments = |values: &mut dyn Iterator<Item = f64>| {
            let (mut sum, mut squares) = (0.0, 0.0);
            values.for_each(|value| {
                sum += value;
                squares += value * value;
            });
            let mean = sum / (COUNT * COUNT) as f64;
            (mean, (squares / (COUNT * COUNT) as f64 - mean * mean).max(0.0).sqrt())
        };
        let (mean, deviation) = moments(&mut wanted.iter().map(|&d| f64::from(d)));
        let all = (0..COUNT * COUNT).map(|pair| f64::from(((pair / COUNT) ^ (pair % COUNT)).count_ones()));
        let (hamming_mean, hamming_deviation) = moments(&mut { all });
        let scale = if deviation > 0.0 { hamming_deviation / deviation } else { 0.0 };
        wanted.iter_mut().for_each(|d| *d = ((f64::from(*d) - mean) * scale + hamming_mean) as f32);
        let weights = wanted.iter().map(|d| (-d).exp2()).collect();
        Self { wanted, weights }
    }

    /// Half of the change of cost when centroids `a` and `b` swap numbers.
    fn change(&self, numbers: &[u8; COUNT], a: usize, b: usize) -> f64 {
        let (wanted_a, wanted_b) = (&self.wanted[a * COUNT..][..COUNT], &self.wanted[b * COUNT..][..COUNT]);
        let (weights_a, weights_b) =
            (&self.weights[a * COUNT..][..COUNT], &self.weights[b * COUNT..][..COUNT]);
        let mut sum = 0.0;
        for k in 0..COUNT {
            let to_a = BITS_SET[usize::from(numbers[a] ^ numbers[k])];
            let to_b = BITS_SET[usize::from(numbers[b] ^ numbers[k])];
            let change = (to_b - to_a)
                * (weights_a[k] * (to_a + to_b - 2.0 * wanted_a[k])
                    - weights_b[k] * (to_a + to_b - 2.0 * wanted_b[k]));
            // The distance between a and b stays.
            sum += if k == a || k == b { 0.0 } else { change };
        }
        f64::from(sum)
    }

    /// Numbers of the centroids, at least as good as their own.
    fn anneal(&self, random: &mut SplitMix64) -> [u8; COUNT] {
        let mut numbers = std::array::from_fn(|i| i as u8);
        let mut best = numbers;
        let (mut cost, mut least) = (0.0, 0.0);
        let mut temperature = TEMPERATURE;
        let cooling = COOLING.powf(1.0 / 500.0);
        for _ in 0..SWAPS {
            let a = random.below(COUNT);
            let b = (a + 1 + random.below(COUNT - 1)) % COUNT;
            let change = self.change(&numbers, a, b);
            temperature *= cooling;
            if change < 0.0 || random.unit() < temperature {
                numbers.swap(a, b);
                cost += change;
                if cost < least {
                    (best, least) = (numbers, cost);
                }
            }
        }
        best
    }
}

/// Set bits of a byte.
const BITS_SET: [f32; 256] = {
    let mut table = [0.0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).count_ones() as f32;
        byte += 1;
    }
    table
};

impl Codec for Polysemous {
    fn dim(&self) -> usize {
        self.pq.dim()
    }

    fn code_len(&self) -> usize {
        self.pq.code_len()
    }

    fn encode(&self, rows: Rows<'_, f32>, codes: &mut [u8]) {
        self.pq.encode(rows, codes);
    }

    fn decode(&self, codes: &[u8], rows: &mut [f32]) {
        self.pq.decode(codes, rows);
    }

    fn scorer<'a>(&'a self, query: &[f32], metric: Metric) -> Box<dyn Scorer + 'a> {
        self.pq.scorer(query, metric)
    }

    fn pack(&self, codes: Vec<u8>) -> Vec<u8> {
        self.pq.pack(codes)
    }

    fn packed_len(&self, rows: usize) -> usize {
        self.pq.packed_len(rows)
    }

    fn scanner<'a>(&'a self, queries: Rows<'_, f32>, metric: Metric, k: usize) -> Box<dyn Scanner + 'a> {
        let scanner = self.pq.byte_scanner(queries, metric, k);
        if metric == Metric::Dot {
            return Box::new(scanner);
        }
        // A query's own code has the least entry of each part.
        Box::new(scanner.gated(self.threshold - 1))
    }

    fn arrays(&self) -> Vec<Array> {
        self.pq.arrays()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slab;

    fn total(cost: &Cost, numbers: &[u8]) -> f64 {
        let pair = |at: usize| {
            let hamming = f64::from((numbers[at / COUNT] ^ numbers[at % COUNT]).count_ones());
            f64::from(cost.weights[at]) * (hamming - f64::from(cost.wanted[at])).powi(2)
        };
        (0..COUNT * COUNT).map(pair).sum()
    }

    #[test]
    fn annealing_lowers_the_cost_and_counts_it_right() {
        let mut random = SplitMix64::new(2);
        let centroids: Vec<f32> = (0..COUNT * 4).map(|_| random.unit() as f32).collect();
        let cost = Cost::new(&centroids, 4);
        let identity: [u8; COUNT] = std::array::from_fn(|i| i as u8);
        let mut swapped = identity;
        swapped.swap(3, 200);
        let change = total(&cost, &swapped) - total(&cost, &identity);
        assert!((2.0 * cost.change(&identity, 3, 200) - change).abs() < 1e-3 * change.abs());
        let best = cost.anneal(&mut random);
        assert!(total(&cost, &best) < 0.7 * total(&cost, &identity));
        let mut seen = best;
        seen.sort_unstable();
        assert_eq!(seen, identity);
    }

    #[test]
    fn an_open_gate_finds_what_the_product_code_does() {
        let mut random = SplitMix64::new(5);
        let rows: Vec<f32> = (0..1500 * 8).map(|_| random.unit() as f32).collect();
        let rows = Rows::new(&rows, 8).unwrap();
        let training = Training::seeded(3);
        let find = |word: &str| {
            let code = super::super::Code::parse(word).unwrap().train(rows, &training).unwrap();
            let packed = code.pack(code.encode_all(rows).unwrap());
            let mut scanner = code.scanner(rows.slice(0..4), Metric::L2, 10);
            scanner.scan(&Slab::new(&packed, 1500, 0), &[0, 1, 2, 3]);
            scanner.finish()
        };
        let (plain, open, narrow) = (find("PQ2"), find("PQ2x8ht16"), find("PQ2x8ht1"));
        assert_eq!(plain, open);
        assert!(narrow.iter().all(|list| list.len() == 10) && narrow != open);
    }

    /// The definition, by the scorer and the bits.
    fn plain(code: &Polysemous, codes: &[u8], query: &[f32], k: usize) -> Vec<(f32, u64)> {
        let len = code.code_len();
        let mut own = vec![0; len];
        code.encode(Rows::new(query, code.dim()).unwrap(), &mut own);
        let mut distances = vec![0.0; codes.len() / len];
        code.scorer(query, Metric::L2).score(codes, &mut distances);
        let passes = |row: usize| {
            let bits = codes[row * len..][..len].iter().zip(&own).map(|(a, b)| (a ^ b).count_ones());
            row < k || bits.sum::<u32>() < code.threshold
        };
        let mut found: Vec<(f32, u64)> =
            distances.into_iter().zip(0..).filter(|(_, row)| passes(*row as usize)).collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        found.truncate(k);
        found
    }

    #[test]
    fn a_scan_finds_the_first_rows_and_those_that_pass() {
        let mut random = SplitMix64::new(6);
        let rows: Vec<f32> = (0..5000 * 8).map(|_| random.unit() as f32).collect();
        let rows = Rows::new(&rows, 8).unwrap();
        for threshold in [1, 9, 13, 17, 33] {
            let config = PolysemousConfig { parts: 4, threshold };
            let code = config.train(rows.slice(0..1000), &Training::seeded(3)).unwrap();
            let mut codes = vec![0; 5000 * 4];
            code.encode(rows, &mut codes);
            let split = 64 * 20;
            let pieces = [code.pack(codes[..split * 4].to_vec()), code.pack(codes[split * 4..].to_vec())];
            for k in [1, 10, 100, 1300, 6000] {
                let mut scanner = code.scanner(rows.slice(100..104), Metric::L2, k);
                scanner.scan(&Slab::new(&pieces[0], split, 0), &[0, 1, 2, 3]);
                scanner.scan(&Slab::new(&pieces[1], 5000 - split, split as u64), &[0, 1, 2, 3]);
                for (query, found) in (100..104).zip(scanner.finish()) {
                    assert_eq!(found, plain(&code, &codes, rows.row(query), k), "{threshold}, {k}");
                }
            }
        }
    }

    #[test]
    fn thresholds_beyond_the_bits_are_refused() {
        assert!(PolysemousConfig::parse("PQ8x8ht65").unwrap().is_err());
        assert!(PolysemousConfig::parse("PQ8x4ht5").unwrap().is_err());
        assert_eq!(PolysemousConfig::parse("PQ8ht22").unwrap().unwrap().to_string(), "PQ8x8ht22");
    }
}
