//! Samplers say which pictures make a batch. A new one is a file here with its settings and [`Sampling`] for
//! them, its `mod`, and a line of `samplers!`.
//!
//! A batch depends on the settings, the pictures, the seed and its own number alone (and, for `hard-class`, on
//! what was remembered of earlier ones, which checkpoints hold): training resumes anywhere.

mod camera;
mod hard_class;
mod pk;
mod plain;
mod relevance;
mod super_class;

pub use camera::CameraConfig;
pub use hard_class::HardClassConfig;
pub use pk::PkConfig;
pub use plain::PlainConfig;
pub use relevance::RelevanceReservoirConfig;
pub use super_class::SuperClassConfig;

use crate::weights::Weights;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// Most pictures a batch: their pairs must fit in memory.
const MOST_PICTURES: usize = 16_384;

/// Makes the enum of all samplers from one line a sampler.
macro_rules! samplers {
    ($($name:literal: $variant:ident($config:ident), $about:literal;)+) => {
        /// A sampler as a recipe states it; without a name it is `pk`.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name", deny_unknown_fields, remote = "Self")]
        pub enum SamplerConfig {
            $(#[doc = $about] #[serde(rename = $name)] $variant($config),)+
        }

        impl SamplerConfig {
            /// The sampler itself.
            #[must_use]
            pub fn init(&self) -> Box<dyn Sampling> {
                match self { $(Self::$variant(config) => Box::new(config.clone()),)+ }
            }

            /// Every sampler with its defaults.
            #[must_use]
            pub fn every() -> Vec<Self> {
                vec![$(Self::$variant($config::default()),)+]
            }
        }
    };
}

samplers! {
    "pk": Pk(PkConfig), "So many classes with so many pictures of each.";
    "super-class": SuperClass(SuperClassConfig), "Most classes of a batch from one category.";
    "hard-class": HardClass(HardClassConfig), "Classes that lie near each other.";
    "camera": Camera(CameraConfig), "Pictures of a class from as many cameras as it has.";
    "relevance": RelevanceReservoir(RelevanceReservoirConfig), "Queries by how much is relevant to them.";
    "plain": Plain(PlainConfig), "Pictures in random order, without regard to classes.";
}

impl Serialize for SamplerConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for SamplerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = toml::Table::deserialize(deserializer)?;
        table.entry("name").or_insert_with(|| toml::Value::String("pk".to_owned()));
        Self::deserialize(toml::Value::Table(table)).map_err(serde::de::Error::custom)
    }
}

/// What happens to classes with fewer pictures than a batch takes of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Short {
    /// Their pictures are repeated, all before any twice.
    Tile,
    /// They never take part.
    Skip,
    /// Their pictures are drawn with replacement.
    Replace,
}

/// The pictures that batches are drawn from.
#[derive(Clone, Debug)]
pub struct Roster {
    /// Pictures of each class.
    members: Vec<Vec<usize>>,
    /// Category of each class: that of its first picture. Those without share one.
    categories: Vec<u32>,
    /// Camera of each picture.
    cameras: Vec<Option<u32>>,
}

impl Roster {
    /// Pictures with the given class, category and camera each.
    ///
    /// # Panics
    /// When there is not a category and a camera for each.
    #[must_use]
    pub fn new(classes: &[u32], categories: &[Option<u32>], cameras: &[Option<u32>]) -> Self {
        assert!(classes.len() == categories.len() && classes.len() == cameras.len(), "one for each picture");
        let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (item, &class) in classes.iter().enumerate() {
            members.entry(class).or_default().push(item);
        }
        let members: Vec<Vec<usize>> = members.into_values().collect();
        let category = |items: &Vec<usize>| categories[items[0]].map_or(0, |number| number + 1);
        Self { categories: members.iter().map(category).collect(), members, cameras: cameras.to_vec() }
    }

    /// Classes that may take part in batches of `images` pictures a class.
    fn classes(&self, images: usize, short: Short) -> Vec<usize> {
        let long_enough = |&class: &usize| short != Short::Skip || self.members[class].len() >= images;
        (0..self.members.len()).filter(long_enough).collect()
    }

