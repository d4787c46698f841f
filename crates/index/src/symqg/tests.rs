//! Estimates against exact distances, links, and rows in bytes.

use super::*;
use crate::array::LINE;
use kernels::SplitMix64;
use kernels::sign_scan::{BLOCK, SignTable};

fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    // Four uniforms less their mean are normal enough.
    (0..n).map(|_| (0..4).map(|_| random.unit() as f32).sum::<f32>() - 2.0).collect()
}

fn built(values: &[f32], dim: usize, metric: Metric) -> Symqg {
    let spec = SymqgSpec::new(32, 100).unwrap();
    Symqg::build(spec, Rows::new(values, dim).unwrap(), metric, 5, &Watch::none()).unwrap()
}

#[test]
fn estimates_are_near_and_lean_to_no_side() {
    let dim = 100;
    let values = random(800 * dim, 1);
    for metric in [Metric::L2, Metric::Dot] {
        let index = built(&values, dim, metric);
        let graph = index.graph();
        let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
        for query in random(20 * dim, 2).chunks_exact(dim) {
            let mut rotated = vec![0.0; index.shape.rotated()];
            index.rotation.apply(query, &mut rotated);
            let mut table = SignTable::default();
            table.set(Isa::current(), &rotated);
            let mut vector = Vector::default();
            index.shape.set_query(query, &mut vector);
            let query = vector;
            for node in 0..800 {
                let row = graph.row(node);
                let mut estimates = [0.0; BLOCK];
                let base = graph.distance(&query, node);
                let signs = index.shape.signs_of(row, 0);
                let _ = graph.isa.estimate_block(&table, signs, base, f32::MAX, &mut estimates);
                for (&id, estimate) in index.shape.ids_of(row, 0).iter().zip(estimates) {
                    let off = f64::from(estimate - graph.distance(&query, id));
                    (sum, squares, count) = (sum + off, squares + off * off, count + 1.0);
                }
            }
        }
        // Values have variance 1/3: |r|^2 and |q - p|^2 are near 2 * 33. By the source the error of <r, q - p> is
        // about 0.75 / sqrt(p - 1) of their product, here 67 * 0.067 = 4.5, twice that for distances.
        let want = if metric == Metric::L2 { 9.0 } else { 4.5 };
        let (mean, spread) = (sum / count, f64::sqrt(squares / count));
        assert!(mean.abs() < 0.1 * want && spread < 1.3 * want, "{metric}: {mean} {spread}");
    }
}

#[test]
fn lists_are_full_and_lead_everywhere() {
    let dim = 12;
    // Whole numbers, many of them equal.
    let values: Vec<f32> = random(2000 * dim, 3).iter().map(|v| (2.0 * v).round() + 8.0).collect();
    for metric in [Metric::L2, Metric::Dot] {
        let index = built(&values, dim, metric);
        assert!(index.shape.bytes);
        let mut reached = vec![false; index.n];
        let mut waiting = vec![index.entry];
        while let Some(node) = waiting.pop() {
            if std::mem::replace(&mut reached[node as usize], true) {
                continue;
            }
            let ids = index.shape.ids_of(index.graph().row(node), 0);
            let mut sorted = ids.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert!(sorted.len() == 32 && !sorted.contains(&node), "{metric} {node}: {ids:?}");
            waiting.extend_from_slice(ids);
        }
        assert!(reached.iter().all(|&reached| reached));
    }
}

#[test]
fn bytes_and_floats_give_the_same_distances() {
    let dim = 70;
    let values: Vec<f32> = random(500 * dim, 3).iter().map(|v| (60.0 * v).round().abs()).collect();
    let index = built(&values, dim, Metric::L2);
    assert!(index.shape.bytes && index.shape.vector() * 4 == 2 * LINE);
    let isa = Isa::current();
    let graph = index.graph();
    for shift in [0.0, 0.25] {
        let query: Vec<f32> = values[..dim].iter().map(|v| v + shift).collect();
        let mut vector = Vector::default();
        index.shape.set_query(&query, &mut vector);
        assert_eq!(matches!(vector, Vector::Bytes(_)), shift == 0.0);
        for (id, row) in values.chunks_exact(dim).enumerate() {
            assert_eq!(graph.distance(&vector, id as u32), isa.l2(&query, row));
        }
    }
}

#[test]
fn a_row_takes_the_bytes_it_should() {
    // 128 bytes of vector, 512 of signs, 128 of numbers, 128 of ids.
    assert_eq!(Shape { dim: 128, degree: 32, bytes: true }.stride() * 4, 896);
    assert_eq!(Shape { dim: 128, degree: 32, bytes: false }.stride() * 4, 512 + 768);
    assert_eq!(Shape { dim: 100, degree: 64, bytes: true }.stride() * 4, 128 + 2 * 768);
}

#[test]
fn few_equal_and_narrow_rows_are_found() {
    for (n, dim, kinds) in
        [(1, 1, 1), (2, 1, 2), (33, 7, 1), (34, 65, 3), (500, 1, 1), (500, 2, 2), (700, 1, 700)]
    {
        let values: Vec<f32> = (0..n * dim).map(|i| (i / dim % kinds) as f32 - 1.5).collect();
        let rows = Rows::new(&values, dim).unwrap();
        for metric in [Metric::L2, Metric::Dot] {
            let index: Box<dyn Index> = Box::new(built(&values, dim, metric));
            let mut hits = Hits::default();
            let request = Request::top(NonZeroUsize::new(10).unwrap());
            index.search(rows, &request, &mut hits).unwrap();
            for (query, hits) in rows.iter().zip(hits.iter()) {
                assert_eq!(hits.len(), n.min(10), "{n} x {dim} of {kinds}");
                let least = rows.iter().map(|row| match metric {
                    Metric::L2 => kernels::l2(query, row),
                    Metric::Dot => -kernels::dot(query, row),
                });
                let least = least.min_by(f32::total_cmp).unwrap();
                assert_eq!(hits[0].distance, least, "{metric} {n} x {dim} of {kinds}");
            }
        }
    }
}
