//! NSW: a flat graph that grows by insertion; links between early nodes are the long ones.
//!
//! Rows are inserted in random order (their numbers here), each linked both ways with the `M` nearest that a search
//! finds among those before it. A list holds at most `2 M` links: its first `M` stay, of those that came later the
//! nearest do.
//! Source: Malkov, Ponomarenko, Logvinov and Krylov, Information Systems 2014; there lists have no cap.

use super::insert::{Rule, insert_all};
use super::links::Links;
use super::pool::Candidate;
use super::site::Site;
use crate::BuildError;

pub(super) struct Nsw {
    /// `M`.
    pub(super) links: usize,
    /// Width of the search.
    pub(super) construction: usize,
}

impl Rule for Nsw {
    const MATES_AFTER: bool = false;

    fn construction(&self) -> usize {
        self.construction
    }

    fn own(&self, _: &Site<'_>, candidates: &[Candidate]) -> Vec<u32> {
        candidates.iter().take(self.links).map(|candidate| candidate.id()).collect()
    }

    fn capped(&self, site: &Site<'_>, node: u32, _: usize, mut list: Vec<u32>) -> Vec<u32> {
        if list.len() > 2 * self.links {
            let later = site.ranked(node, &list[self.links..]);
            list.truncate(self.links);
            list.extend(later.into_iter().take(self.links).map(Candidate::id));
        }
        list
    }
}

/// Links every row; the first is where searches start.
pub(super) fn build(site: &Site<'_>, rule: &Nsw) -> Result<Links, BuildError> {
    let mut links = Links::flat(site.len(), 2 * rule.links, 0);
    insert_all(site, rule, &mut links)?;
    Ok(links)
}
