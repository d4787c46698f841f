//! From what a commit left and what changed since to what the next commit writes.

use super::GrowError;
use super::fold::{Member, runs};
use super::segment::{Maker, Segment};
use super::segmented::{SegmentInfo, Segmented, directory, info};
use crate::array::Array;
use crate::file::{Content, Mapped, Part, PartKind, Sections};
use crate::{OpenError, Provenance, Watch};
use data::{Id, Rows};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

/// What the next commit is to do.
#[derive(Default)]
pub(super) struct Changes {
    /// Committed ids whose rows go.
    pub(super) removed: BTreeSet<Id>,
    /// New rows, by id.
    pub(super) added: BTreeMap<Id, Vec<f32>>,
    pub(super) payload: Option<Vec<u8>>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        let Self { removed, added, payload } = self;
        removed.is_empty() && added.is_empty() && payload.is_none()
    }
}

/// A file as a commit left it.
pub(super) struct Generation {
    pub(super) file: Mapped,
    pub(super) provenance: Provenance,
    pub(super) segments: Segmented,
}

/// What the next generation is made of.
pub(super) struct Plan {
    segments: Vec<Next>,
    directory: Vec<u8>,
    alive: usize,
}

/// A segment of the next generation.
enum Next {
    /// One of the last generation, with other bits if there are any.
    Kept {
        at: usize,
        live: Option<Array<u64>>,
    },
    Made(Segment),
}

