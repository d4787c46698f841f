//! AdamW over named arrays, with a learning rate of its own for each group of them.
//!
//! Sources: Kingma and Ba, ICLR 2015, algorithm 1; decay decoupled from the gradient as in Loshchilov
//! and Hutter, ICLR 2019, algorithm 2.

use crate::weights::{Array, Weights};
use serde::{Deserialize, Serialize};

/// Settings of the optimiser and its schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimiserConfig {
    /// Learning rate of the head.
    pub rate: f32,
    /// Learning rate of the backbone, as a share of `rate`.
    pub backbone: f32,
    /// Learning rate of the loss's own parameters, as a share of `rate`.
    pub loss: f32,
    /// Decoupled weight decay, on arrays of more than one axis.
    pub decay: f32,
    /// First moment's memory.
    pub beta1: f32,
    /// Second moment's memory.
    pub beta2: f32,
    /// Added under the root's quotient.
    pub epsilon: f32,
    /// Largest norm of the whole gradient; longer ones are shortened to it. 0 leaves them be.
    pub clip: f32,
    /// Steps over which the rate rises from 0; after them it falls along half a cosine to 0.
    pub warmup: usize,
}

impl Default for OptimiserConfig {
    fn default() -> Self {
        Self {
            rate: 1e-3,
            backbone: 0.3,
            loss: 1.0,
            decay: 1e-4,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            clip: 5.0,
            warmup: 20,
        }
    }
}

impl OptimiserConfig {
    /// Learning rate of the head at step `step` (from 0) of `steps`.
    #[must_use]
    pub fn rate_at(&self, step: usize, steps: usize) -> f32 {
        if step < self.warmup {
            return self.rate * (step + 1) as f32 / self.warmup as f32;
        }
        let done = (step - self.warmup) as f32 / steps.saturating_sub(self.warmup).max(1) as f32;
        self.rate * 0.5 * (1.0 + (std::f32::consts::PI * done.min(1.0)).cos())
    }

    fn share(&self, name: &str) -> f32 {
        if name.starts_with("backbone.") {
            self.backbone
        } else if name.starts_with("loss.") {
            self.loss
        } else {
            1.0
        }
    }
}

/// Gradients by name, shaped like the weights they belong to.
pub(crate) type Gradients = Vec<(String, Vec<f32>)>;

/// Both moments of every trained array.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Adam {
    pub first: Weights,
    pub second: Weights,
}

impl Adam {
    /// Changes the weights by one step. `step` counts from 0, `rate` is the head's; `apart` shortens the
    /// gradients of the loss's own arrays apart from the others.
    pub fn step(
        &mut self,
        config: &OptimiserConfig,
        step: usize,
        rate: f32,
        weights: &mut Weights,
        gradients: &Gradients,
        apart: bool,
    ) {
        // An adversary's gradient must not shorten the network's.
        let group = |name: &str| usize::from(apart && name.starts_with("loss."));
        let mut squares = [0.0f64; 2];
        for (name, gradient) in gradients {
            squares[group(name)] += gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>();
        }
        let shorten = squares.map(|square| {
            let norm = square.sqrt() as f32;
            if config.clip > 0.0 && norm > config.clip { config.clip / norm } else { 1.0 }
        });
        let power = step as i32 + 1;
        let (unbias1, unbias2) = (1.0 - config.beta1.powi(power), 1.0 - config.beta2.powi(power));
        for (name, gradient) in gradients {
            let array = weights.get_mut(name).expect("a gradient of a weight");
            let zeros = || Array { shape: array.shape.clone(), values: vec![0.0; array.values.len()] };
            for moments in [&mut self.first, &mut self.second] {
                if moments.get(name).is_none() {
                    moments.insert(name.clone(), zeros());
                }
            }
            let rate = rate * config.share(name);
            let decay = if array.shape.len() > 1 { rate * config.decay } else { 0.0 };
            let first = &mut self.first.get_mut(name).expect("just made").values;
            let second = &mut self.second.get_mut(name).expect("just made").values;
            let moments = first.iter_mut().zip(second);
            for ((value, &g), (first, second)) in array.values.iter_mut().zip(gradient).zip(moments) {
                let g = g * shorten[group(name)];
                *first = config.beta1 * *first + (1.0 - config.beta1) * g;
                *second = config.beta2 * *second + (1.0 - config.beta2) * g * g;
                let move_by = (*first / unbias1) / ((*second / unbias2).sqrt() + config.epsilon);
                *value -= rate * move_by + decay * *value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(values: &[f32]) -> Weights {
        let mut weights = Weights::default();
        weights.insert("embed.bias", Array::flat(values.to_vec()));
        weights
    }

    #[test]
    fn the_first_step_by_hand() {
        // Unbiased moments of the first step are g and g^2: the move is rate * sign(g).
        let config = OptimiserConfig { clip: 0.0, ..OptimiserConfig::default() };
        let mut at = weights(&[1.0, -1.0]);
        let gradients = vec![("embed.bias".to_owned(), vec![0.5, -2.0])];
        Adam::default().step(&config, 0, 0.1, &mut at, &gradients, false);
        let got = &at.get("embed.bias").unwrap().values;
        assert!((got[0] - 0.9).abs() < 1e-5 && (got[1] + 0.9).abs() < 1e-5, "{got:?}");
    }

    #[test]
    fn finds_the_bottom_of_a_bowl() {
        let config = OptimiserConfig { decay: 0.0, ..OptimiserConfig::default() };
        let (mut at, mut adam) = (weights(&[3.0]), Adam::default());
        for step in 0..400 {
            let slope = 2.0 * (at.get("embed.bias").unwrap().values[0] - 1.0);
            let rate = OptimiserConfig { rate: 0.1, ..config.clone() }.rate_at(step, 400);
            adam.step(&config, step, rate, &mut at, &vec![("embed.bias".to_owned(), vec![slope])], false);
        }
        assert!((at.get("embed.bias").unwrap().values[0] - 1.0).abs() < 1e-2);
    }

    #[test]
    fn the_rate_rises_then_falls_to_nothing() {
        let config = OptimiserConfig { rate: 1.0, warmup: 10, ..OptimiserConfig::default() };
        assert!((config.rate_at(0, 110) - 0.1).abs() < 1e-6);
        assert!((config.rate_at(9, 110) - 1.0).abs() < 1e-6);
        assert!((config.rate_at(60, 110) - 0.5).abs() < 1e-6);
        assert!(config.rate_at(110, 110) < 1e-6);
    }

    #[test]
    fn a_long_gradient_is_shortened() {
        let config = OptimiserConfig { clip: 1.0, beta1: 0.0, ..OptimiserConfig::default() };
        let mut adam = Adam::default();
        let gradients = vec![("embed.bias".to_owned(), vec![30.0, 40.0])];
        adam.step(&config, 0, 0.1, &mut weights(&[0.0, 0.0]), &gradients, false);
        let first = &adam.first.get("embed.bias").unwrap().values;
        assert!((first[0] - 0.6).abs() < 1e-5 && (first[1] - 0.8).abs() < 1e-5);
    }
}
