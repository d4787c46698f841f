//! The k smallest of a stream of 16-bit sums.

/// The `k` smallest pairs seen, ordered by `(sum, row)`; every row may be offered once.
///
/// Pairs at or below a limit are appended; when the store is full, a histogram finds the `k`-th sum,
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
        let (sum, below) = self.kth();
        let ties: Vec<u32> =
            self.rows.iter().zip(&self.sums).filter(|(_, s)| **s == sum).map(|(&row, _)| row).collect();
        let last = last_tie(ties, self.k - below);
        let mut kept = 0;
        for i in 0..self.sums.len() {
            let (s, row) = (self.sums[i], self.rows[i]);
            (self.sums[kept], self.rows[kept]) = (s, row);
            kept += usize::from(s < sum || (s == sum && last.is_some_and(|last| row <= last)));
        }
        self.sums.truncate(kept);
        self.rows.truncate(kept);
        self.limit = self.limit.min(sum);
    }

    /// The `k`-th smallest sum and how many are below it: counts over the high bytes, then over the low
    /// bytes of the high byte found.
    fn kth(&self) -> (u16, usize) {
        let mut counts = [0usize; 256];
        for sum in &self.sums {
            counts[usize::from(sum >> 8)] += 1;
        }
        let (high, before) = bin(&counts, self.k);
        counts.fill(0);
        for sum in &self.sums {
            if usize::from(sum >> 8) == high {
                counts[usize::from(sum & 255)] += 1;
            }
        }
        let (low, between) = bin(&counts, self.k - before);
        ((high << 8 | low) as u16, before + between)
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

/// The bin that holds the `k`-th item (the first for `k` of zero), and the items in the bins before it.
fn bin(counts: &[usize; 256], k: usize) -> (usize, usize) {
    let mut before = 0;
    for (bin, &count) in counts.iter().enumerate() {
        if before + count >= k {
            return (bin, before);
        }
        before += count;
    }
    (255, before)
}

/// The largest of the `keep` smallest rows.
fn last_tie(mut ties: Vec<u32>, keep: usize) -> Option<u32> {
    if keep >= ties.len() {
        return Some(u32::MAX);
    }
    let at = keep.checked_sub(1)?;
    Some(*ties.select_nth_unstable(at).1)
}
