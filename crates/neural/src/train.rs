//! The trainer: from a recipe and a dataset to a model, one step at a time.
//!
//! A step depends only on the recipe, the data, the seed, the step's number and the state before it, so
//! a run that was stopped goes on to the same bytes.

use crate::augment::AugmentConfig;
use crate::checkpoint::{Identity, State};
use crate::losses::{Features, LossShape, Seen};
use crate::material::Material;
use crate::model::{Model, first_weights};
use crate::network::{Form, Network, Pass, average_pool, floats};
use crate::objective::{Objective, Shown, Valued};
use crate::optimiser::{Adam, Gradients, OptimiserConfig};
use crate::recipe::Recipe;
use crate::views::{Activations, Cache, Views};
use crate::weights::{Array, Bound, Weights};
use burn::tensor::{Device, Tensor, TensorData};
use data::{Dataset, DatasetError, EmbedError, Preprocess, Split};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use thiserror::Error;

/// Memory of the running moments of batch normalisation.
const MOMENTUM: f32 = 0.9;

/// Mean standard deviation of an embedding's values, as a share of that of random unit vectors, below
/// which all pictures have come to lie on one point.
const COLLAPSED: f32 = 0.02;

/// Steps in a row that must look collapsed before the run is stopped.
const PATIENCE: usize = 20;

/// What a training run is given.
pub struct Session<'a> {
    /// What to do.
    pub recipe: &'a Recipe,
    /// Pictures; the train split is learned from, the validation split is measured.
    pub dataset: &'a Dataset,
    /// Hash of the dataset's manifest.
    pub data_hash: &'a str,
    /// Where checkpoints go.
    pub checkpoints: &'a Path,
    /// Seed of everything random.
    pub seed: u64,
    /// Go on from the newest checkpoint.
    pub resume: bool,
    /// Set from outside to stop after the current step, leaving a checkpoint.
    pub stop: &'a AtomicBool,
    /// Measures a model on the validation split: higher is better.
    pub validate: &'a dyn Fn(&Model) -> Result<f64, EmbedError>,
    /// Told of everything that happens.
    pub observe: &'a dyn Fn(&Event),
}

/// What happens during training.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Something to know.
    Note(String),
    /// Going on from a checkpoint.
    Resumed {
        /// Steps already done.
        step: usize,
    },
    /// Views went through the frozen blocks.
    Cached {
        /// Views done.
        done: usize,
        /// All views.
        total: usize,
    },
    /// A step is done.
    Step(StepReport),
    /// The validation split was measured.
    Validated {
        /// Steps done.
        step: usize,
        /// The measure.
        value: f64,
        /// Whether it is the best so far.
        best: bool,
    },
}

/// One step in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Steps done, this one included.
    pub step: usize,
    /// The loss, reduced as the recipe says.
    pub loss: f32,
    /// Terms of the loss (pairs, triplets, anchors) with a slope, as a share of all.
    pub active: f32,
    /// Learning rate of the head.
    pub rate: f32,
    /// Pictures in the batch.
    pub images: usize,
    /// Seconds the step took.
    pub seconds: f64,
}

/// What training gives.
#[derive(Debug)]
pub struct Trained {
    /// The model that did best on the validation split.
    pub model: Model,
    /// Its measure there; none without a validation split.
    pub validation: Option<f64>,
    /// Pictures that went through steps of the last phase in this process: a head on kept features is
    /// hundreds of times as fast, and the two together would be the speed of neither.
    pub images: usize,
    /// Seconds in those steps.
    pub seconds: f64,
}

