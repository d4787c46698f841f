//! Indexes that grow: what was added is found, what was removed is not, whatever came before.

mod common;
#[path = "../../../fuzz/seal.rs"]
mod seal;

use common::{built, clustered, provenance};
use data::{Hit, Hits, Id, Metric, Rows};
use deepembed_index::{
    Effort, Filter, GrowError, Index, Latest, Provenance, Request, Within, Writer, merge, open, save, verify,
};
use kernels::SplitMix64;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

const DIM: usize = 6;
/// Ids that histories use.
const IDS: u64 = 400;

type Oracle = BTreeMap<Id, Vec<f32>>;

fn some(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn quiet(_: usize, _: usize) {}

/// A different row for each seed.
fn row(seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    (0..DIM).map(|_| random.unit() as f32 * 4.0 - 2.0).collect()
}

fn rows(ids: &[Id], round: u64) -> Vec<f32> {
    ids.iter().flat_map(|&id| row(id + 1_000_003 * round)).collect()
}

/// A file of `n` rows with ids from 0 on, and what it holds.
fn started(folder: &TempDir, spec: &str, n: u64) -> (PathBuf, Oracle) {
    let ids: Vec<Id> = (0..n).collect();
    let values = rows(&ids, 0);
    let index = built(spec, Rows::new(&values, DIM).unwrap(), Metric::L2, 5);
    let path = folder.path().join("index");
    let plain = Provenance { model: None, ..provenance(DIM) };
    save(&path, &*index, &plain, b"payload").unwrap();
    (path, ids.into_iter().zip(values.chunks(DIM).map(<[f32]>::to_vec)).collect())
}

fn search(index: &dyn Index, query: &[f32], k: usize, filter: Filter<'_>, effort: Effort) -> Vec<Hit> {
    let mut hits = Hits::default();
    let request = Request { k: some(k), filter, effort };
    index.search(Rows::new(query, DIM).unwrap(), &request, &mut hits).unwrap();
    hits.of(0).to_vec()
}

/// The nearest rows of the oracle that pass, as an exact index finds them.
fn truth(oracle: &Oracle, query: &[f32], k: usize, passes: impl Fn(Id) -> bool) -> Vec<Hit> {
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
fn widest(index: &dyn Index) -> Effort {
    let Effort { beam, probes, rerank } = index.effort();
    let most = |knob: Option<NonZeroUsize>| knob.and(Some(some(10_000)));
    Effort { beam: most(beam), probes: most(probes), rerank: most(rerank) }
}

/// Asks for rows near some that live, some that were removed, and some that never were.
fn check(index: &dyn Index, oracle: &Oracle, exact: bool, round: u64) {
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

#[derive(Clone, Debug)]
enum Step {
    Add(u64, u64),
    Update(u64, u64),
    Remove(u64, u64),
    Commit,
    Discard,
    Compact,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let span = || (0..IDS, prop_oneof![4 => 1u64..12, 1 => 12u64..150]);
    prop_oneof![
        3 => span().prop_map(|(first, n)| Step::Add(first, n)),
        3 => span().prop_map(|(first, n)| Step::Update(first, n)),
        3 => span().prop_map(|(first, n)| Step::Remove(first, n)),
        4 => Just(Step::Commit),
        1 => Just(Step::Discard),
        1 => Just(Step::Compact),
        2 => Just(Step::Reopen),
    ]
}

/// Lives through a history beside its oracle.
fn live_through(spec: &str, exact: bool, steps: &[Step]) {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut committed) = started(&folder, spec, 40);
    let mut pending = committed.clone();
    let mut writer = Writer::open(&path).unwrap();
    for (step, round) in steps.iter().zip(1..) {
        match *step {
            Step::Add(first, n) => {
                let ids: Vec<Id> = (first..(first + n).min(IDS)).collect();
                let values = rows(&ids, round);
                let added = writer.add(&ids, Rows::new(&values, DIM).unwrap());
                match ids.iter().find(|id| pending.contains_key(id)) {
                    Some(clash) => assert!(matches!(added, Err(GrowError::Exists { id }) if id == *clash)),
                    None => {
                        added.unwrap();
                        pending.extend(ids.iter().copied().zip(values.chunks(DIM).map(<[f32]>::to_vec)));
                    }
                }
            }
            Step::Update(first, n) => {
                let ids: Vec<Id> = (first..(first + n).min(IDS)).collect();
                let values = rows(&ids, round);
                let replaced = writer.update(&ids, Rows::new(&values, DIM).unwrap()).unwrap();
                assert_eq!(replaced, ids.iter().filter(|id| pending.contains_key(id)).count());
                pending.extend(ids.iter().copied().zip(values.chunks(DIM).map(<[f32]>::to_vec)));
            }
            Step::Remove(first, n) => {
                let ids: Vec<Id> = (first..(first + n).min(IDS)).collect();
                let unknown: Vec<Id> =
                    ids.iter().copied().filter(|id| pending.remove(id).is_none()).collect();
                assert_eq!(writer.remove(&ids), unknown);
            }
            Step::Commit => {
                assert_eq!(writer.commit(&quiet).unwrap().rows, pending.len());
                committed = pending.clone();
            }
            Step::Discard => {
                writer.discard();
                pending = committed.clone();
            }
            Step::Compact => {
                let done = writer.compact(&quiet).unwrap();
                assert_eq!((done.rows, done.generation), (pending.len(), 1));
                committed = pending.clone();
            }
            Step::Reopen => {
                drop(writer);
                verify(&path).unwrap();
                writer = Writer::open(&path).unwrap();
                pending = committed.clone();
            }
        }
        check(&*writer.reader().index, &committed, exact, round);
    }
    check(&*open(&path).unwrap().index, &committed, exact, 99);
    assert_eq!(open(&path).unwrap().payload().unwrap(), b"payload");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn an_exact_index_is_what_its_history_says(steps in prop::collection::vec(step(), 1..30)) {
        live_through("Flat", true, &steps);
    }

    #[test]
    fn nothing_removed_is_found_and_nothing_added_is_missed(
        spec in prop::sample::select(vec!["HNSW16", "IVF8,Flat", "SymQG32", "IVF4,SQ8", "NSG16,SQ8,Refine(Flat)", "SQ8"]),
        steps in prop::collection::vec(step(), 1..20),
    ) {
        live_through(spec, false, &steps);
    }
}

/// Commits batches of growing and shrinking size; gives the sizes of the last segments.
fn grown(path: &Path, oracle: &mut Oracle, batches: &[u64]) -> Vec<(String, usize)> {
    let mut writer = Writer::open(path).unwrap();
    for &n in batches {
        let first = oracle.keys().next_back().map_or(0, |id| id + 1);
        let ids: Vec<Id> = (first..first + n).collect();
        let values = rows(&ids, 0);
        writer.add(&ids, Rows::new(&values, DIM).unwrap()).unwrap();
        writer.commit(&quiet).unwrap();
        oracle.extend(ids.into_iter().zip(values.chunks(DIM).map(<[f32]>::to_vec)));
    }
    let segments = writer.committed().segments;
    segments.into_iter().map(|segment| (segment.spec, segment.live)).collect()
}

#[test]
fn large_segments_are_of_the_spec_and_small_ones_are_scanned() {
    for spec in ["HNSW16", "IVF16,Flat", "SymQG32", "IVF8,SQ8,Refine(Flat)", "IVF16,SQ8", "Vamana24_a1.2"] {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut oracle) = started(&folder, spec, 3000);
        let segments = grown(&path, &mut oracle, &[200, 1300, 100, 60, 1400, 10]);
        let codes = spec == "IVF16,SQ8";
        let want: &[(&str, usize)] =
            if codes { &[(spec, 3000), (spec, 3060), ("Flat", 10)] } else { &[(spec, 6060), ("Flat", 10)] };
        assert_eq!(segments.iter().map(|(spec, n)| (spec.as_str(), *n)).collect::<Vec<_>>(), want);
        let mut writer = Writer::open(&path).unwrap();
        let gone: Vec<Id> = (0..6070).filter(|id| id % 5 == 0).collect();
        assert!(writer.remove(&gone).is_empty());
        writer.commit(&quiet).unwrap();
        oracle.retain(|id, _| id % 5 != 0);
        let found = |index: &dyn Index| {
            let (mut right, mut all) = (0, 0);
            for seed in 0..60 {
                let query = row(77_000 + seed);
                let hits = search(index, &query, 10, Filter::All, Effort::default());
                assert!(hits.iter().all(|hit| oracle.contains_key(&hit.id)) && hits.len() == 10);
                let truth = truth(&oracle, &query, 10, |_| true);
                right += hits.iter().filter(|hit| truth.iter().any(|want| want.id == hit.id)).count();
                all += truth.len();
            }
            right as f64 / all as f64
        };
        // Lists that are not visited and codes lose some.
        let least = if spec.starts_with("IVF") { 0.85 } else { 0.97 };
        let got = found(&*writer.reader().index);
        assert!(got >= least, "{spec}: {got}");
        writer.compact(&quiet).unwrap();
        let got = found(&*writer.reader().index);
        assert!(got >= least, "{spec}, compact: {got}");
        assert_eq!(writer.committed().segments.len(), if codes { 2 } else { 1 });
        drop(writer);
        verify(&path).unwrap();
    }
}

/// The share of the true ten nearest that an index finds with its own effort.
fn recall(index: &dyn Index, oracle: &Oracle) -> f64 {
    let (mut right, mut all) = (0, 0);
    for seed in 0..150 {
        let query = row(55_000 + seed);
        let hits = search(index, &query, 10, Filter::All, Effort::default());
        let truth = truth(oracle, &query, 10, |_| true);
        right += truth.iter().filter(|want| hits.iter().any(|hit| hit.id == want.id)).count();
        all += truth.len();
    }
    right as f64 / all as f64
}

#[test]
fn a_graph_that_goes_on_is_as_good_as_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut oracle) = started(&folder, "HNSW8_efc100", 3000);
    let mut writer = Writer::open(&path).unwrap();
    let mut random = SplitMix64::new(3);
    let mut folds = 0;
    for round in 1..=12 {
        // Each round a fifth of the rows goes and as many come, half of them under ids that there were.
        let known: Vec<Id> = oracle.keys().copied().collect();
        let gone: Vec<Id> = (0..600).map(|_| known[random.below(known.len())]).collect();
        writer.remove(&gone);
        gone.iter().for_each(|id| drop(oracle.remove(id)));
        let ids: Vec<Id> = (0..300).map(|i| gone[i]).chain((0..400).map(|i| 10_000 * round + i)).collect();
        let ids: Vec<Id> = ids.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        let values = rows(&ids, round);
        writer.update(&ids, Rows::new(&values, DIM).unwrap()).unwrap();
        oracle.extend(ids.into_iter().zip(values.chunks(DIM).map(<[f32]>::to_vec)));
        folds += usize::from(writer.commit(&quiet).unwrap().segments.len() == 1);
        check(&*writer.reader().index, &oracle, false, round);
    }
    assert!(folds > 1, "{folds}");
    writer.compact(&quiet).unwrap();
    let reader = writer.reader();
    check(&*reader.index, &oracle, false, 0);
    verify(&path).unwrap();
    let (ids, values): (Vec<Id>, Vec<&Vec<f32>>) = oracle.iter().unzip();
    let values: Vec<f32> = values.into_iter().flatten().copied().collect();
    let anew = built("HNSW8_efc100", Rows::new(&values, DIM).unwrap(), Metric::L2, 5);
    let renamed: Oracle = (0..).zip(values.chunks(DIM).map(<[f32]>::to_vec)).collect();
    let (went_on, new) = (recall(&*reader.index, &oracle), recall(&*anew, &renamed));
    assert!(went_on >= new - 0.01 && new > 0.9 && ids.len() > 2000, "{went_on} {new}");
}

