//! What a walk remembers: the candidates in order and the nodes it opened.

use crate::candidate::Candidate;
use kernels::{Isa, SortedKeys};

/// The nearest candidates by estimate, at most `width`, in order; marked ones were opened. A node may be there
/// several times, with estimates from several neighbours: the least of them counts, as in the source.
#[derive(Default)]
pub(super) struct Pool {
    sorted: SortedKeys,
    /// No candidate before this one waits.
    next: usize,
}

impl Pool {
    pub(super) fn restart(&mut self, width: usize) {
        self.sorted.restart(width);
        self.next = 0;
    }

    /// The estimate that a candidate must not pass.
    #[inline]
    pub(super) fn bound(&self) -> f32 {
        self.sorted.bound().map_or(f32::MAX, |key| Candidate(key).distance())
    }

    /// Whether a candidate is among the nearest.
    #[inline]
    pub(super) fn takes(&self, candidate: Candidate) -> bool {
        self.sorted.bound().is_none_or(|bound| candidate.0 < bound)
    }

    #[inline]
    pub(super) fn offer(&mut self, isa: Isa, candidate: Candidate) {
        if let Some(at) = self.sorted.offer(isa, candidate.0) {
            self.next = self.next.min(at);
        }
    }

    /// The node that would be opened next.
    #[inline]
    pub(super) fn peek(&self) -> Option<u32> {
        let waiting = self.sorted.as_slice().get(self.next..)?;
        waiting.iter().map(|&key| Candidate(key)).find(|candidate| !candidate.is_marked()).map(Candidate::id)
    }

    /// The nearest candidate that waits; it counts as opened now.
    #[inline]
    pub(super) fn open(&mut self) -> Option<u32> {
        let keys = self.sorted.as_mut_slice();
        while keys.get(self.next).is_some_and(|&key| Candidate(key).is_marked()) {
            self.next += 1;
        }
        let key = keys.get_mut(self.next)?;
        let candidate = Candidate(*key);
        *key = candidate.marked().0;
        self.next += 1;
        Some(candidate.id())
    }
}

/// The nodes opened: a table with open addressing, small enough for the nearest cache.
#[derive(Default)]
pub(super) struct Opened {
    /// Node + 1, or zero; a power of two of them.
    slots: Vec<u32>,
    count: usize,
}

/// Slots at least.
const SLOTS: usize = 256;

impl Opened {
    /// Forgets all; about `expected` will come.
    pub(super) fn restart(&mut self, expected: usize) {
        let slots = (4 * expected).clamp(SLOTS, 1 << 16).next_power_of_two();
        self.slots.clear();
        self.slots.resize(slots, 0);
        self.count = 0;
    }

    /// Where a node is or would be.
    #[inline]
    fn slot(&self, id: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = (id.wrapping_mul(0x9e37_79b1) >> 7) as usize & mask;
        // Ends: a quarter of the slots at least is free.
        while self.slots[at] != 0 && self.slots[at] != id + 1 {
            at = (at + 1) & mask;
        }
        at
    }

    #[inline]
    pub(super) fn contains(&self, id: u32) -> bool {
        self.slots[self.slot(id)] != 0
    }

    /// Marks a node (below `u32::MAX`); true when it is new.
    #[inline]
    pub(super) fn insert(&mut self, id: u32) -> bool {
        let at = self.slot(id);
        if self.slots[at] != 0 {
            return false;
        }
        self.slots[at] = id + 1;
        self.count += 1;
        if 2 * self.count > self.slots.len() {
            self.grow();
        }
        true
    }

    fn grow(&mut self) {
        let larger = vec![0; 2 * self.slots.len()];
        for id in std::mem::replace(&mut self.slots, larger).into_iter().filter(|&id| id != 0) {
            let at = self.slot(id - 1);
            self.slots[at] = id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn a_pool_keeps_and_opens_the_nearest_first(
            offers in prop::collection::vec((0u8..20, 0u32..50), 0..60), width in 1usize..10,
        ) {
            let mut pool = Pool::default();
            pool.restart(width);
            let mut want: Vec<Candidate> =
                offers.into_iter().map(|(d, id)| Candidate::new(f32::from(d), id)).collect();
            want.iter().for_each(|&candidate| pool.offer(Isa::current(), candidate));
            want.sort_unstable();
            want.truncate(width);
            let bound = if want.len() < width { f32::MAX } else { want[width - 1].distance() };
            prop_assert_eq!(pool.bound(), bound);
            let opened: Vec<u32> = std::iter::from_fn(|| pool.open()).collect();
            prop_assert_eq!(opened, want.iter().map(|c| c.id()).collect::<Vec<_>>());
        }

        #[test]
        fn opened_is_a_set(ids in prop::collection::vec(0u32..3000, 0..2000)) {
            let (mut opened, mut want) = (Opened::default(), HashSet::new());
            opened.restart(1);
            for id in ids {
                prop_assert_eq!(opened.contains(id), want.contains(&id));
                prop_assert_eq!(opened.insert(id), want.insert(id));
            }
            opened.restart(1);
            prop_assert!(want.iter().all(|&id| !opened.contains(id)));
        }
    }
}
