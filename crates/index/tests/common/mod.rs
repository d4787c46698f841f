//! Rows and provenance that several tests share.

use data::{Contract, Crop, Filter, Metric, Preprocess, Rows};
use deepembed_index::{Index, MadeBy, Provenance, Spec, Watch, build};
use kernels::SplitMix64;

/// `n x dim` values around a few centres, so that neighbourhoods have different densities.
pub fn clustered(n: usize, dim: usize, clusters: usize, seed: u64) -> Vec<f32> {
    let mut centres = SplitMix64::new(77);
    let centres: Vec<f32> = (0..clusters * dim).map(|_| centres.unit() as f32 * 2.0 - 1.0).collect();
    let mut random = SplitMix64::new(seed);
    let mut rows = Vec::with_capacity(n * dim);
    for _ in 0..n {
        let centre = random.below(clusters) * dim;
        let width = 0.2 + 0.3 * random.unit() as f32;
        for value in &centres[centre..centre + dim] {
            // Twelve uniforms less their mean are nearly normal.
            let normal: f64 = (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
            rows.push(value + width * normal as f32);
        }
    }
    rows
}

/// Builds without progress.
#[allow(dead_code, reason = "not every test file builds alone")]
pub fn built(spec: &str, rows: Rows<'_, f32>, metric: Metric, seed: u64) -> Box<dyn Index> {
    build(&spec.parse::<Spec>().unwrap(), rows, metric, seed, &Watch::none()).unwrap()
}

/// The provenance of vectors of `dim` values.
#[allow(dead_code, reason = "not every test file saves")]
pub fn provenance(dim: usize) -> Provenance {
    let preprocess = Preprocess {
        size: 32,
        crop: Crop::Centre,
        filter: Filter::Bilinear,
        mean: [127.5; 3],
        std: [127.5; 3],
        background: [0; 3],
    };
    let contract = Contract {
        format: data::CONTRACT_FORMAT,
        preprocess,
        architecture: "resnet18".into(),
        dim,
        metric: Metric::Dot,
        normalised: true,
        training_data: None,
        recipe: None,
        metrics: None,
        licence: "CC0-1.0".into(),
    };
    Provenance { model: Some(MadeBy { hash: "a".repeat(64), contract }), data_hash: "b".repeat(64), seed: 5 }
}
