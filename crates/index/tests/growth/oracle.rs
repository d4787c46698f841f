//! What a history of changes must leave, beside the index that lived through it.

pub use crate::common::{built, provenance};
use data::{Hit, Hits, Id, Metric, Rows};
use deepembed_index::{Effort, Filter, Index, Provenance, Request, Watch, Writer, save};
use kernels::SplitMix64;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub const DIM: usize = 6;
/// Ids that histories use.
pub const IDS: u64 = 400;

pub type Oracle = BTreeMap<Id, Vec<f32>>;

pub fn some(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

/// A different row for each seed.
pub fn row(seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    (0..DIM).map(|_| random.unit() as f32 * 4.0 - 2.0).collect()
}

pub fn rows(ids: &[Id], round: u64) -> Vec<f32> {
    ids.iter().flat_map(|&id| row(id + 1_000_003 * round)).collect()
}

/// A file of `n` rows with ids from 0 on, and what it holds.
pub fn started(folder: &TempDir, spec: &str, n: u64) -> (PathBuf, Oracle) {
    let ids: Vec<Id> = (0..n).collect();
    let values = rows(&ids, 0);
    let index = built(spec, Rows::new(&values, DIM).unwrap(), Metric::L2, 5);
    let path = folder.path().join("index");
    let plain = Provenance { model: None, ..provenance(DIM) };
    save(&path, &*index, &plain, b"payload").unwrap();
    (path, ids.into_iter().zip(values.chunks(DIM).map(<[f32]>::to_vec)).collect())
}

pub fn search(index: &dyn Index, query: &[f32], k: usize, filter: Filter<'_>, effort: Effort) -> Vec<Hit> {
    let mut hits = Hits::default();
    let request = Request { k: some(k), filter, effort };
    index.search(Rows::new(query, DIM).unwrap(), &request, &mut hits).unwrap();
    hits.of(0).to_vec()
}

/// The nearest rows of the oracle that pass, as an exact index finds them.
pub fn truth(oracle: &Oracle, query: &[f32], k: usize, passes: impl Fn(Id) -> bool) -> Vec<Hit> {
    let (ids, values): (Vec<Id>, Vec<&Vec<f32>>) = oracle.iter().filter(|(id, _)| passes(**id)).unzip();
    if ids.is_empty() {
        return Vec::new();
    }
    let values: Vec<f32> = values.into_iter().flatten().copied().collect();
    let exact = built("Flat", Rows::new(&values, DIM).unwrap(), Metric::L2, 0);
    let hits = search(&*exact, query, k, Filter::All, Effort::default());
    hits.into_iter().map(|hit| Hit { id: ids[hit.id as usize], ..hit }).collect()
}

/// As hard as can be.
pub fn widest(index: &dyn Index) -> Effort {
    let Effort { beam, probes, rerank } = index.effort();
    let most = |knob: Option<NonZeroUsize>| knob.and(Some(some(10_000)));
    Effort { beam: most(beam), probes: most(probes), rerank: most(rerank) }
}

/// Asks for rows near some that live, some that were removed, and some that never were.
pub fn check(index: &dyn Index, oracle: &Oracle, exact: bool, round: u64) {
    assert_eq!(index.len(), oracle.len());
    let effort = widest(index);
    let mut random = SplitMix64::new(round);
    let mut bits = vec![0u64; 64];
    (0..IDS).filter(|id| id % 3 == round % 3).for_each(|id| bits[id as usize / 64] |= 1 << (id % 64));
    let few: Vec<u32> = (0..IDS as u32).step_by(7).collect();
    let odd = |id: Id| id % 2 == 1;
    for _ in 0..4 {
        let known = oracle.iter().nth(random.below(oracle.len().max(1)));
        let query = known.map_or_else(|| row(round), |(_, row)| row.clone());
        let filters = [Filter::All, Filter::Bitmap(&bits), Filter::Ids(&few), Filter::When(&odd)];
        for filter in filters {
            let hits = search(index, &query, 9, filter, effort);
            assert!(hits.iter().all(|hit| oracle.contains_key(&hit.id) && filter.passes(hit.id)), "{hits:?}");
            if exact {
                assert_eq!(hits, truth(oracle, &query, 9, |id| filter.passes(id)));
            }
        }
        // A row is its own nearest; codes may put another before it.
        if let Some((&id, _)) = known {
            let hits = search(index, &query, 9, Filter::All, effort);
            assert!(hits.iter().any(|hit| hit.id == id), "{id} is not in {hits:?}");
        }
    }
}

/// Commits batches of growing and shrinking size; gives the sizes of the last segments.
pub fn grown(path: &Path, oracle: &mut Oracle, batches: &[u64]) -> Vec<(String, usize)> {
    let mut writer = Writer::open(path).unwrap();
    for &n in batches {
        let first = oracle.keys().next_back().map_or(0, |id| id + 1);
        let ids: Vec<Id> = (first..first + n).collect();
        let values = rows(&ids, 0);
        writer.add(&ids, Rows::new(&values, DIM).unwrap()).unwrap();
        writer.commit(&Watch::none()).unwrap();
        oracle.extend(ids.into_iter().zip(values.chunks(DIM).map(<[f32]>::to_vec)));
    }
    let segments = writer.committed().segments;
    segments.into_iter().map(|segment| (segment.spec, segment.live)).collect()
}
