//! HNSW: a graph of near neighbours in layers, each a sparse sample of the one below.
//!
//! Notation: `M` links a node makes (`HnswSpec::links`); a node lies on levels `0..=level`; a list
//! holds at most `2 M` links at level 0 and `M` above; ids are rows.
//! Source: Malkov and Yashunin, TPAMI 2020, algorithms 1, 2, 4 and 5.
//!
//! Files: `graph` holds links and walks them, `insert` builds in rounds, `repair` makes every node
//! reachable, `pool` keeps candidates; this one answers requests.

mod graph;
mod insert;
mod pool;
mod repair;

use crate::distance::Distance;
use crate::file::{OpenError, Part, PartKind, Sections};
use crate::scan::{self, Among};
use crate::search::{Effort, Filter, Index, Request, SearchError, Stats};
use crate::spec::{HnswSpec, Layout, Spec};
use crate::vectors::{self, Vectors};
use data::{Hit, Hits, Metric, Rows};
use graph::{Graph, Links};
use pool::{Pools, Scratch};
use rayon::prelude::*;
use std::num::NonZeroUsize;
use std::sync::OnceLock;

/// Width of a search where the request names none.
const BEAM: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// A layered graph of near neighbours.
pub(crate) struct Hnsw {
    shape: HnswSpec,
    metric: Metric,
    vectors: Vectors,
    links: Links,
    pools: Pools,
}

impl Hnsw {
    pub(crate) fn build(
        shape: HnswSpec,
        vectors: Vectors,
        metric: Metric,
        seed: u64,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Self {
        let pools = Pools::default();
        let distance = Distance::new(metric);
        let mut links = insert::insert_all(shape, &vectors, distance, seed, &pools, progress);
        repair::reach_all(shape, &vectors, distance, &mut links, &pools);
        Self { shape, metric, vectors, links, pools }
    }

    pub(crate) fn open(shape: HnswSpec, sections: &Sections<'_>) -> Result<Self, OpenError> {
        let vectors = sections.vectors()?;
        let links = Links::open(shape, vectors.len(), sections)?;
        Ok(Self { shape, metric: sections.metric(), vectors, links, pools: Pools::default() })
    }

    fn answer(&self, graph: &Graph<'_>, query: &[f32], plan: &Plan<'_>, scratch: &mut Scratch) -> Answer {
        let padded = vectors::padded(query);
        let mut stats = Stats::default();
        let found = match plan.filter {
            Filter::All => graph.search(&padded, plan.beam, scratch, &mut stats),
            _ if plan.prefers_scan => Vec::new(),
            filter => {
                let keep = |id| filter.passes(id);
                graph.search_passing(&padded, plan.beam, &keep, scratch, &mut stats)
            }
        };
        if plan.filter.is_all() || found.len() >= plan.k {
            let hits = found.into_iter().take(plan.k).map(|(distance, id)| Hit { id: id.into(), distance });
            return Answer { hits: hits.collect(), stats };
        }
        let among = plan.among(self.vectors.len());
        stats.distances += among.len() as u64;
        let tops = scan::nearest(graph.distance, &self.vectors, query, among, plan.k);
        Answer { hits: tops.into_iter().flat_map(scan::sorted).collect(), stats }
    }

    fn plan<'a>(&self, request: &Request<'a>) -> Plan<'a> {
        let n = self.vectors.len();
        let k = request.k.get().min(n);
        let beam = request.effort.beam.unwrap_or(BEAM).get().clamp(k, n);
        let filter = request.filter;
        let prefers_scan = !filter.is_all() && scan_is_cheaper(n, beam * self.shape.links(), filter);
        Plan { k, beam, filter, prefers_scan, among: OnceLock::new() }
    }
}

/// How the queries of one request are answered.
struct Plan<'a> {
    k: usize,
    beam: usize,
    filter: Filter<'a>,
    prefers_scan: bool,
    /// The rows that pass, listed when a scan first needs them.
    among: OnceLock<Among>,
}

impl Plan<'_> {
    fn among(&self, n: usize) -> &Among {
        self.among.get_or_init(|| match self.filter {
            Filter::All => Among::All(n),
            filter => Among::These(filter.passing(n)),
        })
    }
}

/// Whether comparing the rows that pass costs less than walking the graph past those that do not.
///
/// With a share `s` passing, a walk that collects a beam of them computes about `unfiltered / s`
/// distances, where `unfiltered` is about `beam * M`; the scan computes `s * n`, each at a third of the
/// cost because it knows what comes next. Asking the filter about all rows is taken to cost a sixteenth
/// of a scan's distance each. The share is that of a sample.
fn scan_is_cheaper(n: usize, unfiltered: usize, filter: Filter<'_>) -> bool {
    let share = filter.share(n);
    share * (share * n as f64 + n as f64 / 16.0) <= 3.0 * unfiltered as f64
}

/// The answers to one query and their cost.
struct Answer {
    hits: Vec<Hit>,
    stats: Stats,
}

impl Index for Hnsw {
    fn spec(&self) -> Spec {
        Spec { layout: Layout::Hnsw(self.shape) }
    }

    fn dim(&self) -> usize {
        self.vectors.dim()
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn len(&self) -> usize {
        self.vectors.len()
    }

    fn effort(&self) -> Effort {
        Effort { beam: Some(BEAM), ..Effort::default() }
    }

    fn search_resolved(
        &self,
        queries: Rows<'_, f32>,
        request: &Request<'_>,
        hits: &mut Hits,
    ) -> Result<Stats, SearchError> {
        let plan = self.plan(request);
        let graph = Graph::new(self.shape, &self.vectors, Distance::new(self.metric), &self.links);
        let answers: Vec<Answer> = queries
            .as_slice()
            .par_chunks(queries.dim())
            .map_init(
                || self.pools.take(self.vectors.len()),
                |scratch, query| self.answer(&graph, query, &plan, scratch),
            )
            .collect();
        let mut stats = Stats::default();
        for answer in answers {
            hits.push(answer.hits);
            stats += answer.stats;
        }
        Ok(stats)
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = vec![Part::new(PartKind::Rows, self.vectors.as_slice())];
        parts.extend(self.links.parts());
        parts
    }
}