impl Generation {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let file = Mapped::open(path)?;
        let (provenance, segments) = (file.provenance()?, Segmented::open(&file.sections())?);
        Ok(Self { file, provenance, segments })
    }

    /// The sections of a segment.
    fn sections_of(&self, at: usize) -> Sections<'_> {
        let number = if self.file.head().segmented { at as u32 + 1 } else { 0 };
        self.file.sections().of_segment(number, self.segments.segments[at].rows())
    }

    /// The segments after `changes`; as few as can be when `compact`.
    pub(super) fn next(
        &self,
        changes: &Changes,
        compact: bool,
        watch: &Watch<'_>,
    ) -> Result<Plan, GrowError> {
        let olds = &self.segments.segments;
        let mut gone: Vec<Vec<usize>> = vec![Vec::new(); olds.len()];
        for (at, row) in changes.removed.iter().filter_map(|&id| self.segments.find(id)) {
            gone[at].push(row);
        }
        let alive = |at: usize| olds[at].alive().saturating_sub(gone[at].len());
        let left: Vec<usize> = (0..olds.len()).filter(|&at| alive(at) > 0).collect();
        let member = |&at: &usize| Member {
            rows: olds[at].rows(),
            live: alive(at),
            has_vectors: olds[at].has_vectors(),
        };
        let mut members: Vec<Member> = left.iter().map(member).collect();
        let added = changes.added.len();
        if added > 0 {
            members.push(Member { rows: added, live: added, has_vectors: true });
        }
        let head = self.file.head();
        let maker = Maker { spec: &head.spec, metric: head.metric, seed: self.provenance.seed, watch };
        let (mut segments, mut infos): (Vec<Next>, Vec<SegmentInfo>) = Default::default();
        for run in runs(&members, compact) {
            let Member { rows, live, has_vectors } = members[run.start];
            let anew = members[run.start].is_worn() || (compact && has_vectors && live < rows);
            let kept = (run.len() == 1 && !anew).then(|| left.get(run.start)).flatten();
            if let Some(&at) = kept {
                infos.push(info(&olds[at], live));
                let bits = (!gone[at].is_empty()).then(|| Array::copied(&without(&olds[at], &gone[at])));
                segments.push(Next::Kept { at, live: bits });
            } else {
                let made = self.fold(&maker, changes, &left, run)?;
                infos.push(info(&made, made.alive()));
                segments.push(Next::Made(made));
            }
        }
        let alive = infos.iter().map(|info| info.live).sum();
        Ok(Plan { segments, directory: directory(&infos), alive })
    }

    /// One segment of the living rows of a run of `left`, whose end stands for the rows that are added.
    fn fold(
        &self,
        maker: &Maker<'_>,
        changes: &Changes,
        left: &[usize],
        run: Range<usize>,
    ) -> Result<Segment, GrowError> {
        let dim = self.file.head().dim;
        let olds: Vec<usize> = left[run.start.min(left.len())..run.end.min(left.len())].to_vec();
        // Rows are read and get a new hash: damaged ones would be taken for whole from then on.
        olds.iter().try_for_each(|&at| self.sections_of(at).check_segment())?;
        let stays = |(id, _): &(Id, usize)| !changes.removed.contains(id);
        let added = changes.added.iter().filter(|_| run.end > left.len());
        if let Some((&first, rest)) = olds.split_first() {
            let first = &self.segments.segments[first];
            let kept: Vec<u32> = first.living().filter(stays).map(|(_, row)| row as u32).collect();
            let (ids, values) = self.gathered(rest, added.clone(), changes)?;
            let rows = Rows::new(&values, dim).expect("whole rows");
            if let Some(regrown) = first.regrown(maker, &kept, &ids, rows)? {
                return Ok(regrown);
            }
        }
        let (ids, values) = self.gathered(&olds, added, changes)?;
        Ok(Segment::make(maker, &ids, Rows::new(&values, dim).expect("whole rows"))?)
    }

    /// The living rows of some segments, and those added, by their ids.
    fn gathered<'a>(
        &self,
        olds: &[usize],
        added: impl Iterator<Item = (&'a Id, &'a Vec<f32>)>,
        changes: &Changes,
    ) -> Result<(Vec<Id>, Vec<f32>), GrowError> {
        let dim = self.file.head().dim;
        let mut sources = Vec::new();
        for &at in olds {
            let segment = &self.segments.segments[at];
            let rows =
                segment.vectors().ok_or_else(|| self.file.sections().damaged("a segment lost its rows"))?;
            sources.push((segment, rows));
        }
        let mut order: Vec<(Id, &[f32])> = Vec::new();
        for (segment, rows) in &sources {
            let living = segment.living().filter(|(id, _)| !changes.removed.contains(id));
            order.extend(living.map(|(id, row)| (id, &rows[row * dim..(row + 1) * dim])));
        }
        order.extend(added.map(|(&id, row)| (id, &row[..])));
        order.sort_by_key(|&(id, _)| id);
        let ids = order.iter().map(|&(id, _)| id).collect();
        Ok((ids, order.iter().flat_map(|(_, row)| *row).copied().collect()))
    }

    /// What the file is to hold. With `alone` a single segment that is as `build` made it is no segment.
    pub(super) fn content<'a>(&'a self, plan: &'a Plan, changes: &'a Changes, alone: bool) -> Content<'a> {
        let head = self.file.head();
        let plain = alone && matches!(&plan.segments[..], [only] if self.is_built(only));
        let shared = |kind| self.file.sections().parts().find(|part| part.is(kind));
        let mut parts: Vec<Part<'_>> = shared(PartKind::Provenance).into_iter().collect();
        if !plain {
            parts.push(Part::new(PartKind::Segments, &plan.directory[..]));
        }
        for (number, next) in (1..).zip(&plan.segments) {
            let number = if plain { 0 } else { number };
            parts.extend(self.parts_of(next).into_iter().map(|part| part.of_segment(number)));
        }
        parts.extend(match &changes.payload {
            Some(payload) => Some(Part::new(PartKind::Payload, &payload[..])),
            None => shared(PartKind::Payload),
        });
        Content { spec: head.spec.clone(), metric: head.metric, dim: head.dim, rows: plan.alive, parts }
    }

    fn is_built(&self, next: &Next) -> bool {
        let segment = match next {
            Next::Kept { live: Some(_), .. } => return false,
            Next::Kept { at, live: None } => &self.segments.segments[*at],
            Next::Made(segment) => segment,
        };
        segment.is_whole() && segment.index.spec() == self.file.head().spec
    }

    fn parts_of<'a>(&'a self, next: &'a Next) -> Vec<Part<'a>> {
        match next {
            Next::Made(segment) => segment.parts(),
            Next::Kept { at, live } => {
                let shared = [PartKind::Provenance, PartKind::Segments, PartKind::Payload, PartKind::Tuned];
                let own = |part: &Part<'_>| {
                    !(shared.iter().any(|&kind| part.is(kind)) || live.is_some() && part.is(PartKind::Live))
                };
                let mut parts: Vec<Part<'_>> = self.sections_of(*at).parts().filter(own).collect();
                parts.extend(live.as_ref().map(|live| Part::new(PartKind::Live, &live[..])));
                parts
            }
        }
    }
}

/// The bits of a segment without the rows in `gone`.
fn without(segment: &Segment, gone: &[usize]) -> Vec<u64> {
    let rows = segment.rows();
    let mut live = segment.live().map_or_else(
        || {
            let mut all = vec![u64::MAX; rows.div_ceil(64)];
            if let Some(last) = all.last_mut().filter(|_| !rows.is_multiple_of(64)) {
                *last = (1 << (rows % 64)) - 1;
            }
            all
        },
        <[u64]>::to_vec,
    );
    gone.iter().for_each(|&row| live[row / 64] &= !(1 << (row % 64)));
    live
}