#[test]
fn a_history_gives_the_same_bytes_at_any_thread_count() {
    let bytes = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let folder = tempfile::tempdir().unwrap();
            let (path, mut oracle) = started(&folder, "HNSW8_efc100", 2000);
            grown(&path, &mut oracle, &[300, 1300, 40]);
            let mut writer = Writer::open(&path).unwrap();
            writer.remove(&[5, 1999, 2001]);
            writer.commit(&quiet).unwrap();
            fs::read(&path).unwrap()
        })
    };
    let one = bytes(1);
    assert!(one == bytes(2) && one == bytes(5));
}

#[test]
fn a_compact_index_of_all_positions_is_the_file_that_build_makes() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut oracle) = started(&folder, "IVF8,Flat", 1500);
    grown(&path, &mut oracle, &[10, 20]);
    let mut writer = Writer::open(&path).unwrap();
    writer.remove(&(1200..1530).collect::<Vec<_>>());
    writer.compact(&quiet).unwrap();
    drop(writer);
    assert!(open(&path).unwrap().segments().is_empty());
    let bytes = fs::read(&path).unwrap();
    let (fresh, _) = started(&folder, "IVF8,Flat", 1200);
    assert!(bytes == fs::read(fresh).unwrap());
}

#[test]
fn an_index_may_lose_all_rows_and_get_others() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut oracle) = started(&folder, "HNSW16", 50);
    let mut writer = Writer::open(&path).unwrap();
    assert_eq!(writer.remove(&(0..60).collect::<Vec<_>>()), (50..60).collect::<Vec<_>>());
    assert_eq!(writer.commit(&quiet).unwrap().segments, []);
    let empty = writer.reader();
    assert!(empty.index.is_empty());
    assert_eq!(search(&*empty.index, &row(1), 3, Filter::All, widest(&*empty.index)), []);
    let (mut hits, all) = (Hits::default(), Filter::All);
    let within = Within { radius: 9.0, cap: some(3), filter: all, effort: Effort::default() };
    empty.index.within(Rows::new(&row(1), DIM).unwrap(), &within, &mut hits).unwrap();
    assert!(hits.of(0).is_empty());
    writer.compact(&quiet).unwrap();
    drop(writer);
    verify(&path).unwrap();
    oracle.clear();
    grown(&path, &mut oracle, &[3]);
    check(&*open(&path).unwrap().index, &oracle, true, 3);
}

