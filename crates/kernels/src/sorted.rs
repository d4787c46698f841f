//! Short sorted lists of integers, the shape of a graph search's candidates.

use crate::Isa;

/// Values that a [`SortedKeys`] keeps beyond its width, so that whole registers can be moved.
const SLACK: usize = 8;

/// The least of the integers offered, at most `width`, ascending.
#[derive(Clone, Debug, Default)]
pub struct SortedKeys {
    /// `len` keys, then anything, [`SLACK`] at least.
    keys: Vec<u64>,
    len: usize,
    width: usize,
}

impl SortedKeys {
    /// Forgets all; at most `width` are kept from now on. Memory grows with the keys kept, not with `width`.
    pub fn restart(&mut self, width: usize) {
        (self.len, self.width) = (0, width);
    }

    /// The keys, ascending.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[u64] {
        &self.keys[..self.len]
    }

    /// The keys, to change without disturbing their order.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u64] {
        &mut self.keys[..self.len]
    }

    /// The greatest key, once `width` are kept: those that follow must be less.
    #[must_use]
    #[inline]
    pub fn bound(&self) -> Option<u64> {
        if self.len < self.width { None } else { self.as_slice().last().copied() }
    }

    /// Keeps a key that is among the least, after those equal to it; gives where it went.
    #[inline]
    pub fn offer(&mut self, isa: Isa, key: u64) -> Option<usize> {
        if self.len == self.width {
            if self.bound().is_none_or(|bound| key >= bound) {
                return None;
            }
            self.len -= 1;
        }
        if self.keys.len() < self.len + 1 + SLACK {
            self.keys.resize(2 * self.len + 8 * SLACK, 0);
        }
        let at = match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token proves AVX-512F; there are `len + SLACK` keys.
            Isa::Avx512(_) => unsafe { insert_512(self.keys.as_mut_ptr(), self.len, key) },
            _ => insert(&mut self.keys, self.len, key),
        };
        self.len += 1;
        Some(at)
    }
}

/// The definition: moves the keys above `key` of the first `len` up by one and puts it before them.
fn insert(keys: &mut [u64], len: usize, key: u64) -> usize {
    let mut at = len;
    while at > 0 && keys[at - 1] > key {
        keys[at] = keys[at - 1];
        at -= 1;
    }
    keys[at] = key;
    at
}

/// See [`insert`]: eight keys at a time, from the end.
///
/// # Safety
/// `len + SLACK` keys can be written; needs AVX-512F.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,popcnt")]
unsafe fn insert_512(keys: *mut u64, len: usize, key: u64) -> usize {
    use std::arch::x86_64::*;
    let wanted = _mm512_set1_epi64(key as i64);
    let mut end = len;
    // SAFETY: reads stay below `end`, writes reach at most `end + 1`, within the slack.
    unsafe {
        while end >= 8 {
            let from = keys.add(end - 8);
            let eight = _mm512_loadu_si512(from.cast());
            let above = _mm512_cmpgt_epu64_mask(eight, wanted);
            _mm512_mask_storeu_epi64(from.add(1).cast(), above, eight);
            if above != 0xff {
                let at = end - above.count_ones() as usize;
                keys.add(at).write(key);
                return at;
            }
            end -= 8;
        }
        let there = (1u8 << end) - 1;
        let few = _mm512_maskz_loadu_epi64(there, keys.cast());
        let above = _mm512_mask_cmpgt_epu64_mask(there, few, wanted);
        _mm512_mask_storeu_epi64(keys.add(1).cast(), above, few);
        let at = end - above.count_ones() as usize;
        keys.add(at).write(key);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_least_stay_in_order(keys in prop::collection::vec(0u64..60, 0..200), width in 1usize..70) {
            for isa in Isa::present() {
                let (mut list, mut want) = (SortedKeys::default(), Vec::new());
                list.restart(9);
                let _ = list.offer(isa, 3);
                list.restart(width);
                for &key in &keys {
                    // Keys of all sizes.
                    let key = key << 58 | key;
                    let at = want.partition_point(|&kept| kept <= key);
                    let kept = at < width;
                    want.insert(at, key);
                    want.truncate(width);
                    prop_assert_eq!(list.offer(isa, key), kept.then_some(at), "{}", isa.name());
                    prop_assert_eq!(list.as_slice(), &want);
                    prop_assert_eq!(list.bound(), (want.len() == width).then(|| want[width - 1]));
                }
            }
        }
    }
}
