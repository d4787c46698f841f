//! Rates of the scans on one thread, for every instruction set of this CPU, in CPU time.
//!
//! `cargo run --release -p deepembed-kernels --example scan_speed -- [NAME]` runs the scans whose name
//! contains NAME.

#![expect(clippy::print_stdout, reason = "printing rates is what it is for")]

use cpu_time::ThreadTime;
use deepembed_kernels::{
    CountingTopK, Isa, Reservoir, SplitMix64, bit_planes, byte_scan, fast_scan, hamming,
};
use half::{bf16, f16};

const ROWS: usize = 1_000_000;
const K: usize = 100;

fn bytes(n: usize, seed: u64) -> Vec<u8> {
    let mut random = SplitMix64::new(seed);
    let mut out = Vec::with_capacity(n + 8);
    while out.len() < n {
        out.extend(random.bits().to_le_bytes());
    }
    out.truncate(n);
    out
}

/// Prints `items / time` in 10^9 a second, best of three.
fn rate(name: &str, isa: Isa, items: usize, mut run: impl FnMut()) {
    if std::env::args().nth(1).is_some_and(|wanted| !name.contains(&wanted)) {
        return;
    }
    let best = (0..3)
        .map(|_| {
            let start = ThreadTime::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    println!("{name:<28} {:<7} {:>8.3} G/s", isa.name(), items as f64 / best / 1e9);
}

fn fast_scans(isa: Isa) {
    for parts in [16, 32, 64] {
        let packed = fast_scan::pack(&bytes(ROWS * parts / 2, 1), parts);
        for queries in [1, 64] {
            let tables: Vec<_> =
                (0..queries).map(|q| fast_scan::Table::new(&bytes(parts * 16, 2 + q as u64))).collect();
            rate(&format!("fast_scan x{parts} q{queries}"), isa, ROWS * queries, || {
                let mut found = vec![fast_scan::SumReservoir::new(K); queries];
                let mut scans: Vec<_> = tables
                    .iter()
                    .zip(&mut found)
                    .map(|(table, found)| fast_scan::Query { table, bias: 0, found })
                    .collect();
                isa.fast_scan(&fast_scan::Codes::new(&packed, parts, ROWS), 0, &mut scans);
                std::hint::black_box(found);
            });
        }
    }
}

/// Entries as of squared distances of a few dimensions each: sums of `dim` squares.
fn floats(n: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    (0..n).map(|_| (0..dim).map(|_| (random.unit() - random.unit()).powi(2)).sum::<f64>() as f32).collect()
}

fn byte_scans(isa: Isa) {
    for parts in [8, 16, 32] {
        let packed = byte_scan::pack(&bytes(ROWS * parts, 1), parts);
        for queries in [1, 16] {
            let tables: Vec<_> =
                (0..queries).map(|q| floats(parts * 256, 128 / parts, 2 + q as u64)).collect();
            rate(&format!("byte_scan x{parts} q{queries}"), isa, ROWS * queries, || {
                let mut found = vec![Reservoir::new(K); queries];
                let mut scans: Vec<_> = tables
                    .iter()
                    .zip(&mut found)
                    .map(|(table, found)| byte_scan::Query { table, bias: 0.0, gate: None, found })
                    .collect();
                isa.byte_scan(&byte_scan::Codes::new(&packed, parts, ROWS), 0, &mut scans);
                std::hint::black_box(found);
            });
        }
    }
}

fn hamming_scans(isa: Isa) {
    for each in [8, 16, 32, 64] {
        let rows = bytes(ROWS * each, 1);
        for queries in [1, 64] {
            let codes = bytes(queries * each, 2);
            rate(&format!("hamming {} bit q{queries}", 8 * each), isa, ROWS * queries, || {
                let mut found = vec![CountingTopK::new(10, 8 * each as u32); queries];
                let mut scans: Vec<_> = codes
                    .chunks_exact(each)
                    .zip(&mut found)
                    .map(|(code, found)| hamming::Query { code, found })
                    .collect();
                isa.hamming_scan(&rows, each, 0, None, &mut scans);
                std::hint::black_box(found);
            });
        }
        // A limit that lets some 5 % through: 1.6 standard deviations of half the bits.
        let limit = 4 * each as u32 - (1.6 * (2.0 * each as f64).sqrt()) as u32;
        let mut near = Vec::new();
        rate(&format!("hamming gate {} bit", 8 * each), isa, ROWS, || {
            near.clear();
            isa.hamming_gate(&rows[..each], &rows, limit, 0, &mut near);
            std::hint::black_box(near.len());
        });
    }
}

/// Rows of 128 dimensions, one query: contiguous, 1000 rows again and again from the cache.
fn distances(isa: Isa) {
    const DIM: usize = 128;
    const NEAR: usize = 1000;
    let random = floats((NEAR + 1) * DIM, 1, 1);
    let (query, rows) = random.split_at(DIM);
    let items = NEAR * 1000;
    let mut floats = vec![0.0; NEAR];
    rate("l2 f32 128", isa, items, || (0..1000).for_each(|_| isa.l2_tile(query, rows, DIM, &mut floats)));
    let halves: Vec<f16> = rows.iter().map(|&x| f16::from_f32(x)).collect();
    rate("l2 f16 128", isa, items, || (0..1000).for_each(|_| isa.l2s_half(query, &halves, &mut floats)));
    let halves: Vec<bf16> = rows.iter().map(|&x| bf16::from_f32(x)).collect();
    rate("l2 bf16 128", isa, items, || (0..1000).for_each(|_| isa.l2s_half(query, &halves, &mut floats)));
    let (all, mut sums) = (bytes((NEAR + 1) * DIM, 1), vec![0; NEAR]);
    let (query, rows) = all.split_at(DIM);
    rate("l2 u8 128", isa, items, || (0..1000).for_each(|_| isa.l2s_bytes(query, rows, &mut sums)));
    rate("dot u8 128", isa, items, || (0..1000).for_each(|_| isa.dots_bytes(query, rows, &mut sums)));
    for bits in [1, 2, 4, 5, 7] {
        let codes: Vec<u8> = rows.iter().map(|byte| byte & ((1 << bits) - 1)).collect();
        let len = bit_planes::packed_len(DIM, bits);
        let mut packed = vec![0; NEAR * len];
        for (codes, packed) in codes.chunks_exact(DIM).zip(packed.chunks_exact_mut(len)) {
            bit_planes::pack(codes, bits, packed);
        }
        let query = &random[..DIM];
        rate(&format!("dot {bits} bits 128"), isa, items, || {
            for _ in 0..1000 {
                for (row, out) in packed.chunks_exact(len).zip(&mut floats) {
                    *out = isa.dot_packed(query, row, bits);
                }
            }
        });
    }
    let values: Vec<u8> = query.iter().map(|byte| byte & 15).collect();
    let (planes, mut found) = (bit_planes::Planes::new(&values, 4), vec![0; NEAR]);
    let rows_of_bits = &rows[..NEAR * planes.row_len()];
    rate("bit planes 4 x 128", isa, items, || {
        (0..1000).for_each(|_| isa.bit_products(&planes, rows_of_bits, &mut found));
    });
    let (query, rows) = (&query[..DIM / 2], &rows[..NEAR * DIM / 2]);
    rate("dot nibbles 128", isa, items, || (0..1000).for_each(|_| isa.dots_nibbles(query, rows, &mut sums)));
}

fn main() {
    for isa in Isa::present() {
        if isa != Isa::Scalar {
            fast_scans(isa);
        }
        byte_scans(isa);
        hamming_scans(isa);
        distances(isa);
    }
}