/// Why training stopped.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The train split is empty or has a single class.
    #[error(
        "the train split has {classes} classes; metric learning needs at least 2 (check the split column, or let `data import --split` make one)"
    )]
    TooFewClasses {
        /// Classes in it.
        classes: usize,
    },
    /// The sampler's wish cannot be met.
    #[error("{0}")]
    Sampler(String),
    /// A picture could not be read.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// Validation failed.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The checkpoint is another run's.
    #[error("{0}")]
    Checkpoint(String),
    /// A checkpoint could not be written.
    #[error("writing a checkpoint to {folder}: {source}; free some space and go on with --resume")]
    Write {
        /// Folder.
        folder: String,
        /// Cause.
        source: std::io::Error,
    },
    /// The loss is not a number.
    #[error(
        "the loss became {loss} at step {step}: the rate is too high for this loss; lower {key} (now {rate}) or raise optimiser.warmup"
    )]
    NotFinite {
        /// Step.
        step: usize,
        /// Loss.
        loss: f32,
        /// Key of the recipe that holds the rate.
        key: &'static str,
        /// Rate of the recipe.
        rate: f32,
    },
    /// All embeddings are one point.
    #[error(
        "the embeddings collapsed to one point at step {step} (spread {spread:.4} of random); lower {key} (now {rate}), or take easier negatives"
    )]
    Collapsed {
        /// Step.
        step: usize,
        /// Spread against random unit vectors.
        spread: f32,
        /// Key of the recipe that holds the rate.
        key: &'static str,
        /// Rate of the recipe.
        rate: f32,
    },
    /// Stopped from outside; a checkpoint was left.
    #[error("stopped after step {step} of {steps}; --resume goes on from there")]
    Interrupted {
        /// Steps done.
        step: usize,
        /// Steps in all.
        steps: usize,
    },
}

/// Trains a model.
///
/// # Errors
/// When the data do not fit the recipe, a picture cannot be read, the run diverges or collapses, or it
/// was stopped.
pub fn train(session: &Session<'_>) -> Result<Trained, TrainError> {
    Run::new(session)?.run()
}

/// Whether a run could begin: the train split has what the recipe's batches ask for, and the checkpoints in
/// `resumed`, if any, are this run's. [`train`] checks the same; this is for before anything is written.
///
/// # Errors
/// As [`train`], before its first step.
pub fn fits(
    recipe: &Recipe,
    dataset: &Dataset,
    data_hash: &str,
    seed: u64,
    resumed: Option<&Path>,
) -> Result<(), TrainError> {
    Material::new(recipe, dataset, seed)?;
    if let Some(folder) = resumed {
        State::load(folder, &identity(recipe, data_hash, seed)).map_err(TrainError::Checkpoint)?;
    }
    Ok(())
}

fn identity(recipe: &Recipe, data_hash: &str, seed: u64) -> Identity {
    Identity { recipe: recipe.to_toml(), data_hash: data_hash.to_owned(), seed }
}

/// A stretch of steps with one set of frozen blocks and one optimiser.
pub(crate) struct Phase {
    pub steps: Range<usize>,
    pub frozen: usize,
    cached_views: usize,
    validate_every: usize,
    augment: AugmentConfig,
    pub preprocess: Preprocess,
    optimiser: OptimiserConfig,
    /// Where the recipe has the rate.
    rate_key: &'static str,
}

impl Phase {
    /// The phases of a recipe for a backbone of `blocks` blocks: the head alone, then all that is not
    /// frozen.
    pub fn all(recipe: &Recipe, blocks: usize) -> [Self; 2] {
        let head = Self {
            steps: 0..recipe.head.steps,
            frozen: blocks,
            cached_views: 1,
            validate_every: usize::MAX,
            augment: AugmentConfig::none(),
            preprocess: recipe.input.preprocess(),
            optimiser: OptimiserConfig { rate: recipe.head.rate, ..recipe.optimiser.clone() },
            rate_key: "head.rate",
        };
        let whole = Self {
            steps: recipe.head.steps..recipe.steps(),
            frozen: recipe.model.frozen,
            cached_views: recipe.schedule.cached_views,
            validate_every: recipe.schedule.validate_every,
            augment: recipe.augment.clone(),
            preprocess: recipe.input.preprocess_views(),
            optimiser: recipe.optimiser.clone(),
            rate_key: "optimiser.rate",
        };
        [head, whole]
    }
}

pub(crate) struct Run<'a> {
    session: &'a Session<'a>,
    pub network: Network,
    material: Material,
    objective: Objective,
    identity: Identity,
    pub state: State,
    images: usize,
    seconds: f64,
}

