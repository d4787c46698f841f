//! A graph of layers that goes on: rows leave it, others are inserted, and all that stay keep their links.
//!
//! Who loses neighbours is offered those that they had, and chooses among them and its own as a full list does. Then
//! nodes that no path reaches get one, and new rows are inserted as ever.
//! Sources: Singh et al., arXiv 2105.09613 (FreshDiskANN), algorithm 4, for the links of those that leave.

use super::hnsw;
use super::insert::{Rule, insert_from};
use super::links::{END, Links};
use super::pool::Pools;
use super::repair::reach_all;
use super::site::Site;
use crate::Watch;
use crate::build::BuildError;
use crate::distance::Distance;
use crate::spec::HnswSpec;
use crate::vectors::Vectors;
use data::{Metric, Rows};
use rayon::prelude::*;

/// How a graph was made, and goes on being made.
pub(super) struct Regrow<'a> {
    pub(super) shape: HnswSpec,
    pub(super) metric: Metric,
    pub(super) seed: u64,
    pub(super) watch: &'a Watch<'a>,
}

impl Regrow<'_> {
    /// The graph of the rows `kept`, ascending and at least one, numbered in that order.
    pub(super) fn without(
        &self,
        vectors: &Vectors,
        links: &Links,
        kept: &[u32],
    ) -> Result<(Vectors, Links), BuildError> {
        let vectors = vectors.joined(kept, None);
        let mut places = vec![END; links.len()];
        kept.iter().zip(0..).for_each(|(&node, place)| places[node as usize] = place);
        let mut left = hnsw::unlinked(self.shape, kept.len(), |place| level_of(links, kept[place]) as u32);
        let pools = Pools::default();
        let site = self.site(&vectors, &pools);
        let lists: Vec<Vec<Vec<u32>>> = (0..kept.len() as u32)
            .into_par_iter()
            .map(|node| {
                let old = kept[node as usize];
                let levels = 0..=level_of(links, old);
                levels.map(|level| self.mended(&site, links, &places, node, old, level)).collect()
            })
            .collect();
        for (node, lists) in (0..).zip(&lists) {
            lists.iter().enumerate().for_each(|(level, list)| left.write(node, level, list));
        }
        let entry = match places.get(links.entry() as usize) {
            Some(&place) if place != END => place,
            _ => highest(&left),
        };
        let level = left.level(entry) as u32;
        left.entry.as_mut().copy_from_slice(&[entry, level]);
        reach_all(&site, &mut left, self.shape.construction())?;
        Ok((vectors, left))
    }

    /// The list of a node in the new numbers: as it was where all of it stays, else chosen among what is left of it and
    /// what those that leave were linked to.
    fn mended(
        &self,
        site: &Site<'_>,
        links: &Links,
        places: &[u32],
        node: u32,
        old: u32,
        level: usize,
    ) -> Vec<u32> {
        let place = |to: u32| Some(places[to as usize]).filter(|&place| place != END && place != node);
        let mut list: Vec<u32> = sound(links, old, level).filter_map(place).collect();
        let lost: Vec<u32> = sound(links, old, level).filter(|&to| places[to as usize] == END).collect();
        if lost.is_empty() {
            return list;
        }
        list.extend(lost.iter().flat_map(|&to| sound(links, to, level)).filter_map(place));
        list.sort_unstable();
        list.dedup();
        self.shape.capped(site, node, level, list)
    }

    /// The graph with the rows of `more` inserted behind its own.
    pub(super) fn with(
        &self,
        vectors: &Vectors,
        links: &Links,
        more: Rows<'_, f32>,
    ) -> Result<(Vectors, Links), BuildError> {
        let before = links.len();
        let all: Vec<u32> = (0..before as u32).collect();
        let vectors = vectors.joined(&all, Some(more));
        let mut longer = hnsw::unlinked(self.shape, vectors.len(), |node| match node < before {
            true => level_of(links, node as u32) as u32,
            false => hnsw::draw_level(self.shape, self.seed, node as u64),
        });
        for node in 0..before as u32 {
            for level in 0..=level_of(links, node) {
                let list: Vec<u32> = sound(links, node, level).collect();
                longer.write(node, level, &list);
            }
        }
        let level = longer.level(links.entry()) as u32;
        longer.entry.as_mut().copy_from_slice(&[links.entry(), level]);
        let pools = Pools::default();
        let site = self.site(&vectors, &pools);
        insert_from(&site, &self.shape, &mut longer, before)?;
        reach_all(&site, &mut longer, self.shape.construction())?;
        Ok((vectors, longer))
    }

    fn site<'a>(&'a self, vectors: &'a Vectors, pools: &'a Pools) -> Site<'a> {
        let distance = Distance::new(self.metric);
        Site { vectors, metric: self.metric, distance, seed: self.seed, pools, watch: *self.watch }
    }
}

/// The level of a node; no more than any has, whatever a damaged file says.
fn level_of(links: &Links, node: u32) -> usize {
    links.level(node).min(hnsw::MAX_LEVEL as usize)
}

/// The links of a node at a level, but for those that only a damaged file has: to itself, and to nodes below the level.
fn sound(links: &Links, node: u32, level: usize) -> impl Iterator<Item = u32> + '_ {
    links.list(node, level).filter(move |&to| to != node && level_of(links, to) >= level)
}

/// The first of the highest nodes.
fn highest(links: &Links) -> u32 {
    (0..links.len() as u32).rev().max_by_key(|&node| links.level(node)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::repair::unreachable;
    use kernels::SplitMix64;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Few links and many equal rows: what is left falls apart easily.
        #[test]
        fn every_node_is_reached_and_lists_are_sound(
            n in 2usize..700, more in 0usize..300, links in 2u32..5, kinds in 1usize..400, seed: u64, share in 0.02f64..1.0,
        ) {
            let mut random = SplitMix64::new(seed);
            let values: Vec<f32> = (0..n + more).flat_map(|_| {
                let kind = random.below(kinds);
                [kind as f32, (kind * kind % 17) as f32]
            }).collect();
            let rows = Rows::new(&values, 2).unwrap();
            let shape = HnswSpec::new(links, 8).unwrap();
            let regrow = Regrow { shape, metric: Metric::L2, seed, watch: &Watch::none() };
            let (vectors, pools) = (Vectors::copy(rows.slice(0..n)), Pools::default());
            let site = regrow.site(&vectors, &pools);
            let mut links = hnsw::build(&site, shape).unwrap();
            reach_all(&site, &mut links, 8).unwrap();
            let mut kept: Vec<u32> = (0..n as u32).filter(|_| random.unit() < share).collect();
            if kept.is_empty() {
                kept.push(n as u32 - 1);
            }
            let (left, links) = regrow.without(&vectors, &links, &kept).unwrap();
            let whole: Vec<f32> = kept.iter().flat_map(|&row| rows.row(row as usize)).copied().collect();
            prop_assert_eq!(left.unpadded(0..kept.len() as u32).unwrap(), whole);
            let (all, longer) = regrow.with(&left, &links, rows.slice(n..n + more)).unwrap();
            prop_assert_eq!(all.len(), kept.len() + more);
            for links in [&links, &longer] {
                prop_assert_eq!(unreachable(links), 0);
                prop_assert_eq!(links.level(links.entry()), links.top());
                for node in 0..links.len() as u32 {
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
    }
}
