//! Looks for what makes measurements lie: leaks between splits, duplicates, broken pictures, lonely classes.

use crate::dataset::{Dataset, Split};
use crate::decode::{Limits, decode};
use crate::pixels::grey;
use crate::{Filter, Image, resize};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Side of the thumbnails by which near duplicates are told from chance, pixels.
const THUMB: u32 = 16;
/// Mean and largest difference of two thumbnails, levels of 255, up to which they are one picture: saving a JPEG
/// again stays below, while two icons that differ in one coloured spot exceed the second.
const MEAN_DIFFERENCE: f64 = 2.0;
const MAX_DIFFERENCE: u8 = 16;
/// Bits in which the perceptual hashes of one picture saved twice may differ.
const MAX_BITS: u32 = 3;
/// The hash is cut into one part more than bits may differ, so that two near hashes always share a part.
const PARTS: u32 = MAX_BITS + 1;
/// Pictures sharing a part that each is compared to, nearest in brightness first: keeps a thousand blank pictures
/// from a million comparisons.
const NEIGHBOURS: usize = 200;

/// Pictures and classes of one split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCount {
    /// Which.
    pub split: Split,
    /// Its pictures.
    pub pictures: usize,
    /// Classes among them.
    pub classes: usize,
}

/// A picture that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Its path in the manifest.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Pictures whose files are the same byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicates {
    /// Their paths, in item order; at least two.
    pub paths: Vec<String>,
    /// Their classes, without repeats.
    pub classes: Vec<String>,
    /// Their splits, without repeats.
    pub splits: Vec<Split>,
}

/// Two files that show one picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearDuplicate {
    /// Path of the first, in item order.
    pub first: String,
    /// Path of the second.
    pub second: String,
    /// Splits of the first and the second.
    pub splits: [Split; 2],
    /// Mean difference of their 16 x 16 thumbnails, levels of 255.
    pub difference: f64,
}

/// Something of a training set that is in a test set too: numbers measured over it are void.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Leak {
    /// A class in more than one split.
    Class {
        /// Its name.
        class: String,
        /// The splits.
        splits: Vec<Split>,
    },
    /// One file, byte for byte, in more than one split.
    Picture {
        /// Where it lies.
        paths: Vec<String>,
        /// The splits.
        splits: Vec<Split>,
    },
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            |splits: &[Split]| splits.iter().map(|split| split.name()).collect::<Vec<_>>().join(" and ");
        match self {
            Self::Class { class, splits } => write!(f, "class `{class}` is in {}", names(splits)),
            Self::Picture { paths, splits } => {
                write!(f, "one picture is in {}: {}", names(splits), paths.join(", "))
            }
        }
    }
}

/// What [`check`] found. Lists are in item or name order, so the same data gives the same report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataReport {
    /// [`Dataset::name`].
    pub name: String,
    /// Pictures in all.
    pub pictures: usize,
    /// Splits with at least one picture, in order of use.
    pub splits: Vec<SplitCount>,
    /// Whether the source states splits.
    pub has_splits: bool,
    /// Pictures of each class.
    pub classes: BTreeMap<String, usize>,
    /// Pictures of each camera; those without one are not counted.
    pub cameras: BTreeMap<String, usize>,
    /// Classes with one picture: as a query it has no right answer.
    pub lonely: Vec<String>,
    /// Files of other kinds passed over in a folder.
    pub ignored: usize,
    /// Pictures that cannot be read or decoded, or changed since the manifest was written.
    pub unreadable: Vec<Unreadable>,
    /// Byte-identical files.
    pub duplicates: Vec<Duplicates>,
    /// Different files that show one picture.
    pub near_duplicates: Vec<NearDuplicate>,
    /// Classes in more than one split.
    shared_classes: Vec<Leak>,
}

impl DataReport {
    /// What is fatal for an evaluation: classes in two splits, then byte-identical files in two splits.
    #[must_use]
    pub fn leaks(&self) -> Vec<Leak> {
        let pictures = self.duplicates.iter().filter(|same| same.splits.len() > 1);
        let pictures =
            pictures.map(|same| Leak::Picture { paths: same.paths.clone(), splits: same.splits.clone() });
        self.shared_classes.iter().cloned().chain(pictures).collect()
    }

