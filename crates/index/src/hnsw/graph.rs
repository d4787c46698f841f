//! Links in flat arrays, and the walks along them.

use super::pool::{Candidate, Scratch};
use crate::array::Array;
use crate::distance::Distance;
use crate::file::{OpenError, Part, PartKind, Sections};
use crate::search::Stats;
use crate::spec::HnswSpec;
use crate::vectors::Vectors;
use data::Id;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Ends a list that is not full: no row has this number.
pub(crate) const END: u32 = u32::MAX;

/// The links of all nodes.
pub(crate) struct Links {
    /// `n x 2M`: the list of each node at level 0, ended by [`END`] where it is not full.
    pub(crate) base: Array<u32>,
    /// `lists x M`: the lists above level 0, those of a node together, from level 1 up.
    pub(crate) upper: Array<u32>,
    /// `n + 1`: the first upper list of each node, so a node's level is the difference to the next.
    pub(crate) starts: Array<u32>,
    /// The node where every search starts, then its level.
    pub(crate) entry: Array<u32>,
}

impl Links {
    /// Finds the arrays in a file; only their sizes are checked, so that opening reads nothing else.
    /// Walks stop at links that lead nowhere.
    pub(crate) fn open(shape: HnswSpec, n: usize, sections: &Sections<'_>) -> Result<Self, OpenError> {
        let base = sections.array(PartKind::BaseLinks, n.checked_mul(shape.base_links()))?;
        let upper: Array<u32> = sections.list(PartKind::UpperLinks)?;
        let starts = sections.array(PartKind::UpperStarts, n.checked_add(1))?;
        let entry: Array<u32> = sections.array(PartKind::Entry, Some(2))?;
        sections.check(PartKind::Entry)?;
        if !upper.len().is_multiple_of(shape.links()) || entry[0] as usize >= n {
            return Err(sections.damaged("the graph's entry or its upper lists do not fit its rows"));
        }
        Ok(Self { base, upper, starts, entry })
    }

    /// Writes the list of a node at a level that it reaches; what does not fit is a mistake.
    pub(crate) fn write(&mut self, shape: HnswSpec, node: u32, level: usize, list: &[u32]) {
        let slots = if level == 0 {
            let width = shape.base_links();
            &mut self.base.as_mut()[node as usize * width..][..width]
        } else {
            let first = self.starts[node as usize] as usize + level - 1;
            &mut self.upper.as_mut()[first * shape.links()..][..shape.links()]
        };
        slots[..list.len()].copy_from_slice(list);
        slots[list.len()..].fill(END);
    }

    pub(crate) fn parts(&self) -> [Part<'_>; 4] {
        [
            Part::new(PartKind::BaseLinks, &self.base),
            Part::new(PartKind::UpperLinks, &self.upper),
            Part::new(PartKind::UpperStarts, &self.starts),
            Part::new(PartKind::Entry, &self.entry),
        ]
    }
}

/// A borrowed view that walks use: links, rows and how to compare them.
#[derive(Clone, Copy)]
pub(crate) struct Graph<'a> {
    pub(crate) distance: Distance,
    pub(crate) rows: &'a [f32],
    pub(crate) stride: usize,
    shape: HnswSpec,
    n: usize,
    base: &'a [u32],
    upper: &'a [u32],
    starts: &'a [u32],
    entry: u32,
    top: usize,
}

impl<'a> Graph<'a> {
    pub(crate) fn new(shape: HnswSpec, vectors: &'a Vectors, distance: Distance, links: &'a Links) -> Self {
        Self {
            distance,
            rows: vectors.as_slice(),
            stride: vectors.stride(),
            shape,
            n: vectors.len(),
            base: &links.base,
            upper: &links.upper,
            starts: &links.starts,
            entry: links.entry[0],
            top: links.entry[1] as usize,
        }
    }

