//! What the tests of all losses share: a loss run through automatic differentiation, and its plain definition
//! in f64, differenced.

use super::{Batch, Loss, LossShape, Points};
use crate::model::normalise;
use crate::network::floats;
use crate::relation::Relation;
use crate::weights::{Array, Weights};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::collections::BTreeMap;

/// A batch in f64, as a definition sees it.
#[derive(Clone)]
pub(super) struct Given {
    pub raw: Vec<Vec<f64>>,
    pub classes: Vec<u32>,
    pub relation: Relation,
    /// The loss's parameters, flat.
    pub parameters: BTreeMap<String, Vec<f64>>,
    shapes: BTreeMap<String, Vec<usize>>,
    pub memory: Weights,
    pub step: usize,
}

impl Given {
    pub fn new(raw: &[&[f64]], classes: &[u32]) -> Self {
        Self {
            raw: raw.iter().map(|row| row.to_vec()).collect(),
            classes: classes.to_vec(),
            relation: Relation::from_classes(classes, classes).without_self(),
            parameters: BTreeMap::new(),
            shapes: BTreeMap::new(),
            memory: Weights::default(),
            step: 0,
        }
    }

    /// Drops the pairs of all other anchors.
    pub fn only_anchor(mut self, anchor: usize) -> Self {
        let count = self.count();
        let keep: Vec<bool> = (0..count * count).map(|place| place / count == anchor).collect();
        self.relation = self.relation.narrowed(&keep, &keep);
        self
    }

    /// Sets a parameter of the loss.
    pub fn with(mut self, name: &str, shape: &[usize], values: &[f64]) -> Self {
        self.parameters.insert(name.to_owned(), values.to_vec());
        self.shapes.insert(name.to_owned(), shape.to_vec());
        self
    }

    pub fn at_step(mut self, step: usize) -> Self {
        self.step = step;
        self
    }

    /// The loss's own first parameters where none are set, and its first memory.
    pub fn completed(mut self, loss: &dyn Loss) -> Self {
        let classes = self.classes.iter().max().map_or(1, |most| *most as usize + 1);
        let shape = LossShape { dim: self.raw[0].len(), classes, features: self.raw[0].len() };
        let first = loss.parameters(shape, &mut ChaCha8Rng::seed_from_u64(7));
        for (name, array) in first.iter() {
            if !self.parameters.contains_key(name) {
                let values: Vec<f64> = array.values.iter().map(|&v| f64::from(v)).collect();
                self = self.with(name, &array.shape, &values);
            }
        }
        if self.memory == Weights::default() {
            self.memory = loss.memory();
        }
        self
    }

    pub fn count(&self) -> usize {
        self.raw.len()
    }

    pub fn of(&self, parameter: &str) -> &[f64] {
        &self.parameters[parameter]
    }

    /// All ordered pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let count = self.count();
        (0..count * count).map(move |place| (place / count, place % count))
    }

    pub fn alike(&self, i: usize, j: usize) -> bool {
        self.relation.alike(i)[j]
    }

    pub fn unlike(&self, i: usize, j: usize) -> bool {
        self.relation.unlike(i)[j]
    }

    pub fn unit(&self, i: usize) -> Vec<f64> {
        unit(&self.raw[i])
    }

    pub fn dot(&self, i: usize, j: usize) -> f64 {
        dot(&self.raw[i], &self.raw[j])
    }

    pub fn cosine(&self, i: usize, j: usize) -> f64 {
        dot(&self.unit(i), &self.unit(j))
    }

    pub fn square(&self, i: usize, j: usize, scaled: bool) -> f64 {
        let (a, b) =
            if scaled { (self.unit(i), self.unit(j)) } else { (self.raw[i].clone(), self.raw[j].clone()) };
        a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum()
    }

    pub fn distance(&self, i: usize, j: usize, scaled: bool) -> f64 {
        (self.square(i, j, scaled) + f64::from(super::numerics::SMALLEST_SQUARE)).sqrt()
    }

    /// Every number that a gradient belongs to.
    pub fn numbers(&mut self) -> Vec<&mut f64> {
        let raw = self.raw.iter_mut().flatten();
        raw.chain(self.parameters.values_mut().flatten()).collect()
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(super) fn unit(row: &[f64]) -> Vec<f64> {
    let length = dot(row, row).sqrt();
    row.iter().map(|v| v / length).collect()
}

/// `-ln softmax(logits)[class]`.
pub(super) fn cross_entropy(logits: &[f64], class: usize) -> f64 {
    logits.iter().map(|logit| (logit - logits[class]).exp()).sum::<f64>().ln()
}

/// A sum of terms, and how many there are.
#[derive(Default)]
pub(super) struct Sum {
    pub sum: f64,
    count: usize,
    active: usize,
}

impl Sum {
    pub fn add(&mut self, term: f64) {
        self.sum += term;
        self.count += 1;
        self.active += usize::from(term > 0.0);
    }

    pub fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    pub fn per_active(&self) -> f64 {
        self.sum / self.active.max(1) as f64
    }
}

/// A loss's value and gradients.
pub(super) struct Got {
    pub value: f64,
    /// Of the raw embeddings, row-major.
    pub raw: Vec<f64>,
    parameters: BTreeMap<String, Vec<f64>>,
}

impl Got {
    pub fn slopes(&self, parameter: &str) -> &[f64] {
        &self.parameters[parameter]
    }

    pub fn all(&self) -> Vec<f64> {
        self.raw.iter().chain(self.parameters.values().flatten()).copied().collect()
    }

    pub fn is_finite(&self) -> bool {
        self.value.is_finite() && self.all().iter().all(|v| v.is_finite())
    }
}

/// Runs a loss through automatic differentiation.
pub(super) fn run(loss: &dyn Loss, given: &Given) -> Got {
    let device = Device::flex().autodiff();
    let given = given.clone().completed(loss);
    let mut weights = Weights::default();
    for (name, values) in &given.parameters {
        let values = values.iter().map(|&v| v as f32).collect();
        weights.insert(format!("loss.{name}"), Array { shape: given.shapes[name].clone(), values });
    }
    let parameters = weights.bind(&device, |_| true);
    let (rows, dim) = (given.count(), given.raw[0].len());
    let values: Vec<f32> = given.raw.iter().flatten().map(|&v| v as f32).collect();
    let raw = Tensor::<2>::from_data(TensorData::new(values, [rows, dim]), &device).require_grad();
    let points = Points::new(raw.clone());
    let batch = Batch {
        anchors: &points,
        refs: &points,
        cosines: points.cosines(&points),
        relation: &given.relation,
        classes: &given.classes,
        parameters: &parameters,
        memory: &given.memory,
        features: None,
        step: given.step,
    };
    let value = loss.forward(&batch).reduce(loss.reduction(), rows);
    // A batch without any term has a value that depends on nothing.
    let grads = (value.clone() + raw.clone().sum() * 0.0).backward();
    let slopes = |leaf: &Tensor<1>| leaf.grad(&grads).map_or(vec![0.0; leaf.dims()[0]], floats);
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
    Got {
        value: f64::from(value.into_scalar::<f32>()),
        raw: wide(floats(raw.grad(&grads).expect("the embeddings are leaves"))),
        parameters: parameters
            .iter()
            .map(|(name, leaf)| (name.trim_start_matches("loss.").to_owned(), wide(slopes(leaf))))
            .collect(),
    }
}

/// Asserts equality within 1e-5, relative to the larger where that is above 1.
#[track_caller]
pub(super) fn close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-5 * b.abs().max(1.0);
    assert!(got.iter().zip(want).all(near), "got {got:?}, want {want:?}");
}