#[test]
fn rows_within_a_distance_come_from_all_segments() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut oracle) = started(&folder, "HNSW16", 900);
    grown(&path, &mut oracle, &[200, 40]);
    let mut writer = Writer::open(&path).unwrap();
    writer.remove(&(100..200).collect::<Vec<_>>());
    writer.commit(&quiet).unwrap();
    oracle.retain(|id, _| !(100..200).contains(id));
    let reader = writer.reader();
    for seed in 0..20 {
        let query = row(seed);
        let truth = truth(&oracle, &query, 80, |_| true);
        let radius = truth[59].distance;
        let mut hits = Hits::default();
        let effort = widest(&*reader.index);
        let within = Within { radius, cap: some(2000), filter: Filter::All, effort };
        reader.index.within(Rows::new(&query, DIM).unwrap(), &within, &mut hits).unwrap();
        assert_eq!(hits.of(0), &truth[..truth.partition_point(|hit| hit.distance <= radius)]);
    }
}

#[test]
fn space_of_dead_sections_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = started(&folder, "Flat", 2000);
    let mut writer = Writer::open(&path).unwrap();
    let ids: Vec<Id> = (0..1000).collect();
    let mut longest = 0;
    for round in 1..120 {
        let values = rows(&ids, round);
        writer.update(&ids, Rows::new(&values, DIM).unwrap()).unwrap();
        longest = longest.max(writer.commit(&quiet).unwrap().bytes);
        assert_eq!(fs::metadata(&path).unwrap().len(), writer.committed().bytes);
    }
    // Twice 2000 rows of 64 bytes in rewrites, ids and pages, and the slack of a megabyte.
    assert!(longest < 2_000_000, "{longest}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn readers_see_one_commit_at_a_time_while_a_writer_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = started(&folder, "HNSW16", 1500);
    let mut writer = Writer::open(&path).unwrap();
    let latest: Latest = writer.latest();
    let done = AtomicBool::new(false);
    // In round `r` the ids 0..20 hold rows of round `r`, all at once.
    let ids: Vec<Id> = (0..20).collect();
    std::thread::scope(|scope| {
        let reader = || {
            let (mut last, mut searches) = (0, 0);
            loop {
                // Asked before the index is taken: the last one is then the last commit.
                let ended = done.load(Ordering::Acquire) && searches >= 50;
                let opened = latest.now();
                assert!(opened.generation() >= 1);
                let rounds: Vec<usize> = (0..3)
                    .map(|id| {
                        let at: Vec<usize> = (last..41)
                            .filter(|&round| {
                                let hits = search(
                                    &*opened.index,
                                    &rows(&[id], round as u64),
                                    1,
                                    Filter::All,
                                    Effort::default(),
                                );
                                hits[0].id == id && hits[0].distance == 0.0
                            })
                            .collect();
                        assert_eq!(at.len(), 1, "one round has the row of {id}: {at:?}");
                        at[0]
                    })
                    .collect();
                assert!(rounds.windows(2).all(|pair| pair[0] == pair[1]), "{rounds:?}");
                last = rounds[0];
                searches += 1;
                if ended {
                    return last;
                }
            }
        };
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(reader)).collect();
        for round in 1..=40 {
            let values = rows(&ids, round);
            writer.update(&ids, Rows::new(&values, DIM).unwrap()).unwrap();
            if round % 10 == 0 { writer.compact(&quiet) } else { writer.commit(&quiet) }.unwrap();
        }
        done.store(true, Ordering::Release);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() == 40));
    });
}

