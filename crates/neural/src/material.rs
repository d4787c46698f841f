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
    /// Family of each, where the manifest has one.
    pub families: Vec<Option<u32>>,
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
        let categories = numbered(&items, |item| dataset.items[item].category.as_deref());
        let families = numbered(&items, |item| dataset.items[item].family.as_deref());
        // Pictures without a category share one; pictures without a family have none.
        let categories: Vec<u32> = categories.into_iter().map(|number| number.map_or(0, |n| n + 1)).collect();
        let sampler = Sampler::new(recipe.sampler.clone(), seed, &classes, &categories);
        Ok(Self { items, classes, families, count, sampler: sampler.map_err(TrainError::Sampler)? })
    }
}

fn classes_of(dataset: &Dataset, items: &[usize]) -> Vec<u32> {
    let mut numbers = BTreeMap::new();
    let label = |&item: &usize| dataset.items[item].label;
    items.iter().map(label).for_each(|l| _ = numbers.insert(l, 0u32));
    numbers.values_mut().enumerate().for_each(|(i, number)| *number = i as u32);
    items.iter().map(|item| numbers[&label(item)]).collect()
}

/// What the items are called, as numbers in order of first use; none stays none.
fn numbered<'a>(items: &[usize], name: impl Fn(usize) -> Option<&'a str>) -> Vec<Option<u32>> {
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    let mut number = |name| {
        let next = numbers.len() as u32;
        *numbers.entry(name).or_insert(next)
    };
    items.iter().map(|&item| name(item).map(&mut number)).collect()
}
