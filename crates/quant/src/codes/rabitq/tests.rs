use super::*;
use crate::Slab;
use crate::matrix::normal;
use kernels::SplitMix64;

fn gaussian(n: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    (0..n).map(|_| normal(&mut random) as f32).collect()
}

/// A codec about the origin, so that tests know what is quantized.
fn codec(bits: u32, dim: usize, seed: u64) -> RaBitQ {
    RaBitQConfig { bits }.train(Rows::new(&vec![0.0; dim], dim).unwrap(), &Training::seeded(seed)).unwrap()
}

fn encode(codec: &RaBitQ, rows: &[f32]) -> Vec<u8> {
    let rows = Rows::new(rows, codec.dim()).unwrap();
    let mut codes = vec![0; rows.len() * codec.code_len()];
    codec.encode(rows, &mut codes);
    codes
}

/// Estimates with the query as it is: bounds by no error.
fn estimates(codec: &RaBitQ, query: &[f32], metric: Metric, codes: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; codes.len() / codec.code_len()];
    codec.lower_bounds(query, metric, 0.0, codes, &mut out);
    out
}

fn exact(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
    match metric {
        Metric::L2 => kernels::l2(a, b),
        Metric::Dot => -dot(a, b),
    }
}

/// Vectors of 128 values, each with a query beside it at 0.7 of its own length.
fn pairs(n: usize, seed: u64) -> Vec<(Vec<f32>, Vec<f32>)> {
    let (rows, noise) = (gaussian(128 * n, seed), gaussian(128 * n, seed + 1));
    let beside = |(row, noise): (&[f32], &[f32])| {
        (row.to_vec(), row.iter().zip(noise).map(|(row, noise)| row + 0.7 * noise).collect())
    };
    rows.chunks(128).zip(noise.chunks(128)).map(beside).collect()
}

#[test]
fn words_and_lengths() {
    // 100 values are padded to 128: 16 bytes a bit.
    let lens = [(1, 16 + 12), (2, 32 + 20), (4, 64 + 20), (8, 128 + 20)];
    for (bits, len) in lens {
        assert_eq!(codec(bits, 100, 1).code_len(), len);
    }
    for word in ["RaBitQ0", "RaBitQ9", "RaBitQx", "RaBitQfs"] {
        assert!(RaBitQConfig::parse(word).unwrap().is_err(), "{word}");
    }
    assert_eq!(RaBitQConfig::parse("RaBitQ1"), Some(Ok(RaBitQConfig { bits: 1 })));
}

#[test]
fn errors_are_the_published_ones() {
    let pairs = pairs(2000, 3);
    for (bits, want) in [(1, 0.19), (2, 0.10), (4, 0.025), (7, 0.0035)] {
        let codec = codec(bits, 128, 5);
        let squares = pairs.iter().map(|(row, query)| {
            let distance = kernels::l2(row, query);
            let estimate = estimates(&codec, query, Metric::L2, &encode(&codec, row))[0];
            f64::from((estimate - distance) / distance).powi(2)
        });
        let error = (squares.sum::<f64>() / pairs.len() as f64).sqrt();
        assert!((0.8 * want..1.2 * want).contains(&error), "{bits} bits: {error}, not {want}");
    }
}

#[test]
fn rotations_take_the_bias_away() {
    let (row, query) = pairs(1, 11).remove(0);
    for metric in [Metric::L2, Metric::Dot] {
        for bits in [1, 3] {
            let errors: Vec<f64> = (0..400)
                .map(|seed| {
                    let codec = codec(bits, 128, seed);
                    let estimate = estimates(&codec, &query, metric, &encode(&codec, &row))[0];
                    f64::from(estimate - exact(metric, &row, &query))
                })
                .collect();
            let mean = errors.iter().sum::<f64>() / 400.0;
            let deviation = (errors.iter().map(|error| (error - mean).powi(2)).sum::<f64>() / 400.0).sqrt();
            assert!(mean.abs() < 3.0 * deviation / 20.0, "{bits} bits, {metric}: {mean}, {deviation}");
        }
    }
}