    /// Whether nothing leaks and every picture can be read.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.unreadable.is_empty() && self.leaks().is_empty()
    }

    /// What is worth a look, one line each: near duplicates in two splits, one picture under two classes, classes of
    /// one picture, files passed over, no splits.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for near in self.near_duplicates.iter().filter(|near| near.splits[0] != near.splits[1]) {
            let [a, b] = near.splits;
            lines.push(format!("{} ({a}) and {} ({b}) look the same", near.first, near.second));
        }
        for same in self.duplicates.iter().filter(|same| same.classes.len() > 1) {
            lines.push(format!(
                "one picture has the classes {}: {}",
                same.classes.join(", "),
                same.paths.join(", ")
            ));
        }
        if let Some(first) = self.lonely.first() {
            lines.push(format!(
                "{} classes have one picture, such as `{first}`; it has no right answer",
                self.lonely.len()
            ));
        }
        if self.ignored > 0 {
            lines.push(format!("{} files are not pictures and were passed over", self.ignored));
        }
        if !self.has_splits {
            lines.push("no splits are stated; import the data to split it by class".to_owned());
        }
        lines
    }
}

/// What is kept of a picture: under 1 KiB, so memory stays bounded by the manifest's.
struct Look {
    hash: blake3::Hash,
    gradient: u64,
    thumb: Vec<u8>,
}

impl Look {
    fn brightness(&self) -> u64 {
        self.thumb.iter().map(|&value| u64::from(value)).sum()
    }
}

/// Reads every picture once and reports. `progress` is called with (pictures done, pictures in all), from several
/// threads. Runs on the caller's rayon pool; the report does not depend on the number of threads.
#[must_use]
pub fn check(dataset: &Dataset, progress: &(dyn Fn(usize, usize) + Sync)) -> DataReport {
    let done = AtomicUsize::new(0);
    let looks: Vec<Result<Look, String>> = (0..dataset.len())
        .into_par_iter()
        .map(|item| {
            let look = look(dataset, item);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, dataset.len());
            look
        })
        .collect();
    let classes = count(dataset.items.iter().map(|item| dataset.classes[item.label as usize].as_str()));
    let unreadable = looks.iter().zip(&dataset.items).filter_map(|(look, item)| {
        look.as_ref().err().map(|reason| Unreadable { path: item.path.clone(), reason: reason.clone() })
    });
    DataReport {
        name: dataset.name.clone(),
        pictures: dataset.len(),
        splits: splits(dataset),
        has_splits: dataset.has_splits,
        lonely: classes.iter().filter(|(_, count)| **count == 1).map(|(class, _)| class.clone()).collect(),
        classes,
        cameras: count(dataset.items.iter().filter_map(|item| item.camera.as_deref())),
        ignored: dataset.ignored,
        unreadable: unreadable.collect(),
        duplicates: duplicates(dataset, &looks),
        near_duplicates: near_duplicates(dataset, &looks),
        shared_classes: shared_classes(dataset),
    }
}

fn look(dataset: &Dataset, item: usize) -> Result<Look, String> {
    let bytes = dataset.bytes(item).map_err(|err| err.to_string())?;
    let image = decode(&bytes, [255; 3], &Limits::default()).map_err(|err| err.to_string())?;
    let thumb = resize(&image, THUMB, THUMB, Filter::Bilinear).pixels;
    Ok(Look { hash: blake3::hash(&bytes), gradient: gradient(&image), thumb })
}

/// The 64-bit difference hash: of the 9 x 8 grey picture, whether each pixel is darker than its right neighbour.
fn gradient(image: &Image) -> u64 {
    let small = resize(image, 9, 8, Filter::Bilinear);
    let values: Vec<u8> = small.pixels.chunks_exact(3).map(|p| grey([p[0], p[1], p[2]])).collect();
    let pairs = values.chunks_exact(9).flat_map(|row| row.windows(2));
    pairs.fold(0, |hash, pair| hash << 1 | u64::from(pair[0] < pair[1]))
}

fn count<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        if let Some(count) = counts.get_mut(name) {
            *count += 1;
        } else {
            counts.insert(name.to_owned(), 1);
        }
    }
    counts
}

fn splits(dataset: &Dataset) -> Vec<SplitCount> {
    let counted = Split::ALL.map(|split| {
        let items = dataset.of(split);
        let classes: BTreeSet<u32> = items.iter().map(|&item| dataset.items[item].label).collect();
        SplitCount { split, pictures: items.len(), classes: classes.len() }
    });
    counted.into_iter().filter(|count| count.pictures > 0).collect()
}

