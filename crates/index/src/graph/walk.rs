//! Walks along links: down the levels, and best first at one of them.

use super::links::Links;
use super::points::Near;
use super::pool::{Candidate, Scratch};
use crate::search::Stats;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

impl Links {
    /// Walks from the entry down to just above `level`, always to the nearest neighbour; gives where
    /// it arrives.
    pub(super) fn descend(
        &self,
        near: &mut dyn Near,
        level: usize,
        scratch: &mut Scratch,
        stats: &mut Stats,
    ) -> Candidate {
        scratch.fresh.clear();
        scratch.fresh.push(self.entry());
        measure(near, scratch, stats);
        let mut here = Candidate::new(scratch.distances[0], self.entry());
        // A damaged file may claim any level; no node is above this one.
        for level in (level + 1..=self.top().min(64)).rev() {
            // Ends, because each step is to a smaller candidate.
            loop {
                stats.hops += 1;
                scratch.fresh.clear();
                scratch.fresh.extend(self.list(here.id(), level));
                measure(near, scratch, stats);
                match fresh(scratch).min() {
                    Some(next) if next < here => here = next,
                    _ => break,
                }
            }
        }
        here
    }

    /// Best-first search at one level from the candidates in `starts`; leaves the nearest `width` in
    /// `scratch.beam` and all that were followed in `scratch.trail` (algorithm 2 of HNSW).
    pub(super) fn explore(
        &self,
        near: &mut dyn Near,
        starts: &[Candidate],
        level: usize,
        width: usize,
        scratch: &mut Scratch,
        stats: &mut Stats,
    ) {
        scratch.seen.clear();
        scratch.trail.clear();
        scratch.beam.restart(width);
        for &start in starts {
            if scratch.seen.insert(start.id()) {
                scratch.beam.offer(start);
            }
        }
        while let Some(here) = scratch.beam.follow() {
            stats.hops += 1;
            scratch.trail.push(here);
            self.unseen(here.id(), level, scratch);
            if let Some(next) = scratch.beam.peek() {
                kernels::prefetch(self.slots(next, level));
            }
            measure(near, scratch, stats);
            let Scratch { beam, fresh, distances, .. } = scratch;
            for (&id, &d) in fresh.iter().zip(distances.iter()) {
                beam.offer(Candidate::new(d, id));
            }
        }
    }

    /// As [`Links::explore`] at level 0, for nodes that pass a filter, nearest first: the walk goes through all
    /// nodes and goes on until it holds `width` that pass and nothing nearer is left to follow.
    pub(super) fn explore_passing(
        &self,
        near: &mut dyn Near,
        starts: &[Candidate],
        width: usize,
        keep: impl Fn(u32) -> bool,
        scratch: &mut Scratch,
        stats: &mut Stats,
    ) -> Vec<Candidate> {
        scratch.seen.clear();
        scratch.fresh.clear();
        let mut waiting = BinaryHeap::new();
        let mut passing = Passing { heap: BinaryHeap::new(), width };
        for &start in starts {
            if scratch.seen.insert(start.id()) {
                waiting.push(Reverse(start));
                passing.offer(start, &keep);
            }
        }
        while let Some(Reverse(here)) = waiting.pop() {
            if !passing.reaches(here) {
                break;
            }
            stats.hops += 1;
            self.unseen(here.id(), 0, scratch);
            measure(near, scratch, stats);
            for candidate in fresh(scratch) {
                if passing.reaches(candidate) {
                    waiting.push(Reverse(candidate));
                    passing.offer(candidate, &keep);
                }
            }
        }
        passing.heap.into_sorted_vec()
    }

    /// Puts the links of `node` that were not seen before into `scratch.fresh`.
    #[inline]
    fn unseen(&self, node: u32, level: usize, scratch: &mut Scratch) {
        let Scratch { seen, fresh, .. } = scratch;
        let n = self.len();
        fresh.clear();
        // A plain loop: the same as an iterator chain took a tenth of the whole search.
        for &id in self.slots(node, level) {
            if id as usize >= n {
                break;
            }
            if seen.insert(id) {
                fresh.push(id);
            }
        }
    }
}

/// The nearest nodes that pass a filter, at most `width`.
struct Passing {
    heap: BinaryHeap<Candidate>,
    width: usize,
}

impl Passing {
    /// Whether a candidate is among the nearest so far, should it pass.
    fn reaches(&self, candidate: Candidate) -> bool {
        self.heap.len() < self.width || self.heap.peek().is_none_or(|&worst| candidate <= worst)
    }

    fn offer(&mut self, candidate: Candidate, keep: &impl Fn(u32) -> bool) {
        if keep(candidate.id()) {
            self.heap.push(candidate);
            if self.heap.len() > self.width {
                self.heap.pop();
            }
        }
    }
}

/// Computes the distances of `scratch.fresh`.
#[inline]
pub(super) fn measure(near: &mut dyn Near, scratch: &mut Scratch, stats: &mut Stats) {
    let Scratch { fresh, distances, .. } = scratch;
    distances.resize(fresh.len(), 0.0);
    near.measure(fresh, distances);
    stats.distances += fresh.len() as u64;
}

/// The fresh nodes with their distances.
#[inline]
pub(super) fn fresh(scratch: &Scratch) -> impl Iterator<Item = Candidate> {
    scratch.fresh.iter().zip(&scratch.distances).map(|(&id, &d)| Candidate::new(d, id))
}
