//! A training run as a TOML file. Every key is known: a misspelt one is an error, not a default.

use crate::augment::AugmentConfig;
use crate::backbones::Backbone;
use crate::losses::{CrossBatchConfig, LossConfig, MOST_ENTRIES, Sees};
use crate::miners::MinerConfig;
use crate::optimiser::OptimiserConfig;
use crate::samplers::SamplerConfig;
use data::{Crop, Filter, Preprocess};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The recipes that ship with the binary: name and text.
pub const RECIPES: [(&str, &str); 25] = [
    ("starter", include_str!("../../../recipes/starter.toml")),
    ("scratch", include_str!("../../../recipes/scratch.toml")),
    ("quick", include_str!("../../../recipes/quick.toml")),
    ("contrastive", include_str!("../../../recipes/contrastive.toml")),
    ("deepranking", include_str!("../../../recipes/deepranking.toml")),
    ("deepid2", include_str!("../../../recipes/deepid2.toml")),
    ("triplet", include_str!("../../../recipes/triplet.toml")),
    ("batch_hard", include_str!("../../../recipes/batch_hard.toml")),
    ("npair", include_str!("../../../recipes/npair.toml")),
    ("lifted", include_str!("../../../recipes/lifted.toml")),
    ("margin", include_str!("../../../recipes/margin.toml")),
    ("sphereface", include_str!("../../../recipes/sphereface.toml")),
    ("cosface", include_str!("../../../recipes/cosface.toml")),
    ("arcface", include_str!("../../../recipes/arcface.toml")),
    ("daml", include_str!("../../../recipes/daml.toml")),
    ("multi_similarity", include_str!("../../../recipes/multi_similarity.toml")),
    ("proxy_nca", include_str!("../../../recipes/proxy_nca.toml")),
    ("proxy_anchor", include_str!("../../../recipes/proxy_anchor.toml")),
    ("circle", include_str!("../../../recipes/circle.toml")),
    ("supcon", include_str!("../../../recipes/supcon.toml")),
    ("nt_xent", include_str!("../../../recipes/nt_xent.toml")),
    ("soft_triple", include_str!("../../../recipes/soft_triple.toml")),
    ("coupled_clusters", include_str!("../../../recipes/coupled_clusters.toml")),
    ("easy_positive", include_str!("../../../recipes/easy_positive.toml")),
    ("cross_batch", include_str!("../../../recipes/cross_batch.toml")),
];

/// Where the backbone's weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// The ImageNet weights inside the binary.
    Starter,
    /// Nothing: random weights.
    Random,
}

/// The network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Backbone.
    pub backbone: Backbone,
    /// Its first weights.
    pub start: Start,
    /// Values an embedding.
    pub dim: usize,
    /// Blocks of the backbone, from the first, that are not trained.
    pub frozen: usize,
}

/// The network's input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputConfig {
    /// Side of the square input, pixels: what the model's contract says.
    pub size: u32,
    /// Side of the views in training; 0 takes `size`. Somewhat smaller views train faster and better:
    /// a random crop shows things larger than they will be (Touvron et al., NeurIPS 2019).
    #[serde(default)]
    pub train_size: u32,
    /// How pictures are made square.
    pub crop: Crop,
    /// Resampling filter.
    pub filter: Filter,
}

impl InputConfig {
    /// The whole contract from pixels to input; both backbones take `(v - 127) / 128`.
    #[must_use]
    pub fn preprocess(&self) -> Preprocess {
        self.preprocess_at(self.size)
    }

    /// The same for views in training.
    #[must_use]
    pub fn preprocess_views(&self) -> Preprocess {
        self.preprocess_at(if self.train_size == 0 { self.size } else { self.train_size })
    }

    fn preprocess_at(&self, size: u32) -> Preprocess {
        Preprocess {
            size,
            crop: self.crop,
            filter: self.filter,
            mean: [127.0; 3],
            std: [128.0; 3],
            background: [255; 3],
        }
    }
}

/// How long, and what happens on the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Optimiser steps after the first phase; 0 ends there.
    pub steps: usize,
    /// Views of each picture that go through the frozen blocks once and are kept; 0 makes a new view
    /// for every step.
    pub cached_views: usize,
    /// Steps between two measures on the validation split.
    pub validate_every: usize,
    /// Steps between two checkpoints.
    pub checkpoint_every: usize,
    /// Memory of the running average of the weights that is kept as the model; 0 keeps the last weights.
    pub average: f32,
}

/// The first phase: the head alone, on the backbone's features of the plain pictures, computed once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadConfig {
    /// Optimiser steps; 0 leaves the phase out.
    pub steps: usize,
    /// Its learning rate.
    pub rate: f32,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self { steps: 0, rate: 0.001 }
    }
}