impl<'a> Run<'a> {
    pub fn new(session: &'a Session<'a>) -> Result<Self, TrainError> {
        let recipe = session.recipe;
        let network = recipe.model.backbone.network();
        let material = Material::new(recipe, session.dataset, session.seed)?;
        let objective = Objective::new(recipe);
        let mut weights = first_weights(recipe, session.seed);
        let shape = LossShape { dim: recipe.model.dim, classes: material.count, features: network.features };
        let mut rng = ChaCha8Rng::seed_from_u64(session.seed);
        rng.set_stream(u64::MAX - 1);
        weights.extend("loss.", &objective.loss.parameters(shape, &mut rng));
        let identity = identity(recipe, session.data_hash, session.seed);
        let average = if recipe.schedule.average > 0.0 { weights.clone() } else { Weights::default() };
        let mut memory = Weights::default();
        memory.extend("loss.", &objective.loss.memory());
        let state = State { step: 0, weights, average, memory, adam: Adam::default(), best: None };
        Ok(Self { session, network, material, objective, identity, state, images: 0, seconds: 0.0 })
    }

    fn run(mut self) -> Result<Trained, TrainError> {
        let session = self.session;
        if session.resume {
            let (state, notes) =
                State::load(session.checkpoints, &self.identity).map_err(TrainError::Checkpoint)?;
            notes.into_iter().for_each(|note| (session.observe)(&Event::Note(note)));
            if let Some(state) = state {
                (session.observe)(&Event::Resumed { step: state.step });
                self.state = state;
            }
        }
        for phase in Phase::all(session.recipe, self.network.blocks.len()) {
            if self.state.step < phase.steps.end {
                self.phase(&phase)?;
            }
        }
        let (validation, weights) = match self.state.best {
            Some((value, weights)) => (Some(value), weights),
            None => (None, kept(&self.state)),
        };
        let model = Model::trained(session.recipe, weights, session.data_hash);
        Ok(Trained { model, validation, images: self.images, seconds: self.seconds })
    }

    /// Trains through one phase, or what is left of it.
    fn phase(&mut self, phase: &Phase) -> Result<(), TrainError> {
        let (session, schedule) = (self.session, &self.session.recipe.schedule);
        (self.images, self.seconds) = (0, 0.0);
        if self.state.step == phase.steps.start {
            // What the moments remember belongs to other gradients.
            self.state.adam = Adam::default();
        }
        let folded = self.folded();
        let (items, network) = (self.material.items.clone(), self.network.clone());
        let views = Views {
            dataset: session.dataset,
            items: &items,
            augment: &phase.augment,
            preprocess: &phase.preprocess,
            network: &network,
            bound: &folded,
            frozen: phase.frozen,
            seed: session.seed,
        };
        let cache = self.fill_cache(&views, phase)?;
        let mut flat_steps = 0;
        while self.state.step < phase.steps.end {
            let start = Instant::now();
            let wanted = self.batch(self.state.step);
            let inputs = match &cache {
                Some(cache) => cache.take(&wanted),
                None => views.make(&wanted)?,
            };
            let outcome = self.step(phase, &wanted, inputs)?;
            flat_steps = if outcome.spread < COLLAPSED { flat_steps + 1 } else { 0 };
            if flat_steps >= PATIENCE {
                let spread = outcome.spread;
                return Err(TrainError::Collapsed {
                    step: self.state.step,
                    spread,
                    key: phase.rate_key,
                    rate: phase.optimiser.rate,
                });
            }
            self.report(&outcome, wanted.len(), start);
            let ends = self.state.step == phase.steps.end;
            if ends || (self.state.step - phase.steps.start).is_multiple_of(phase.validate_every) {
                self.validate()?;
            }
            let stopped = session.stop.load(Ordering::Relaxed);
            if stopped || ends || self.state.step.is_multiple_of(schedule.checkpoint_every) {
                self.save()?;
            }
            if stopped && self.state.step < session.recipe.steps() {
                return Err(TrainError::Interrupted { step: self.state.step, steps: session.recipe.steps() });
            }
        }
        Ok(())
    }

    /// Weights for the frozen blocks.
    pub fn folded(&self) -> Bound {
        self.network.fold(&self.state.weights.under("backbone.")).bind(&Device::flex(), |_| false)
    }

    /// Counts the step that was just done, begun at `start`, and tells the observer of it.
    pub fn report(&mut self, outcome: &Outcome, images: usize, start: Instant) {
        let seconds = start.elapsed().as_secs_f64();
        self.images += images;
        self.seconds += seconds;
        let &Outcome { loss, active, rate, .. } = outcome;
        let step = self.state.step;
        (self.session.observe)(&Event::Step(StepReport { step, loss, active, rate, images, seconds }));
    }

