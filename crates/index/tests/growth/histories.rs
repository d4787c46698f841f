//! Histories: what was added is found, what was removed is not, whatever came before.

use crate::oracle::*;
use data::{Hits, Id, Metric, Rows};
use deepembed_index::{Effort, Filter, GrowError, Index, Watch, Within, Writer, open, verify};
use kernels::SplitMix64;
use proptest::prelude::*;
use std::fs;

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
                assert_eq!(writer.commit(&Watch::none()).unwrap().rows, pending.len());
                committed = pending.clone();
            }
            Step::Discard => {
                writer.discard();
                pending = committed.clone();
            }
            Step::Compact => {
                let done = writer.compact(&Watch::none()).unwrap();
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
        writer.commit(&Watch::none()).unwrap();
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
        writer.compact(&Watch::none()).unwrap();
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
        folds += usize::from(writer.commit(&Watch::none()).unwrap().segments.len() == 1);
        check(&*writer.reader().index, &oracle, false, round);
    }
    assert!(folds > 1, "{folds}");
    writer.compact(&Watch::none()).unwrap();
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
            writer.commit(&Watch::none()).unwrap();
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
    writer.compact(&Watch::none()).unwrap();
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
    assert_eq!(writer.commit(&Watch::none()).unwrap().segments, []);
    let empty = writer.reader();
    assert!(empty.index.is_empty());
    assert_eq!(search(&*empty.index, &row(1), 3, Filter::All, widest(&*empty.index)), []);
    let (mut hits, all) = (Hits::default(), Filter::All);
    let within = Within { radius: 9.0, cap: some(3), filter: all, effort: Effort::default() };
    empty.index.within(Rows::new(&row(1), DIM).unwrap(), &within, &mut hits).unwrap();
    assert!(hits.of(0).is_empty());
    writer.compact(&Watch::none()).unwrap();
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
    writer.commit(&Watch::none()).unwrap();
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
