//! What a run learns from: the training pictures, their classes, and how batches are drawn from them.

use crate::recipe::{PairsConfig, Recipe};
use crate::relation::Relation;
use crate::samplers::{Roster, Sampler};
use crate::train::TrainError;
use data::{Dataset, Split};
use std::collections::BTreeMap;

pub(crate) struct Material {
    /// Positions of the training pictures in the dataset.
    pub items: Vec<usize>,
    /// Class of each, counted from 0 in order of the dataset's labels.
    pub classes: Vec<u32>,
    /// Family of each, where the manifest has one.
    families: Vec<Option<u32>>,
    /// Camera of each, where the manifest has one.
    cameras: Vec<Option<u32>>,
    /// Category of each, where the manifest has one.
    categories: Vec<Option<u32>>,
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
        let cameras = numbered(&items, |item| dataset.items[item].camera.as_deref());
        let roster = Roster::new(&classes, &categories, &cameras);
        let sampler = Sampler::new(&recipe.sampler, roster, seed).map_err(TrainError::Sampler)?;
        Ok(Self { items, classes, families, cameras, categories, count, sampler })
    }

    /// Pictures of the given classes without anything else known of them.
    #[cfg(test)]
    pub fn of_classes(classes: &[u32]) -> Self {
        let none = vec![None; classes.len()];
        let config = toml::from_str("name = \"plain\"\nsize = 2").expect("a sampler");
        let roster = Roster::new(classes, &none, &none);
        Self {
            items: (0..classes.len()).collect(),
            classes: classes.to_vec(),
            families: none.clone(),
            cameras: none.clone(),
            categories: none,
            count: classes.len(),
            sampler: Sampler::new(&config, roster, 0).expect("two pictures"),
        }
    }

    /// Who is alike among training pictures: those of one class, less what the recipe leaves out. Relevance is
    /// the share of two levels, category and class, that they have in common.
    pub fn relation(&self, pairs: &PairsConfig, anchors: &[usize], refs: &[usize]) -> Relation {
        let of = |items: &[usize]| items.iter().map(|&item| self.classes[item]).collect::<Vec<u32>>();
        let groups = |items: &[usize], groups: &[Option<u32>]| {
            items.iter().map(|&item| groups[item]).collect::<Vec<Option<u32>>>()
        };
        let mut relation = Relation::from_classes(&of(anchors), &of(refs));
        if self.categories.iter().any(Option::is_some) {
            let level = |a: usize, r: usize| match self.classes[a] == self.classes[r] {
                true => 1.0,
                false if self.categories[a].is_some() && self.categories[a] == self.categories[r] => 0.5,
                false => 0.0,
            };
            let relevance = anchors.iter().flat_map(|&a| refs.iter().map(move |&r| level(a, r)));
            relation = relation.with_relevance(relevance.collect());
        }
        if pairs.cross_family {
            relation = relation.across(&groups(anchors, &self.families), &groups(refs, &self.families));
        }
        if pairs.cross_camera {
            relation = relation.alike_across(&groups(anchors, &self.cameras), &groups(refs, &self.cameras));
        }
        relation
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
