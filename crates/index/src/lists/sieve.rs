//! The rows that pass a filter, as visits to lists want them.

use super::Places;
use crate::search::Filter;

/// A filter made ready for one request.
pub(super) enum Sieve<'a> {
    /// Asked about the rows of each list that is visited.
    Asked(Filter<'a>),
    /// The places of all rows that pass, ascending: few of them.
    Listed(&'a [u32]),
}

impl<'a> Sieve<'a> {
    /// Asks about rows when their list is visited.
    pub(super) fn asked(filter: Filter<'a>, bits: &'a mut Vec<u64>, n: usize) -> Self {
        let Filter::Ids(ids) = filter else { return Self::Asked(filter) };
        // A bit is found faster than a number in order.
        bits.resize(n.div_ceil(64), 0);
        for &id in ids.iter().take_while(|&&id| (id as usize) < n) {
            bits[id as usize / 64] |= 1 << (id % 64);
        }
        Self::Asked(Filter::Bitmap(bits))
    }

    /// The rows that pass among the `len` places from `start` on: a bit each. Gives their number.
    pub(super) fn live(&self, places: &Places, start: u32, len: usize, words: &mut Vec<u64>) -> usize {
        words.clear();
        words.resize(len.div_ceil(64), 0);
        let mut set = |at: usize| words[at / 64] |= 1 << (at % 64);
        match self {
            Self::Listed(listed) => {
                let here = within(listed, start, len);
                here.iter().for_each(|&place| set((place - start) as usize));
                here.len()
            }
            Self::Asked(filter) => {
                let ids = &places.ids[start as usize..start as usize + len];
                let passing = ids.iter().enumerate().filter(|&(_, &id)| filter.passes(id.into()));
                passing.map(|(at, _)| set(at)).count()
            }
        }
    }
}

/// The places of all rows that pass, ascending; `place_of` tells where a row lies.
pub(super) fn places(filter: Filter<'_>, place_of: &[u32]) -> Vec<u32> {
    let rows = filter.passing(place_of.len());
    let mut places: Vec<u32> = rows.iter().map(|&row| place_of[row as usize]).collect();
    places.sort_unstable();
    places
}

/// Those of the ascending `listed` from `start` on, before `start + len`.
pub(super) fn within(listed: &[u32], start: u32, len: usize) -> &[u32] {
    let from = listed.partition_point(|&place| place < start);
    let here = &listed[from..];
    &here[..here.partition_point(|&place| ((place - start) as usize) < len)]
}

/// The lists in which the ascending places `listed` lie.
pub(super) fn lists_of(listed: &[u32], places: &Places) -> Vec<u32> {
    let (mut lists, mut rest) = (Vec::new(), listed);
    while let Some(&place) = rest.first() {
        let list = places.starts.partition_point(|&start| start <= place).saturating_sub(1);
        let end = places.starts.get(list + 1).copied().unwrap_or(u32::MAX);
        lists.push(list as u32);
        // A damaged file may have starts in any order.
        let here = rest.partition_point(|&place| place < end).max(1);
        rest = &rest[here..];
    }
    lists.retain(|&list| (list as usize) < places.lists());
    lists.dedup();
    lists
}
