//! What graph searches order: a distance and an id.

/// A candidate as one integer: the distance's order in the high half, then the id, then a mark in the
/// lowest bit. Integers compare as `(distance, id)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate(pub(crate) u64);

const SIGN: u32 = 1 << 31;

impl Candidate {
    /// After every other: no row has its number.
    pub(crate) const NONE: Self = Self(u64::MAX);

    #[inline]
    pub(crate) fn new(distance: f32, id: u32) -> Self {
        let bits = distance.to_bits();
        let order = if bits & SIGN == 0 { bits | SIGN } else { !bits };
        Self(u64::from(order) << 32 | u64::from(id) << 1)
    }

    #[inline]
    pub(crate) fn distance(self) -> f32 {
        let order = (self.0 >> 32) as u32;
        f32::from_bits(if order & SIGN == 0 { !order } else { order & !SIGN })
    }

    #[inline]
    pub(crate) fn id(self) -> u32 {
        self.0 as u32 >> 1
    }

    /// The same with its mark set.
    #[inline]
    pub(crate) fn marked(self) -> Self {
        Self(self.0 | 1)
    }

    #[inline]
    pub(crate) fn is_marked(self) -> bool {
        self.0 & 1 == 1
    }

    #[inline]
    pub(crate) fn unmarked(self) -> Self {
        Self(self.0 & !1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn candidates_order_as_distance_then_id(a: f32, b: f32, i in 0u32..1 << 31, j in 0u32..1 << 31) {
            let (x, y) = (Candidate::new(a, i), Candidate::new(b, j));
            prop_assert_eq!(x.cmp(&y), a.total_cmp(&b).then(i.cmp(&j)));
            prop_assert_eq!((x.distance().to_bits(), x.id()), (a.to_bits(), i));
            prop_assert!(!x.is_marked() && x.marked().is_marked() && x.marked().unmarked() == x);
        }
    }
}
