//! What each builder promises, beside what `tests/` asks of every index.

use super::descent::Neighbours;
use super::links::Links;
use super::pool::{Candidate, Pools};
use super::prune::{diverse, robust};
use super::repair::{reach_all, unreachable};
use super::site::Site;
use super::trees::Trees;
use super::{Graph, GraphSpec, efanna, knng, nsg, nsw, vamana};
use crate::Watch;
use crate::distance::Distance;
use crate::search::{Filter, Index, Request};
use crate::vectors::Vectors;
use data::{Hits, Metric, Rows};
use kernels::{SplitMix64, l2_nearest};
use proptest::prelude::*;
use std::collections::HashSet;
use std::num::NonZeroUsize;

/// `n x dim` values in clumps of different width.
fn clumps(n: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    let centres: Vec<f32> = (0..12 * dim).map(|_| 4.0 * random.unit() as f32).collect();
    (0..n)
        .flat_map(|_| {
            let (clump, width) = (random.below(12), 0.5 + random.unit() as f32);
            let row: Vec<f32> = (0..dim)
                .map(|j| {
                    let normal = (0..6).map(|_| random.unit() as f32 - 0.5).sum::<f32>();
                    centres[clump * dim + j] + width * normal
                })
                .collect();
            row
        })
        .collect()
}

fn site<'a>(vectors: &'a Vectors, metric: Metric, pools: &'a Pools) -> Site<'a> {
    Site { vectors, metric, distance: Distance::new(metric), seed: 3, pools, watch: Watch::none() }
}

/// The share of the true `k` nearest of every twentieth row that its list holds.
fn graph_recall(values: &[f32], dim: usize, k: usize, list: impl Fn(u32) -> Vec<u32>) -> f64 {
    let nodes: Vec<u32> = (0..(values.len() / dim) as u32).step_by(20).collect();
    let queries: Vec<f32> =
        nodes.iter().flat_map(|&node| &values[node as usize * dim..][..dim]).copied().collect();
    let truth = l2_nearest(&queries, values, dim, k + 1);
    let mut right = 0;
    for (&node, near) in nodes.iter().zip(&truth) {
        let own = list(node);
        right += near.iter().filter(|&&(_, id)| id != node && own.contains(&id)).count();
    }
    right as f64 / (k * truth.len()) as f64
}

#[test]
fn descent_finds_nine_of_ten_nearest_and_never_loses_any() {
    let (dim, n, k) = (16, 10_000, 10);
    let values = clumps(n, dim, 1);
    let (vectors, pools) = (Vectors::copy(Rows::new(&values, dim).unwrap()), Pools::default());
    let site = site(&vectors, Metric::L2, &pools);
    let mut near = Neighbours::random(&site, k + 8);
    let kth = |near: &Neighbours| -> Vec<Candidate> {
        (0..n as u32).map(|node| near.of(node).nth(k - 1).unwrap_or(Candidate::NONE)).collect()
    };
    let mut before = kth(&near);
    for round in 0..8 {
        near.round(&site, round).unwrap();
        let now = kth(&near);
        assert!(now.iter().zip(&before).all(|(now, before)| now <= before), "round {round}");
        before = now;
    }
    let recall = graph_recall(&values, dim, k, |node| near.of(node).map(Candidate::id).collect());
    assert!(recall >= 0.9, "{recall}");
    let trees = Trees::build(&site, 4).unwrap();
    let begun = efanna::neighbours(&site, &trees, k + 8).unwrap();
    let recall = graph_recall(&values, dim, k, |node| begun.of(node).map(Candidate::id).collect());
    assert!(recall >= 0.95, "{recall}");
}

