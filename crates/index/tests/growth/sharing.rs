//! Readers beside a writer, second writers, files beside each other, and the room that all that takes.

use crate::common::clustered;
use crate::oracle::*;
use data::{Id, Metric, Rows};
use deepembed_index::{
    Effort, Filter, GrowError, Latest, Provenance, Watch, Writer, merge, open, save, verify,
};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

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
        longest = longest.max(writer.commit(&Watch::none()).unwrap().bytes);
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
            if round % 10 == 0 { writer.compact(&Watch::none()) } else { writer.commit(&Watch::none()) }
                .unwrap();
        }
        done.store(true, Ordering::Release);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() == 40));
    });
}

#[test]
fn a_file_opens_at_any_moment_of_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = started(&folder, "Flat", 30);
    let mut writer = Writer::open(&path).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Another program would open the file by its name too.
        let reader = scope.spawn(|| {
            let (mut opened, mut last) = (0, 0.0);
            while !done.load(Ordering::Acquire) {
                // Row 7 tells how far the writer is.
                let index = open(&path).unwrap().index;
                let hits = search(&*index, &[0.0; DIM], 1, Filter::Ids(&[7]), Effort::default());
                assert!(hits[0].distance >= last);
                last = hits[0].distance;
                opened += 1;
            }
            opened
        });
        for round in 10..400u16 {
            let mut values = [0.0; DIM];
            values[0] = f32::from(round);
            writer.update(&[7], Rows::new(&values, DIM).unwrap()).unwrap();
            writer.commit(&Watch::none()).unwrap();
        }
        done.store(true, Ordering::Release);
        assert!(reader.join().unwrap() > 10);
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
    writer.compact(&Watch::none()).unwrap();
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
    assert_eq!(writer.commit(&Watch::none()).unwrap().generation, 1);
    writer.compact(&Watch::none()).unwrap();
    // The new file in its place is locked too.
    assert!(matches!(Writer::open(&path), Err(GrowError::InUse { .. })));
    drop(writer);
    check(&*Writer::open(&path).unwrap().reader().index, &oracle, true, 1);
    // A file that another program put there is left alone.
    let mut writer = Writer::open(&path).unwrap();
    writer.remove(&[1]);
    let (fresh, other) = started(&folder, "Flat", 25);
    assert_eq!(fresh, path);
    assert!(matches!(writer.commit(&Watch::none()), Err(GrowError::Replaced { .. })));
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
    writer.commit(&Watch::none()).unwrap();
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
