//! Graphs of near neighbours over rows or their codes, and the one walk that searches all of them.
//!
//! Builders compare rows as they are; nodes then hold rows, or codes alone, which the walk measures. Where there is a
//! finer code, it ranks the best of the walk again. Nodes of graphs of one layer are numbered breadth first from the
//! entry and `ids` names their rows; those of HNSW are rows.
//!
//! Files: `spec` holds the words; `links` the lists, `points` what nodes hold, `walk` searches, `pool` keeps candidates;
//! `hnsw`, `nsw`, `knng`, `efanna`, `nsg` and `vamana` build, out of `insert` (rounds of insertion), `descent` (nearest
//! neighbours), `trees`, `prune` (links in different directions), `back` (links answered), `repair` (every node
//! reachable), `regrow` (rows leave and come) and `order` (numbering); `site` is what builders work with. This one answers requests.

mod back;
mod descent;
mod efanna;
mod hnsw;
mod insert;
mod knng;
mod links;
mod nsg;
mod nsw;
mod order;
mod points;
mod pool;
mod prune;
mod regrow;
mod repair;
mod site;
mod spec;
#[cfg(test)]
mod tests;
mod trees;
mod vamana;
mod walk;

pub use spec::{FlatGraphSpec, GraphBuilder, GraphShape, GraphSpec};

use crate::array::Array;
use crate::build::{BuildError, MAX_ROWS};
use crate::distance::Distance;
use crate::file::{OpenError, Part, PartKind, Sections};
use crate::lists::bounds::CODE_SAMPLE;
use crate::lists::{Finer, sample};
use crate::scan::{self, Among};
use crate::search::{Effort, Filter, Index, Request, SearchError, Stats};
use crate::spec::{Layout, Spec};
use crate::vectors::Vectors;
use crate::{Phase, Watch};
use data::{Hit, Hits, Id, Metric, Rows};
use kernels::{SplitMix64, TopK};
use links::{Links, Widths};
use points::{Near, Points, Trained};
use pool::{Candidate, Pools, Scratch};
use rayon::prelude::*;
use regrow::Regrow;
use site::Site;
use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::OnceLock;
use trees::Trees;

/// Width of a search where the request names none.
const BEAM: NonZeroUsize = NonZeroUsize::new(64).unwrap();
/// Rows ranked again for each answer where the request names no number; no more than the walk found.
const RERANK: NonZeroUsize = NonZeroUsize::new(10).unwrap();
/// Start nodes, of those a graph has, where a search starts.
const STARTS: usize = 8;

/// A graph of near neighbours.
pub(crate) struct Graph {
    spec: GraphSpec,
    metric: Metric,
    dim: usize,
    points: Points,
    links: Links,
    starts: Starts,
    /// The row of each node; none where nodes are rows.
    ids: Option<Array<u32>>,
    /// The node of each row, where nodes are not rows; made when a filter first needs it.
    node_of: OnceLock<Vec<u32>>,
    finer: Option<Finer>,
    pools: Pools,
}

/// Where searches start.
enum Starts {
    /// At the entry.
    Entry,
    /// At the nearest of these nodes.
    Nodes(Array<u32>),
    /// In the leaves that the query falls into.
    Trees(Trees),
}

impl Graph {
    pub(crate) fn build(
        spec: &GraphSpec,
        rows: Rows<'_, f32>,
        metric: Metric,
        seed: u64,
        watch: &Watch<'_>,
    ) -> Result<Self, BuildError> {
        let sample = match (&spec.code, &spec.refine) {
            (None, None) => Cow::Borrowed(&[][..]),
            _ => sample(rows, CODE_SAMPLE, seed),
        };
        let sample = Rows::new(&sample, rows.dim()).expect("whole rows");
        // First of all, since it may turn out to be impossible.
        let code = spec.code.as_ref().map(|code| Trained::learn(code, sample, seed, watch)).transpose()?;
        let pools = Pools::default();
        let (links, starts, ids, vectors) = match spec.shape {
            GraphShape::Hnsw(shape) => {
                let vectors = Vectors::copy(rows);
                let distance = Distance::new(metric);
                let site = Site { vectors: &vectors, metric, distance, seed, pools: &pools, watch: *watch };
                let mut links = hnsw::build(&site, shape)?;
                repair::reach_all(&site, &mut links, shape.construction())?;
                (links, Starts::Entry, None, Some(vectors))
            }
            GraphShape::Flat(shape) => {
                let (links, starts, ids) = flat(shape, rows, metric, seed, &pools, *watch)?;
                (links, starts, Some(ids), None)
            }
        };
        let order: Vec<u32> = match &ids {
            Some(ids) => ids.to_vec(),
            None => (0..rows.len() as u32).collect(),
        };
        let points = match (code, vectors) {
            (Some(code), _) => Points::coded(code, rows, &order, watch)?,
            (None, Some(vectors)) => Points::Rows(vectors),
            (None, None) => Points::Rows(Vectors::gather(rows, &order)),
        };
        let refine = spec.refine.as_ref();
        let finer = refine.map(|code| Finer::build(code, rows, &order, sample, seed, watch)).transpose()?;
        watch.step(Phase::Linking, rows.len(), rows.len())?;
        Ok(Self {
            spec: spec.clone(),
            metric,
            dim: rows.dim(),
            points,
            links,
            starts,
            ids,
            node_of: OnceLock::new(),
            finer,
            pools,
        })
    }