/// Which pairs of a batch play a part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PairsConfig {
    /// Whether pairs of one `family` of the manifest are left out, alike or not: where the protocol ranks
    /// across families only, they would teach what is never asked.
    pub cross_family: bool,
    /// Whether alike pairs of one `camera` of the manifest are left out.
    pub cross_camera: bool,
}

/// A whole training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The network.
    pub model: ModelConfig,
    /// Its input.
    pub input: InputConfig,
    /// Random views.
    pub augment: AugmentConfig,
    /// Batches.
    pub sampler: SamplerConfig,
    /// Pairs within a batch.
    #[serde(default)]
    pub pairs: PairsConfig,
    /// Pairs that the loss sees.
    pub miner: MinerConfig,
    /// Objective.
    pub loss: LossConfig,
    /// Embeddings of past batches that the loss sees too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<CrossBatchConfig>,
    /// First phase.
    #[serde(default)]
    pub head: HeadConfig,
    /// Optimiser.
    pub optimiser: OptimiserConfig,
    /// Length.
    pub schedule: Schedule,
}

/// Why a recipe cannot be used.
#[derive(Debug, Error)]
pub enum RecipeError {
    /// Not TOML, a missing key, an unknown key, a wrong type.
    #[error("recipe: {0}")]
    Parse(String),
    /// An override that is not `key=value`.
    #[error("override `{0}` is not of the form key.sub=value")]
    Override(String),
    /// A value out of range.
    #[error("recipe: {key} = {value} {rule}")]
    Value {
        /// Key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
    /// A number that is none.
    #[error("recipe: {key} is not a finite number")]
    NotFinite {
        /// Key.
        key: String,
    },
    /// A miner that the loss cannot use.
    #[error(
        "recipe: miner.name = \"{miner}\" does not fit loss.name = \"{loss}\", which sees {sees}; of the miners {fitting} fit"
    )]
    Miner {
        /// Miner.
        miner: &'static str,
        /// Loss.
        loss: &'static str,
        /// What the loss sees.
        sees: &'static str,
        /// Names of miners that fit.
        fitting: String,
    },
    /// A section that the loss would not notice.
    #[error("recipe: {key} does not fit loss.name = \"{loss}\", which sees {sees}; leave it out")]
    Unseen {
        /// Key.
        key: &'static str,
        /// Loss.
        loss: &'static str,
        /// What the loss sees.
        sees: &'static str,
    },
}

