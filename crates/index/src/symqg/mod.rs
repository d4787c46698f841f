//! SymphonyQG: a graph whose nodes hold their neighbours' codes, so that one row tells where to go next.
//!
//! Notation: `R` neighbours a node (`SymqgSpec::degree`), a multiple of 32; the signs of their residuals, one bit
//! a dimension, are compared 32 at a time by estimate, and exact distances are computed for the nodes a walk opens
//! alone. Rows of whole numbers from 0 to 255 are kept in bytes, which loses nothing: distances are then exact
//! integers, rounded once to `f32`. Inner products build on vectors with one more value that makes all equally
//! long, where the order of inner products is that of distances.
//! Source: Gou, Gao, Xu and Long, SIGMOD 2025.
//!
//! Files: `rows` says what a row holds, `rotation` spreads values over all axes, `walk` searches, `pool` is a walk's
//! memory, `build` makes the graph in rounds, `repair` makes every node reachable, `words` is the memory of all
//! rows; this one answers requests.

mod build;
mod pool;
mod repair;
mod rotation;
mod rows;
#[cfg(test)]
mod tests;
mod walk;
mod words;

use crate::build::BuildError;
use crate::file::{OpenError, Part, PartKind, Sections};
use crate::scan::{self, Among};
use crate::search::{Effort, Filter, Index, Request, SearchError, Stats};
use crate::spec::{Layout, Spec, SymqgSpec};
use crate::{Phase, Watch};
use build::Builder;
use data::{Hit, Hits, Metric, Rows};
use kernels::{Isa, TopK};
use rayon::prelude::*;
use rotation::Rotation;
use rows::{Edge, Shape, Vector, is_byte};
use std::num::NonZeroUsize;
use std::sync::OnceLock;
use walk::{Graph, Keep, Rest, Walk, walk_all};
use words::Words;

/// Width of a search where the request names none.
const BEAM: NonZeroUsize = NonZeroUsize::new(128).unwrap();
/// Where walks of these many times `k` open too few nodes, rows are compared one by one.
const WIDEST: usize = 8;
/// Queries that one thread answers at a time.
const GROUP: usize = 64;
/// Rows that one task of a scan visits.
const SHARD: usize = 1 << 14;

/// A graph with its neighbours' codes in the nodes.
pub(crate) struct Symqg {
    spec: SymqgSpec,
    metric: Metric,
    shape: Shape,
    n: usize,
    /// `n x stride`.
    words: Words,
    rotation: Rotation,
    entry: u32,
    /// What a file keeps of the rotation and the shape.
    frame: Vec<u32>,
    rest: Rest,
}

impl Symqg {
    pub(crate) fn build(
        spec: SymqgSpec,
        rows: Rows<'_, f32>,
        metric: Metric,
        seed: u64,
        watch: &Watch<'_>,
    ) -> Result<Self, BuildError> {
        let bytes = rows.dim() <= kernels::integers::MOST_DIMENSIONS
            && rows.as_slice().par_iter().all(|&value| is_byte(value));
        let shape = Shape { dim: rows.dim(), degree: spec.degree(), bytes };
        let mean = build::mean(rows);
        let rotation = Rotation::new(&mean, seed);
        let made = match metric {
            Metric::L2 => linked(spec, rows, shape, &mean, &rotation, seed, watch),
            Metric::Dot => linked_by_dot(spec, rows, shape, &rotation, seed, watch),
        };
        let (words, entry) = made?;
        let frame = frame(entry, shape, &rotation);
        Ok(Self { spec, metric, shape, n: rows.len(), words, rotation, entry, frame, rest: Rest::default() })
    }

    /// Finds the arrays in a file; only the frame is read. Walks pass over links that lead nowhere.
    pub(crate) fn open(spec: SymqgSpec, sections: &Sections<'_>) -> Result<Self, OpenError> {
        let (n, dim) = sections.sizes();
        sections.check(PartKind::FusedFrame)?;
        let frame = sections.list::<u32>(PartKind::FusedFrame)?.to_vec();
        let damaged = || sections.damaged("the frame of its rows does not fit them");
        let (&[entry, value], rest) = frame.split_first_chunk().ok_or_else(damaged)?;
        let rotation = Rotation::from_words(dim, rest).ok_or_else(damaged)?;
        if entry as usize >= n || !(value == 1 || value == 4) {
            return Err(damaged());
        }
        let shape = Shape { dim, degree: spec.degree(), bytes: value == 1 };
        let words = Words::Mapped(sections.array(PartKind::FusedRows, n.checked_mul(shape.stride()))?);
        let metric = sections.metric();
        Ok(Self { spec, metric, shape, n, words, rotation, entry, frame, rest: Rest::default() })
    }