    pub(crate) fn open(spec: &GraphSpec, sections: &Sections<'_>) -> Result<Self, OpenError> {
        let (n, dim) = sections.sizes();
        let (widths, starts, ids) = match spec.shape {
            GraphShape::Hnsw(shape) => (shape.widths(), Starts::Entry, None),
            GraphShape::Flat(shape) => {
                let starts = match shape.builder() {
                    GraphBuilder::Knng => Starts::Nodes(sections.list(PartKind::StartNodes)?),
                    GraphBuilder::Efanna { trees } => {
                        Starts::Trees(Trees::open(n, trees as usize, sections)?)
                    }
                    GraphBuilder::Nsw | GraphBuilder::Nsg | GraphBuilder::Vamana { .. } => Starts::Entry,
                };
                (shape.widths(), starts, Some(sections.array(PartKind::NodeIds, Some(n))?))
            }
        };
        let points = Points::open(spec.code.as_ref(), sections)?;
        let links = Links::open(widths, n, sections)?;
        let finer = spec.refine.as_ref().map(|code| Finer::open(code, sections)).transpose()?;
        let (spec, metric, pools) = (spec.clone(), sections.metric(), Pools::default());
        Ok(Self { spec, metric, dim, points, links, starts, ids, node_of: OnceLock::new(), finer, pools })
    }

    /// The row of a node; none where a damaged file names one that does not exist.
    #[inline]
    fn id(&self, node: u32) -> Option<Id> {
        let id = self.ids.as_ref().map_or(node, |ids| ids[node as usize]);
        ((id as usize) < self.links.len()).then_some(id.into())
    }

