//! Power cuts and full disks, at every call of a history of commits.
//!
//! A recording disk passes calls on and notes them. Afterwards the calls up to any point are replayed on files in
//! memory that know what was flushed; of what was not, any part may have reached the disk: none, all, a beginning, all
//! but one, half of one. What such a disk holds is written out, opened, and compared with the two commits it lies between.

use super::Writer;
use crate::file::{Disk, System};
use crate::{Effort, Filter, GrowError, Index, Provenance, Request, Watch, build, open, save, verify};
use data::{Hit, Hits, Id, Metric, Rows};
use kernels::SplitMix64;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const DIM: usize = 5;

/// A call to the disk.
#[derive(Clone, Debug)]
enum Call {
    Write { path: PathBuf, start: u64, bytes: Vec<u8> },
    Length { path: PathBuf, length: u64 },
    Sync { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
    SyncFolder,
    Remove { path: PathBuf },
}

/// What a [`Recording`] noted and how it is to fail.
#[derive(Default)]
struct Notes {
    calls: Vec<Call>,
    /// The call that fails, counted from now on, and how.
    fails: Option<(usize, io::ErrorKind)>,
}

/// A disk that notes what is asked of it, and may refuse.
#[derive(Clone, Default)]
struct Recording(Arc<Mutex<Notes>>);

impl Recording {
    /// Whether the next call fails; one that does stays the last that is noted.
    fn next(&self, call: Call) -> io::Result<()> {
        let mut notes = self.0.lock().unwrap();
        match &mut notes.fails {
            Some((0, kind)) => return Err((*kind).into()),
            Some((left, _)) => *left -= 1,
            None => {}
        }
        notes.calls.push(call);
        Ok(())
    }

    fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }

    fn fail(&self, fails: Option<(usize, io::ErrorKind)>) {
        self.0.lock().unwrap().fails = fails;
    }
}

impl Disk for Recording {
    fn write_at(&mut self, path: &Path, start: u64, bytes: &[u8]) -> io::Result<()> {
        let call = Call::Write { path: path.into(), start, bytes: bytes.to_vec() };
        if let Err(error) = self.next(call) {
            // As much as there was room for.
            System.write_at(path, start, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        System.write_at(path, start, bytes)
    }

    fn set_len(&mut self, path: &Path, length: u64) -> io::Result<()> {
        self.next(Call::Length { path: path.into(), length })?;
        System.set_len(path, length)
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        self.next(Call::Sync { path: path.into() })
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.next(Call::Rename { from: from.into(), to: to.into() })?;
        System.rename(from, to)
    }

    fn sync_folder(&mut self, _: &Path) -> io::Result<()> {
        self.next(Call::SyncFolder)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.next(Call::Remove { path: path.into() })?;
        System.remove(path)
    }
}

/// A change of a file that was not flushed.
#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(start, new) => {
                bytes.resize(bytes.len().max(start + new.len()), 0);
                bytes[*start..start + new.len()].copy_from_slice(new);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }

    fn half(&self, second: bool) -> Self {
        match self {
            Self::Write(start, new) if second => {
                Self::Write(start + new.len() / 2, new[new.len() / 2..].into())
            }
            Self::Write(start, new) => Self::Write(*start, new[..new.len() / 2].into()),
            Self::Length(length) => Self::Length(*length),
        }
    }
}

#[derive(Clone, Default)]
struct File {
    flushed: Vec<u8>,
    changes: Vec<Change>,
}

impl File {
    /// All that a power cut may leave.
    fn outcomes(&self) -> Vec<Vec<u8>> {
        let after = |changes: &[Change]| {
            let mut bytes = self.flushed.clone();
            changes.iter().for_each(|change| change.apply(&mut bytes));
            bytes
        };
        let n = self.changes.len();
        let mut outcomes: Vec<_> = (0..=n).map(|end| after(&self.changes[..end])).collect();
        for lost in 0..n {
            let mut changes = self.changes.clone();
            changes.remove(lost);
            outcomes.push(after(&changes));
            for second in [false, true] {
                let mut changes = self.changes.clone();
                changes[lost] = changes[lost].half(second);
                outcomes.push(after(&changes));
                outcomes.push(after(&changes[..=lost]));
            }
        }
        outcomes.sort();
        outcomes.dedup();
        outcomes
    }
}