#[test]
fn bounds_hold_as_often_as_promised() {
    // The bound takes all of the query for noise; so it is, where query and vector have nothing in common.
    let (rows, queries) = (gaussian(128 * 3000, 7), gaussian(128 * 3000, 8));
    let pairs: Vec<(&[f32], &[f32])> = rows.chunks(128).zip(queries.chunks(128)).collect();
    for metric in [Metric::L2, Metric::Dot] {
        for bits in [1, 2, 4, 7] {
            let codec = codec(bits, 128, 9);
            let outside = |epsilon: f32| {
                let broken = pairs.iter().filter(|(row, query)| {
                    let (code, distance) = (encode(&codec, row), exact(metric, row, query));
                    let (mut low, mut high) = ([0.0], [0.0]);
                    codec.lower_bounds(query, metric, epsilon, &code, &mut low);
                    codec.lower_bounds(query, metric, -epsilon, &code, &mut high);
                    distance < low[0] || distance > high[0]
                });
                broken.count() as f32 / pairs.len() as f32
            };
            let (usual, wide) = (outside(1.9), outside(3.0));
            // Not so wide that they would say nothing, either.
            assert!((0.005..=0.07).contains(&usual), "{bits} bits, {metric}: {usual} outside");
            assert!(wide <= 0.005, "{bits} bits, {metric}: {wide} outside");
        }
    }
}

#[test]
fn codes_decode_to_the_nearest_point_of_their_line() {
    let rows = gaussian(100 * 20, 13);
    for bits in 1..=8 {
        let codec =
            RaBitQConfig { bits }.train(Rows::new(&rows, 100).unwrap(), &Training::seeded(2)).unwrap();
        let mut out = vec![0.0; rows.len()];
        codec.decode(&encode(&codec, &rows), &mut out);
        let mut worst = 0f32;
        for (row, out) in rows.chunks(100).zip(out.chunks(100)) {
            let point: Vec<f32> = out.iter().zip(&codec.mean).map(|(v, mean)| v - mean).collect();
            let left: Vec<f32> = row.iter().zip(out).map(|(v, out)| v - out).collect();
            // The padding holds a part of the point that does not come back, with few bits a notable one.
            assert!(dot(&left, &point).abs() < 0.15 * dot(row, row), "{bits} bits");
            worst = worst.max(dot(&left, &left) / dot(row, row));
        }
        assert!(
            worst < [0.6, 0.25, 0.08, 0.02, 6e-3, 2e-3, 5e-4, 2e-4][bits as usize - 1],
            "{bits}: {worst}"
        );
    }
}

#[test]
fn vectors_without_a_direction_are_no_trap() {
    let dim = 64;
    let mut rows = vec![0.0; 5 * dim];
    rows[dim] = 1e-30; // a spike, whose square is nothing
    rows[2 * dim..3 * dim].fill(1e-42);
    rows[3 * dim..4 * dim].fill(3e19); // the square leaves the floats
    rows[4 * dim] = 1.0;
    let query = gaussian(dim, 3);
    for bits in 1..=8 {
        let codec = codec(bits, dim, 1);
        let codes = encode(&codec, &rows);
        for metric in [Metric::L2, Metric::Dot] {
            let mut distances = vec![0.0; 5];
            codec.scorer(&query, metric).score(&codes, &mut distances);
            assert!(distances.iter().all(|distance| distance.is_finite()), "{bits}: {distances:?}");
            let at_origin = exact(metric, &vec![0.0; dim], &query);
            assert!(distances[..3].iter().all(|d| (d - at_origin).abs() < 1e-3), "{bits}: {distances:?}");
            codec.scorer(&vec![0.0; dim], metric).score(&codes, &mut distances);
            assert!(distances.iter().all(|distance| distance.is_finite()), "{bits}: {distances:?}");
        }
        let mut out = vec![0.0; 5 * dim];
        codec.decode(&codes, &mut out);
        assert!(out.iter().all(|value| value.is_finite()), "{bits}");
        assert!(out[..dim].iter().all(|&value| value == 0.0), "{bits}");
    }
}

