//! What a graph search remembers: its candidates in order and the nodes it has seen.

pub(super) use crate::candidate::Candidate;
use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

/// The nearest candidates seen, at most `width`, in order; marked where their links were followed.
#[derive(Default)]
pub(super) struct Beam {
    sorted: Vec<Candidate>,
    width: usize,
    /// No candidate before this one waits to be followed.
    next: usize,
}

impl Beam {
    pub(super) fn restart(&mut self, width: usize) {
        self.sorted.clear();
        self.width = width;
        self.next = 0;
    }

    /// Keeps a candidate that is among the nearest.
    #[inline]
    pub(super) fn offer(&mut self, candidate: Candidate) {
        if self.sorted.len() == self.width {
            match self.sorted.last() {
                Some(&last) if candidate < last => self.sorted.pop(),
                _ => return,
            };
        }
        let at = self.sorted.partition_point(|&kept| kept < candidate);
        self.sorted.insert(at, candidate);
        self.next = self.next.min(at);
    }

    /// The nearest candidate whose links were not followed yet; it counts as followed now.
    #[inline]
    pub(super) fn follow(&mut self) -> Option<Candidate> {
        self.skip_followed();
        let candidate = self.sorted.get_mut(self.next)?;
        let here = *candidate;
        *candidate = here.marked();
        self.next += 1;
        Some(here)
    }

    /// The node that would be followed next.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u32> {
        self.skip_followed();
        self.sorted.get(self.next).map(|candidate| candidate.id())
    }

    #[inline]
    fn skip_followed(&mut self) {
        while self.sorted.get(self.next).is_some_and(|candidate| candidate.is_marked()) {
            self.next += 1;
        }
    }

    /// The candidates kept, nearest first.
    pub(super) fn nearest(&self) -> impl Iterator<Item = Candidate> {
        self.sorted.iter().map(|candidate| candidate.unmarked())
    }
}

/// The nodes seen: a bit each, and a list of them so that forgetting costs no more than seeing.
#[derive(Default)]
pub(super) struct Seen {
    words: Vec<u64>,
    touched: Vec<u32>,
}

impl Seen {
    /// Marks a node; true when it is new.
    #[inline]
    pub(super) fn insert(&mut self, id: u32) -> bool {
        let word = &mut self.words[id as usize / 64];
        let bit = 1 << (id % 64);
        let new = *word & bit == 0;
        if new {
            *word |= bit;
            self.touched.push(id);
        }
        new
    }

    pub(super) fn clear(&mut self) {
        for id in self.touched.drain(..) {
            self.words[id as usize / 64] = 0;
        }
    }
}

/// The memory of one search, kept for the next.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) beam: Beam,
    pub(super) seen: Seen,
    /// The nodes whose links were followed, in that order.
    pub(super) trail: Vec<Candidate>,
    /// Nodes of one list that were not seen before, then their distances.
    pub(super) fresh: Vec<u32>,
    pub(super) distances: Vec<f32>,
}

/// Scratch memory of the searches that run at the same time.
#[derive(Default)]
pub(super) struct Pools {
    idle: Mutex<Vec<Scratch>>,
}

impl Pools {
    /// Memory for a search among `n` nodes; it comes back when the lease is dropped.
    pub(super) fn take(&self, n: usize) -> Lease<'_> {
        let mut scratch = self.lock().pop().unwrap_or_default();
        scratch.seen.clear();
        scratch.seen.words.resize(n.div_ceil(64), 0);
        Lease { pools: self, scratch }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Scratch>> {
        // Scratch memory is cleared before use, so a panic elsewhere leaves nothing wrong in it.
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Scratch memory on loan.
pub(super) struct Lease<'a> {
    pools: &'a Pools,
    scratch: Scratch,
}

impl Deref for Lease<'_> {
    type Target = Scratch;

    fn deref(&self) -> &Scratch {
        &self.scratch
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut Scratch {
        &mut self.scratch
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.pools.lock().push(std::mem::take(&mut self.scratch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_beam_follows_the_nearest_first(offers in prop::collection::vec((0u8..20, 0u32..50), 0..60)) {
            // All offered at once: what is followed is the sorted beam.
            let mut beam = Beam::default();
            beam.restart(8);
            let mut want: Vec<Candidate> = Vec::new();
            for (distance, id) in offers {
                let candidate = Candidate::new(f32::from(distance), id);
                if !want.contains(&candidate) {
                    beam.offer(candidate);
                    want.push(candidate);
                }
            }
            want.sort();
            want.truncate(8);
            prop_assert_eq!(beam.nearest().collect::<Vec<_>>(), want.clone());
            prop_assert_eq!(beam.peek(), want.first().map(|c| c.id()));
            let followed: Vec<u32> = std::iter::from_fn(|| beam.follow()).map(Candidate::id).collect();
            prop_assert_eq!(followed, want.iter().map(|c| c.id()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_nearer_candidate_is_followed_before_the_rest() {
        let mut beam = Beam::default();
        beam.restart(2);
        beam.offer(Candidate::new(5.0, 1));
        beam.offer(Candidate::new(6.0, 2));
        assert_eq!(beam.follow(), Some(Candidate::new(5.0, 1)));
        beam.offer(Candidate::new(1.0, 3)); // pushes out node 2
        assert_eq!((beam.follow(), beam.follow()), (Some(Candidate::new(1.0, 3)), None));
    }

    #[test]
    fn seen_forgets() {
        let pools = Pools::default();
        {
            let mut scratch = pools.take(100);
            assert!(scratch.seen.insert(99) && !scratch.seen.insert(99));
        }
        assert!(pools.take(100).seen.insert(99));
    }
}