#[test]
fn a_reader_keeps_what_it_took() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut oracle) = started(&folder, "Flat", 60);
    let taken = open(&path).unwrap();
    let before = oracle.clone();
    grown(&path, &mut oracle, &[5, 5]);
    let mut writer = Writer::open(&path).unwrap();
    let kept = writer.reader();
    writer.remove(&[1, 2, 3]);
    writer.compact(&quiet).unwrap();
    check(&*taken.index, &before, true, 1);
    check(&*kept.index, &oracle, true, 1);
    assert_eq!(kept.payload().unwrap(), b"payload");
}

#[test]
fn refusals_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let (path, oracle) = started(&folder, "Flat", 10);
    let mut writer = Writer::open(&path).unwrap();
    let two = rows(&[1, 2], 7);
    let two = Rows::new(&two, DIM).unwrap();
    let why = |result: Result<(), GrowError>| result.unwrap_err().to_string();
    assert!(why(writer.add(&[20, 9], two)).starts_with("id 9 is in the index already; update it"));
    assert!(why(writer.add(&[20, 20], two)).starts_with("id 20 is given twice"));
    assert!(why(writer.add(&[20], two)).starts_with("there are 1 ids for 2 rows"));
    let short = Rows::new(&[1.0, 2.0], 1).unwrap();
    assert!(why(writer.add(&[20, 21], short)).starts_with("the rows have 1 dimensions, the index has 6"));
    let mut rotten = rows(&[1, 2], 7);
    rotten[DIM] = f32::NAN;
    assert!(
        why(writer.add(&[20, 21], Rows::new(&rotten, DIM).unwrap())).starts_with("the row of id 21 holds")
    );
    // Nothing of it was taken.
    assert!(!writer.contains(20));
    let second = Writer::open(&path).unwrap_err();
    assert!(
        matches!(second, GrowError::InUse { .. }) && second.to_string().contains("index is being written")
    );
    assert_eq!(writer.commit(&quiet).unwrap().generation, 1);
    writer.compact(&quiet).unwrap();
    // The new file in its place is locked too.
    assert!(matches!(Writer::open(&path), Err(GrowError::InUse { .. })));
    drop(writer);
    check(&*Writer::open(&path).unwrap().reader().index, &oracle, true, 1);
    // A file that another program put there is left alone.
    let mut writer = Writer::open(&path).unwrap();
    writer.remove(&[1]);
    let (fresh, other) = started(&folder, "Flat", 25);
    assert_eq!(fresh, path);
    assert!(matches!(writer.commit(&quiet), Err(GrowError::Replaced { .. })));
    check(&*open(&path).unwrap().index, &other, true, 1);
    let missing = Writer::open(&folder.path().join("none")).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read "));
}