    /// Checks that `classes x images` batches can be drawn.
    fn check(&self, classes: usize, images: usize, short: Short) -> Result<(), String> {
        if classes < 2 || images < 2 {
            return Err(format!(
                "a batch of {classes} classes x {images} images has no pairs to learn from; both must be at least 2"
            ));
        }
        let size = classes.saturating_mul(images);
        if size > MOST_PICTURES {
            return Err(format!(
                "a batch of {classes} classes x {images} images is more than {MOST_PICTURES} pictures; lower sampler.classes or sampler.images"
            ));
        }
        let there = self.classes(images, short).len();
        if there < classes {
            let of = if short == Short::Skip { format!(" of {images} pictures") } else { String::new() };
            return Err(format!(
                "a batch wants {classes} classes and the training split has {there}{of}; set sampler.classes to at most that"
            ));
        }
        Ok(())
    }

    /// So many pictures of a class.
    fn pictures(&self, class: usize, count: usize, short: Short, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let mut members = self.members[class].clone();
        if short == Short::Replace && members.len() < count {
            return (0..count).map(|_| members[rng.random_range(0..members.len())]).collect();
        }
        members.shuffle(rng);
        members.iter().cycle().take(count).copied().collect()
    }
}

fn share(key: &str, value: f32) -> Result<(), String> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(format!("sampler.{key} = {value} is not a share between 0 and 1"))
}

/// What a batch is drawn from.
pub struct Draw<'a> {
    /// The pictures.
    pub roster: &'a Roster,
    /// Seed of the run.
    pub seed: u64,
    /// Number of the batch.
    pub batch: usize,
    /// What [`Sampling::remember`] left.
    pub memory: &'a Weights,
}

impl Draw<'_> {
    /// The generator of this batch.
    fn rng(&self) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(self.batch as u64 | 1 << 63);
        rng
    }

    /// The batch's part of a round over `all`, in an order drawn from the seed and the round's number; what is
    /// left over at a round's end waits for the next.
    fn of_the_round(&self, mut all: Vec<usize>, count: usize) -> Vec<usize> {
        let batches = all.len() / count;
        let (round, place) = (self.batch / batches, self.batch % batches);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(round as u64);
        all.shuffle(&mut rng);
        all[place * count..(place + 1) * count].to_vec()
    }
}

/// Draws batches.
pub trait Sampling: Send + Sync {
    /// Pictures a batch.
    fn size(&self) -> usize;

    /// Whether batches can be drawn.
    ///
    /// # Errors
    /// Says what is missing, and which key to change.
    fn check(&self, roster: &Roster) -> Result<(), String>;

    /// Pictures of a batch.
    fn draw(&self, draw: &Draw<'_>) -> Vec<usize>;

    /// Changes what it remembers, after a step: the batch's embeddings of unit length, row-major, and classes.
    fn remember(&self, _memory: &mut Weights, _roster: &Roster, _unit: &[f32], _classes: &[u32]) {}
}

/// A sampler over the pictures of a run.
pub(crate) struct Sampler {
    sampling: Box<dyn Sampling>,
    roster: Roster,
    seed: u64,
}

impl Sampler {
    pub fn new(config: &SamplerConfig, roster: Roster, seed: u64) -> Result<Self, String> {
        let sampling = config.init();
        sampling.check(&roster)?;
        Ok(Self { sampling, roster, seed })
    }

    /// Pictures of batch `batch`; `memory` holds what [`Sampler::remember`] left.
    pub fn batch(&self, batch: usize, memory: &Weights) -> Vec<usize> {
        let memory = memory.under("sampler.");
        self.sampling.draw(&Draw { roster: &self.roster, seed: self.seed, batch, memory: &memory })
    }

