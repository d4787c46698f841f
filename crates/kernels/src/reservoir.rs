//! The k nearest of a stream, for a large k.

/// The `k` smallest pairs seen, ordered by `(distance, id)`; every id may be offered once.
///
/// Pairs at or below a limit are appended, and when the store is full a selection cuts it back to `k`:
/// for more than some 64 neighbours this beats the heap of [`TopK`](crate::TopK), whose limit in return is
/// never stale. NaN counts as farther than anything.
#[derive(Clone, Debug)]
pub struct Reservoir {
    k: usize,
    limit: f32,
    /// Pairs at which the store is cut back to `k`.
    full: usize,
    /// Order-preserving bits of the distance above the id.
    keys: Vec<u64>,
}

impl Reservoir {
    /// Keeps the `k` nearest. Memory grows with the pairs kept, not with `k`.
    #[must_use]
    pub fn new(k: usize) -> Self {
        // Twice `k` halves the admissible share with each cut; a small `k` would cut too often.
        Self { k, limit: f32::INFINITY, full: k.saturating_add(k.max(64)), keys: Vec::new() }
    }

    /// A distance above this is certainly not kept (infinity at first). Never rises.
    #[must_use]
    #[inline]
    pub fn limit(&self) -> f32 {
        self.limit
    }

    /// Lowers the limit to `limit`, where that is lower: pairs above it are not wanted.
    pub fn lower_limit(&mut self, limit: f32) {
        self.limit = self.limit.min(limit);
    }

    /// Offers one pair.
    #[inline]
    pub fn push(&mut self, distance: f32, id: u32) {
        // NaN is kept only while there is nothing better.
        if distance > self.limit || (distance.is_nan() && self.limit < f32::INFINITY) {
            return;
        }
        self.keys.push(u64::from(ordered(distance)) << 32 | u64::from(id));
        if self.keys.len() >= self.full {
            self.cut();
        }
    }

    /// Keeps the `k` smallest; there are more.
    #[inline(never)]
    fn cut(&mut self) {
        let Some(last) = self.k.checked_sub(1) else { return self.keys.clear() };
        let key = *self.keys.select_nth_unstable(last).1;
        self.keys.truncate(self.k);
        let distance = unordered((key >> 32) as u32);
        if distance < self.limit {
            self.limit = distance;
        }
    }

    /// Pairs kept; can pass `k` until [`Reservoir::into_sorted`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The pairs kept, nearest first.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<(f32, u32)> {
        if self.keys.len() > self.k {
            self.cut();
        }
        self.keys.sort_unstable();
        self.keys.into_iter().map(|key| (unordered((key >> 32) as u32), key as u32)).collect()
    }
}

/// Bits that order as [`f32::total_cmp`] does.
#[inline]
fn ordered(distance: f32) -> u32 {
    let bits = distance.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The inverse of [`ordered`].
#[inline]
fn unordered(bits: u32) -> f32 {
    f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_keeps_what_a_sort_would(
            distances in prop::collection::vec(-20i8..20, 0..700), k in 0usize..90, limit in -25f32..30.0,
        ) {
            // Few distinct distances: ties go to the lower id in any order of arrival.
            let mut pairs: Vec<(f32, u32)> = distances.iter().map(|&d| f32::from(d)).zip(0..).collect();
            let (mut forth, mut back) = (Reservoir::new(k), Reservoir::new(k));
            forth.lower_limit(limit);
            back.lower_limit(limit);
            pairs.iter().for_each(|&(distance, id)| forth.push(distance, id));
            pairs.iter().rev().for_each(|&(distance, id)| back.push(distance, id));
            pairs.retain(|pair| pair.0 <= limit);
            pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            pairs.truncate(k);
            prop_assert_eq!(forth.into_sorted(), pairs.clone());
            prop_assert_eq!(back.into_sorted(), pairs);
        }

        #[test]
        fn keys_order_as_distances(a in any::<f32>(), b in any::<f32>()) {
            prop_assert_eq!(ordered(a).cmp(&ordered(b)), a.total_cmp(&b));
            prop_assert_eq!(unordered(ordered(a)).to_bits(), a.to_bits());
        }
    }

    #[test]
    fn nan_is_far_and_k_may_be_absurd() {
        let mut near = Reservoir::new(1);
        near.push(f32::NAN, 0);
        near.push(f32::INFINITY, 1);
        assert_eq!(near.into_sorted(), [(f32::INFINITY, 1)]);
        assert!(Reservoir::new(usize::MAX).is_empty());
    }
}