#[test]
fn every_builder_caps_its_lists_and_leaves_no_node_out() {
    let dim = 6;
    for (n, metric) in
        [(1, Metric::L2), (2, Metric::L2), (40, Metric::Dot), (3000, Metric::L2), (3000, Metric::Dot)]
    {
        let values = clumps(n, dim, 2);
        let (vectors, pools) = (Vectors::copy(Rows::new(&values, dim).unwrap()), Pools::default());
        let site = site(&vectors, metric, &pools);
        let graphs: [(&str, usize, Links); 5] = [
            ("NSW", 16, nsw::build(&site, &nsw::Nsw { links: 8, construction: 40 }).unwrap()),
            ("KNNG", 9, knng::build(&site, 9).unwrap()),
            ("EFANNA", 9, efanna::build(&site, 9, 2).unwrap().0),
            ("NSG", 9, nsg::build(&site, 9, 41).unwrap()),
            ("Vamana", 9, vamana::build(&site, 9, 40, 1.2).unwrap()),
        ];
        for (name, most, mut links) in graphs {
            assert_eq!((links.len(), links.widths.base), (n, most), "{name}");
            reach_all(&site, &mut links, 40).unwrap();
            assert_eq!(unreachable(&links), 0, "{name} {metric} {n}");
            for node in 0..n as u32 {
                let list: Vec<u32> = links.list(node, 0).collect();
                let different: HashSet<u32> = list.iter().copied().collect();
                assert_eq!(different.len(), list.len(), "{name}: a link twice");
                assert!(!different.contains(&node), "{name}: a link to itself");
            }
        }
    }
}

