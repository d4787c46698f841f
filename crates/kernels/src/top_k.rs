//! The k nearest of a stream.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The `k` smallest pairs seen, ordered by `(distance, id)`; NaN counts as farther than anything.
///
/// Memory grows with the pairs kept, not with `k`, so an absurd `k` costs nothing.
#[derive(Clone, Debug)]
pub struct TopK {
    k: usize,
    heap: BinaryHeap<Near>,
}

#[derive(Clone, Copy, Debug)]
struct Near(f32, u64);

impl Ord for Near {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Near {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Near {}

impl TopK {
    /// Keeps the `k` nearest.
    #[must_use]
    pub fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::new() }
    }

    /// Offers one pair.
    #[inline]
    pub fn push(&mut self, distance: f32, id: u64) {
        let near = Near(distance, id);
        if self.heap.len() < self.k {
            self.heap.push(near);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && near < *worst
        {
            *worst = near;
        }
    }

    /// Whether a pair at `distance` might be kept: `false` is certain, `true` can still fail on a
    /// tie. Cheaper than [`TopK::push`].
    #[must_use]
    #[inline]
    pub fn would_keep(&self, distance: f32) -> bool {
        if self.heap.len() < self.k {
            return true;
        }
        self.heap.peek().is_some_and(|worst| distance.total_cmp(&worst.0).is_le())
    }

    /// The distance of the farthest pair kept, once `k` are.
    #[must_use]
    pub fn threshold(&self) -> Option<f32> {
        if self.heap.len() < self.k { None } else { self.heap.peek().map(|worst| worst.0) }
    }

    /// Pairs kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The pairs kept, nearest first.
    #[must_use]
    pub fn into_sorted(self) -> Vec<(f32, u64)> {
        self.heap.into_sorted_vec().into_iter().map(|Near(distance, id)| (distance, id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_what_a_sort_would(distances in prop::collection::vec(0u8..9, 0..60), k in 0usize..12) {
            let mut top = TopK::new(k);
            let mut want = Vec::new();
            for (id, &distance) in distances.iter().enumerate() {
                let (distance, id) = (f32::from(distance), id as u64);
                let (before, sure) = (top.clone().into_sorted(), !top.would_keep(distance));
                top.push(distance, id);
                prop_assert!(!sure || before == top.clone().into_sorted());
                want.push((distance, id));
            }
            want.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            want.truncate(k);
            prop_assert_eq!(top.into_sorted(), want);
        }
    }

    #[test]
    fn nan_is_far_and_k_may_be_absurd() {
        let mut top = TopK::new(2);
        top.push(f32::NAN, 0);
        top.push(f32::INFINITY, 1);
        assert!(top.threshold().is_some_and(f32::is_nan));
        top.push(1.0, 2);
        assert_eq!(top.into_sorted(), [(1.0, 2), (f32::INFINITY, 1)]);
        assert!(TopK::new(usize::MAX).is_empty());
    }
}