impl Recipe {
    /// Reads a recipe and replaces the keys that `overrides` (`key.sub=value`) name.
    ///
    /// # Errors
    /// Names the unknown or missing key, or the value that is out of range.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self, RecipeError> {
        let flat = |e: &dyn std::fmt::Display| RecipeError::Parse(e.to_string().trim().replace('\n', " "));
        let mut table: toml::Table = text.parse().map_err(|e: toml::de::Error| flat(&e))?;
        for assignment in overrides {
            apply(&mut table, assignment)?;
        }
        if let Some(key) = not_finite("", &table) {
            return Err(RecipeError::NotFinite { key });
        }
        let recipe: Self = table.try_into().map_err(|e| flat(&e))?;
        recipe.check()?;
        Ok(recipe)
    }

    /// A recipe that ships with the binary.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static str> {
        RECIPES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// The recipe with every key, as TOML.
    ///
    /// # Panics
    /// Never: every field has a TOML form.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every field has a TOML form")
    }

    /// Optimiser steps of all phases.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.head.steps + self.schedule.steps
    }

    fn check(&self) -> Result<(), RecipeError> {
        let value =
            |key, value: &dyn ToString, rule| RecipeError::Value { key, value: value.to_string(), rule };
        let network = self.model.backbone.network();
        if self.model.dim == 0 || self.model.dim > 65_536 {
            return Err(value("model.dim", &self.model.dim, "must be between 1 and 65536"));
        }
        if self.model.frozen > network.blocks.len() {
            return Err(value("model.frozen", &self.model.frozen, "is more blocks than the backbone has"));
        }
        if !(16..=1024).contains(&self.input.size) {
            return Err(value("input.size", &self.input.size, "must be between 16 and 1024 pixels"));
        }
        if self.input.train_size != 0 && !(16..=1024).contains(&self.input.train_size) {
            return Err(value(
                "input.train_size",
                &self.input.train_size,
                "must be 0, or between 16 and 1024 pixels",
            ));
        }
        if self.model.start == Start::Starter && self.model.backbone != Backbone::Lite0 {
            return Err(value("model.start", &"starter", "needs model.backbone = \"efficientnet-lite0\""));
        }
        if self.model.start == Start::Random && self.model.frozen > 0 {
            return Err(value(
                "model.frozen",
                &self.model.frozen,
                "would keep random blocks; use 0 with start = \"random\"",
            ));
        }
        if self.schedule.cached_views > 0 && self.model.frozen == 0 {
            return Err(value(
                "schedule.cached_views",
                &self.schedule.cached_views,
                "needs frozen blocks to cache",
            ));
        }
        if self.steps() == 0 {
            return Err(value("schedule.steps", &0, "must be at least 1 where head.steps is 0"));
        }
        if self.schedule.validate_every == 0 || self.schedule.checkpoint_every == 0 {
            return Err(value("schedule", &"0", "validate_every and checkpoint_every must be at least 1"));
        }
        if self.head.steps > 0 && !(self.head.rate > 0.0 && self.head.rate.is_finite()) {
            return Err(value("head.rate", &self.head.rate, "must be above 0"));
        }
        if self.head.steps > 0 && self.model.start == Start::Random {
            return Err(value(
                "head.steps",
                &self.head.steps,
                "would train a head on random features; use 0",
            ));
        }
        if !(0.0..1.0).contains(&self.schedule.average) {
            return Err(value("schedule.average", &self.schedule.average, "must be at least 0 and below 1"));
        }
        self.check_objective()?;
        if !(self.optimiser.rate > 0.0 && self.optimiser.rate.is_finite()) {
            return Err(value("optimiser.rate", &self.optimiser.rate, "must be above 0"));
        }
        Ok(())
    }

    /// Whether miner, pairs and memory fit the loss.
    fn check_objective(&self) -> Result<(), RecipeError> {
        let (loss, name) = (self.loss.init(), self.loss.name());
        let sees = match loss.sees() {
            Sees::Pairs => "pairs",
            Sees::Triplets => "triplets",
            Sees::Relation => "all pairs and chooses among them itself",
            Sees::Classes => "classes alone",
        };
        if !self.miner.init().keeps().fits(loss.sees()) {
            let fits = |miner: &MinerConfig| miner.init().keeps().fits(loss.sees());
            let fitting: Vec<&str> =
                MinerConfig::every().iter().filter(|m| fits(m)).map(MinerConfig::name).collect();
            let (miner, fitting) = (self.miner.name(), fitting.join(", "));
            return Err(RecipeError::Miner { miner, loss: name, sees, fitting });
        }
        let unseen = |key| Err(RecipeError::Unseen { key, loss: name, sees });
        if loss.sees() == Sees::Classes && self.pairs != PairsConfig::default() {
            return unseen("[pairs]");
        }
        for (key, value) in loss.above_zero() {
            if value <= 0.0 {
                let value = value.to_string();
                return Err(RecipeError::Value { key, value, rule: "must be above 0" });
            }
        }
        let Some(memory) = &self.memory else { return Ok(()) };
        if !loss.compares_batches() {
            return unseen("[memory]");
        }
        if !(1..=MOST_ENTRIES).contains(&memory.size) {
            let value = memory.size.to_string();
            return Err(RecipeError::Value {
                key: "memory.size",
                value,
                rule: "must be between 1 and 4194304",
            });
        }
        Ok(())
    }
}

/// The first key whose value is a float but no number.
fn not_finite(prefix: &str, table: &toml::Table) -> Option<String> {
    table.iter().find_map(|(key, value)| match value {
        toml::Value::Float(v) if !v.is_finite() => Some(format!("{prefix}{key}")),
        toml::Value::Table(table) => not_finite(&format!("{prefix}{key}."), table),
        _ => None,
    })
}

