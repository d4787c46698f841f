//! Distances behind transforms that lose nothing are those before them.

use data::{Metric, Rows};
use deepembed_quant::{Spec, Training};

const DIM: usize = 48;

fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut random = kernels::SplitMix64::new(seed);
    (0..n * DIM).map(|_| random.unit() as f32 * 2.0 - 0.7).collect()
}

#[test]
fn rotations_shifts_and_padding_keep_distances() {
    let rows = noise(600, 1);
    let queries = noise(3, 2);
    let view = Rows::new(&rows, DIM).unwrap();
    let exact = |spec: &str, metric: Metric| {
        let codec = spec.parse::<Spec>().unwrap().train(view, &Training::seeded(3)).unwrap();
        let codes = codec.encode_all(view).unwrap();
        for query in queries.chunks(DIM) {
            let mut distances = vec![0.0; 600];
            codec.scorer(query, metric).score(&codes, &mut distances);
            for (row, distance) in view.iter().zip(distances) {
                let want = match metric {
                    Metric::L2 => kernels::l2(query, row),
                    Metric::Dot => -kernels::dot(query, row),
                };
                assert!((want - distance).abs() < 1e-3, "{spec} {metric}: {distance}, not {want}");
            }
        }
        let mut decoded = vec![0.0; rows.len()];
        codec.decode(&codes, &mut decoded);
        assert!(decoded.iter().zip(&rows).all(|(a, b)| (a - b).abs() < 1e-4), "{spec} does not come back");
    };
    for change in ["Centre", "PCA48", "PCAR48", "RR", "HR", "Pad64", "OPQ6x4", "OPQ6p", "Centre,HR,Pad80,RR"]
    {
        exact(&format!("{change},Flat"), Metric::L2);
        exact(&format!("{change},Flat"), Metric::Dot);
    }
    exact("MIPS,Flat", Metric::Dot);
    exact("Centre,MIPS,HR,Flat", Metric::Dot);
}
