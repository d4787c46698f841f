//! Every list full, where there are so many nodes, and every node reachable: walks may find few, and selection may
//! drop the last link to a node.

use super::build::Builder;
use super::walk::{Walk, walk_all};
use crate::candidate::Candidate;
use crate::{BuildError, Watch};
use rayon::prelude::*;
use std::collections::HashSet;

impl Builder<'_> {
    /// Fills the lists that walks left short, with the links of links.
    pub(super) fn fill_all(&mut self, watch: &Watch<'_>) -> Result<(), BuildError> {
        let full = self.shape.degree.min(self.len() - 1);
        let short: Vec<u32> = (0..self.len() as u32).filter(|&node| self.list(node).len() < full).collect();
        let lists: Vec<_> = short
            .into_par_iter()
            .map(|node| {
                let list = if watch.stopped() { Vec::new() } else { self.full_list(node, full) };
                (node, list)
            })
            .collect();
        watch.go_on()?;
        self.replace(&lists);
        Ok(())
    }

    /// The links of a node, then spare ones to the nodes fewest links away, then to the first ones.
    fn full_list(&self, node: u32, full: usize) -> Vec<Candidate> {
        let list = self.list(node);
        let mut near: Vec<u32> = list.iter().map(|link| link.id()).collect();
        let mut seen: HashSet<u32> = near.iter().copied().chain([node]).collect();
        let mut at = 0;
        while near.len() < full && at < near.len() {
            near.extend(self.list(near[at]).iter().map(|link| link.id()).filter(|&id| seen.insert(id)));
            at += 1;
        }
        near.extend(
            (0..self.len() as u32).filter(|&id| seen.insert(id)).take(full.saturating_sub(near.len())),
        );
        let spare =
            near[list.len()..full].iter().map(|&id| Candidate::new(self.between(node, id), id).marked());
        list.iter().copied().chain(spare).collect()
    }

    /// Links each unreachable node, in order, from a reachable node near it.
    pub(super) fn reach_all(&mut self, beam: usize, watch: &Watch<'_>) -> Result<(), BuildError> {
        let mut reached = vec![false; self.len()];
        let mut walks = Vec::new();
        self.spread(self.entry, &mut reached);
        for node in 0..reached.len() as u32 {
            if !reached[node as usize] {
                watch.go_on()?;
                let near = self.reached_near(node, beam, &reached, &mut walks);
                self.attach(node, &near);
                self.spread(node, &mut reached);
            }
        }
        Ok(())
    }

    /// Marks what can be reached from `start`.
    fn spread(&self, start: u32, reached: &mut [bool]) {
        reached[start as usize] = true;
        let mut waiting = vec![start];
        while let Some(node) = waiting.pop() {
            for link in self.list(node) {
                if !std::mem::replace(&mut reached[link.id() as usize], true) {
                    waiting.push(link.id());
                }
            }
        }
    }

    /// Reachable nodes at their distances from `node`, nearest first as far as a walk finds them; the entry at
    /// least.
    fn reached_near(
        &self,
        node: u32,
        beam: usize,
        reached: &[bool],
        walks: &mut Vec<Walk>,
    ) -> Vec<Candidate> {
        let graph = self.graph();
        let mut near = Vec::new();
        let begin = |_, walk: &mut Walk| self.begin(walk, node, beam);
        walk_all(&graph, walks, 1, None, begin, |_, walk| near.clone_from(&walk.found));
        near.retain(|candidate| reached[candidate.id() as usize]);
        near.sort_unstable();
        near
    }

    /// Gives the first of `near` with a free slot a link to `node`. If all are full, the nearest gives up its last
    /// link, and `node` takes that link over: what was reachable stays so by way of `node`.
    fn attach(&mut self, node: u32, near: &[Candidate]) {
        let degree = self.shape.degree;
        let from = near.iter().find(|from| self.list(from.id()).len() < degree).unwrap_or(&near[0]);
        let mut list = self.list(from.id()).to_vec();
        let link = Candidate::new(from.distance(), node);
        if list.len() < degree {
            list.push(link);
            self.replace(&[(from.id(), list)]);
            return;
        }
        let given = std::mem::replace(&mut list[degree - 1], link).id();
        let mut own = self.list(node).to_vec();
        let mut lists = vec![(from.id(), list)];
        if !own.iter().any(|link| link.id() == given) {
            // A link dropped here is no loss: nothing reached this node, so nothing relied on it.
            own.truncate(degree - 1);
            own.push(Candidate::new(self.between(node, given), given));
            lists.push((node, own));
        }
        lists.sort_unstable_by_key(|(node, _)| *node);
        self.replace(&lists);
    }
}
