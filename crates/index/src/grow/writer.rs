//! The one writer of a file, and what readers see of it.

use super::GrowError;
use super::generation::{Changes, Generation};
use super::lock::Lock;
use super::segmented::SegmentInfo;
use crate::file::{self, Disk, Failed, System};
use crate::{OpenError, Opened, Watch, open};
use data::{Id, Rows};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Bytes of a file that no generation names, beside as many as are in use, before it is written anew.
const SLACK: u64 = 1 << 20;

/// The index of the last commit, for readers on any thread.
#[derive(Clone, Debug)]
pub struct Latest(Arc<RwLock<Arc<Opened>>>);

impl Latest {
    /// The index as the last commit left it. It stays so: take it again to see the next one.
    #[must_use]
    pub fn now(&self) -> Arc<Opened> {
        // A panic elsewhere leaves a whole value: it is replaced in one step.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, opened: Opened) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(opened);
    }
}

/// What a commit did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Commits that made the file, this one among them; 1 where the file was written anew.
    pub generation: u64,
    /// Rows that are not removed.
    pub rows: usize,
    /// Bytes of the file.
    pub bytes: u64,
    /// Its segments, the first one first.
    pub segments: Vec<SegmentInfo>,
}

/// The only writer of an index file, from [`Writer::open`] until it is dropped.
///
/// Nobody sees changes before [`Writer::commit`] and no crash undoes them after it; what was not committed is lost when
/// the writer is dropped.
pub struct Writer {
    path: PathBuf,
    lock: Lock,
    disk: Box<dyn Disk>,
    /// What the last commit left.
    last: Generation,
    changes: Changes,
    latest: Latest,
    /// Why the content of the file is not known.
    unsure: Option<String>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Writer {
    /// Opens an index file to change it, and mends what a crash left of an unfinished commit.
    ///
    /// # Errors
    /// When another writer has the file, it is no index, or it is damaged.
    pub fn open(path: &Path) -> Result<Self, GrowError> {
        Self::open_on(path, Box::new(System))
    }

    pub(super) fn open_on(path: &Path, mut disk: Box<dyn Disk>) -> Result<Self, GrowError> {
        // A new file must get the place of the file itself, not that of a link to it.
        let path =
            path.canonicalize().map_err(|source| OpenError::Io { path: path.to_path_buf(), source })?;
        let lock = Lock::take(&path)?;
        let last = Generation::open(&path)?;
        file::repair(&mut *disk, &last.file).map_err(|source| GrowError::io(path.clone(), source))?;
        let latest = Latest(Arc::new(RwLock::new(Arc::new(open(&path)?))));
        let changes = Changes::default();
        Ok(Self { path, lock, disk, last, changes, latest, unsure: None })
    }

    /// Where readers find the last commit.
    #[must_use]
    pub fn latest(&self) -> Latest {
        self.latest.clone()
    }

    /// The index of the last commit.
    #[must_use]
    pub fn reader(&self) -> Arc<Opened> {
        self.latest.now()
    }

    /// Whether the next commit would hold a row of this id.
    #[must_use]
    pub fn contains(&self, id: Id) -> bool {
        self.changes.added.contains_key(&id) || self.is_committed(id)
    }

    fn is_committed(&self, id: Id) -> bool {
        self.last.segments.find(id).is_some() && !self.changes.removed.contains(&id)
    }

    /// Adds rows with ids that are not in the index.
    ///
    /// # Errors
    /// When an id is in the index or given twice, or the rows do not fit; then none is added.
    pub fn add(&mut self, ids: &[Id], rows: Rows<'_, f32>) -> Result<(), GrowError> {
        self.check(ids, rows)?;
        if let Some(&id) = ids.iter().find(|&&id| self.contains(id)) {
            return Err(GrowError::Exists { id });
        }
        self.put(ids, rows);
        Ok(())
    }

    /// Adds rows, in the place of those that have their ids; gives how many were replaced.
    ///
    /// # Errors
    /// When an id is given twice or the rows do not fit; then nothing changes.
    pub fn update(&mut self, ids: &[Id], rows: Rows<'_, f32>) -> Result<usize, GrowError> {
        self.check(ids, rows)?;
        let replaced = ids.iter().filter(|&&id| self.contains(id)).count();
        for &id in ids {
            if self.is_committed(id) {
                self.changes.removed.insert(id);
            }
        }
        self.put(ids, rows);
        Ok(replaced)
    }

    /// Removes rows; gives the ids that the index does not have.
    pub fn remove(&mut self, ids: &[Id]) -> Vec<Id> {
        let mut unknown = Vec::new();
        for &id in ids {
            let pending = self.changes.added.remove(&id).is_some();
            if self.is_committed(id) {
                self.changes.removed.insert(id);
            } else if !pending {
                unknown.push(id);
            }
        }
        unknown
    }

    /// Replaces the bytes that are stored beside the index.
    pub fn set_payload(&mut self, payload: Vec<u8>) {
        self.changes.payload = Some(payload);
    }

    /// Forgets what was not committed.
    pub fn discard(&mut self) {
        self.changes = Changes::default();
    }

    fn check(&self, ids: &[Id], rows: Rows<'_, f32>) -> Result<(), GrowError> {
        if ids.len() != rows.len() {
            return Err(GrowError::Count { ids: ids.len(), rows: rows.len() });
        }
        if rows.dim() != self.last.file.head().dim {
            return Err(GrowError::Dim { got: rows.dim(), want: self.last.file.head().dim });
        }
        if let Some((&id, _)) =
            ids.iter().zip(rows.iter()).find(|(_, row)| !row.iter().all(|v| v.is_finite()))
        {
            return Err(GrowError::NotFinite { id });
        }
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(GrowError::Twice { id: pair[0] }),
            None => Ok(()),
        }
    }