#[test]
fn files_of_other_ids_merge() {
    let (one, two, out) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, mut all) = started(&one, "HNSW16", 300);
    let (second, mut oracle) = started(&two, "Flat", 250);
    let target = out.path().join("merged");
    let clash = merge(&[first.clone(), second.clone()], &target).unwrap_err().to_string();
    assert!(clash.contains("cannot be merged with") && clash.contains("id 0 is in both"), "{clash}");
    let mut writer = Writer::open(&second).unwrap();
    writer.remove(&(0..300).collect::<Vec<_>>());
    let ids: Vec<Id> = (300..400).collect();
    let values = rows(&ids, 4);
    writer.add(&ids, Rows::new(&values, DIM).unwrap()).unwrap();
    writer.commit(&quiet).unwrap();
    drop(writer);
    oracle.clear();
    all.extend(ids.into_iter().zip(values.chunks(DIM).map(<[f32]>::to_vec)));
    assert_eq!(merge(&[first.clone(), second], &target).unwrap(), 400);
    verify(&target).unwrap();
    let merged = open(&target).unwrap();
    check(&*merged.index, &all, false, 1);
    assert_eq!(
        (merged.segments().len(), merged.id_bound(), merged.payload().unwrap()),
        (2, 400, &b"payload"[..])
    );
    let other = clustered(30, DIM + 1, 3, 1);
    let other = built("Flat", Rows::new(&other, DIM + 1).unwrap(), Metric::L2, 5);
    let path = out.path().join("other");
    save(&path, &*other, &Provenance { model: None, ..provenance(DIM) }, b"").unwrap();
    let refused = merge(&[first, path], &target).unwrap_err().to_string();
    assert!(refused.ends_with("it has rows of 7 dimensions, not 6"), "{refused}");
}