    /// The nodes of the rows that pass.
    fn passing<'a>(&self, filter: Filter<'a>) -> Cow<'a, [u32]> {
        let n = self.links.len();
        let rows = filter.passing(n);
        let Some(ids) = &self.ids else { return rows };
        let node_of = self.node_of.get_or_init(|| {
            let mut node_of = vec![0; n];
            for (node, &id) in (0..).zip(ids.iter()) {
                // A damaged file may name rows that do not exist.
                if let Some(slot) = node_of.get_mut(id as usize) {
                    *slot = node;
                }
            }
            node_of
        });
        rows.iter().map(|&row| node_of[row as usize]).collect()
    }

    /// Where a search starts: candidates, nearest first.
    fn enter(
        &self,
        query: &[f32],
        near: &mut dyn Near,
        scratch: &mut Scratch,
        stats: &mut Stats,
    ) -> Vec<Candidate> {
        let mut nodes = Vec::new();
        match &self.starts {
            Starts::Entry => return vec![self.links.descend(near, 0, scratch, stats)],
            Starts::Nodes(starts) => nodes.extend_from_slice(starts),
            Starts::Trees(trees) => trees.leaves(query, &mut nodes),
        }
        nodes.push(self.links.entry());
        nodes.sort_unstable();
        nodes.dedup();
        // A damaged file may name any node.
        nodes.retain(|&node| (node as usize) < self.links.len());
        scratch.fresh.clone_from(&nodes);
        walk::measure(near, scratch, stats);
        let mut starts: Vec<Candidate> = walk::fresh(scratch).collect();
        starts.sort_unstable();
        if matches!(self.starts, Starts::Nodes(_)) {
            starts.truncate(STARTS);
        }
        starts
    }

    /// Nodes found for a query, with their distances, nearest first.
    fn found(&self, query: &[f32], plan: &Plan<'_>, stats: &mut Stats) -> Vec<Candidate> {
        let mut scratch = self.pools.take(self.links.len());
        let mut near = self.points.near(query, self.metric);
        if plan.filter.is_all() {
            let starts = self.enter(query, &mut *near, &mut scratch, stats);
            self.links.explore(&mut *near, &starts, 0, plan.beam, &mut scratch, stats);
            return scratch.beam.nearest().collect();
        }
        let passes = |node: u32| self.id(node).is_some_and(|id| plan.filter.passes(id));
        if !plan.prefers_scan {
            let starts = self.enter(query, &mut *near, &mut scratch, stats);
            let found =
                self.links.explore_passing(&mut *near, &starts, plan.beam, passes, &mut scratch, stats);
            if found.len() >= plan.k {
                return found;
            }
        }
        let among = plan.among.get_or_init(|| self.passing(plan.filter));
        stats.distances += among.len() as u64;
        let top = match &self.points {
            Points::Rows(vectors) => {
                let among = Among::These(Cow::Borrowed(among));
                scan::nearest(Distance::new(self.metric), vectors, query, &among, plan.wanted).pop()
            }
            Points::Codes { .. } => Some(measured(&mut *near, among, plan.wanted)),
        };
        let sorted = top.map(TopK::into_sorted).unwrap_or_default();
        sorted.into_iter().map(|(distance, node)| Candidate::new(distance, node as u32)).collect()
    }

    fn answer(&self, query: &[f32], plan: &Plan<'_>) -> Answer {
        let mut stats = Stats::default();
        let found = self.found(query, plan, &mut stats);
        let mut found: Vec<(f32, u64)> =
            found.into_iter().map(|c| (c.distance(), u64::from(c.id()))).collect();
        if let Some(finer) = &self.finer {
            found.truncate(plan.wanted);
            stats.distances += found.len() as u64;
            finer.rank(query, self.metric, &mut found);
        }
        let hit = |(distance, node): (f32, u64)| Some(Hit { id: self.id(node as u32)?, distance });
        let mut hits: Vec<Hit> = found.into_iter().filter_map(hit).collect();
        hits.sort_by(Hit::order);
        hits.truncate(plan.k);
        Answer { hits, stats }
    }

    fn plan<'a>(&self, request: &Request<'a>) -> Plan<'a> {
        let n = self.links.len();
        let k = request.k.get().min(n);
        let beam = request.effort.beam.unwrap_or(BEAM).get().clamp(k, n);
        let rerank = request.effort.rerank.unwrap_or(RERANK).get();
        let wanted = if self.finer.is_some() { k.saturating_mul(rerank).min(beam) } else { k };
        let filter = request.filter;
        let unfiltered = beam * self.links.widths.base / 2;
        let prefers_scan = !filter.is_all() && scan_is_cheaper(n, unfiltered, filter);
        Plan { k, beam, wanted, filter, prefers_scan, among: OnceLock::new() }
    }
}

/// The nearest `k` of the nodes `ids`.
fn measured(near: &mut dyn Near, ids: &[u32], k: usize) -> TopK {
    let (mut top, mut distances) = (TopK::new(k), [0.0; 256]);
    for ids in ids.chunks(distances.len()) {
        let distances = &mut distances[..ids.len()];
        near.measure(ids, distances);
        ids.iter().zip(distances).for_each(|(&id, d)| top.push(*d, id.into()));
    }
    top
}

impl FlatGraphSpec {
    fn widths(self) -> Widths {
        let twice = matches!(self.builder(), GraphBuilder::Nsw);
        Widths { base: self.degree() * (1 + usize::from(twice)), upper: 0 }
    }
}

/// A graph of one layer, where its searches start, and the row of each node.
fn flat(
    spec: FlatGraphSpec,
    rows: Rows<'_, f32>,
    metric: Metric,
    seed: u64,
    pools: &Pools,
    watch: Watch<'_>,
) -> Result<(Links, Starts, Array<u32>), BuildError> {
    let n = rows.len();
    let mut rows_at: Vec<u32> = (0..n as u32).collect();
    if matches!(spec.builder(), GraphBuilder::Nsw) {
        let mut random = SplitMix64::named(seed, 0x6e73_7700);
        (1..n).rev().for_each(|i| rows_at.swap(i, random.below(i + 1)));
    }
    let vectors = Vectors::gather(rows, &rows_at);
    let site = Site { vectors: &vectors, metric, distance: Distance::new(metric), seed, pools, watch };
    let mut trees = None;
    let mut links = match spec.builder() {
        GraphBuilder::Nsw => {
            nsw::build(&site, &nsw::Nsw { links: spec.degree(), construction: spec.construction() })?
        }
        GraphBuilder::Knng => knng::build(&site, spec.degree())?,
        GraphBuilder::Efanna { trees: count } => {
            let (links, made) = efanna::build(&site, spec.degree(), count as usize)?;
            trees = Some(made);
            links
        }
        GraphBuilder::Nsg => nsg::build(&site, spec.degree(), spec.construction())?,
        GraphBuilder::Vamana { alpha } => vamana::build(&site, spec.degree(), spec.construction(), alpha)?,
    };
    repair::reach_all(&site, &mut links, spec.construction())?;
    let order = order::breadth_first(&links);
    let links = links.renumbered(&order);
    let mut ids = Array::filled(n, 0);
    ids.as_mut().iter_mut().zip(&order).for_each(|(id, &node)| *id = rows_at[node as usize]);
    let starts = match (trees, spec.builder()) {
        (Some(mut trees), _) => {
            trees.renumber(&order);
            Starts::Trees(trees)
        }
        (None, GraphBuilder::Knng) => {
            let places = order::places(&order);
            let nodes: Vec<u32> =
                knng::start_nodes(&site).into_iter().map(|node| places[node as usize]).collect();
            let mut starts = Array::filled(nodes.len(), 0);
            starts.as_mut().copy_from_slice(&nodes);
            Starts::Nodes(starts)
        }
        _ => Starts::Entry,
    };
    Ok((links, starts, ids))
}