#[test]
fn links_that_nsg_chooses_hide_no_other() {
    let dim = 8;
    let values = clumps(1500, dim, 4);
    let (vectors, pools) = (Vectors::copy(Rows::new(&values, dim).unwrap()), Pools::default());
    let site = site(&vectors, Metric::L2, &pools);
    let near = knng::build(&site, 20).unwrap();
    let links = nsg::chosen(&site, &near, &knng::start_nodes(&site), 12, 44).unwrap();
    for node in 0..1500 {
        let list: Vec<u32> = links.list(node, 0).collect();
        for (i, &far) in list.iter().enumerate() {
            let d = site.pair(node, far);
            assert!(list[..i].iter().all(|&kept| site.pair(kept, far) > d && site.pair(node, kept) <= d));
        }
        // The nearest of its neighbours is always kept.
        let nearest = site.ranked(node, &near.list(node, 0).collect::<Vec<_>>())[0];
        assert!(site.pair(node, list[0]) <= nearest.distance());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_greater_factor_keeps_more(seed: u64, dot: bool, most in 2usize..40) {
        let values = clumps(200, 5, seed);
        let (vectors, pools) = (Vectors::copy(Rows::new(&values, 5).unwrap()), Pools::default());
        let site = site(&vectors, if dot { Metric::Dot } else { Metric::L2 }, &pools);
        let candidates = site.ranked(0, &(1..200).collect::<Vec<_>>());
        let plain = diverse(&site, &candidates, most);
        prop_assert_eq!(&robust(&site, &candidates, 1.0, most), &plain);
        let mut before = plain;
        for alpha in [1.05, 1.2, 2.0] {
            let kept = robust(&site, &candidates, alpha, most);
            prop_assert!(kept.len() >= before.len() && kept.len() <= most);
            let own: HashSet<u32> = kept.iter().copied().collect();
            prop_assert_eq!(own.len(), kept.len());
            before = diverse(&site, &candidates, most);
            prop_assert!(kept.starts_with(&before));
        }
    }
}

#[test]
fn a_factor_by_hand() {
    // On a line, from 0: the row at 1 hides the one at 3, since 4 <= 9; with a factor of 2.5 it does not, 10 > 9.
    let values = [0.0, 1.0, 3.0];
    let (vectors, pools) = (Vectors::copy(Rows::new(&values, 1).unwrap()), Pools::default());
    let by_l2 = site(&vectors, Metric::L2, &pools);
    let candidates = by_l2.ranked(0, &[1, 2]);
    assert_eq!(robust(&by_l2, &candidates, 1.0, 8), [1]);
    assert_eq!(robust(&by_l2, &candidates, 2.25, 8), [1]); // 2.25 * 4 <= 9
    assert_eq!(robust(&by_l2, &candidates, 2.5, 8), [1, 2]);
    // Products of the row at 1: 3 with the one at 3, which is nearest, and 0 with the one at 0. The first hides the
    // second only where their product, 0, is no less than 0 itself.
    let by_dot = site(&vectors, Metric::Dot, &pools);
    assert_eq!(robust(&by_dot, &by_dot.ranked(1, &[0, 2]), 1.0, 8), [2]);
}

#[test]
fn early_links_of_nsw_stay() {
    let values = clumps(2000, 4, 5);
    let (vectors, pools) = (Vectors::copy(Rows::new(&values, 4).unwrap()), Pools::default());
    let site = site(&vectors, Metric::L2, &pools);
    let rule = nsw::Nsw { links: 4, construction: 16 };
    let list = |list: Vec<u32>| super::insert::Rule::capped(&rule, &site, 0, 0, list);
    assert_eq!(list(vec![9, 8, 7]), [9, 8, 7]);
    let many: Vec<u32> = (100..120).collect();
    let kept = list(many.clone());
    assert_eq!((&kept[..4], kept.len()), (&many[..4], 8));
    let nearest: Vec<u32> = site.ranked(0, &many[4..]).iter().take(4).map(|c| c.id()).collect();
    assert_eq!(kept[4..], nearest);
}

#[test]
fn a_row_falls_into_its_own_leaf() {
    let values = clumps(3000, 7, 6);
    let (vectors, pools) = (Vectors::copy(Rows::new(&values, 7).unwrap()), Pools::default());
    let site = site(&vectors, Metric::L2, &pools);
    let trees = Trees::build(&site, 3).unwrap();
    let places = trees.places();
    for tree in places.chunks_exact(3000) {
        assert_eq!(tree.iter().collect::<HashSet<_>>().len(), 3000);
    }
    for row in 0..3000 {
        let mut leaves = Vec::new();
        trees.leaves(site.row(row), &mut leaves);
        // Values differ, so each tree puts the row where it lies.
        assert_eq!(leaves.iter().filter(|&&other| other == row).count(), 3);
        assert!(leaves.len() <= 3 * 32 && trees.around(row, site.row(row), &places, 2).len() > leaves.len());
    }
}

#[test]
fn codes_give_their_own_distances_and_a_finer_code_gives_better_ones() {
    let dim = 20;
    let values = clumps(2000, dim, 7);
    let rows = Rows::new(&values, dim).unwrap();
    let queries = Rows::new(&values[..50 * dim], dim).unwrap();
    let k = NonZeroUsize::new(5).unwrap();
    for metric in [Metric::L2, Metric::Dot] {
        let distance = Distance::new(metric);
        for (line, exact) in
            [("NSG16,SQ4", false), ("HNSW8,SQ4,Refine(Flat)", true), ("Vamana16,LVQ4,RFlat", true)]
        {
            let spec = GraphSpec::parse(line).unwrap().unwrap();
            let graph = Graph::build(&spec, rows, metric, 1, &Watch::none()).unwrap();
            let mut hits = Hits::default();
            (&graph as &dyn Index).search(queries, &Request::top(k), &mut hits).unwrap();
            let (mut off, mut most) = (0f32, 0f32);
            for (query, hits) in queries.iter().zip(hits.iter()) {
                assert_eq!(hits.len(), 5);
                for hit in hits {
                    let true_distance = distance.pair(query, rows.row(hit.id as usize));
                    off = off.max((hit.distance - true_distance).abs());
                    most = most.max(true_distance.abs());
                }
            }
            assert!(
                if exact { off <= 1e-5 * most } else { off > 1e-3 && off < 0.2 * most },
                "{line} {metric}: {off}"
            );
            // Few rows pass: they are measured one by one.
            let keep = |id: data::Id| id % 400 == 3;
            let request = Request { filter: Filter::When(&keep), ..Request::top(k) };
            (&graph as &dyn Index).search(queries, &request, &mut hits).unwrap();
            assert!(hits.iter().all(|hits| hits.len() == 5 && hits.iter().all(|hit| keep(hit.id))));
        }
    }
}
