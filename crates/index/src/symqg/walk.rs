//! Best-first walks that see their neighbours by estimate and compare exactly only what they open.
//!
//! Several walks take turns on one core: each opens one node and asks for the row of the next, which arrives while
//! the others work. What a walk finds does not depend on the company it has.

use super::pool::{Opened, Pool};
use super::rows::{Shape, Vector};
use crate::candidate::Candidate;
use crate::search::Stats;
use data::{Hit, Id, Metric};
use kernels::Isa;
use kernels::sign_scan::{BLOCK, SignTable};
use std::sync::Mutex;

/// Walks that take turns.
pub(super) const TOGETHER: usize = 8;
/// Words that one call asks for.
const ASKED: usize = 128;

/// The rows of all nodes and how to compare them.
#[derive(Clone, Copy)]
pub(super) struct Graph<'a> {
    pub(super) shape: Shape,
    pub(super) isa: Isa,
    pub(super) metric: Metric,
    pub(super) words: &'a [u32],
    /// Nodes.
    pub(super) n: usize,
    /// Where walks start.
    pub(super) entry: u32,
}

impl<'a> Graph<'a> {
    #[inline]
    pub(super) fn row(&self, id: u32) -> &'a [u32] {
        let stride = self.shape.stride();
        &self.words[id as usize * stride..][..stride]
    }

    #[inline]
    pub(super) fn distance(&self, query: &Vector, id: u32) -> f32 {
        self.shape.distance(self.isa, self.metric, query, self.row(id))
    }

    /// Asks for the vector of a row.
    #[inline]
    pub(super) fn prefetch_vector(&self, id: u32) {
        kernels::prefetch(&self.row(id)[..self.shape.vector()]);
    }

    #[inline]
    fn prefetch(&self, id: u32) {
        self.row(id).chunks(ASKED).for_each(kernels::prefetch);
    }
}

/// Which nodes may be found.
pub(super) type Keep<'a> = Option<&'a (dyn Fn(Id) -> bool + Sync)>;

/// One walk, and memory that the next one takes over.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) query: Vector,
    pub(super) table: SignTable,
    pub(super) rotated: Vec<f32>,
    /// The nodes opened that may be found, at their exact distances, in the order of opening.
    pub(super) found: Vec<Candidate>,
    pub(super) stats: Stats,
    pool: Pool,
    opened: Opened,
    here: u32,
}

impl Walk {
    /// Begins at the entry; `query` and `table` are set.
    pub(super) fn begin(&mut self, graph: &Graph<'_>, beam: usize) {
        self.pool.restart(beam);
        self.opened.restart(beam);
        self.found.clear();
        self.stats = Stats::default();
        self.here = graph.entry;
        self.opened.insert(graph.entry);
        graph.prefetch(graph.entry);
    }

    /// The `k` nearest of the nodes found.
    pub(super) fn nearest(&mut self, k: usize) -> Vec<Hit> {
        if k < self.found.len() {
            self.found.select_nth_unstable(k);
            self.found.truncate(k);
        }
        self.found.sort_unstable();
        self.found.iter().map(|c| Hit { id: c.id().into(), distance: c.distance() }).collect()
    }

    /// Opens the node that the walk stands at and moves to the next; false when there is none.
    ///
    /// A walk that is `alone` also asks for the row that it would open after the next: it often does, and there is
    /// nobody else to work while that row arrives.
    #[inline]
    fn step(&mut self, graph: &Graph<'_>, keep: Keep<'_>, alone: bool) -> bool {
        let (shape, row) = (graph.shape, graph.row(self.here));
        let exact = shape.distance(graph.isa, graph.metric, &self.query, row);
        self.stats.hops += 1;
        self.stats.distances += 1;
        if keep.is_none_or(|keep| keep(self.here.into())) {
            self.found.push(Candidate::new(exact, self.here));
        }
        for b in 0..shape.degree / BLOCK {
            let mut estimates = [0.0; BLOCK];
            let signs = shape.signs_of(row, b);
            let bound = self.pool.bound();
            let mut near = graph.isa.estimate_block(&self.table, signs, exact, bound, &mut estimates);
            let ids = shape.ids_of(row, b);
            while near != 0 {
                let v = near.trailing_zeros() as usize;
                near &= near - 1;
                // A damaged file may name any node.
                let candidate = Candidate::new(estimates[v], ids[v]);
                // The bound may have come down since; a damaged file may name any node.
                if self.pool.takes(candidate) && (ids[v] as usize) < graph.n && !self.opened.contains(ids[v])
                {
                    self.pool.offer(graph.isa, candidate);
                }
            }
        }
        while let Some(next) = self.pool.open() {
            if self.opened.insert(next) {
                self.here = next;
                graph.prefetch(next);
                if alone && let Some(after) = self.pool.peek() {
                    graph.prefetch(after);
                }
                return true;
            }
        }
        false
    }
}

/// Walks for the queries `0..count`: `begin` readies the walk of a query, `end` takes what it found.
pub(super) fn walk_all(
    graph: &Graph<'_>,
    walks: &mut Vec<Walk>,
    count: usize,
    keep: Keep<'_>,
    mut begin: impl FnMut(usize, &mut Walk),
    mut end: impl FnMut(usize, &mut Walk),
) {
    let mut active: Vec<usize> = (0..count.min(TOGETHER)).collect();
    walks.resize_with(walks.len().max(active.len()), Walk::default);
    for (&query, walk) in active.iter().zip(walks.iter_mut()) {
        begin(query, walk);
    }
    let mut next = active.len();
    while !active.is_empty() {
        let mut at = 0;
        while at < active.len() {
            if walks[at].step(graph, keep, active.len() == 1) {
                at += 1;
                continue;
            }
            end(active[at], &mut walks[at]);
            if next < count {
                active[at] = next;
                begin(next, &mut walks[at]);
                next += 1;
                at += 1;
            } else {
                active.swap_remove(at);
                walks.swap(at, active.len());
            }
        }
    }
}

/// Walks that rest between batches.
#[derive(Default)]
pub(super) struct Rest(Mutex<Vec<Vec<Walk>>>);

impl Rest {
    /// Walks for one thread; bring them back with [`Rest::give`].
    pub(super) fn take(&self) -> Vec<Walk> {
        self.lock().pop().unwrap_or_default()
    }

    pub(super) fn give(&self, walks: Vec<Walk>) {
        self.lock().push(walks);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<Walk>>> {
        // A walk is begun anew before use, so a panic elsewhere leaves nothing wrong in it.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
