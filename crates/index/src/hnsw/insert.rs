//! Building in rounds, so that any number of threads makes the same graph.
//!
//! A round takes the next rows by number. Each of them searches the graph as it stood before the
//! round and is compared with every other row of the round, so no near neighbour is missed for having
//! arrived at the same time. Then links are written: own links first, back-links after, each list by
//! one thread from what all of the round brought to it.

use super::graph::{END, Graph, Links};
use super::pool::{Candidate, Pools, Scratch};
use crate::array::Array;
use crate::distance::Distance;
use crate::search::Stats;
use crate::spec::HnswSpec;
use crate::vectors::Vectors;
use kernels::SplitMix64;
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a round. Part of the graph's definition; larger rounds keep more threads busy but compare
/// more pairs.
const ROUND: usize = 1024;
/// Rows compared with their round at once.
const GROUP: usize = 8;
/// No node is higher; with two links a node, one in 65,536 would be.
const MAX_LEVEL: u32 = 16;

/// Links every row.
pub(super) fn insert_all(
    shape: HnswSpec,
    vectors: &Vectors,
    distance: Distance,
    seed: u64,
    pools: &Pools,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Links {
    let n = vectors.len();
    let mut links = unlinked(shape, n, seed);
    for start in (0..n).step_by(ROUND) {
        let round = start..(start + ROUND).min(n);
        let graph = Graph::new(shape, vectors, distance, &links);
        let own: Vec<Vec<Vec<u32>>> = round
            .clone()
            .into_par_iter()
            .step_by(GROUP)
            .flat_map_iter(|first| {
                let mut scratch = pools.take(n);
                let group = first..(first + GROUP).min(round.end);
                let mates = mates(&graph, &group, &round);
                let rows = group.zip(mates.chunks_exact(round.len()));
                rows.map(|(node, mates)| own_links(&graph, shape, node as u32, &round, mates, &mut scratch))
                    .collect::<Vec<_>>()
            })
            .collect();
        write_own(shape, &mut links, &round, &own);
        write_back(shape, vectors, distance, &mut links, &round, &own);
        raise_entry(&mut links, &round);
        progress(round.end, n);
    }
    links
}

/// Empty lists for nodes whose levels are drawn from the seed: level `l` or more with chance `M^-l`.
fn unlinked(shape: HnswSpec, n: usize, seed: u64) -> Links {
    let mut starts = Array::filled(n + 1, 0u32);
    let mut lists = 0;
    for (id, start) in starts.as_mut().iter_mut().enumerate() {
        *start = lists;
        if id < n {
            lists += draw_level(shape, seed, id as u64);
        }
    }
    Links {
        base: Array::filled(n * shape.base_links(), END),
        upper: Array::filled(lists as usize * shape.links(), END),
        entry: {
            let mut entry = Array::filled(2, 0);
            entry.as_mut()[1] = starts[1];
            entry
        },
        starts,
    }
}

/// `floor(-ln u / ln M)` by comparisons: a logarithm may differ between machines in its last bit.
fn draw_level(shape: HnswSpec, seed: u64, id: u64) -> u32 {
    let u = SplitMix64::named(seed, id).unit();
    let step = 1.0 / shape.links() as f64;
    let (mut level, mut share) = (0, step);
    while u < share && level < MAX_LEVEL {
        level += 1;
        share *= step;
    }
    level
}

/// Distances of the rows of `group` to all of their round: group x round.
fn mates(graph: &Graph<'_>, group: &Range<usize>, round: &Range<usize>) -> Vec<f32> {
    let stride = graph.stride;
    let rows = |range: &Range<usize>| &graph.rows[range.start * stride..range.end * stride];
    let mut out = vec![0.0; group.len() * round.len()];
    graph.distance.tile(rows(group), rows(round), stride, &mut out);
    out
}

/// The links a new node makes at each of its levels, level 0 first (algorithm 1).
fn own_links(
    graph: &Graph<'_>,
    shape: HnswSpec,
    node: u32,
    round: &Range<usize>,
    mates: &[f32],
    scratch: &mut Scratch,
) -> Vec<Vec<u32>> {
    let row = graph.row(node);
    let own_level = graph.level(node);
    let mut stats = Stats::default();
    let frozen = round.start > 0;
    let mut starts = Vec::new();
    if frozen {
        starts.push(graph.descend(row, own_level, scratch, &mut stats));
    }
    let mut lists = vec![Vec::new(); own_level + 1];
    for level in (0..=own_level).rev() {
        let mut candidates = Vec::new();
        if frozen && level <= graph.top() {
            graph.explore(row, &starts, level, shape.construction(), scratch, &mut stats);
            candidates.extend(scratch.beam.nearest());
            starts.clone_from(&candidates);
        }
        let full = candidates.len() == shape.construction();
        let worst = candidates.last().copied().filter(|_| full);
        for (mate, &d) in (round.start as u32..).zip(mates) {
            let candidate = Candidate::new(d, mate);
            if worst.is_none_or(|worst| candidate < worst) && mate != node && graph.level(mate) >= level {
                candidates.push(candidate);
            }
        }
        candidates.sort_unstable();
        candidates.truncate(shape.construction());
        lists[level] = select(graph, &candidates, shape.links());
    }
    lists
}

/// Keeps a candidate unless one kept before it is at least as near to it as the node is, so that links
/// point in different directions (algorithm 4).
///
/// Equal distances are those of duplicates: a list full of them would lead nowhere else. One link to
/// them is enough, since the repair hangs the others below it.
fn select(graph: &Graph<'_>, candidates: &[Candidate], most: usize) -> Vec<u32> {
    let mut kept: Vec<u32> = Vec::with_capacity(most);
    for candidate in candidates {
        if kept.len() == most {
            break;
        }
        let (row, d) = (graph.row(candidate.id()), candidate.distance());
        if kept.iter().all(|&other| graph.distance.pair(row, graph.row(other)) > d) {
            kept.push(candidate.id());
        }
    }
    kept
}

/// Writes the lists of the round's nodes.
fn write_own(shape: HnswSpec, links: &mut Links, round: &Range<usize>, own: &[Vec<Vec<u32>>]) {
    for (node, lists) in round.clone().zip(own) {
        for (level, list) in lists.iter().enumerate() {
            links.write(shape, node as u32, level, list);
        }
    }
}

/// A link to be answered: `target` learns of `source`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Back {
    level: usize,
    target: u32,
    source: u32,
}