    /// The vector of a node, padded.
    #[inline]
    pub(crate) fn row(&self, id: u32) -> &'a [f32] {
        &self.rows[id as usize * self.stride..][..self.stride]
    }

    /// The node where every search starts.
    pub(crate) fn entry(&self) -> u32 {
        self.entry
    }

    /// The highest level that a node reaches.
    pub(crate) fn level(&self, node: u32) -> usize {
        (self.starts[node as usize + 1] - self.starts[node as usize]) as usize
    }

    /// The level of the entry, the highest of all.
    pub(crate) fn top(&self) -> usize {
        self.top
    }

    /// The slots of a node's list at a level; empty where the node does not reach it.
    #[inline]
    fn slots(&self, node: u32, level: usize) -> &'a [u32] {
        let (from, width) = if level == 0 {
            (node as usize, self.shape.base_links())
        } else {
            let (first, end) = (self.starts[node as usize] as usize, self.starts[node as usize + 1] as usize);
            if first + level > end {
                return &[];
            }
            (first + level - 1, self.shape.links())
        };
        let lists = if level == 0 { self.base } else { self.upper };
        lists.get(from * width..(from + 1) * width).unwrap_or(&[])
    }

    /// The links of a node at a level. Ends at [`END`], as at any number that is no row: a damaged
    /// file then gives a wrong answer at worst, until it is verified.
    #[inline]
    pub(crate) fn links(&self, node: u32, level: usize) -> impl Iterator<Item = u32> + 'a {
        let n = self.n;
        self.slots(node, level).iter().copied().take_while(move |&id| (id as usize) < n)
    }

    /// Walks from the entry down to just above `level`, always to the nearest neighbour; gives where
    /// it arrives.
    pub(crate) fn descend(
        &self,
        query: &[f32],
        level: usize,
        scratch: &mut Scratch,
        stats: &mut Stats,
    ) -> Candidate {
        let mut here = Candidate::new(self.distance.pair(query, self.row(self.entry)), self.entry);
        stats.distances += 1;
        // A damaged file may claim any level; no node is above this one.
        for level in (level + 1..=self.top.min(64)).rev() {
            // Ends, because each step is to a smaller candidate.
            loop {
                stats.hops += 1;
                scratch.fresh.clear();
                scratch.fresh.extend(self.links(here.id(), level));
                self.measure(query, scratch, stats);
                let nearest = fresh(scratch).min();
                match nearest {
                    Some(next) if next < here => here = next,
                    _ => break,
                }
            }
        }
        here
    }

    /// Best-first search at one level from the candidates in `starts`; leaves the nearest `width` in
    /// `scratch.beam` (algorithm 2).
    pub(crate) fn explore(
        &self,
        query: &[f32],
        starts: &[Candidate],
        level: usize,
        width: usize,
        scratch: &mut Scratch,
        stats: &mut Stats,
    ) {
        scratch.seen.clear();
        scratch.beam.restart(width);
        for &start in starts {
            if scratch.seen.insert(start.id()) {
                scratch.beam.offer(start);
            }
        }
        while let Some(node) = scratch.beam.follow() {
            stats.hops += 1;
            self.unseen(node, level, scratch);
            if let Some(next) = scratch.beam.peek() {
                kernels::prefetch(self.slots(next, level));
            }
            self.measure(query, scratch, stats);
            let Scratch { beam, fresh, distances, .. } = scratch;
            for (&id, &d) in fresh.iter().zip(distances.iter()) {
                beam.offer(Candidate::new(d, id));
            }
        }
    }

    /// The nearest `beam` rows to a padded query, nearest first.
    pub(crate) fn search(
        &self,
        query: &[f32],
        beam: usize,
        scratch: &mut Scratch,
        stats: &mut Stats,
    ) -> Vec<(f32, u32)> {
        let start = self.descend(query, 0, scratch, stats);
        self.explore(query, &[start], 0, beam, scratch, stats);
        scratch.beam.nearest().map(|c| (c.distance(), c.id())).collect()
    }

    /// As [`Graph::search`], for rows that pass a filter: the walk goes through all nodes and goes on
    /// until it holds `beam` that pass and nothing nearer is left to follow.
    pub(crate) fn search_passing(
        &self,
        query: &[f32],
        beam: usize,
        keep: &(dyn Fn(Id) -> bool + Sync),
        scratch: &mut Scratch,
        stats: &mut Stats,
    ) -> Vec<(f32, u32)> {
        let start = self.descend(query, 0, scratch, stats);
        scratch.seen.clear();
        scratch.seen.insert(start.id());
        let mut waiting = BinaryHeap::from([Reverse(start)]);
        let mut passing = BinaryHeap::new();
        if keep(start.id().into()) {
            passing.push(start);
        }
        while let Some(Reverse(here)) = waiting.pop() {
            let full = passing.len() == beam;
            if full && passing.peek().is_some_and(|&worst| here > worst) {
                break;
            }
            stats.hops += 1;
            self.unseen(here.id(), 0, scratch);
            self.measure(query, scratch, stats);
            for candidate in fresh(scratch) {
                let full = passing.len() == beam;
                if full && passing.peek().is_some_and(|&worst| candidate > worst) {
                    continue;
                }
                waiting.push(Reverse(candidate));
                if keep(candidate.id().into()) {
                    passing.push(candidate);
                    if full {
                        passing.pop();
                    }
                }
            }
        }
        passing.into_sorted_vec().into_iter().map(|c| (c.distance(), c.id())).collect()
    }

    /// Puts the links of `node` that were not seen before into `scratch.fresh`.
    #[inline]
    fn unseen(&self, node: u32, level: usize, scratch: &mut Scratch) {
        let Scratch { seen, fresh, .. } = scratch;
        fresh.clear();
        // A plain loop: the same as an iterator chain took a tenth of the whole search.
        for &id in self.slots(node, level) {
            if id as usize >= self.n {
                break;
            }
            if seen.insert(id) {
                fresh.push(id);
            }
        }
    }

    /// Computes the distances of `scratch.fresh`.
    #[inline]
    fn measure(&self, query: &[f32], scratch: &mut Scratch, stats: &mut Stats) {
        let Scratch { fresh, distances, .. } = scratch;
        distances.resize(fresh.len(), 0.0);
        self.distance.at(query, self.rows, fresh, distances);
        stats.distances += fresh.len() as u64;
    }
}

/// The fresh nodes with their distances.
#[inline]
fn fresh(scratch: &Scratch) -> impl Iterator<Item = Candidate> {
    scratch.fresh.iter().zip(&scratch.distances).map(|(&id, &d)| Candidate::new(d, id))
}