    fn put(&mut self, ids: &[Id], rows: Rows<'_, f32>) {
        self.changes.added.extend(ids.iter().zip(rows.iter()).map(|(&id, row)| (id, row.to_vec())));
    }

    /// Makes the changes part of the index: on the disk when this returns, and seen by readers that ask
    /// [`Latest`] again. Without changes nothing happens.
    ///
    /// The file grows at its end. When more than half of it is no longer in use it is written anew in its place.
    /// `watch` is told how far each segment is that is built, and stops it: then nothing is written.
    ///
    /// # Errors
    /// When the disk is full, the system refuses, or a segment cannot be built. The index is then as it was, and the
    /// changes are kept for another try, but for [`GrowError::Unsure`].
    pub fn commit(&mut self, watch: &Watch<'_>) -> Result<Committed, GrowError> {
        self.require_known()?;
        if self.changes.is_empty() {
            return Ok(self.committed());
        }
        self.write(false, watch)
    }

    /// As [`Writer::commit`], and makes one segment of all that hold their rows, in a new file that holds nothing else.
    ///
    /// # Errors
    /// As for [`Writer::commit`].
    pub fn compact(&mut self, watch: &Watch<'_>) -> Result<Committed, GrowError> {
        self.require_known()?;
        self.write(true, watch)
    }

    fn require_known(&self) -> Result<(), GrowError> {
        match &self.unsure {
            Some(why) => Err(GrowError::Unsure { path: self.path.clone(), why: why.clone() }),
            None => Ok(()),
        }
    }

    /// What the last commit left.
    #[must_use]
    pub fn committed(&self) -> Committed {
        let head = self.last.file.head();
        let (generation, bytes) = (head.generation, head.length);
        Committed { generation, rows: head.rows, bytes, segments: self.last.segments.infos() }
    }

    fn write(&mut self, compact: bool, watch: &Watch<'_>) -> Result<Committed, GrowError> {
        match self.lock.is_at(&self.path) {
            Ok(true) => {}
            Ok(false) => return Err(GrowError::Replaced { path: self.path.clone() }),
            Err(source) => return Err(GrowError::io(self.path.clone(), source)),
        }
        let next = self.last.next(&self.changes, compact, watch)?;
        let grown = self.last.content(&next, &self.changes, false);
        let alone = self.last.content(&next, &self.changes, true);
        let (used, appended) = alone.lengths(&self.last.file);
        let disk = &mut *self.disk;
        let anew = compact || appended > 2 * used + SLACK;
        let replaced = anew.then(|| file::replace(disk, &self.path, &alone, Lock::take_new));
        let written = match replaced {
            Some(Ok(lock)) => {
                // The file that the lock before it was on has no name any more.
                self.lock = lock;
                Ok(())
            }
            Some(Err(Failed::Unsure(source))) => Err(Failed::Unsure(source)),
            Some(Err(failed)) if compact => Err(failed),
            // A little more at the end may find room where a second file does not.
            Some(Err(Failed::Before(_))) | None => file::append(disk, &self.last.file, &grown),
        };
        match written {
            Ok(()) => {}
            Err(Failed::Before(source)) => return Err(GrowError::io(self.path.clone(), source)),
            Err(Failed::Unsure(source)) => {
                self.unsure = Some(source.to_string());
                return self.require_known().map(|()| self.committed());
            }
        }
        self.changes = Changes::default();
        self.reopen().inspect_err(|error| self.unsure = Some(error.to_string()))?;
        Ok(self.committed())
    }

    fn reopen(&mut self) -> Result<(), OpenError> {
        self.last = Generation::open(&self.path)?;
        self.latest.set(open(&self.path)?);
        Ok(())
    }
}
