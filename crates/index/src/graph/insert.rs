//! Building by insertion, in rounds, so that any number of threads makes the same graph.
//!
//! A round takes the next rows by number. Each of them searches the graph as it stood before the
//! round and is compared with the other rows of the round, so no near neighbour is missed for having
//! arrived at the same time. Then links are written: own links first, back-links after, each list by
//! one thread from what all of the round brought to it.

use super::back::{Back, answer};
use super::links::Links;
use super::pool::{Candidate, Scratch};
use super::site::Site;
use crate::search::Stats;
use crate::{BuildError, Phase};
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a round. Part of the graph's definition; larger rounds keep more threads busy but compare
/// more pairs.
const ROUND: usize = 1024;
/// Rows compared with their round at once.
const GROUP: usize = 8;

/// How nodes choose links.
pub(super) trait Rule: Sync {
    /// Width of the search that finds them.
    fn construction(&self) -> usize;

    /// Whether a row is compared with all of its round, or with those before it alone.
    const MATES_AFTER: bool;

    /// The links that a new node makes, from candidates nearest first.
    fn own(&self, site: &Site<'_>, candidates: &[Candidate]) -> Vec<u32>;

    /// A list that fits, from the list of a node with back-links added behind it.
    fn capped(&self, site: &Site<'_>, node: u32, level: usize, list: Vec<u32>) -> Vec<u32>;
}

/// Links every row; `links` has empty lists.
pub(super) fn insert_all(site: &Site<'_>, rule: &impl Rule, links: &mut Links) -> Result<(), BuildError> {
    insert_from(site, rule, links, 0)
}

/// Links the rows from `first` on, whose lists are empty, to each other and to those before.
pub(super) fn insert_from(
    site: &Site<'_>,
    rule: &impl Rule,
    links: &mut Links,
    first: usize,
) -> Result<(), BuildError> {
    let n = site.len();
    for start in (first..n).step_by(ROUND) {
        let round = start..(start + ROUND).min(n);
        let frozen = &*links;
        let own: Vec<Vec<Vec<u32>>> = round
            .clone()
            .into_par_iter()
            .step_by(GROUP)
            .flat_map_iter(|first| {
                if site.watch.stopped() {
                    return Vec::new();
                }
                let mut scratch = site.pools.take(n);
                let group = first..(first + GROUP).min(round.end);
                let mates = mates(site, &group, &round);
                let rows = group.zip(mates.chunks_exact(round.len()));
                rows.map(|(node, mates)| {
                    own_links(site, rule, frozen, node as u32, &round, mates, &mut scratch)
                })
                .collect::<Vec<_>>()
            })
            .collect();
        site.watch.go_on()?;
        let mut backs = Vec::new();
        for (source, lists) in (round.start as u32..).zip(&own) {
            for (level, list) in lists.iter().enumerate() {
                links.write(source, level, list);
                backs.extend(list.iter().map(|&target| Back { level, target, source }));
            }
        }
        answer(site, links, backs, |node, level, list| rule.capped(site, node, level, list))?;
        raise_entry(links, &round);
        site.step(Phase::Linking, round.end)?;
    }
    Ok(())
}

/// Distances of the rows of `group` to all of their round: group x round.
fn mates(site: &Site<'_>, group: &Range<usize>, round: &Range<usize>) -> Vec<f32> {
    let stride = site.vectors.stride();
    let rows = |range: &Range<usize>| &site.vectors.as_slice()[range.start * stride..range.end * stride];
    let mut out = vec![0.0; group.len() * round.len()];
    site.distance.tile(rows(group), rows(round), stride, &mut out);
    out
}

/// The links a new node makes at each of its levels, level 0 first (algorithm 1 of HNSW).
fn own_links<R: Rule>(
    site: &Site<'_>,
    rule: &R,
    links: &Links,
    node: u32,
    round: &Range<usize>,
    mates: &[f32],
    scratch: &mut Scratch,
) -> Vec<Vec<u32>> {
    let mut near = site.near(node);
    let own_level = links.level(node);
    let mut stats = Stats::default();
    let frozen = round.start > 0;
    let mut starts = Vec::new();
    if frozen {
        starts.push(links.descend(&mut near, own_level, scratch, &mut stats));
    }
    let mut lists = vec![Vec::new(); own_level + 1];
    for level in (0..=own_level).rev() {
        let mut candidates = Vec::new();
        if frozen && level <= links.top() {
            links.explore(&mut near, &starts, level, rule.construction(), scratch, &mut stats);
            candidates.extend(scratch.beam.nearest());
            starts.clone_from(&candidates);
        }
        let full = candidates.len() == rule.construction();
        let worst = candidates.last().copied().filter(|_| full);
        for (mate, &d) in (round.start as u32..).zip(mates) {
            let candidate = Candidate::new(d, mate);
            let other = if R::MATES_AFTER { mate != node } else { mate < node };
            if worst.is_none_or(|worst| candidate < worst) && other && links.level(mate) >= level {
                candidates.push(candidate);
            }
        }
        candidates.sort_unstable();
        candidates.truncate(rule.construction());
        lists[level] = rule.own(site, &candidates);
    }
    lists
}

/// Searches start at the highest node, the first of them on a tie.
fn raise_entry(links: &mut Links, round: &Range<usize>) {
    for node in round.clone() {
        let level = links.level(node as u32);
        if level > links.top() {
            links.entry.as_mut().copy_from_slice(&[node as u32, level as u32]);
        }
    }
}
