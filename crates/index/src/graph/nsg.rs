//! NSG: links in different directions, chosen among what a walk from the central node towards each row meets.
//!
//! Notation: `R` links a node at most. The walk goes along the graph of the 2 `R` nearest (64 at most, and no fewer
//! than `R`), and its width is the construction beam. That graph may fall apart where rows lie in clusters, so the
//! nearest of nodes that are spread over all of them are candidates too.
//! Source: Fu, Xiang, Wang and Cai, VLDB 2019, algorithm 2.

use super::back::{Back, answer};
use super::efanna::neighbours;
use super::knng::{linked, start_nodes};
use super::links::Links;
use super::prune::diverse;
use super::site::Site;
use super::trees::Trees;
use crate::{BuildError, Phase};
use rayon::prelude::*;

/// Candidates beside the links wanted that selection looks at.
const MORE: usize = 100;
/// Trees that the graph of nearest rows is begun from.
const TREES: usize = 4;
/// Most neighbours of that graph, unless the links are more.
const NEAREST: usize = 64;
/// Nodes spread over all rows that selection looks at.
const SPREAD: usize = 16;
/// Nodes whose links are answered at once: they wait in memory.
const ROUND: usize = 1 << 16;
/// Nodes that one task walks to.
const GROUP: usize = 64;

/// Links every row.
pub(super) fn build(site: &Site<'_>, degree: usize, construction: usize) -> Result<Links, BuildError> {
    let n = site.len();
    let wide = (2 * degree).min(NEAREST).max(degree);
    let near = neighbours(site, &Trees::build(site, TREES)?, wide)?;
    let near = linked(site, &near, wide);
    let mut links = chosen(site, &near, &start_nodes(site), degree, construction)?;
    drop(near);
    for start in (0..n).step_by(ROUND) {
        let round = start as u32..(start + ROUND).min(n) as u32;
        let backs = round
            .flat_map(|source| links.list(source, 0).map(move |target| Back { level: 0, target, source }));
        let backs = backs.collect();
        answer(site, &mut links, backs, |node, _, list| {
            if list.len() <= degree { list } else { diverse(site, &site.ranked(node, &list), degree) }
        })?;
    }
    site.step(Phase::Linking, n)?;
    Ok(links)
}

/// The links that each node chooses.
pub(super) fn chosen(
    site: &Site<'_>,
    near: &Links,
    spread: &[u32],
    degree: usize,
    construction: usize,
) -> Result<Links, BuildError> {
    let nodes: Vec<u32> = (0..site.len() as u32).collect();
    let mut links = Links::flat(site.len(), degree, near.entry());
    for round in nodes.chunks(ROUND) {
        site.step(Phase::Linking, round[0] as usize)?;
        let lists: Vec<Vec<u32>> = round
            .par_chunks(GROUP)
            .flat_map_iter(|nodes| {
                if site.watch.stopped() {
                    return Vec::new();
                }
                let mut scratch = site.pools.take(site.len());
                let choose = |&node: &u32| {
                    let mut met = near.met(site, node, construction, &mut scratch);
                    met.extend(site.ranked(node, spread).into_iter().filter(|c| c.id() != node).take(SPREAD));
                    met.sort_unstable();
                    met.dedup();
                    met.truncate(degree + MORE + SPREAD);
                    diverse(site, &met, degree)
                };
                nodes.iter().map(choose).collect::<Vec<_>>()
            })
            .collect();
        for (&node, list) in round.iter().zip(&lists) {
            links.write(node, 0, list);
        }
    }
    site.watch.go_on()?;
    Ok(links)
}