/// Answers the round's links: each target adds its sources, and selects again if they are too many.
fn write_back(
    shape: HnswSpec,
    vectors: &Vectors,
    distance: Distance,
    links: &mut Links,
    round: &Range<usize>,
    own: &[Vec<Vec<u32>>],
) {
    let mut backs = Vec::new();
    for (source, lists) in (round.start as u32..).zip(own) {
        for (level, list) in lists.iter().enumerate() {
            backs.extend(list.iter().map(|&target| Back { level, target, source }));
        }
    }
    backs.par_sort_unstable();
    let groups: Vec<&[Back]> = backs.chunk_by(|a, b| (a.level, a.target) == (b.level, b.target)).collect();
    let graph = Graph::new(shape, vectors, distance, links);
    let lists: Vec<Vec<u32>> = groups.par_iter().map(|group| answered(&graph, shape, group)).collect();
    for (group, list) in groups.iter().zip(&lists) {
        links.write(shape, group[0].target, group[0].level, list);
    }
}

/// The list of a target with its sources added.
fn answered(graph: &Graph<'_>, shape: HnswSpec, group: &[Back]) -> Vec<u32> {
    let Back { level, target, .. } = group[0];
    let mut list: Vec<u32> = graph.links(target, level).collect();
    let before = list.len();
    for back in group {
        if !list[..before].contains(&back.source) {
            list.push(back.source);
        }
    }
    let most = if level == 0 { shape.base_links() } else { shape.links() };
    if list.len() <= most {
        return list;
    }
    let mut distances = vec![0.0; list.len()];
    graph.distance.at(graph.row(target), graph.rows, &list, &mut distances);
    let mut candidates: Vec<_> = list.iter().zip(distances).map(|(&id, d)| Candidate::new(d, id)).collect();
    candidates.sort_unstable();
    select(graph, &candidates, most)
}

/// Searches start at the highest node, the first of them on a tie.
fn raise_entry(links: &mut Links, round: &Range<usize>) {
    for node in round.clone() {
        let level = links.starts[node + 1] - links.starts[node];
        if level > links.entry[1] {
            links.entry.as_mut().copy_from_slice(&[node as u32, level]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_thin_out_by_the_number_of_links() {
        let shape = HnswSpec::new(8, 8).unwrap();
        let levels: Vec<u32> = (0..64_000).map(|id| draw_level(shape, 3, id)).collect();
        let at_least = |level| levels.iter().filter(|&&l| l >= level).count();
        assert!((7_600..8_400).contains(&at_least(1)), "{}", at_least(1)); // 64,000 / 8
        assert!((880..1_120).contains(&at_least(2)), "{}", at_least(2)); // 64,000 / 64
        assert_ne!(levels[..100], (0..100).map(|id| draw_level(shape, 4, id)).collect::<Vec<_>>());
    }
}