fn shared_classes(dataset: &Dataset) -> Vec<Leak> {
    let mut splits: BTreeMap<u32, BTreeSet<Split>> = BTreeMap::new();
    for item in &dataset.items {
        splits.entry(item.label).or_default().insert(item.split);
    }
    let shared = splits.into_iter().filter(|(_, splits)| splits.len() > 1);
    shared
        .map(|(label, splits)| Leak::Class {
            class: dataset.classes[label as usize].clone(),
            splits: splits.into_iter().collect(),
        })
        .collect()
}

/// Positions of readable pictures that share a key, first come first; only lists of two or more.
fn sharing<K: std::hash::Hash + Eq>(
    looks: &[Result<Look, String>],
    key: impl Fn(&Look) -> K,
) -> Vec<Vec<usize>> {
    let mut lists: HashMap<K, Vec<usize>> = HashMap::new();
    for (item, look) in looks.iter().enumerate() {
        if let Ok(look) = look {
            lists.entry(key(look)).or_default().push(item);
        }
    }
    let mut lists: Vec<Vec<usize>> = lists.into_values().filter(|list| list.len() > 1).collect();
    lists.sort_unstable();
    lists
}

fn duplicates(dataset: &Dataset, looks: &[Result<Look, String>]) -> Vec<Duplicates> {
    let lists = sharing(looks, |look| look.hash);
    let describe = |list: Vec<usize>| {
        let items = || list.iter().map(|&item| &dataset.items[item]);
        let labels: BTreeSet<u32> = items().map(|item| item.label).collect();
        let splits: BTreeSet<Split> = items().map(|item| item.split).collect();
        Duplicates {
            paths: items().map(|item| item.path.clone()).collect(),
            classes: labels.into_iter().map(|label| dataset.classes[label as usize].clone()).collect(),
            splits: splits.into_iter().collect(),
        }
    };
    lists.into_iter().map(describe).collect()
}

fn near_duplicates(dataset: &Dataset, looks: &[Result<Look, String>]) -> Vec<NearDuplicate> {
    let mut pairs: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    for part in 0..PARTS {
        let width = u64::BITS / PARTS;
        let lists = sharing(looks, |look| look.gradient >> (part * width) & ((1 << width) - 1));
        let found = lists.into_par_iter().flat_map_iter(|list| near_pairs(&list, looks));
        pairs.extend(found.collect::<Vec<_>>());
    }
    let describe = |((first, second), difference): ((usize, usize), f64)| {
        let (first, second) = (&dataset.items[first], &dataset.items[second]);
        NearDuplicate {
            first: first.path.clone(),
            second: second.path.clone(),
            splits: [first.split, second.split],
            difference,
        }
    };
    pairs.into_iter().map(describe).collect()
}

/// Pairs of `list` (in item order) that show one picture, with their difference.
fn near_pairs(list: &[usize], looks: &[Result<Look, String>]) -> Vec<((usize, usize), f64)> {
    let mut members: Vec<(u64, usize, &Look)> = list
        .iter()
        .filter_map(|&item| looks[item].as_ref().ok().map(|look| (look.brightness(), item, look)))
        .collect();
    members.sort_unstable_by_key(|&(brightness, item, _)| (brightness, item));
    let mut pairs = Vec::new();
    for (at, &(_, a, first)) in members.iter().enumerate() {
        for &(_, b, second) in members[at + 1..].iter().take(NEIGHBOURS) {
            let near =
                (first.gradient ^ second.gradient).count_ones() <= MAX_BITS && first.hash != second.hash;
            if let Some(difference) = near.then(|| difference(&first.thumb, &second.thumb)).flatten() {
                pairs.push(((a.min(b), a.max(b)), difference));
            }
        }
    }
    pairs
}

/// The mean difference of two thumbnails that show one picture, none when they do not.
fn difference(a: &[u8], b: &[u8]) -> Option<f64> {
    let differences = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    let mean = differences().map(f64::from).sum::<f64>() / a.len() as f64;
    let most = differences().max().unwrap_or(0);
    (mean <= MEAN_DIFFERENCE && most <= MAX_DIFFERENCE).then_some(mean)
}