    pub fn remember(&self, memory: &mut Weights, unit: &[f32], classes: &[u32]) {
        let mut own = memory.under("sampler.");
        self.sampling.remember(&mut own, &self.roster, unit, classes);
        memory.extend("sampler.", &own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten classes of 1 to 4 pictures, in three categories and two cameras.
    pub(super) fn roster() -> Roster {
        let classes: Vec<u32> =
            (0..10).flat_map(|class| std::iter::repeat_n(class, 1 + class as usize % 4)).collect();
        let categories: Vec<Option<u32>> = classes.iter().map(|class| Some(class % 3)).collect();
        let cameras: Vec<Option<u32>> = (0..classes.len()).map(|item| Some(item as u32 % 2)).collect();
        Roster::new(&classes, &categories, &cameras)
    }

    pub(super) fn class_of(roster: &Roster, item: usize) -> usize {
        roster.members.iter().position(|members| members.contains(&item)).unwrap()
    }

    pub(super) fn sampler(text: &str) -> Sampler {
        Sampler::new(&toml::from_str(text).unwrap(), roster(), 5).unwrap()
    }

    /// A setting of each that fits the pictures.
    fn small(config: &SamplerConfig) -> SamplerConfig {
        let toml::Value::Table(mut table) = toml::Value::try_from(config).unwrap() else { unreachable!() };
        for (key, value) in [("classes", 3), ("images", 4), ("size", 12)] {
            if table.contains_key(key) {
                table.insert(key.to_owned(), toml::Value::Integer(value));
            }
        }
        table.try_into().unwrap()
    }

    #[test]
    fn every_batch_can_be_drawn_alone_and_has_its_size() {
        for config in SamplerConfig::every() {
            let config = small(&config);
            let (one, none) = (Sampler::new(&config, roster(), 5).unwrap(), Weights::default());
            let batches: Vec<Vec<usize>> = (0..20).map(|b| one.batch(b, &none)).collect();
            let again = Sampler::new(&config, roster(), 5).unwrap();
            assert_eq!(again.batch(13, &none), batches[13], "{config:?}");
            let other = Sampler::new(&config, roster(), 6).unwrap();
            assert_ne!((0..20).map(|b| other.batch(b, &none)).collect::<Vec<_>>(), batches, "{config:?}");
            let items = roster().cameras.len();
            assert!(batches.iter().all(|b| b.len() == 12 && b.iter().all(|&i| i < items)), "{config:?}");
            if !matches!(config, SamplerConfig::Plain(_)) {
                for batch in &batches {
                    let mut classes: Vec<usize> =
                        batch.chunks(4).map(|chunk| class_of(&roster(), chunk[0])).collect();
                    let alike = |chunk: &[usize]| {
                        chunk.iter().all(|&i| class_of(&roster(), i) == class_of(&roster(), chunk[0]))
                    };
                    assert!(batch.chunks(4).all(alike), "{config:?}: {batch:?}");
                    classes.sort_unstable();
                    classes.dedup();
                    assert_eq!(classes.len(), 3, "{config:?}: no class twice");
                }
            }
        }
    }

    #[test]
    fn says_what_is_too_much() {
        for config in SamplerConfig::every() {
            let name = format!("{config:?}");
            let few = Roster::new(&[0, 0, 1], &[None; 3], &[None; 3]);
            let error = Sampler::new(&config, few, 5).err().unwrap();
            assert!(error.contains("sampler.") && !error.contains('\n'), "{name}: {error}");
        }
        let check = |text: &str| Sampler::new(&toml::from_str(text).unwrap(), roster(), 5).err().unwrap();
        assert!(check("classes = 11\nimages = 2").contains("11 classes and the training split has 10"));
        assert!(check("classes = 2\nimages = 1").contains("at least 2"));
        assert!(check("classes = 4\nimages = 4\nshort = \"skip\"").contains("has 2 of 4 pictures"));
        assert!(check("classes = 2\nimages = 1000000000000").contains("more than 16384"));
        assert!(check("classes = 2\nimages = 2\nsame_category = 1.5").contains("a share"));
    }

    #[test]
    fn short_classes_tile_are_left_out_or_repeat_at_random() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let roster = roster();
        // Class 1 has two pictures, 1 and 2.
        let mut tiled = roster.pictures(1, 4, Short::Tile, &mut rng);
        tiled.sort_unstable();
        assert_eq!(tiled, [1, 1, 2, 2]);
        let drawn: Vec<Vec<usize>> =
            (0..20).map(|_| roster.pictures(1, 4, Short::Replace, &mut rng)).collect();
        assert!(drawn.iter().any(|d| d.iter().filter(|&&i| i == 1).count() != 2), "{drawn:?}");
        assert_eq!(roster.classes(4, Short::Skip), [3, 7]);
        assert_eq!(roster.classes(4, Short::Tile).len(), 10);
    }

    #[test]
    fn a_recipe_without_a_name_means_pk() {
        let config: SamplerConfig = toml::from_str("classes = 3\nimages = 2").unwrap();
        assert_eq!(config, SamplerConfig::Pk(PkConfig { classes: 3, images: 2, ..PkConfig::default() }));
        for config in SamplerConfig::every() {
            let text = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<SamplerConfig>(&text).unwrap(), config, "{text}");
        }
        let error = toml::from_str::<SamplerConfig>("clases = 3").unwrap_err().to_string();
        assert!(error.contains("clases"), "{error}");
        let error = toml::from_str::<SamplerConfig>("name = \"none\"").unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
    }
}
