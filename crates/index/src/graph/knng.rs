//! KNNG: the graph of the nearest rows of each row, found by descent from random ones.

use super::descent::Neighbours;
use super::links::Links;
use super::pool::Candidate;
use super::site::Site;
use kernels::SplitMix64;

/// Neighbours kept beside those wanted while the graph is made.
const SPARE: usize = 8;

/// Links every row to its `degree` nearest; searches for the repair start at the central node.
pub(super) fn build(site: &Site<'_>, degree: usize) -> Links {
    let mut neighbours = Neighbours::random(site, degree + SPARE);
    neighbours.descend(site, |done, all| (site.progress)(site.len() * done / all, site.len()));
    linked(site, &neighbours, degree)
}

/// Links to the first `degree` neighbours of each node.
pub(super) fn linked(site: &Site<'_>, neighbours: &Neighbours, degree: usize) -> Links {
    let mut links = Links::flat(site.len(), degree, site.central());
    for node in 0..site.len() as u32 {
        let list: Vec<u32> = neighbours.of(node).take(degree).map(Candidate::id).collect();
        links.write(node, 0, &list);
    }
    links
}

/// Nodes that lie all over the graph, of which searches start at the nearest: links of near neighbours alone do not
/// lead from everywhere to everywhere. Twice the cube root of the rows, without repeats.
pub(super) fn start_nodes(n: usize, seed: u64) -> Vec<u32> {
    let count = (2.0 * (n as f64).cbrt()).ceil() as usize;
    let mut random = SplitMix64::named(seed, 0x7374_6172);
    let mut nodes: Vec<u32> = (0..count).map(|_| random.below(n) as u32).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}