/// How the queries of one request are answered.
struct Plan<'a> {
    k: usize,
    /// Rows that the walk finds.
    beam: usize,
    /// Rows of them that matter: the answers, or those that are ranked again.
    wanted: usize,
    filter: Filter<'a>,
    prefers_scan: bool,
    /// The nodes that pass, listed when a scan first needs them.
    among: OnceLock<Cow<'a, [u32]>>,
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

impl Index for Graph {
    fn spec(&self) -> Spec {
        Spec { layout: Layout::Graph(self.spec.clone()) }
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn len(&self) -> usize {
        self.links.len()
    }

    fn effort(&self) -> Effort {
        Effort { beam: Some(BEAM), rerank: self.finer.as_ref().map(|_| RERANK), ..Effort::default() }
    }

    fn search_resolved(
        &self,
        queries: Rows<'_, f32>,
        request: &Request<'_>,
        hits: &mut Hits,
    ) -> Result<Stats, SearchError> {
        let plan = self.plan(request);
        let answers: Vec<Answer> =
            queries.as_slice().par_chunks(self.dim).map(|query| self.answer(query, &plan)).collect();
        let mut stats = Stats::default();
        for answer in answers {
            hits.push(answer.hits);
            stats += answer.stats;
        }
        Ok(stats)
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = self.points.parts();
        parts.extend(self.links.parts());
        match &self.starts {
            Starts::Entry => {}
            Starts::Nodes(nodes) => parts.push(Part::new(PartKind::StartNodes, &nodes[..])),
            Starts::Trees(trees) => parts.extend(trees.parts()),
        }
        parts.extend(self.ids.as_ref().map(|ids| Part::new(PartKind::NodeIds, &ids[..])));
        parts.extend(self.finer.iter().flat_map(Finer::parts));
        parts
    }

    fn regrown(
        &self,
        kept: &[u32],
        more: Rows<'_, f32>,
        seed: u64,
        watch: &Watch<'_>,
    ) -> Result<Option<Box<dyn Index>>, BuildError> {
        let (GraphShape::Hnsw(shape), Points::Rows(vectors)) = (self.spec.shape, &self.points) else {
            return Ok(None);
        };
        if kept.is_empty() || kept.len() + more.len() > MAX_ROWS {
            return Ok(None);
        }
        let regrow = Regrow { shape, metric: self.metric, seed, watch };
        let left =
            (kept.len() < self.len()).then(|| regrow.without(vectors, &self.links, kept)).transpose()?;
        let (vectors, links) =
            left.as_ref().map_or((vectors, &self.links), |(vectors, links)| (vectors, links));
        let (vectors, links) = regrow.with(vectors, links, more)?;
        Ok(Some(Box::new(Self {
            spec: self.spec.clone(),
            metric: self.metric,
            dim: self.dim,
            points: Points::Rows(vectors),
            links,
            starts: Starts::Entry,
            ids: None,
            node_of: OnceLock::new(),
            finer: None,
            pools: Pools::default(),
        })))
    }

    fn keeps_vectors(&self) -> bool {
        matches!(self.points, Points::Rows(_))
            || self.finer.as_ref().is_some_and(|finer| finer.rows().is_some())
    }

    fn vectors(&self) -> Option<Vec<f32>> {
        let rows = match &self.points {
            Points::Rows(rows) => rows,
            Points::Codes { .. } => self.finer.as_ref()?.rows()?,
        };
        match &self.ids {
            Some(ids) => rows.unpadded(ids.iter().copied()),
            None => rows.unpadded(0..self.links.len() as u32),
        }
    }
}
