//! Every node reachable: selection may drop the last link to a node.

use super::build::Builder;
use super::pool::Candidate;
use super::walk::{Walk, walk_all};

impl Builder<'_> {
    /// Links each unreachable node, in order, from a reachable node near it.
    pub(super) fn reach_all(&mut self, beam: usize) {
        let mut reached = vec![false; self.len()];
        let mut walks = Vec::new();
        self.spread(self.entry, &mut reached);
        for node in 0..reached.len() as u32 {
            if !reached[node as usize] {
                let near = self.reached_near(node, beam, &reached, &mut walks);
                self.attach(node, &near);
                self.spread(node, &mut reached);
            }
        }
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
    fn reached_near(&self, node: u32, beam: usize, reached: &[bool], walks: &mut Vec<Walk>) -> Vec<Candidate> {
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