#[test]
fn scans_in_pieces_find_what_the_scorer_finds() {
    let (rows, queries) = (gaussian(700 * 72, 17), gaussian(3 * 72, 18));
    let rows = Rows::new(&rows, 72).unwrap();
    let queries = Rows::new(&queries, 72).unwrap();
    for bits in [2, 4, 5] {
        let codec = RaBitQConfig { bits }.train(rows, &Training::seeded(4)).unwrap();
        let codes = encode(&codec, rows.as_slice());
        let cut = 320 * codec.code_len();
        for metric in [Metric::L2, Metric::Dot] {
            let mut scanner = codec.scanner(queries, metric, 12);
            // The later piece first: ids decide ties, not the order of scans.
            scanner.scan(&Slab::new(&codec.pack(codes[cut..].to_vec()), 380, 1320), &[0, 1, 2]);
            scanner.scan(&Slab::new(&codec.pack(codes[..cut].to_vec()), 320, 1000), &[0, 1, 2]);
            for (query, found) in queries.iter().zip(scanner.finish()) {
                let mut distances = vec![0.0; 700];
                codec.scorer(query, metric).score(&codes, &mut distances);
                let mut want: Vec<(f32, u64)> = distances.into_iter().zip(1000..).collect();
                want.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                want.truncate(12);
                assert_eq!(found, want, "{bits} bits, {metric}");
            }
        }
    }
}

#[test]
fn tables_of_bytes_are_near_the_estimate() {
    let rows = gaussian(300 * 128, 21);
    let query = gaussian(128, 22);
    let codec = codec(1, 128, 6);
    let codes = encode(&codec, &rows);
    for metric in [Metric::L2, Metric::Dot] {
        let want = estimates(&codec, &query, metric, &codes);
        let mut scored = vec![0.0; 300];
        codec.scorer(&query, metric).score(&codes, &mut scored);
        let mut scanner = codec.scanner(Rows::new(&query, 128).unwrap(), metric, 300);
        scanner.scan(&Slab::new(&codec.pack(codes.clone()), 300, 0), &[0]);
        let found = scanner.finish().remove(0);
        assert_eq!(found.len(), 300);
        assert_eq!(scored, want);
        // Lengths are about 11: the estimate is off by some 8 of their product, tables of bytes by a hundredth of it.
        assert!(found.iter().all(|&(d, id)| (d - want[id as usize]).abs() < 1.5));
    }
}

#[test]
fn a_long_mean_does_no_harm() {
    // Vectors of length 11 about a mean of length 113: what is known exactly must not be estimated.
    let shift = |values: Vec<f32>| values.iter().map(|value| value + 10.0).collect::<Vec<f32>>();
    let (rows, queries) = (shift(gaussian(128 * 500, 25)), shift(gaussian(128 * 4, 26)));
    let view = Rows::new(&rows, 128).unwrap();
    for bits in [1, 4] {
        let codec = RaBitQConfig { bits }.train(view, &Training::seeded(3)).unwrap();
        let codes = encode(&codec, &rows);
        let mut scanner = codec.scanner(Rows::new(&queries, 128).unwrap(), Metric::Dot, 500);
        scanner.scan(&Slab::new(&codec.pack(codes.clone()), 500, 0), &[0, 1, 2, 3]);
        let scanned = scanner.finish();
        for (query, scanned) in queries.chunks(128).zip(scanned) {
            let estimates = estimates(&codec, query, Metric::Dot, &codes);
            let each = view
                .iter()
                .zip(&estimates)
                .map(|(row, estimate)| (exact(Metric::Dot, row, query) - estimate).powi(2));
            let error = (each.sum::<f32>() / 500.0).sqrt();
            // 0.067 and 0.01 of the product of the lengths, some 128; with the mean in it, that of 1280.
            assert!(error < [11.0, 1.7][usize::from(bits > 1)], "{bits} bits: {error}");
            assert!(scanned.iter().all(|&(d, id)| (d - estimates[id as usize]).abs() < 1.5), "{bits} bits");
        }
    }
}
