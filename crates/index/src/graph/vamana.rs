//! Vamana: links in different directions, and longer ones that a factor lets live (see `prune`).
//!
//! Two passes over the rows in random order, in rounds that walk the graph as it stood before: the first inserts
//! each row with a factor of 1, in rounds that double until they are a small share of the graph; the second
//! lets each choose again in the whole graph with the factor of the spec. Nodes that are linked to learn of it, and
//! choose again when their list is full.
//! Source: Subramanya et al., NeurIPS 2019 (DiskANN), algorithm 3, there from a random graph, row by row; rounds as in
//! Manohar et al., PPoPP 2024.

use super::back::{Back, answer};
use super::links::Links;
use super::prune::robust;
use super::site::Site;
use crate::{BuildError, Phase};
use kernels::SplitMix64;
use rayon::prelude::*;

/// Nodes of a round: one for so many in the graph.
const SHARE: usize = 50;
/// Most nodes of a round; what they bring waits in memory.
const ROUND: usize = 1 << 16;
/// Nodes that one task walks to.
const GROUP: usize = 32;
/// Most candidates that selection looks at.
const CANDIDATES: usize = 750;

/// Links every row.
pub(super) fn build(
    site: &Site<'_>,
    degree: usize,
    construction: usize,
    alpha: f32,
) -> Result<Links, BuildError> {
    let n = site.len();
    let entry = site.central();
    let mut links = Links::flat(n, degree, entry);
    let order = order(n, entry, site.seed);
    let mut done = 1;
    while done < n {
        let round = (done / SHARE).clamp(done.min(GROUP), ROUND).min(n - done);
        choose(site, &mut links, &order[done..done + round], construction, 1.0)?;
        done += round;
        site.step(Phase::Linking, done / 2)?;
    }
    let round = (n / SHARE).clamp(GROUP, ROUND);
    for (i, nodes) in order.chunks(round).enumerate() {
        choose(site, &mut links, nodes, construction, alpha)?;
        site.step(Phase::Linking, n / 2 + (i * round + nodes.len()) / 2)?;
    }
    site.step(Phase::Linking, n)?;
    Ok(links)
}

/// All nodes in random order, the entry first.
fn order(n: usize, entry: u32, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.swap(0, entry as usize);
    let mut random = SplitMix64::named(seed, 0x7661_6d61);
    for i in (2..n).rev() {
        order.swap(i, 1 + random.below(i));
    }
    order
}

/// Lets `nodes` choose their links, then tells the nodes they link to.
fn choose(
    site: &Site<'_>,
    links: &mut Links,
    nodes: &[u32],
    construction: usize,
    alpha: f32,
) -> Result<(), BuildError> {
    let degree = links.widths.base;
    let frozen = &*links;
    let lists: Vec<Vec<u32>> = nodes
        .par_chunks(GROUP)
        .flat_map_iter(|nodes| {
            if site.watch.stopped() {
                return Vec::new();
            }
            let mut scratch = site.pools.take(site.len());
            let choose = |&node: &u32| {
                let mut met = frozen.met(site, node, construction, &mut scratch);
                met.sort_unstable();
                met.dedup();
                met.truncate(CANDIDATES);
                robust(site, &met, alpha, degree)
            };
            nodes.iter().map(choose).collect::<Vec<_>>()
        })
        .collect();
    site.watch.go_on()?;
    let mut backs = Vec::with_capacity(nodes.len() * degree);
    for (&source, list) in nodes.iter().zip(&lists) {
        links.write(source, 0, list);
        backs.extend(list.iter().map(|&target| Back { level: 0, target, source }));
    }
    answer(site, links, backs, |node, _, list| {
        if list.len() <= degree { list } else { robust(site, &site.ranked(node, &list), alpha, degree) }
    })
}
