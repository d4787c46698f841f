//! KNNG: the graph of the nearest rows of each row, found by descent from random ones.

use super::descent::Neighbours;
use super::links::Links;
use super::pool::Candidate;
use super::site::Site;
use crate::BuildError;
use kernels::{KMeansConfig, kmeans};

/// Neighbours kept beside those wanted while the graph is made.
const SPARE: usize = 8;
/// Most nodes that searches may start at.
const MOST_STARTS: usize = 256;
/// Rows of the sample for each of them.
const SAMPLE: usize = 32;
/// Rounds of k-means.
const ROUNDS: usize = 8;

/// Links every row to its `degree` nearest; searches for the repair start at the central node.
pub(super) fn build(site: &Site<'_>, degree: usize) -> Result<Links, BuildError> {
    let mut neighbours = Neighbours::random(site, degree + SPARE);
    neighbours.descend(site)?;
    Ok(linked(site, &neighbours, degree))
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
/// lead from everywhere to everywhere. About the root of the rows, each the first member of a cell of a sample that
/// is nearest to its centroid.
pub(super) fn start_nodes(site: &Site<'_>) -> Vec<u32> {
    let (n, stride) = (site.len(), site.vectors.stride());
    let cells = ((n as f64).sqrt() as usize).clamp(1, MOST_STARTS);
    let count = n.min(cells * SAMPLE);
    let sample: Vec<u32> = (0..count).map(|i| (i as u128 * n as u128 / count as u128) as u32).collect();
    let rows: Vec<f32> = sample.iter().flat_map(|&node| site.row(node)).copied().collect();
    let cut = kmeans(&rows, stride, &KMeansConfig { rounds: ROUNDS, ..KMeansConfig::new(cells, site.seed) });
    let mut nearest = vec![Candidate::NONE; cells];
    for ((row, &cell), &node) in rows.chunks_exact(stride).zip(&cut.assignment).zip(&sample) {
        let cell = cell as usize;
        let centroid = &cut.centroids[cell * stride..][..stride];
        nearest[cell] = nearest[cell].min(Candidate::new(kernels::l2(row, centroid), node));
    }
    let mut nodes: Vec<u32> =
        nearest.into_iter().filter(|c| *c != Candidate::NONE).map(Candidate::id).collect();
    nodes.sort_unstable();
    nodes
}
