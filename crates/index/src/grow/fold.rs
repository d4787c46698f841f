//! Which segments are made into one.
//!
//! From the last segment back, a segment is folded into those after it while it holds fewer than twice their rows. So
//! each segment that is left holds at least twice the rows of the next one: `n` rows are in at most `log2(n) + 1`
//! segments, a row is built into a segment at most `log2(n)` times, and fewer than twice as many rows are scanned as
//! the largest segment that is scanned holds. A segment of which more than half is removed is made anew.
//!
//! No segment gets more rows than an index may have. One without its vectors (codes alone, and what `build` made) stays as it is, and those before it do too.

use crate::build::MAX_ROWS;
use std::ops::Range;

/// What the rule asks about a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) rows: usize,
    pub(super) live: usize,
    pub(super) has_vectors: bool,
}

impl Member {
    /// Whether it is made anew even alone.
    pub(super) fn is_worn(&self) -> bool {
        self.has_vectors && self.rows > 2 * self.live
    }
}

/// Splits segments into runs, each of which becomes one; into as few as can be when `all`.
pub(super) fn runs(members: &[Member], all: bool) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut end = members.len();
    while end > 0 {
        let mut start = end - 1;
        let mut live = members[start].live;
        while start > 0 && members[start].has_vectors && members[start - 1].has_vectors {
            let before = members[start - 1].live;
            if live + before > MAX_ROWS || (!all && before >= 2 * live) {
                break;
            }
            live += before;
            start -= 1;
        }
        runs.push(start..end);
        end = start;
    }
    runs.reverse();
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(live: &[usize]) -> Vec<Member> {
        live.iter().map(|&live| Member { rows: live, live, has_vectors: true }).collect()
    }

    proptest! {
        #[test]
        fn few_segments_are_left(batches in prop::collection::vec(1usize..3000, 1..120)) {
            let mut segments: Vec<usize> = Vec::new();
            let mut work = 0;
            for &batch in &batches {
                segments.push(batch);
                let runs = runs(&members(&segments), false);
                prop_assert_eq!(runs.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..segments.len()).collect::<Vec<_>>());
                work += runs.iter().filter(|run| run.len() > 1)
                    .map(|run| segments[run.clone()].iter().sum::<usize>()).sum::<usize>();
                segments = runs.into_iter().map(|run| segments[run].iter().sum()).collect();
                prop_assert!(segments.windows(2).all(|pair| pair[0] >= 2 * pair[1]), "{:?}", segments);
            }
            let n: usize = batches.iter().sum();
            prop_assert_eq!(segments.iter().sum::<usize>(), n);
            prop_assert!(segments.len() <= n.ilog2() as usize + 1);
            // A row moves into a segment half as large again each time.
            prop_assert!(work as f64 <= n as f64 * ((n as f64).ln() / 1.5f64.ln() + 1.0), "{} of {}", work, n);
        }
    }

    #[test]
    fn segments_without_vectors_stay() {
        let mut some = members(&[100, 100, 10, 10, 10]);
        some[1].has_vectors = false;
        assert_eq!(runs(&some, false), [0..1, 1..2, 2..5]);
        assert_eq!(runs(&some, true), [0..1, 1..2, 2..5]);
        assert_eq!(runs(&members(&[100, 10, 1]), false), [0..1, 1..2, 2..3]);
        assert_eq!(runs(&members(&[100, 10, 1]), true).first(), Some(&(0..3)));
        assert_eq!(runs(&[], true), []);
        assert_eq!(runs(&members(&[MAX_ROWS - 10, 10, 1]), true), [0..1, 1..3]);
    }

    #[test]
    fn half_removed_is_worn() {
        assert!(!Member { rows: 10, live: 5, has_vectors: true }.is_worn());
        assert!(Member { rows: 10, live: 4, has_vectors: true }.is_worn());
        assert!(!Member { rows: 10, live: 4, has_vectors: false }.is_worn());
    }
}