/// A folder whose files know what was flushed.
#[derive(Clone, Default)]
struct Folder {
    files: Vec<File>,
    names: BTreeMap<PathBuf, usize>,
    flushed: BTreeMap<PathBuf, usize>,
}

impl Folder {
    fn with(path: &Path, bytes: Vec<u8>) -> Self {
        let names = BTreeMap::from([(path.to_path_buf(), 0)]);
        Self { files: vec![File { flushed: bytes, changes: Vec::new() }], flushed: names.clone(), names }
    }

    fn apply(&mut self, call: &Call) {
        match call {
            Call::Write { path, start, bytes } => {
                let file = self.names[path];
                self.files[file].changes.push(Change::Write(*start as usize, bytes.clone()));
            }
            Call::Length { path, length } => {
                let file = *self.names.entry(path.clone()).or_insert(self.files.len());
                if file == self.files.len() {
                    self.files.push(File::default());
                }
                self.files[file].changes.push(Change::Length(*length as usize));
            }
            Call::Sync { path } => {
                let file = &mut self.files[self.names[path]];
                let changes = std::mem::take(&mut file.changes);
                changes.iter().for_each(|change| change.apply(&mut file.flushed));
            }
            Call::Rename { from, to } => {
                let file = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), file);
            }
            Call::SyncFolder => self.flushed.clone_from(&self.names),
            Call::Remove { path } => {
                self.names.remove(path);
            }
        }
    }

    /// The bytes that may be at `path` after a power cut.
    fn outcomes(&self, path: &Path) -> Vec<Vec<u8>> {
        let mut outcomes = self.files[self.names[path]].outcomes();
        if self.flushed[path] != self.names[path] {
            outcomes.extend(self.files[self.flushed[path]].outcomes());
        }
        outcomes
    }
}

fn rows(ids: std::ops::Range<Id>, seed: u64) -> Vec<f32> {
    ids.flat_map(|id| {
        let mut random = SplitMix64::named(seed, id);
        (0..DIM).map(move |_| random.unit() as f32)
    })
    .collect()
}

/// All rows of an index: their ids and distances to a point that no two are equally far from.
fn content(index: &dyn Index) -> Vec<Hit> {
    let (mut hits, point) = (Hits::default(), [0.31, 0.72, 0.55, 0.18, 0.93]);
    let k = NonZeroUsize::new(10_000).unwrap();
    let request = Request { k, filter: Filter::All, effort: Effort::default() };
    index.search(Rows::new(&point, DIM).unwrap(), &request, &mut hits).unwrap();
    hits.of(0).to_vec()
}

fn started(path: &Path) {
    let values = rows(0..40, 0);
    let made =
        build(&"Flat".parse().unwrap(), Rows::new(&values, DIM).unwrap(), Metric::L2, 3, &Watch::none());
    let provenance = Provenance { model: None, data_hash: "d".into(), seed: 3 };
    save(path, &*made.unwrap(), &provenance, b"beside").unwrap();
}

/// The changes of commit `number` of a history.
fn change(writer: &mut Writer, number: u64) {
    let ids: Vec<Id> = (100 * number..100 * number + 12).collect();
    let values = rows(ids[0]..ids[0] + 12, number);
    writer.add(&ids, Rows::new(&values, DIM).unwrap()).unwrap();
    let again: Vec<Id> = (5..9).collect();
    let values = rows(5..9, number);
    writer.update(&again, Rows::new(&values, DIM).unwrap()).unwrap();
    writer.remove(&[10 + number, 100 * (number - 1) + 3]);
}

fn commit(writer: &mut Writer, number: u64) -> Result<super::Committed, GrowError> {
    if number == 4 { writer.compact(&Watch::none()) } else { writer.commit(&Watch::none()) }
}

const COMMITS: u64 = 6;

/// A writer on a recording disk.
fn recorded(path: &Path) -> (Writer, Recording) {
    let disk = Recording::default();
    (Writer::open_on(path, Box::new(disk.clone())).unwrap(), disk)
}

