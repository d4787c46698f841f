//! Losses, the memory and miners against pytorch-metric-learning (`golden/losses.py`).

use super::LossConfig;
use super::checks::{Given, run};
use crate::miners::MinerConfig;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[derive(Deserialize)]
pub(crate) struct Golden {
    cases: Vec<Case>,
    pub memory: Memory,
    miners: BTreeMap<String, Pairs>,
}

#[derive(Deserialize)]
struct Case {
    settings: LossConfig,
    classes: Vec<u32>,
    embeddings: Vec<f64>,
    only: Option<Pairs>,
    parameters: BTreeMap<String, Parameter>,
    value: f64,
    gradient: Vec<f64>,
    slopes: BTreeMap<String, Vec<f64>>,
}

#[derive(Deserialize)]
struct Parameter {
    shape: Vec<usize>,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct Pairs {
    alike: Vec<[usize; 2]>,
    unlike: Vec<[usize; 2]>,
}

#[derive(Deserialize)]
pub(crate) struct Memory {
    pub size: usize,
    pub batches: Vec<Remembered>,
    pub value: f64,
    pub gradient: Vec<f64>,
}

#[derive(Deserialize)]
pub(crate) struct Remembered {
    pub embeddings: Vec<f32>,
    pub classes: Vec<u32>,
}

pub(crate) fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/losses/pytorch_metric_learning.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn given(case: &Case) -> Given {
    let dim = case.embeddings.len() / case.classes.len();
    let rows: Vec<&[f64]> = case.embeddings.chunks(dim).collect();
    let mut given = Given::new(&rows, &case.classes);
    if let Some(only) = &case.only {
        let count = case.classes.len();
        let mask = |pairs: &[[usize; 2]]| {
            let mut mask = vec![false; count * count];
            pairs.iter().for_each(|[i, j]| mask[i * count + j] = true);
            mask
        };
        given.relation = given.relation.narrowed(&mask(&only.alike), &mask(&only.unlike));
    }
    case.parameters.iter().fold(given, |given, (name, p)| given.with(name, &p.shape, &p.values))
}

#[test]
fn losses_agree_with_pytorch_metric_learning() {
    let golden = golden();
    let mut seen = BTreeSet::new();
    for case in &golden.cases {
        let loss = case.settings.init();
        let got = run(loss.as_ref(), &given(case));
        let name = case.settings.name();
        seen.insert(name);
        assert!((got.value - case.value).abs() < 1e-4 * case.value.max(1.0), "{name}: {}", got.value);
        let near = |got: &[f64], want: &[f64]| {
            let most = want.iter().fold(1.0f64, |most, slope| most.max(slope.abs()));
            let close = got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-3 * most);
            assert!(got.len() == want.len() && close, "{name}: {got:?} {want:?}");
        };
        near(&got.raw, &case.gradient);
        for (parameter, want) in &case.slopes {
            near(got.slopes(parameter), want);
        }
    }
    assert!(seen.len() >= 16, "{seen:?}");
}

#[test]
fn miners_agree_with_pytorch_metric_learning() {
    let golden = golden();
    let case = given(&golden.cases[0]);
    let count = case.count();
    let cosines: Vec<f32> = case.pairs().map(|(i, j)| case.cosine(i, j) as f32).collect();
    for (name, want) in golden.miners {
        let settings = match name.as_str() {
            "easy-positive" => "negative = \"semi-hard\"",
            "multi-similarity" => "epsilon = 0.1",
            "pair-margin" => "alike_margin = 0.5\nunlike_margin = 1.2",
            _ => "",
        };
        let miner: MinerConfig = toml::from_str(&format!("name = \"{name}\"\n{settings}")).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mined = miner.init().mine(&cosines, 4, case.relation.clone(), &mut rng);
        let places = |row: &dyn Fn(usize) -> Vec<bool>| -> Vec<[usize; 2]> {
            (0..count)
                .flat_map(|i| (0..count).filter(|&j| row(i)[j]).map(|j| [i, j]).collect::<Vec<_>>())
                .collect()
        };
        assert_eq!(places(&|i| mined.alike(i).to_vec()), want.alike, "{name}");
        assert_eq!(places(&|i| mined.unlike(i).to_vec()), want.unlike, "{name}");
    }
}
