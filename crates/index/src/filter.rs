//! Which rows may be returned.

use data::Id;
use rayon::prelude::*;
use std::borrow::Cow;

/// Which rows may be returned.
#[derive(Clone, Copy, Default)]
pub enum Filter<'a> {
    /// Every row.
    #[default]
    All,
    /// The rows for which the function is true. It may be asked about any row, in any order, from
    /// several threads, and must give the same answer each time.
    When(&'a (dyn Fn(Id) -> bool + Sync)),
    /// The rows whose bit is set: bit `i % 64` of word `i / 64`. Rows past the words do not pass.
    Bitmap(&'a [u64]),
    /// These rows, ascending, each once. Numbers that are no rows are passed over.
    Ids(&'a [u32]),
}

impl<'a> Filter<'a> {
    /// Whether a row may be returned.
    #[must_use]
    #[inline]
    pub fn passes(&self, id: Id) -> bool {
        match self {
            Self::All => true,
            Self::When(keep) => keep(id),
            Self::Bitmap(words) => {
                words.get((id / 64) as usize).is_some_and(|word| word >> (id % 64) & 1 == 1)
            }
            Self::Ids(ids) => u32::try_from(id).is_ok_and(|id| ids.binary_search(&id).is_ok()),
        }
    }

    /// Whether every row passes, whatever it is.
    pub(crate) fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// The rows `0..n` that pass, ascending.
    pub(crate) fn passing(&self, n: usize) -> Cow<'a, [u32]> {
        Cow::Owned(match *self {
            Self::All => (0..n as u32).collect(),
            Self::When(keep) => (0..n as u32).into_par_iter().filter(|&id| keep(Id::from(id))).collect(),
            Self::Bitmap(words) => {
                let mut ids = Vec::new();
                for (first, &word) in (0..n).step_by(64).zip(words) {
                    let mut rest = word;
                    while rest != 0 {
                        ids.push(first as u32 + rest.trailing_zeros());
                        rest &= rest - 1;
                    }
                }
                ids.truncate(ids.partition_point(|&id| (id as usize) < n));
                ids
            }
            Self::Ids(ids) => return Cow::Borrowed(&ids[..ids.partition_point(|&id| (id as usize) < n)]),
        })
    }

    /// The share of the rows `0..n` that pass; of a predicate, from a sample.
    pub(crate) fn share(&self, n: usize) -> f64 {
        /// Rows that a predicate is asked about; all of them when there are no more.
        const SAMPLE: usize = 1024;
        let passing = match self {
            Self::All => return 1.0,
            Self::When(keep) => {
                let sample = n.min(SAMPLE);
                let passing = (0..sample).filter(|i| keep((i * n / sample) as Id)).count();
                return passing as f64 / sample as f64;
            }
            // Bits past the last row may be set; they are few.
            Self::Bitmap(words) => {
                words.iter().take(n.div_ceil(64)).map(|word| word.count_ones() as usize).sum::<usize>()
            }
            Self::Ids(ids) => ids.partition_point(|&id| (id as usize) < n),
        };
        passing.min(n) as f64 / n as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_ways_to_say_it_agree(kept in prop::collection::btree_set(0u32..300, 0..200), n in 1usize..320) {
            let mut words = vec![0u64; 5];
            kept.iter().for_each(|&id| words[id as usize / 64] |= 1 << (id % 64));
            let ids: Vec<u32> = kept.iter().copied().collect();
            let keep = |id: Id| kept.contains(&(id as u32));
            let want: Vec<u32> = ids.iter().copied().filter(|&id| (id as usize) < n).collect();
            for filter in [Filter::When(&keep), Filter::Bitmap(&words), Filter::Ids(&ids)] {
                prop_assert_eq!(filter.passing(n).into_owned(), want.clone());
                prop_assert!((0..400).all(|id| filter.passes(id) == keep(id)));
                let slack = if matches!(filter, Filter::Bitmap(_)) { 64.0 / n as f64 } else { 0.0 };
                prop_assert!((filter.share(n) - want.len() as f64 / n as f64).abs() <= slack + 1e-9);
            }
            prop_assert!(Filter::All.passes(999) && Filter::All.is_all());
            prop_assert!(!Filter::Ids(&ids).passes(u64::from(ids.first().copied().unwrap_or(0)) + (1 << 32)));
        }
    }
}