#[test]
fn a_power_cut_leaves_the_old_or_the_new() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path().canonicalize().unwrap().join("index");
    let target = other.path().join("index");
    started(&path);
    let (mut writer, disk) = recorded(&path);
    let (mut cuts, mut torn) = (0, 0);
    for number in 1..=COMMITS {
        let mut replay = Folder::with(&path, fs::read(&path).unwrap());
        let old = content(&*writer.reader().index);
        change(&mut writer, number);
        commit(&mut writer, number).unwrap();
        let new = content(&*writer.reader().index);
        assert_ne!(old, new);
        let calls = disk.take();
        assert!(calls.len() >= 5);
        for (at, call) in calls.iter().enumerate() {
            replay.apply(call);
            let outcomes = replay.outcomes(&path);
            for bytes in &outcomes {
                cuts += 1;
                fs::write(&target, bytes).unwrap();
                let opened = open(&target).unwrap();
                let found = content(&*opened.index);
                assert!(found == old || found == new, "commit {number}, call {at}: {call:?}");
                assert_eq!(opened.payload().unwrap(), b"beside");
                let last = at + 1 == calls.len();
                assert!(!last || (found == new && outcomes.len() == 1), "commit {number} ended");
                torn += usize::from(verify(&target).is_err());
                goes_on(&target, bytes, &found);
            }
        }
    }
    assert!(cuts > 200 && torn >= 10, "{cuts} cuts, {torn} of them torn");
}

/// The next writer mends the file, even when the power fails meanwhile, and goes on.
fn goes_on(path: &Path, bytes: &[u8], found: &[Hit]) {
    let path = path.canonicalize().unwrap();
    let (mut writer, disk) = recorded(&path);
    let mut replay = Folder::with(&path, bytes.to_vec());
    for call in disk.take() {
        replay.apply(&call);
        for bytes in replay.outcomes(&path) {
            let again = path.with_file_name("again");
            fs::write(&again, bytes).unwrap();
            assert_eq!(content(&*open(&again).unwrap().index), found);
        }
    }
    let row = [0.5; DIM];
    writer.add(&[9999], Rows::new(&row, DIM).unwrap()).unwrap();
    writer.commit(&Watch::none()).unwrap();
    verify(&path).unwrap();
    let after = content(&*open(&path).unwrap().index);
    assert_eq!(after.len(), found.len() + 1);
    assert!(after.iter().filter(|hit| hit.id != 9999).eq(found));
}

#[test]
fn a_disk_that_refuses_loses_nothing() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
        for number in [1, 2, 4] {
            for at in 0.. {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().canonicalize().unwrap().join("index");
                started(&path);
                let (mut writer, disk) = recorded(&path);
                for before in 1..number {
                    change(&mut writer, before);
                    commit(&mut writer, before).unwrap();
                }
                let old = content(&*writer.reader().index);
                change(&mut writer, number);
                disk.fail(Some((at, kind)));
                let failed = commit(&mut writer, number);
                disk.fail(None);
                let Err(error) = failed else {
                    assert!(at >= 5, "all {at} calls were refused");
                    break;
                };
                match error {
                    GrowError::Unsure { .. } => {
                        // Only opening it again tells; this writer does not go on.
                        assert!(matches!(writer.commit(&Watch::none()), Err(GrowError::Unsure { .. })));
                        drop(writer);
                        let (again, _) = recorded(&path);
                        let found = content(&*again.reader().index);
                        assert!(found == old || found.iter().any(|hit| hit.id == 100 * number));
                        continue;
                    }
                    GrowError::Full { .. } => assert_eq!(kind, io::ErrorKind::StorageFull),
                    GrowError::Io { .. } => assert_eq!(kind, io::ErrorKind::Other),
                    other => panic!("{other}"),
                }
                assert_eq!(content(&*writer.reader().index), old);
                assert_eq!(content(&*open(&path).unwrap().index), old);
                // The changes are still there.
                commit(&mut writer, number).unwrap();
                let found = content(&*writer.reader().index);
                assert!(found.iter().any(|hit| hit.id == 100 * number));
                drop(writer);
                verify(&path).unwrap();
                assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
            }
        }
    }
}
