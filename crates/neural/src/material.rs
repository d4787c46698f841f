//! What a run learns from: the training pictures, their classes, and how batches are drawn from them.

use crate::recipe::Recipe;
use crate::sampler::Sampler;
use crate::train::TrainError;
use data::{Dataset, Split};
use std::collections::BTreeMap;

pub(crate) struct Material {
    /// Positions of the training pictures in the dataset.
    pub items: Vec<usize>,
    /// Class of each, counted from 0 in order of the dataset's labels.
    pub classes: Vec<u32>,
    /// Number of classes.
    pub count: usize,
    pub sampler: Sampler,
}

impl Material {
    /// Takes the train split, which must have what the recipe's batches ask for.
    pub fn new(recipe: &Recipe, dataset: &Dataset, seed: u64) -> Result<Self, TrainError> {
        let items = dataset.of(Split::Train);
        let classes = classes_of(dataset, &items);
        let count = classes.iter().max().map_or(0, |&most| most as usize + 1);
        if count < 2 {
            return Err(TrainError::TooFewClasses { classes: count });
        }
        let categories = categories_of(dataset, &items);
        let sampler = Sampler::new(recipe.sampler.clone(), seed, &classes, &categories);
        Ok(Self { items, classes, count, sampler: sampler.map_err(TrainError::Sampler)? })
    }
}

fn classes_of(dataset: &Dataset, items: &[usize]) -> Vec<u32> {
    let mut numbers = BTreeMap::new();
    let label = |&item: &usize| dataset.items[item].label;
    items.iter().map(label).for_each(|l| _ = numbers.insert(l, 0u32));
    numbers.values_mut().enumerate().for_each(|(i, number)| *number = i as u32);
    items.iter().map(|item| numbers[&label(item)]).collect()
}

/// Categories of the training pictures as numbers; pictures without one share one.
fn categories_of(dataset: &Dataset, items: &[usize]) -> Vec<u32> {
    let mut numbers: BTreeMap<Option<&str>, u32> = BTreeMap::new();
    let category = |&item: &usize| dataset.items[item].category.as_deref();
    let mut number = |category| {
        let next = numbers.len() as u32;
        *numbers.entry(category).or_insert(next)
    };
    items.iter().map(|item| number(category(item))).collect()
}
