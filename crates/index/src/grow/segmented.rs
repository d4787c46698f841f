//! All segments as one index: each is searched, and the nearest of all are the answers.

use super::segment::Segment;
use crate::file::{OpenError, Part, PartKind, Sections, open_index};
use crate::search::{Effort, Index, Request, SearchError, Stats};
use crate::spec::{Layout, Spec};
use data::{Hit, Hits, Id, Metric, Rows};
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;

/// What a file says about a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentInfo {
    /// How it was made.
    pub spec: String,
    /// Rows, removed ones among them.
    pub rows: usize,
    /// Rows that are not removed.
    pub live: usize,
}

/// Segments, searched as one. Answers are named by ids.
pub(crate) struct Segmented {
    spec: Spec,
    metric: Metric,
    dim: usize,
    alive: usize,
    pub(super) segments: Vec<Segment>,
    /// The segments' [`SegmentInfo`] as JSON.
    directory: Vec<u8>,
}

impl Segmented {
    pub(super) fn new(spec: Spec, metric: Metric, dim: usize, segments: Vec<Segment>) -> Self {
        let alive = segments.iter().map(Segment::alive).sum();
        let infos: Vec<SegmentInfo> = segments.iter().map(|s| info(s, s.alive())).collect();
        Self { spec, metric, dim, alive, segments, directory: directory(&infos) }
    }

    /// The segments of a file; of one that did not grow, its only one.
    pub(crate) fn open(sections: &Sections<'_>) -> Result<Self, OpenError> {
        let head = sections.head();
        let (spec, metric, dim) = (head.spec.clone(), head.metric, head.dim);
        if !head.segmented {
            let index = open_index(&spec, sections)?;
            return Ok(Self::new(spec, metric, dim, vec![Segment::whole(index)]));
        }
        let damaged = |why: &str| sections.damaged(&format!("its list of segments cannot be read: {why}"));
        let directory = sections.checked_bytes(PartKind::Segments)?.to_vec();
        let infos: Vec<SegmentInfo> =
            serde_json::from_slice(&directory).map_err(|error| damaged(&error.to_string()))?;
        let mut segments = Vec::with_capacity(infos.len());
        for (number, SegmentInfo { spec, rows, live }) in (1..).zip(&infos) {
            let spec = spec.parse().map_err(|_| damaged("it holds an unknown spec"))?;
            segments.push(Segment::open(&spec, *live, &sections.of_segment(number, *rows))?);
        }
        let alive = infos.iter().try_fold(0usize, |sum, info| sum.checked_add(info.live));
        if alive != Some(head.rows) {
            return Err(damaged("the segments have other rows than the file"));
        }
        Ok(Self { spec, metric, dim, alive: head.rows, segments, directory })
    }

    /// Where the living row of an id is: segment and row.
    pub(super) fn find(&self, id: Id) -> Option<(usize, usize)> {
        let found = |(number, segment): (usize, &Segment)| Some((number, segment.find_living(id)?));
        self.segments.iter().enumerate().find_map(found)
    }

    /// Reads what no search checks, and says what contradicts what.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.segments.iter().try_for_each(Segment::check)
    }

    pub(crate) fn infos(&self) -> Vec<SegmentInfo> {
        self.segments.iter().map(|segment| info(segment, segment.alive())).collect()
    }

    /// A number above the ids of all rows.
    pub(crate) fn id_bound(&self) -> Id {
        self.segments.iter().map(Segment::id_bound).max().unwrap_or(0)
    }
}

/// What a file says about `segment` when `live` of its rows are left.
pub(super) fn info(segment: &Segment, live: usize) -> SegmentInfo {
    SegmentInfo { spec: segment.index.spec().to_string(), rows: segment.rows(), live }
}

/// The section that lists segments.
pub(super) fn directory(infos: &[SegmentInfo]) -> Vec<u8> {
    serde_json::to_vec_pretty(infos).expect("segments have a JSON form")
}

/// The knobs that an index of the spec reads. The values are those of no search: as long as they count, no segment
/// reads them.
fn knobs(spec: &Spec) -> Effort {
    let some = |is: bool| is.then_some(NonZeroUsize::MIN);
    match &spec.layout {
        Layout::Scan => Effort::default(),
        Layout::Symqg(_) => Effort { beam: some(true), ..Effort::default() },
        Layout::Graph(graph) => {
            Effort { beam: some(true), rerank: some(graph.refine().is_some()), ..Effort::default() }
        }
        Layout::Lists(lists) => {
            Effort { beam: None, probes: some(lists.cells.is_some()), rerank: some(lists.refine.is_some()) }
        }
    }
}

impl Index for Segmented {
    fn spec(&self) -> Spec {
        self.spec.clone()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn len(&self) -> usize {
        self.alive
    }

    fn effort(&self) -> Effort {
        let segments = self.segments.iter().map(|segment| segment.index.effort());
        segments.chain([knobs(&self.spec)]).fold(Effort::default(), |known, own| Effort {
            beam: known.beam.or(own.beam),
            probes: known.probes.or(own.probes),
            rerank: known.rerank.or(own.rerank),
        })
    }

    fn search_resolved(
        &self,
        queries: Rows<'_, f32>,
        request: &Request<'_>,
        hits: &mut Hits,
    ) -> Result<Stats, SearchError> {
        let mut stats = Stats::default();
        let mut nearest: Vec<Vec<Hit>> = vec![Vec::new(); queries.len()];
        for segment in self.segments.iter().filter(|segment| segment.alive() > 0) {
            let passing = segment.passing(request.filter);
            let Effort { beam, probes, rerank } = segment.index.effort();
            let asked = request.effort;
            // A segment takes the knobs that it reads.
            let effort = Effort {
                beam: beam.and(asked.beam),
                probes: probes.and(asked.probes),
                rerank: rerank.and(asked.rerank),
            };
            let mut found = Hits::default();
            let request = Request { k: request.k, filter: passing.filter(), effort };
            stats += segment.index.search_resolved(queries, &request, &mut found)?;
            for (nearest, found) in nearest.iter_mut().zip(found.iter()) {
                let named = |hit: &Hit| Some(Hit { id: segment.id(hit.id)?, distance: hit.distance });
                nearest.extend(found.iter().filter_map(named));
            }
        }
        for mut nearest in nearest {
            nearest.sort_by(Hit::order);
            nearest.truncate(request.k.get());
            hits.push(nearest);
        }
        Ok(stats)
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = vec![Part::new(PartKind::Segments, &self.directory[..])];
        for (number, segment) in (1..).zip(&self.segments) {
            parts.extend(segment.parts().into_iter().map(|part| part.of_segment(number)));
        }
        parts
    }
}