    fn fill_cache(&self, views: &Views<'_>, phase: &Phase) -> Result<Option<Cache>, TrainError> {
        if phase.cached_views == 0 {
            return Ok(None);
        }
        let cache = Cache::fill(views, phase.cached_views, &mut |done, total| {
            (self.session.observe)(&Event::Cached { done, total });
            !self.session.stop.load(Ordering::Relaxed)
        })?;
        match cache {
            Some(cache) => Ok(Some(cache)),
            None => {
                Err(TrainError::Interrupted { step: self.state.step, steps: self.session.recipe.steps() })
            }
        }
    }

    /// Training pictures of a step, each with the number of its view.
    pub fn batch(&self, step: usize) -> Vec<(usize, u64)> {
        let mut rng = self.rng(step, 1);
        self.material
            .sampler
            .batch(step, &self.state.memory)
            .into_iter()
            .map(|item| (item, rng.random::<u64>() >> 1))
            .collect()
    }

    /// Generator of one purpose within one step.
    fn rng(&self, step: usize, purpose: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.session.seed.wrapping_add(0x5DEE_CE66));
        rng.set_stream((step as u64) << 8 | purpose);
        rng
    }

    pub fn step(
        &mut self,
        phase: &Phase,
        wanted: &[(usize, u64)],
        inputs: Activations,
    ) -> Result<Outcome, TrainError> {
        let recipe = self.session.recipe;
        let (step, local) = (self.state.step, self.state.step - phase.steps.start);
        let rate = phase.optimiser.rate_at(local, phase.steps.len());
        let device = Device::flex().autodiff();
        let bound = self.bind(&device, phase.frozen);
        let [height, width, channels] = inputs.shape;
        let x = TensorData::new(inputs.values, [wanted.len(), height, width, channels]);
        let pass = Pass::new(&bound.backbone, Form::Stored);
        let blocks = phase.frozen..self.network.blocks.len();
        let map = self.network.forward(&pass, Tensor::from_data(x, &device), blocks);
        let weight = bound.rest.matrix("embed.weight", self.network.features, recipe.model.dim);
        let features = Features { pooled: average_pool(map), weight, bias: bound.rest.flat("embed.bias") };
        let raw = features.embed(features.pooled.clone());
        let items: Vec<usize> = wanted.iter().map(|&(item, _)| item).collect();
        let shown = Shown {
            material: &self.material,
            items: &items,
            raw: raw.clone(),
            features,
            parameters: &bound.rest,
            memory: &self.state.memory,
            step,
        };
        let Valued { loss, active, unit, memory } = self.objective.value(&shown, &mut self.rng(step, 2));
        let unit = floats(unit.detach());
        let outcome = Outcome {
            rate,
            loss: loss.clone().into_scalar(),
            active,
            spread: spread(&unit, recipe.model.dim),
        };
        if !outcome.loss.is_finite() {
            return Err(TrainError::NotFinite {
                step: step + 1,
                loss: outcome.loss,
                key: phase.rate_key,
                rate: phase.optimiser.rate,
            });
        }
        let found = loss.backward();
        let gradients: Gradients =
            bound.leaves().filter_map(|(name, leaf)| Some((name, floats(leaf.grad(&found)?)))).collect();
        let moments = pass.moments.into_inner();
        let apart = self.objective.loss.adversarial();
        self.state.adam.step(&phase.optimiser, local, rate, &mut self.state.weights, &gradients, apart);
        if let Some(memory) = memory {
            self.state.memory.extend("cross.", &memory.to_weights());
        }
        self.remember(step, &items, &floats(raw.detach()), &unit);
        self.follow_moments(moments);
        self.follow_average(local);
        self.state.step += 1;
        Ok(outcome)
    }

    /// Lets the loss and the sampler remember what they want of a step.
    fn remember(&mut self, step: usize, items: &[usize], raw: &[f32], unit: &[f32]) {
        let classes: Vec<u32> = items.iter().map(|&item| self.material.classes[item]).collect();
        let dim = self.session.recipe.model.dim;
        let mut memory = self.state.memory.under("loss.");
        self.objective.loss.remember(&mut memory, &Seen { step, raw, dim, classes: &classes });
        self.state.memory.extend("loss.", &memory);
        self.material.sampler.remember(&mut self.state.memory, unit, &classes);
    }

    /// The arrays of the blocks from `frozen` on, the head and the loss.
    fn bind(&self, device: &Device, frozen: usize) -> Leaves {
        let blocks = frozen..self.network.blocks.len();
        let trainable = self.network.trainable(blocks.clone());
        let mut backbone = Weights::default();
        for (name, _) in self.network.needs_of(blocks) {
            let array = self.state.weights.get(&format!("backbone.{name}")).expect("a weight of the network");
            backbone.insert(name, array.clone());
        }
        let mut rest = Weights::default();
        rest.extend("embed.", &self.state.weights.under("embed."));
        rest.extend("loss.", &self.state.weights.under("loss."));
        Leaves {
            backbone: backbone.bind(device, |name| trainable.iter().any(|known| known == name)),
            rest: rest.bind(device, |_| true),
        }
    }

    /// Running moments of the batch-normalised layers.
    fn follow_moments(&mut self, moments: Vec<(String, Tensor<1>)>) {
        for (layer, both) in moments {
            let both = floats(both);
            let (mean, variance) = both.split_at(both.len() / 2);
            for (part, batch) in [("mean", mean), ("variance", variance)] {
                let name = format!("backbone.{layer}.{part}");
                let running = &mut self.state.weights.get_mut(&name).expect("a normalised layer").values;
                blend(running, batch, MOMENTUM);
            }
        }
    }

    fn follow_average(&mut self, local: usize) {
        let most = self.session.recipe.schedule.average;
        // A short memory at first, so that the random start is soon forgotten.
        let memory = most.min((1.0 + local as f32) / (10.0 + local as f32));
        let State { weights, average, .. } = &mut self.state;
        for (name, running) in average.iter_mut() {
            let Array { values, .. } = weights.get(name).expect("an average of a weight");
            blend(&mut running.values, values, memory);
        }
    }

    fn validate(&mut self) -> Result<(), TrainError> {
        let (session, step) = (self.session, self.state.step);
        if session.dataset.of(Split::Validation).is_empty() {
            return Ok(());
        }
        let weights = kept(&self.state);
        let value = (session.validate)(&Model::trained(session.recipe, weights.clone(), session.data_hash))?;
        let best = self.state.best.as_ref().is_none_or(|(so_far, _)| value > *so_far);
        if best {
            self.state.best = Some((value, weights));
        }
        (session.observe)(&Event::Validated { step, value, best });
        Ok(())
    }

    fn save(&self) -> Result<(), TrainError> {
        let folder = self.session.checkpoints;
        self.state
            .save(folder, &self.identity)
            .map_err(|source| TrainError::Write { folder: folder.display().to_string(), source })
    }
}

