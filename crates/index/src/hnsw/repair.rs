//! Every node reachable: HNSW promises nothing, selection may drop the last link to a node.

use super::graph::{END, Graph, Links};
use super::pool::Pools;
use crate::distance::Distance;
use crate::search::Stats;
use crate::spec::HnswSpec;
use crate::vectors::Vectors;

/// Links each unreachable node, in order, from a reachable node near it.
pub(super) fn reach_all(
    shape: HnswSpec,
    vectors: &Vectors,
    distance: Distance,
    links: &mut Links,
    pools: &Pools,
) {
    let mut reached = vec![false; vectors.len()];
    spread(links, links.entry[0], &mut reached);
    for node in 0..vectors.len() as u32 {
        if !reached[node as usize] {
            let near =
                reached_near(&Graph::new(shape, vectors, distance, links), shape, node, &reached, pools);
            attach(shape, links, node, &near);
            spread(links, node, &mut reached);
        }
    }
}

/// Marks what can be reached from `start` along level 0.
fn spread(links: &Links, start: u32, reached: &mut [bool]) {
    let width = links.base.len() / reached.len();
    reached[start as usize] = true;
    let mut waiting = vec![start];
    while let Some(node) = waiting.pop() {
        for &next in &links.base[node as usize * width..][..width] {
            // Ends and numbers that are no row are skipped alike.
            if let Some(reached) = reached.get_mut(next as usize).filter(|reached| !**reached) {
                *reached = true;
                waiting.push(next);
            }
        }
    }
}

/// Reachable nodes, nearest first as far as a search finds them; at least the entry.
fn reached_near(graph: &Graph<'_>, shape: HnswSpec, node: u32, reached: &[bool], pools: &Pools) -> Vec<u32> {
    let mut scratch = pools.take(reached.len());
    let found = graph.search(graph.row(node), shape.construction(), &mut scratch, &mut Stats::default());
    let mut near: Vec<u32> = found.into_iter().map(|(_, id)| id).filter(|&id| reached[id as usize]).collect();
    if near.is_empty() {
        near.push(graph.entry());
    }
    near
}

/// Gives the first of `near` with a free slot a link to `node`. If all are full, the nearest gives up
/// its last link, and `node` takes that link over: what was reachable stays so by way of `node`.
fn attach(shape: HnswSpec, links: &mut Links, node: u32, near: &[u32]) {
    let width = shape.base_links();
    let list = |links: &Links, of: u32| -> Vec<u32> {
        let slots = &links.base[of as usize * width..][..width];
        slots.iter().copied().take_while(|&id| id != END).collect()
    };
    let free = near.iter().map(|&id| (id, list(links, id))).find(|(_, list)| list.len() < width);
    if let Some((from, mut from_list)) = free {
        from_list.push(node);
        links.write(shape, from, 0, &from_list);
        return;
    }
    let mut from_list = list(links, near[0]);
    let given = std::mem::replace(&mut from_list[width - 1], node);
    links.write(shape, near[0], 0, &from_list);
    let mut own = list(links, node);
    if !own.contains(&given) {
        // A link dropped here is no loss: nothing reached this node, so nothing relied on it.
        own.truncate(width - 1);
        own.push(given);
        links.write(shape, node, 0, &own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::Array;
    use crate::hnsw::insert::insert_all;
    use data::{Metric, Rows};
    use kernels::SplitMix64;
    use proptest::prelude::*;

    /// Nodes that no path from the entry reaches at level 0.
    fn unreachable(links: &Links, n: usize) -> usize {
        let mut reached = vec![false; n];
        spread(links, links.entry[0], &mut reached);
        reached.iter().filter(|&&reached| !reached).count()
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
            let distance = Distance::new(if dot { Metric::Dot } else { Metric::L2 });
            let (shape, pools) = (HnswSpec::new(links, 8).unwrap(), Pools::default());
            let mut links = insert_all(shape, &vectors, distance, seed, &pools, &|_, _| {});
            reach_all(shape, &vectors, distance, &mut links, &pools);
            prop_assert_eq!(unreachable(&links, n), 0);
            let graph = Graph::new(shape, &vectors, distance, &links);
            prop_assert_eq!(graph.level(graph.entry()), graph.top());
            for node in 0..n as u32 {
                prop_assert!(graph.level(node) <= graph.top());
                for level in 0..=graph.level(node) {
                    let mut list: Vec<u32> = graph.links(node, level).collect();
                    prop_assert!(list.iter().all(|&to| to != node && graph.level(to) >= level));
                    list.sort_unstable();
                    prop_assert!(list.windows(2).all(|pair| pair[0] != pair[1]));
                }
            }
        }
    }

    /// A graph of two links a node whose lists are given.
    fn links(lists: &[[u32; 4]]) -> Links {
        let mut base = Array::filled(lists.len() * 4, END);
        base.as_mut().copy_from_slice(lists.as_flattened());
        Links {
            base,
            upper: Array::filled(0, END),
            starts: Array::filled(lists.len() + 1, 0),
            entry: Array::filled(2, 0),
        }
    }

    #[test]
    fn lost_nodes_are_linked_even_between_full_lists() {
        // Nodes 0 to 4 link to each other and are full; 5 and 6 know them but nobody knows those two.
        let mut lost = links(&[
            [1, 2, 3, 4],
            [0, 2, 3, 4],
            [0, 1, 3, 4],
            [0, 1, 2, 4],
            [0, 1, 2, 3],
            [0, 1, 2, 3],
            [0, END, END, END],
        ]);
        let values: Vec<f32> = (0u8..7).map(f32::from).collect();
        let vectors = Vectors::copy(Rows::new(&values, 1).unwrap());
        let shape = HnswSpec::new(2, 2).unwrap();
        assert_eq!(unreachable(&lost, 7), 2);
        reach_all(shape, &vectors, Distance::new(Metric::L2), &mut lost, &Pools::default());
        assert_eq!(unreachable(&lost, 7), 0);
        // Node 5's nearest is 4, whose last link (3) it takes over; node 6's is then 5, likewise.
        assert_eq!(lost.base[16..28], [0, 1, 2, 5, 0, 1, 2, 6, 0, 3, END, END]);
    }
}
