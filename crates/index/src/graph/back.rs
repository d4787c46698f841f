//! Links answered: nodes that are linked to learn of it, each list by one thread from all that was brought to it.

use super::links::Links;
use super::site::Site;
use crate::BuildError;
use rayon::prelude::*;

/// A link to be answered: `target` learns of `source`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Back {
    pub(super) level: usize,
    pub(super) target: u32,
    pub(super) source: u32,
}

/// Answers links: `capped` makes a list that fits from a node, its level, its list and the sources that were added
/// behind it.
pub(super) fn answer(
    site: &Site<'_>,
    links: &mut Links,
    mut backs: Vec<Back>,
    capped: impl Fn(u32, usize, Vec<u32>) -> Vec<u32> + Sync,
) -> Result<(), BuildError> {
    backs.par_sort_unstable();
    let groups: Vec<&[Back]> = backs.chunk_by(|a, b| (a.level, a.target) == (b.level, b.target)).collect();
    let lists: Vec<Vec<u32>> = groups
        .par_iter()
        .map(|group| {
            let Back { level, target, .. } = group[0];
            if site.watch.stopped() {
                return Vec::new();
            }
            let mut list: Vec<u32> = links.list(target, level).collect();
            let before = list.len();
            for back in *group {
                if !list[..before].contains(&back.source) {
                    list.push(back.source);
                }
            }
            capped(target, level, list)
        })
        .collect();
    site.watch.go_on()?;
    for (group, list) in groups.iter().zip(&lists) {
        links.write(group[0].target, group[0].level, list);
    }
    Ok(())
}