    fn graph(&self) -> Graph<'_> {
        Graph {
            shape: self.shape,
            isa: Isa::current(),
            metric: self.metric,
            words: &self.words,
            n: self.n,
            entry: self.entry,
        }
    }

    fn plan<'a>(&self, request: &Request<'a>) -> Plan<'a> {
        let k = request.k.get().min(self.n);
        let beam = request.effort.beam.unwrap_or(BEAM).get().clamp(k, self.n);
        let filter = request.filter;
        let beam = if filter.is_all() { Some(beam) } else { wider(self.n, beam, filter) };
        Plan { k, beam, filter, among: OnceLock::new() }
    }

    /// Answers a few queries, walking for all of them in turn.
    fn answer(&self, graph: &Graph<'_>, queries: &[f32], plan: &Plan<'_>) -> Vec<Answer> {
        let queries: Vec<&[f32]> = queries.chunks_exact(self.shape.dim).collect();
        let mut answers = Vec::new();
        answers.resize_with(queries.len(), Answer::default);
        let mut short: Vec<usize> = (0..queries.len()).collect();
        let mut beam = plan.beam;
        while let Some(width) = beam.filter(|_| !short.is_empty()) {
            self.walk(graph, &queries, &short, plan, width, &mut answers);
            short.retain(|&i| answers[i].hits.len() < plan.k);
            // Nodes may fill a beam several times over, so that fewer than `k` of them were opened.
            beam = (2 * width <= WIDEST * plan.k).then_some(2 * width);
        }
        for i in short {
            let among = plan.among(self.n);
            let mut query = Vector::default();
            self.shape.set_query(queries[i], &mut query);
            answers[i].hits = scanned(graph, &query, among, plan.k);
            answers[i].stats.distances += among.len() as u64;
        }
        answers
    }

    /// Walks for the queries named by `which`.
    fn walk(
        &self,
        graph: &Graph<'_>,
        queries: &[&[f32]],
        which: &[usize],
        plan: &Plan<'_>,
        beam: usize,
        answers: &mut [Answer],
    ) {
        let mut walks = self.rest.take();
        let begin = |i: usize, walk: &mut Walk| {
            let query = queries[which[i]];
            self.shape.set_query(query, &mut walk.query);
            walk.rotated.resize(self.shape.rotated(), 0.0);
            self.rotation.apply(query, &mut walk.rotated);
            walk.table.set(graph.isa, &walk.rotated);
            walk.begin(graph, beam);
        };
        let end = |i: usize, walk: &mut Walk| {
            let answer = &mut answers[which[i]];
            answer.hits = walk.nearest(plan.k);
            answer.stats += walk.stats;
        };
        let passes = |id| plan.filter.passes(id);
        let keep: Keep<'_> = if plan.filter.is_all() { None } else { Some(&passes) };
        walk_all(graph, &mut walks, which.len(), keep, begin, end);
        self.rest.give(walks);
    }
}

/// Rows linked by distance, and their entry.
fn linked(
    spec: SymqgSpec,
    rows: Rows<'_, f32>,
    shape: Shape,
    mean: &[f32],
    rotation: &Rotation,
    seed: u64,
    watch: &Watch<'_>,
) -> Result<(Words, u32), BuildError> {
    let rotated = build::rotate_all(rotation, rows, shape);
    let mut builder = Builder::new(rows, shape, &rotated, build::central(rows, mean))?;
    builder.link(spec, seed, watch)?;
    builder.fill_all(watch)?;
    builder.reach_all(spec.construction(), watch)?;
    watch.step(Phase::Linking, rows.len(), rows.len())?;
    Ok((builder.words, builder.entry))
}

/// Rows linked as vectors of one length: the order of inner products with a query is that of distances to it.
fn linked_by_dot(
    spec: SymqgSpec,
    rows: Rows<'_, f32>,
    shape: Shape,
    rotation: &Rotation,
    seed: u64,
    watch: &Watch<'_>,
) -> Result<(Words, u32), BuildError> {
    let isa = Isa::current();
    let longer = lengthened(rows);
    let longer = Rows::new(&longer, rows.dim() + 1).expect("each row got one value");
    let other = Shape { dim: longer.dim(), bytes: false, ..shape };
    let mean = build::mean(longer);
    let turned = build::rotate_all(&Rotation::new(&mean, seed), longer, other);
    let mut builder = Builder::new(longer, other, &turned, build::central(longer, &mean))?;
    builder.link(spec, seed, watch)?;
    builder.fill_all(watch)?;
    builder.reach_all(spec.construction(), watch)?;
    let rotated = build::rotate_all(rotation, rows, shape);
    let rotated = |id: u32| &rotated[id as usize * shape.rotated()..][..shape.rotated()];
    let mut words = build::unlinked(rows, shape)?;
    words.as_mut().par_chunks_exact_mut(shape.stride()).enumerate().for_each(|(node, row)| {
        if watch.stopped() {
            return;
        }
        let (id, p) = (node as u32, rows.row(node));
        let edge = |other: u32| {
            let residual: Vec<f32> = rows.row(other as usize).iter().zip(p).map(|(v, p)| v - p).collect();
            Edge { isa, p: rotated(id), v: rotated(other), lean: isa.dot(p, &residual) }
        };
        shape.set_list(row, id, Metric::Dot, builder.list(id).iter().map(|link| link.id()), edge);
    });
    watch.step(Phase::Linking, rows.len(), rows.len())?;
    Ok((words, builder.entry))
}