/// Random batches: 2 to 9 embeddings, classes of uneven sizes, some alone, at times a single class.
pub(super) fn random(seed: u64) -> Given {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (count, dim) = (rng.random_range(2..10), rng.random_range(2..6));
    let classes = rng.random_range(1..=count as u32);
    let length = [0.5, 1.0, 2.0][rng.random_range(0..3)];
    let mut draw = || -> f64 {
        let value: f32 = StandardNormal.sample(&mut rng);
        f64::from(value) * length
    };
    let raw: Vec<Vec<f64>> = (0..count).map(|_| (0..dim).map(|_| draw()).collect()).collect();
    let raw: Vec<&[f64]> = raw.iter().map(Vec::as_slice).collect();
    // Squaring makes some classes rare.
    let class = |rng: &mut ChaCha8Rng| (f64::from(classes) * rng.random::<f64>().powi(2)) as u32;
    let classes: Vec<u32> = (0..count).map(|_| class(&mut rng)).collect();
    Given::new(&raw, &classes)
}

/// Compares a loss with its definition on random batches: the value, and the gradient of every embedding and
/// parameter with central differences.
#[track_caller]
pub(super) fn holds(loss: &dyn Loss, definition: impl Fn(&Given) -> f64) {
    holds_but_for_slopes(loss, |given, _| definition(given));
}

/// The same for a definition in which some quantities carry no slope: it takes them from its second argument,
/// which stays at the point of the gradient.
#[track_caller]
pub(super) fn holds_but_for_slopes(loss: &dyn Loss, definition: impl Fn(&Given, &Given) -> f64) {
    for seed in 0..60 {
        compare(loss, &definition, &random(seed).completed(loss), seed);
    }
}

/// The same on one batch.
#[track_caller]
pub(super) fn compare(loss: &dyn Loss, definition: &dyn Fn(&Given, &Given) -> f64, given: &Given, seed: u64) {
    const STEP: f64 = 1e-5;
    let got = run(loss, given);
    let want = definition(given, given);
    assert!((got.value - want).abs() < 2e-4 * want.abs().max(1.0), "batch {seed}: {} {want}", got.value);
    let slopes = got.all();
    let most = slopes.iter().fold(1.0f64, |most, slope| most.max(slope.abs()));
    for (place, slope) in slopes.iter().enumerate() {
        let moved = |by: f64| {
            let mut moved = given.clone();
            *moved.numbers()[place] += by;
            definition(&moved, given)
        };
        let (back, ahead) = ((want - moved(-STEP)) / STEP, (moved(STEP) - want) / STEP);
        // A kink lies between.
        if (back - ahead).abs() > 1e-3 * most {
            continue;
        }
        let wanted = f64::midpoint(back, ahead);
        assert!((slope - wanted).abs() < 2e-3 * most, "batch {seed}, number {place}: {slope} {wanted}");
    }
}

/// Unit rows, as the trainer makes them; used where a definition wants what `normalise` gives.
#[test]
fn the_trainer_scales_as_the_definitions_do() {
    let raw = Tensor::<2>::from_floats([[3.0, 4.0], [0.0, 0.0]], &Device::flex());
    assert_eq!(floats(normalise(raw)), [0.6, 0.8, 0.0, 0.0]);
}