/// What a step says of itself.
pub(crate) struct Outcome {
    rate: f32,
    loss: f32,
    active: f32,
    spread: f32,
}

struct Leaves {
    backbone: Bound,
    rest: Bound,
}

impl Leaves {
    fn leaves(&self) -> impl Iterator<Item = (String, &Tensor<1>)> {
        let backbone = self.backbone.iter().map(|(name, leaf)| (format!("backbone.{name}"), leaf));
        let mut all: Vec<_> =
            backbone.chain(self.rest.iter().map(|(name, leaf)| (name.to_owned(), leaf))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.into_iter()
    }
}

/// The weights that become the model: the average if there is one, without the loss's own.
fn kept(state: &State) -> Weights {
    let from = if state.average == Weights::default() { &state.weights } else { &state.average };
    let mut weights = Weights::default();
    for prefix in ["backbone.", "embed."] {
        weights.extend(prefix, &from.under(prefix));
    }
    weights
}

fn blend(running: &mut [f32], new: &[f32], memory: f32) {
    running.iter_mut().zip(new).for_each(|(old, &new)| *old = memory * *old + (1.0 - memory) * new);
}

/// Root mean variance of the embeddings' values over the batch, against that of random unit vectors.
fn spread(embeddings: &[f32], dim: usize) -> f32 {
    let rows = embeddings.len() / dim;
    let mut mean = vec![0.0f32; dim];
    embeddings.chunks_exact(dim).for_each(|row| mean.iter_mut().zip(row).for_each(|(m, v)| *m += v));
    let of_means: f32 = mean.iter().map(|m| (m / rows as f32).powi(2)).sum();
    // Blank pictures can give rows of length 0, so that 1 cannot be taken for the mean square.
    let of_rows = embeddings.iter().map(|v| v * v).sum::<f32>() / rows as f32;
    (of_rows - of_means).max(0.0).sqrt()
}
