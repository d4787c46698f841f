//! The k nearest of a stream whose distances are small integers.

/// The `k` smallest pairs seen, ordered by `(distance, row)`; every row may be offered once.
///
/// A count for each distance tells the `k`-th one at any moment, so nothing is ever compared or sorted
/// until the end. Many rows tie in Hamming distances: as long as rows come in rising order, ties with the
/// `k`-th are known to lose and are not even offered (see [`CountingTopK::limit`]).
#[derive(Clone, Debug)]
pub struct CountingTopK {
    k: usize,
    /// Pairs kept at each distance up to `kth`; above it the counts mean nothing.
    counts: Vec<usize>,
    /// The `k`-th smallest distance, or the largest possible one while there are fewer pairs.
    kth: u32,
    /// Pairs kept whose distance is below `kth`.
    below: usize,
    /// One more than the largest row offered.
    next: u64,
    pairs: Vec<(u32, u32)>,
}

impl CountingTopK {
    /// Keeps the `k` nearest of distances in `0..=most`, which takes `8 (most + 1)` bytes beside the
    /// pairs kept.
    #[must_use]
    pub fn new(k: usize, most: u32) -> Self {
        Self { k, counts: vec![0; most as usize + 1], kth: most, below: 0, next: 0, pairs: Vec::new() }
    }

    /// The largest distance that a row from `first` on could be kept at; none, if no such row can.
    #[must_use]
    #[inline]
    pub fn limit(&self, first: u32) -> Option<u32> {
        if self.k == 0 {
            return None;
        }
        let filled = self.below + self.counts[self.kth as usize] >= self.k;
        let ties_lose = filled && u64::from(first) >= self.next;
        if ties_lose { self.kth.checked_sub(1) } else { Some(self.kth) }
    }

    /// Offers one pair.
    ///
    /// # Panics
    /// When the distance is above `most`.
    #[inline]
    pub fn push(&mut self, distance: u32, row: u32) {
        assert!((distance as usize) < self.counts.len(), "a distance of {distance} is too large");
        if self.limit(row).is_none_or(|limit| distance > limit) {
            return;
        }
        self.next = self.next.max(u64::from(row) + 1);
        self.pairs.push((distance, row));
        self.counts[distance as usize] += 1;
        self.below += usize::from(distance < self.kth);
        while self.below >= self.k {
            self.kth -= 1;
            self.below -= self.counts[self.kth as usize];
        }
        if self.pairs.len() >= self.k.saturating_add(self.k.max(256)) {
            self.cut();
        }
    }

    /// Keeps the `k` smallest; there are more.
    #[inline(never)]
    fn cut(&mut self) {
        let Some(last) = self.k.checked_sub(1) else { return self.pairs.clear() };
        self.pairs.select_nth_unstable(last);
        self.pairs.truncate(self.k);
        self.counts[self.kth as usize] = self.k - self.below;
    }

    /// Pairs kept; can pass `k` until [`CountingTopK::into_sorted`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The pairs kept, nearest first.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<(u32, u32)> {
        if self.pairs.len() > self.k {
            self.cut();
        }
        self.pairs.sort_unstable();
        self.pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_what_a_sort_would(
            distances in prop::collection::vec(0u32..12, 0..900), k in 0usize..90, turn in any::<u64>(),
        ) {
            let mut pairs: Vec<(u32, u32)> = distances.into_iter().zip(0..).collect();
            let mut shuffled = pairs.clone();
            shuffled.sort_by_key(|pair| (u64::from(pair.1) + 1).wrapping_mul(turn | 1) >> 7);
            let (mut forth, mut mixed) = (CountingTopK::new(k, 11), CountingTopK::new(k, 11));
            for (i, &(distance, row)) in pairs.iter().enumerate() {
                let sure = forth.limit(row).is_none_or(|limit| distance > limit);
                let before = sure.then(|| forth.clone().into_sorted());
                forth.push(distance, row);
                prop_assert!(i % 16 > 0 || before.is_none_or(|before| before == forth.clone().into_sorted()));
            }
            shuffled.iter().for_each(|&(distance, row)| mixed.push(distance, row));
            pairs.sort_unstable();
            pairs.truncate(k);
            prop_assert_eq!(forth.into_sorted(), pairs.clone());
            prop_assert_eq!(mixed.into_sorted(), pairs);
        }
    }

    #[test]
    fn ties_with_the_last_are_refused_once_it_is_full() {
        let mut top = CountingTopK::new(2, 5);
        top.push(3, 10);
        assert_eq!(top.limit(11), Some(5));
        top.push(4, 11);
        assert_eq!(top.limit(12), Some(3)); // a 4 from row 12 on would lose to row 11
        assert_eq!(top.limit(9), Some(4)); // row 9 would win it
        top.push(0, 12);
        top.push(0, 13);
        assert_eq!(top.limit(14), None);
        assert_eq!(top.into_sorted(), [(0, 12), (0, 13)]);
    }

    #[test]
    #[should_panic(expected = "a distance of 6 is too large")]
    fn distances_have_a_bound() {
        CountingTopK::new(2, 5).push(6, 0);
    }
}