/// Puts `key.sub=value` into the table; a value that is not TOML is taken as a string.
fn apply(table: &mut toml::Table, assignment: &str) -> Result<(), RecipeError> {
    let bad = || RecipeError::Override(assignment.to_owned());
    let (key, value) = assignment.split_once('=').ok_or_else(bad)?;
    let value = value.trim();
    let parsed = format!("v = {value}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("v"));
    let value = parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts.pop().filter(|last| !last.is_empty()).ok_or_else(bad)?;
    let mut at = table;
    for part in parts {
        let next = at.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = next.as_table_mut().ok_or_else(bad)?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(overrides: &[&str]) -> String {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        Recipe::parse(Recipe::named("starter").unwrap(), &overrides).unwrap_err().to_string()
    }

    #[test]
    fn shipped_recipes_survive_printing() {
        for (name, text) in RECIPES {
            let recipe = Recipe::parse(text, &[]).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(Recipe::parse(&recipe.to_toml(), &[]).unwrap(), recipe);
        }
    }

    #[test]
    fn overrides_reach_their_key() {
        let overrides = [
            "schedule.steps=7".to_owned(),
            "loss.margin = 0.3".to_owned(),
            "input.filter=bicubic".to_owned(),
        ];
        let recipe = Recipe::parse(Recipe::named("starter").unwrap(), &overrides).unwrap();
        assert_eq!((recipe.schedule.steps, recipe.input.filter), (7, Filter::Bicubic));
        let LossConfig::Margin(margin) = recipe.loss else { panic!("the starter's loss") };
        assert!((margin.margin - 0.3).abs() < 1e-6);
    }

    #[test]
    fn the_book_describes_every_key() {
        let book = include_str!("../../../book/src/recipes.md");
        for (name, text) in RECIPES {
            assert!(book.contains(&format!("`{name}`")), "{name}");
            let recipe: toml::Table = Recipe::parse(text, &[]).unwrap().to_toml().parse().unwrap();
            for (section, keys) in recipe {
                let from = book.find(&format!("## `[{section}]`"));
                let section_text = &book[from.unwrap_or_else(|| panic!("{name}: [{section}]"))..];
                let section_text = section_text[2..].split("\n## ").next().unwrap();
                for (key, value) in keys.as_table().unwrap() {
                    let written = match key.as_str() {
                        "name" => format!("`name = {value}`"),
                        _ => format!("`{key}`"),
                    };
                    assert!(section_text.contains(&written), "{name}: {section}.{key}");
                }
            }
        }
    }

    /// Every loss, miner and sampler with every setting, used by a recipe or not.
    #[test]
    fn the_book_describes_every_choice() {
        let book = include_str!("../../../book/src/recipes.md");
        let losses = LossConfig::every().into_iter().map(|c| toml::Table::try_from(c).unwrap());
        let miners = MinerConfig::every().into_iter().map(|c| toml::Table::try_from(c).unwrap());
        let samplers = SamplerConfig::every().into_iter().map(|c| toml::Table::try_from(c).unwrap());
        for table in losses.chain(miners).chain(samplers) {
            let name = table["name"].as_str().unwrap();
            let from = book.find(&format!("`name = \"{name}\"`")).unwrap_or_else(|| panic!("{name}"));
            for key in table.keys().filter(|key| *key != "name") {
                // What several samplers share stands before them.
                let text = if table.contains_key("images") { book } else { &book[from..] };
                assert!(text.contains(&format!("`{key}`")), "{name}: {key}");
            }
        }
        let memory = toml::Table::try_from(CrossBatchConfig::default()).unwrap();
        assert!(memory.keys().all(|key| book.contains(&format!("`{key}`"))));
    }

    #[test]
    fn what_does_not_fit_the_loss_is_refused() {
        for loss in LossConfig::every() {
            for miner in MinerConfig::every() {
                let overrides = [
                    format!("loss={{name=\"{}\"}}", loss.name()),
                    format!("miner={{name=\"{}\"}}", miner.name()),
                ];
                let overrides: Vec<String> = overrides.into_iter().chain(["pairs={}".to_owned()]).collect();
                let parsed = Recipe::parse(Recipe::named("starter").unwrap(), &overrides);
                let fits = miner.init().keeps().fits(loss.init().sees());
                assert_eq!(parsed.is_ok(), fits, "{overrides:?}");
                if let Err(error) = parsed {
                    let error = error.to_string();
                    assert!(error.contains(miner.name()) && error.contains(loss.name()), "{error}");
                    assert!(error.contains("of the miners all") && !error.contains('\n'), "{error}");
                }
            }
        }
        let of = |name: &str, overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
            Recipe::parse(Recipe::named(name).unwrap(), &overrides).unwrap_err().to_string()
        };
        assert!(of("arcface", &["pairs.cross_family=true"]).contains("[pairs] does not fit"));
        assert!(of("arcface", &["memory.size=8"]).contains("[memory] does not fit"));
        assert!(of("batch_hard", &["memory.size=8"]).contains("[memory] does not fit"));
        assert!(of("cross_batch", &["memory.size=0"]).contains("memory.size = 0"));
        assert!(of("supcon", &["loss.temperature=0"]).contains("loss.temperature = 0 must be above 0"));
        assert!(of("supcon", &["loss.temperature=nan"]).contains("loss.temperature is not a finite number"));
    }

    #[test]
    fn errors_name_the_key_in_one_line() {
        for (override_, word) in [
            ("schedule.stepz=7", "stepz"),
            ("loss.name=\"nothing\"", "nothing"),
            ("model.frozen=99", "model.frozen"),
            ("schedule.validate_every=0", "schedule"),
            ("model.dim=\"many\"", "dim"),
        ] {
            let text = error(&[override_]);
            assert!(text.contains(word) && !text.contains('\n'), "{override_}: {text}");
        }
        assert!(error(&["nonsense"]).contains("key.sub=value"));
    }
}
