//! Nodes in the order that walks meet them, so that neighbours lie near each other in memory.

use super::links::{END, Links};
use std::collections::VecDeque;

/// All nodes, breadth first from the entry; those out of reach come last, by number.
pub(super) fn breadth_first(links: &Links) -> Vec<u32> {
    let n = links.len();
    let (mut met, mut order) = (vec![false; n], Vec::with_capacity(n));
    let mut waiting = VecDeque::new();
    for first in std::iter::once(links.entry()).chain(0..n as u32) {
        if !std::mem::replace(&mut met[first as usize], true) {
            waiting.push_back(first);
        }
        while let Some(node) = waiting.pop_front() {
            order.push(node);
            for next in links.list(node, 0) {
                if !std::mem::replace(&mut met[next as usize], true) {
                    waiting.push_back(next);
                }
            }
        }
    }
    order
}

/// Where each node comes in an order.
pub(super) fn places(order: &[u32]) -> Vec<u32> {
    let mut places = vec![0; order.len()];
    order.iter().zip(0..).for_each(|(&node, place)| places[node as usize] = place);
    places
}

impl Links {
    /// The same links with nodes numbered by their place in `order`. Of one layer.
    pub(super) fn renumbered(&self, order: &[u32]) -> Self {
        let places = places(order);
        let mut links = Self::flat(self.len(), self.widths.base, places[self.entry() as usize]);
        let width = self.widths.base;
        for (slots, &node) in links.base.as_mut().chunks_exact_mut(width).zip(order) {
            for (slot, &to) in slots.iter_mut().zip(self.slots(node, 0)) {
                *slot = if to == END { END } else { places[to as usize] };
            }
        }
        links
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_come_after_their_node() {
        // 2 -> 3, 0; 3 -> 4; nothing leads to 1.
        let mut links = Links::flat(5, 2, 2);
        links.write(2, 0, &[3, 0]);
        links.write(3, 0, &[4]);
        links.write(1, 0, &[2]);
        let order = breadth_first(&links);
        assert_eq!(order, [2, 3, 0, 4, 1]);
        let moved = links.renumbered(&order);
        assert_eq!(moved.entry(), 0);
        assert_eq!(moved.list(0, 0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(moved.list(1, 0).collect::<Vec<_>>(), [3]);
        assert_eq!(moved.list(4, 0).collect::<Vec<_>>(), [0]);
    }
}
