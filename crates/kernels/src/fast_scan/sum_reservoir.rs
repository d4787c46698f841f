//! The k smallest of a stream of 16-bit sums.

use crate::widest::widest;

/// The `k` smallest pairs seen, ordered by `(sum, row)`; every row may be offered once.
///
/// Pairs at or below a limit are appended; when the store is full, counting finds the `k`-th sum,
/// which becomes the limit, and the rest is dropped. A few appended pairs too many cost less than keeping
/// a heap in order.
#[derive(Clone, Debug)]
pub struct SumReservoir {
    k: usize,
    limit: u16,
    /// Pairs at which the store is cut back to `k`.
    full: usize,
    sums: Vec<u16>,
    rows: Vec<u32>,
}

impl SumReservoir {
    /// Keeps the `k` smallest. Memory grows with the pairs kept, not with `k`.
    #[must_use]
    pub fn new(k: usize) -> Self {
        // Twice `k` halves the admissible share with each cut; a small `k` would cut too often.
        let full = k.saturating_add(k.max(128));
        Self { k, limit: u16::MAX, full, sums: Vec::new(), rows: Vec::new() }
    }

    /// A sum above this is certainly not kept. Never rises.
    #[must_use]
    #[inline]
    pub fn limit(&self) -> u16 {
        self.limit
    }

    /// Lowers the limit to `limit`, where that is lower: pairs above it are not wanted.
    pub fn lower_limit(&mut self, limit: u16) {
        self.limit = self.limit.min(limit);
    }

    /// Offers one pair.
    #[inline]
    pub fn push(&mut self, sum: u16, row: u32) {
        if sum > self.limit {
            return;
        }
        self.sums.push(sum);
        self.rows.push(row);
        if self.sums.len() >= self.full {
            self.cut();
        }
    }

    /// Takes the rows `first + r` whose bit `r` is set, and returns the new limit.
    #[inline(never)]
    pub(super) fn admit(&mut self, first: u32, mut mask: u32, sums: &[u16; 32]) -> u16 {
        while mask != 0 {
            let r = mask.trailing_zeros();
            self.push(sums[r as usize], first + r);
            mask &= mask - 1;
        }
        self.limit
    }

    /// Keeps the `k` smallest; there are more.
    fn cut(&mut self) {
        if self.k == 0 {
            self.sums.clear();
            return self.rows.clear();
        }
        let Kth { sum, below, within } = kth(&self.sums, self.k);
        // Where all that have the sum are kept, no row is compared.
        let last = if within <= self.k {
            u32::MAX
        } else {
            let ties = self.rows.iter().zip(&self.sums).filter(|(_, s)| **s == sum).map(|(&row, _)| row);
            last_tie(ties.collect(), self.k - below)
        };
        // One comparison of integers, and no jump that would be hard to foresee.
        let key = |sum: u16, row: u32| u64::from(sum) << 32 | u64::from(row);
        let greatest = key(sum, last);
        let mut kept = 0;
        for i in 0..self.sums.len() {
            let (s, row) = (self.sums[i], self.rows[i]);
            (self.sums[kept], self.rows[kept]) = (s, row);
            kept += usize::from(key(s, row) <= greatest);
        }
        self.sums.truncate(kept);
        self.rows.truncate(kept);
        self.limit = self.limit.min(sum);
    }

    /// Pairs kept; can pass `k` until [`SumReservoir::into_sorted`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// The pairs kept, smallest first.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<(u16, u32)> {
        if self.sums.len() > self.k {
            self.cut();
        }
        let mut pairs: Vec<_> = self.sums.into_iter().zip(self.rows).collect();
        pairs.sort_unstable();
        pairs
    }
}

/// The `k`-th smallest of some sums, how many are below it, and how many are not above it.
struct Kth {
    sum: u16,
    below: usize,
    within: usize,
}

widest! {
    /// Sums are counted against bounds that close in on the `k`-th: sixteen passes of whole registers at most.
    fn kth(sums: &[u16], k: usize) -> Kth;
    avx512: kth_body, avx2: kth_body, plain: kth_body
}

#[inline(always)]
fn kth_body(sums: &[u16], k: usize) -> Kth {
    // At most `low - 1` are fewer than `k`, at most `high` as many or more.
    let (mut low, mut high) = (0u32, u32::from(u16::MAX));
    let (mut below, mut within) = (0, sums.len());
    while low < high {
        let middle = (low + high) / 2;
        let count = at_most(sums, middle as u16);
        if count >= k {
            (high, within) = (middle, count);
        } else {
            (low, below) = (middle + 1, count);
        }
    }
    Kth { sum: high as u16, below, within }
}

/// How many sums are at most `limit`.
#[inline(always)]
fn at_most(sums: &[u16], limit: u16) -> usize {
    /// Sums counted by one lane, so that 16 bits hold the count.
    const MOST: usize = 32 * (u16::MAX as usize);
    let mut count = 0;
    for sums in sums.chunks(MOST) {
        let (blocks, rest) = sums.as_chunks::<32>();
        let mut lanes = [0u16; 32];
        for block in blocks {
            for (lane, &sum) in lanes.iter_mut().zip(block) {
                *lane += u16::from(sum <= limit);
            }
        }
        count += lanes.iter().map(|&lane| usize::from(lane)).sum::<usize>();
        count += rest.iter().filter(|&&sum| sum <= limit).count();
    }
    count
}

/// The largest of the `keep` smallest rows; `keep` is neither zero nor more than there are.
fn last_tie(mut ties: Vec<u32>, keep: usize) -> u32 {
    *ties.select_nth_unstable(keep - 1).1
}