/// Each row with one more value, so that all have the length of the longest.
fn lengthened(rows: Rows<'_, f32>) -> Vec<f32> {
    let isa = Isa::current();
    let squares: Vec<f32> = rows.iter().map(|row| isa.dot(row, row)).collect();
    let longest = squares.iter().fold(0f32, |most, &square| most.max(square));
    let mut longer = Vec::with_capacity(rows.len() * (rows.dim() + 1));
    for (row, square) in rows.iter().zip(squares) {
        longer.extend_from_slice(row);
        longer.push((longest - square).max(0.0).sqrt());
    }
    longer
}

/// The entry, the bytes of a value, then the rotation.
fn frame(entry: u32, shape: Shape, rotation: &Rotation) -> Vec<u32> {
    let mut words = vec![entry, if shape.bytes { 1 } else { 4 }];
    words.extend(rotation.words());
    words
}

/// How the queries of one request are answered.
struct Plan<'a> {
    k: usize,
    /// Width of the walks, where they cost less than comparing the rows that pass.
    beam: Option<usize>,
    filter: Filter<'a>,
    /// The rows that pass, listed when a scan first needs them.
    among: OnceLock<Among<'a>>,
}

impl<'a> Plan<'a> {
    fn among(&self, n: usize) -> &Among<'a> {
        self.among.get_or_init(|| match self.filter {
            Filter::All => Among::All(n),
            filter => Among::These(filter.passing(n)),
        })
    }
}

/// The width of a walk that still finds a beam of rows that pass a filter, where it costs less than a scan of them.
///
/// With a share `s` passing, a walk must be `4 / s` times as wide; opening a node costs as much as [`HOP`] distances
/// of a scan, and asking the filter about a row a sixteenth of one. The share is that of a sample.
fn wider(n: usize, beam: usize, filter: Filter<'_>) -> Option<usize> {
    /// What a hop costs, in distances of a scan.
    const HOP: f64 = 12.0;
    let share = filter.share(n);
    let scan = share * n as f64 + n as f64 / 16.0;
    // The nearest that pass may lie past many that do not, and estimates push some of them out of a narrow walk.
    let width = 4.0 * beam as f64 / share;
    (width * HOP < scan).then_some((width as usize).min(n))
}

/// The answers to one query and their cost.
#[derive(Default)]
struct Answer {
    hits: Vec<Hit>,
    stats: Stats,
}

/// The `k` nearest of the rows in `among`.
fn scanned(graph: &Graph<'_>, query: &Vector, among: &Among<'_>, k: usize) -> Vec<Hit> {
    /// Rows requested from memory before they are compared.
    const AHEAD: usize = 8;
    let id = |at: usize| match among {
        Among::All(_) => at as u32,
        Among::These(ids) => ids[at],
    };
    let shards: Vec<TopK> = (0..among.len().div_ceil(SHARD))
        .into_par_iter()
        .map(|shard| {
            let mut top = TopK::new(k);
            let end = ((shard + 1) * SHARD).min(among.len());
            for at in shard * SHARD..end {
                if at + AHEAD < end {
                    graph.prefetch_vector(id(at + AHEAD));
                }
                let distance = graph.distance(query, id(at));
                if top.would_keep(distance) {
                    top.push(distance, id(at).into());
                }
            }
            top
        })
        .collect();
    let mut all = TopK::new(k);
    for top in shards {
        top.into_sorted().into_iter().for_each(|(distance, id)| all.push(distance, id));
    }
    scan::sorted(all).collect()
}

impl Index for Symqg {
    fn spec(&self) -> Spec {
        Spec { layout: Layout::Symqg(self.spec) }
    }

    fn dim(&self) -> usize {
        self.shape.dim
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn len(&self) -> usize {
        self.n
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
        let (plan, graph) = (self.plan(request), self.graph());
        let group = queries.len().div_ceil(rayon::current_num_threads()).clamp(1, GROUP);
        let groups: Vec<Vec<Answer>> = queries
            .as_slice()
            .par_chunks(group * queries.dim())
            .map(|queries| self.answer(&graph, queries, &plan))
            .collect();
        let mut stats = Stats::default();
        for answer in groups.into_iter().flatten() {
            hits.push(answer.hits);
            stats += answer.stats;
        }
        Ok(stats)
    }

    fn parts(&self) -> Vec<Part<'_>> {
        vec![Part::new(PartKind::FusedFrame, &self.frame), Part::new(PartKind::FusedRows, &self.words)]
    }

    fn keeps_vectors(&self) -> bool {
        true
    }

    fn vectors(&self) -> Option<Vec<f32>> {
        let rows = self.words.chunks_exact(self.shape.stride());
        Some(rows.flat_map(|row| self.shape.floats(row)[..self.shape.dim].to_vec()).collect())
    }
}
