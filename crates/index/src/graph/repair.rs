//! Every node reachable: no construction promises it, selection may drop the last link to a node.

use super::links::{END, Links};
use super::pool::Candidate;
use super::site::Site;
use crate::BuildError;
use crate::search::Stats;

/// Links each unreachable node, in order, from a reachable node near it, which a search of width `beam` finds.
pub(super) fn reach_all(site: &Site<'_>, links: &mut Links, beam: usize) -> Result<(), BuildError> {
    let mut reached = vec![false; site.len()];
    spread(links, links.entry(), &mut reached);
    for node in 0..site.len() as u32 {
        if !reached[node as usize] {
            site.watch.go_on()?;
            let near = reached_near(site, links, node, &reached, beam);
            attach(links, node, &near);
            spread(links, node, &mut reached);
        }
    }
    Ok(())
}

/// Marks what can be reached from `start` along level 0.
fn spread(links: &Links, start: u32, reached: &mut [bool]) {
    reached[start as usize] = true;
    let mut waiting = vec![start];
    while let Some(node) = waiting.pop() {
        for &next in links.slots(node, 0) {
            // Ends and numbers that are no row are skipped alike.
            if let Some(reached) = reached.get_mut(next as usize).filter(|reached| !**reached) {
                *reached = true;
                waiting.push(next);
            }
        }
    }
}

/// Reachable nodes, nearest first as far as a search finds them; at least the entry.
fn reached_near(site: &Site<'_>, links: &Links, node: u32, reached: &[bool], beam: usize) -> Vec<u32> {
    let mut scratch = site.pools.take(reached.len());
    let (mut near, mut stats) = (site.near(node), Stats::default());
    let start = links.descend(&mut near, 0, &mut scratch, &mut stats);
    links.explore(&mut near, &[start], 0, beam, &mut scratch, &mut stats);
    let found = scratch.beam.nearest().map(Candidate::id);
    let mut near: Vec<u32> = found.filter(|&id| reached[id as usize]).collect();
    if near.is_empty() {
        near.push(links.entry());
    }
    near
}

/// Gives the first of `near` with a free slot a link to `node`. If all are full, the nearest gives up
/// its last link, and `node` takes that link over: what was reachable stays so by way of `node`.
fn attach(links: &mut Links, node: u32, near: &[u32]) {
    let width = links.widths.base;
    let list = |links: &Links, of: u32| -> Vec<u32> {
        links.slots(of, 0).iter().copied().take_while(|&id| id != END).collect()
    };
    let free = near.iter().map(|&id| (id, list(links, id))).find(|(_, list)| list.len() < width);
    if let Some((from, mut from_list)) = free {
        from_list.push(node);
        links.write(from, 0, &from_list);
        return;
    }
    let mut from_list = list(links, near[0]);
    let given = std::mem::replace(&mut from_list[width - 1], node);
    links.write(near[0], 0, &from_list);
    let mut own = list(links, node);
    if !own.contains(&given) {
        // A link dropped here is no loss: nothing reached this node, so nothing relied on it.
        own.truncate(width - 1);
        own.push(given);
        links.write(node, 0, &own);
    }
}

/// Nodes that no path from the entry reaches at level 0.
#[cfg(test)]
pub(super) fn unreachable(links: &Links) -> usize {
    let mut reached = vec![false; links.len()];
    spread(links, links.entry(), &mut reached);
    reached.iter().filter(|&&reached| !reached).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Watch;
    use crate::distance::Distance;
    use crate::graph::hnsw;
    use crate::graph::pool::Pools;
    use crate::spec::HnswSpec;
    use crate::vectors::Vectors;
    use data::{Metric, Rows};
    use kernels::SplitMix64;
    use proptest::prelude::*;

    fn site<'a>(vectors: &'a Vectors, metric: Metric, seed: u64, pools: &'a Pools) -> Site<'a> {
        Site { vectors, metric, distance: Distance::new(metric), seed, pools, watch: Watch::none() }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Few distinct values and few links: selection then loses many nodes.
        #[test]
        fn every_node_is_reached_and_lists_are_sound(
            n in 1usize..1500, links in 2u32..5, kinds in 1usize..400, seed: u64, dot: bool,
        ) {
            let mut random = SplitMix64::new(seed);
            let values: Vec<f32> = (0..n).flat_map(|_| {
                let kind = random.below(kinds);
                [kind as f32, (kind * kind % 17) as f32]
            }).collect();
            let vectors = Vectors::copy(Rows::new(&values, 2).unwrap());
            let pools = Pools::default();
            let site = site(&vectors, if dot { Metric::Dot } else { Metric::L2 }, seed, &pools);
            let mut links = hnsw::build(&site, HnswSpec::new(links, 8).unwrap()).unwrap();
            reach_all(&site, &mut links, 8).unwrap();
            prop_assert_eq!(unreachable(&links), 0);
            prop_assert_eq!(links.level(links.entry()), links.top());
            for node in 0..n as u32 {
                prop_assert!(links.level(node) <= links.top());
                for level in 0..=links.level(node) {
                    let mut list: Vec<u32> = links.list(node, level).collect();
                    prop_assert!(list.iter().all(|&to| to != node && links.level(to) >= level));
                    list.sort_unstable();
                    prop_assert!(list.windows(2).all(|pair| pair[0] != pair[1]));
                }
            }
        }
    }

    #[test]
    fn lost_nodes_are_linked_even_between_full_lists() {
        // Nodes 0 to 4 link to each other and are full; 5 and 6 know them but nobody knows those two.
        let lists = [
            [1, 2, 3, 4],
            [0, 2, 3, 4],
            [0, 1, 3, 4],
            [0, 1, 2, 4],
            [0, 1, 2, 3],
            [0, 1, 2, 3],
            [0, END, END, END],
        ];
        let mut lost = Links::flat(7, 4, 0);
        lost.base.as_mut().copy_from_slice(lists.as_flattened());
        let values: Vec<f32> = (0u8..7).map(f32::from).collect();
        let vectors = Vectors::copy(Rows::new(&values, 1).unwrap());
        let pools = Pools::default();
        assert_eq!(unreachable(&lost), 2);
        reach_all(&site(&vectors, Metric::L2, 0, &pools), &mut lost, 2).unwrap();
        assert_eq!(unreachable(&lost), 0);
        // Node 5's nearest is 4, whose last link (3) it takes over; node 6's is then 5, likewise.
        assert_eq!(lost.base[16..28], [0, 1, 2, 5, 0, 1, 2, 6, 0, 3, END, END]);
    }
}