/// A file of three segments, some rows of which are removed, after several commits.
fn ragged(folder: &TempDir, spec: &str) -> (PathBuf, Vec<u8>) {
    let (path, mut oracle) = started(folder, spec, 300);
    grown(&path, &mut oracle, &[100, 20]);
    let mut writer = Writer::open(&path).unwrap();
    writer.remove(&[3, 250, 310, 401]);
    writer.commit(&quiet).unwrap();
    drop(writer);
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

/// What a file answers; every way to read it may fail and none may panic.
fn answers(path: &Path) -> Result<Vec<Hit>, deepembed_index::OpenError> {
    let opened = open(path)?;
    let mut hits = search(&*opened.index, &row(5), 20, Filter::All, Effort::default());
    hits.extend(search(&*opened.index, &row(6), 20, Filter::When(&|id| id % 2 == 0), Effort::default()));
    opened.payload()?;
    Ok(hits)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_flipped_byte_of_a_grown_file_goes_unnoticed_or_matters(
        spec in prop::sample::select(vec!["Flat", "HNSW8_efc100", "IVF8,SQ8", "SymQG32"]),
        places in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 12), head: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (path, whole) = ragged(&folder, spec);
        let right = answers(&path).unwrap();
        for (at, bits) in places {
            let mut bytes = whole.clone();
            let at = at.index(if head { 2 * 4096 } else { bytes.len() });
            bytes[at] ^= bits;
            fs::write(&path, &bytes).unwrap();
            let found = answers(&path);
            if verify(&path).is_ok() {
                // A section that no commit names any more, or the copy of a superblock.
                prop_assert_eq!(found.unwrap(), right.clone(), "byte {}", at);
            } else if head {
                prop_assert!(found.is_err() || found.unwrap() == right, "byte {}", at);
            }
            let _ = Writer::open(&path).map(|mut writer| writer.compact(&quiet).map(drop));
        }
    }

    #[test]
    fn a_grown_file_that_was_cut_is_noticed(at: prop::sample::Index) {
        let folder = tempfile::tempdir().unwrap();
        let (path, whole) = ragged(&folder, "Flat");
        fs::write(&path, &whole[..at.index(whole.len())]).unwrap();
        prop_assert!(open(&path).is_err() && Writer::open(&path).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Rubbish under hashes that match, as a hostile writer would make it.
    #[test]
    fn rubbish_that_is_sealed_does_no_harm(
        spec in prop::sample::select(vec!["Flat", "HNSW8_efc100", "IVF8,SQ8", "SymQG32"]), grow: bool,
        places in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..5),
        words in prop::collection::vec(prop_oneof![any::<u32>(), 0u32..2000], 0..40), at: prop::sample::Index,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut bytes) = ragged(&folder, spec);
        if !grow {
            bytes = fs::read(started(&folder, spec, 300).0).unwrap();
        }
        for (place, bits) in places {
            // The head, a table or a directory, or any byte.
            let pages = bytes.len() / 4096;
            let at = place.index(6 * pages);
            let at = match at % 3 {
                0 => at / 6 * 4096 + at % 64,
                1 => at % 2 * 4096 + place.index(1300),
                _ => place.index(bytes.len()),
            };
            bytes[at] ^= bits;
        }
        let start = at.index(bytes.len() / 4096) * 4096;
        for (slot, word) in bytes[start..].chunks_exact_mut(4).zip(&words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        seal::seal(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let _ = verify(&path);
        if open(&path).is_ok_and(|opened| opened.index.dim() == DIM) {
            let _ = answers(&path);
            if let Ok(mut writer) = Writer::open(&path) {
                writer.remove(&[0, 2, u64::MAX]);
                writer.update(&[1], Rows::new(&row(1), DIM).unwrap()).unwrap();
                let _ = writer.commit(&quiet);
                let _ = writer.compact(&quiet);
                let _ = answers(&path);
            }
        }
    }
}

/// A file that grew when files first could: it opens for ever, and the same history still gives its bytes.
/// `GOLDEN=write cargo test` records it anew, which only a new format may need.
#[test]
fn the_first_files_that_grew_still_open() {
    let folder = tempfile::tempdir().unwrap();
    let (fresh, mut oracle) = started(&folder, "HNSW4_efc20", 60);
    grown(&fresh, &mut oracle, &[9]);
    let mut writer = Writer::open(&fresh).unwrap();
    writer.remove(&[7, 61]);
    writer.set_payload(b"another".to_vec());
    writer.commit(&quiet).unwrap();
    drop(writer);
    oracle.retain(|id, _| ![7, 61].contains(id));
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format1_grown.idx");
    if std::env::var("GOLDEN").is_ok_and(|value| value == "write") {
        fs::copy(&fresh, &old).unwrap();
    }
    verify(&old).unwrap();
    let opened = open(&old).unwrap();
    check(&*opened.index, &oracle, true, 1);
    assert_eq!((opened.generation(), opened.payload().unwrap()), (3, &b"another"[..]));
    assert!(fs::read(&old).unwrap() == fs::read(&fresh).unwrap());
}
