//! Descent to the nearest neighbours: a neighbour of a neighbour is likely to be one.
//!
//! Each node has a pool of its nearest so far, marked once they were joined. A round takes some new and some joined
//! neighbours of every node, and some of the nodes that name it; it compares the new ones with all of them, and each
//! pair offers itself to both pools. Pairs are compared by blocks of nodes, all of one block against the pools as they
//! stood before it, so that any number of threads makes the same pools. A pool only ever takes what is nearer, so
//! its last distance never grows.
//! Source: Dong, Charikar and Li, WWW 2011 (NN-descent), with the sampling of both directions.

use super::pool::Candidate;
use super::site::Site;
use crate::{BuildError, Phase};
use kernels::SplitMix64;
use rayon::prelude::*;

/// Neighbours of each kind and direction that a round joins.
const SAMPLE: usize = 12;
/// Most rounds.
const ROUNDS: usize = 12;
/// The descent ends when fewer than this share of all neighbours changed in a round.
const CHANGED: f64 = 0.002;
/// Nodes whose joins are compared before pools change: what they offer waits in memory.
const BLOCK: usize = 2048;
/// Nodes that one task joins.
const GROUP: usize = 32;
/// Nodes whose pools one task changes.
const SHARD: usize = 1024;

/// The nearest neighbours known of each node.
pub(super) struct Neighbours {
    width: usize,
    /// `n x width`, each list nearest first, [`Candidate::NONE`] behind it; marked where they were joined.
    lists: Vec<Candidate>,
}

/// A pair seen from one side: the node, and the other with its distance.
type Offer = (u32, Candidate);

impl Neighbours {
    /// Lists of at most `width` neighbours that `of` gives for each node, in any order.
    pub(super) fn gathered(site: &Site<'_>, width: usize, of: impl Fn(u32) -> Vec<u32> + Sync) -> Self {
        let mut lists = vec![Candidate::NONE; site.len() * width];
        lists.par_chunks_mut(width).enumerate().for_each(|(node, list)| {
            if site.watch.stopped() {
                return;
            }
            let node = node as u32;
            let mut ids = of(node);
            ids.sort_unstable();
            ids.dedup();
            ids.retain(|&id| id != node);
            list.iter_mut().zip(site.ranked(node, &ids)).for_each(|(slot, near)| *slot = near);
        });
        Self { width, lists }
    }

    /// Lists of random nodes.
    pub(super) fn random(site: &Site<'_>, width: usize) -> Self {
        let n = site.len();
        Self::gathered(site, width, |node| {
            if n <= width + 1 {
                return (0..n as u32).collect();
            }
            let mut random = SplitMix64::named(site.seed ^ 0x6b6e_6e67, u64::from(node));
            (0..width).map(|_| random.below(n) as u32).collect()
        })
    }

    /// The neighbours of a node, nearest first.
    pub(super) fn of(&self, node: u32) -> impl Iterator<Item = Candidate> + '_ {
        let list = &self.lists[node as usize * self.width..][..self.width];
        list.iter().take_while(|&&near| near != Candidate::NONE).map(|near| near.unmarked())
    }

    /// Joins until little changes.
    pub(super) fn descend(&mut self, site: &Site<'_>) -> Result<(), BuildError> {
        for round in 0..ROUNDS {
            let changed = self.round(site, round as u64)?;
            if (changed as f64) < CHANGED * self.lists.len() as f64 {
                break;
            }
        }
        site.step(Phase::Comparing, site.len())
    }

    /// One round; gives the number of neighbours taken.
    pub(super) fn round(&mut self, site: &Site<'_>, round: u64) -> Result<usize, BuildError> {
        let samples = Samples::draw(self, site.seed ^ round << 32);
        let n = site.len();
        let mut changed = 0;
        for start in (0..n).step_by(BLOCK) {
            site.step(Phase::Comparing, (round as usize * n + start) / ROUNDS)?;
            let block: Vec<usize> = (start..(start + BLOCK).min(n)).step_by(GROUP).collect();
            let offers: Vec<Vec<Offer>> = block
                .into_par_iter()
                .map(|first| {
                    let mut offers = Vec::new();
                    let mut join = Join::default();
                    for node in first..(first + GROUP).min(n) {
                        join.node(site, self, &samples, node, &mut offers);
                    }
                    offers.sort_unstable();
                    offers.dedup();
                    offers
                })
                .collect();
            changed += self.take(&offers);
        }
        Ok(changed)
    }

    /// Takes what is nearer; gives the number taken. The order of offers does not matter.
    fn take(&mut self, offers: &[Vec<Offer>]) -> usize {
        let width = self.width;
        let shards = self.lists.par_chunks_mut(width * SHARD).enumerate();
        let changed = shards.map(|(shard, lists)| {
            let (first, end) = ((shard * SHARD) as u32, ((shard + 1) * SHARD) as u32);
            let mut changed = 0;
            for offers in offers {
                let from = offers.partition_point(|offer| offer.0 < first);
                for &(node, near) in offers[from..].iter().take_while(|offer| offer.0 < end) {
                    let list = &mut lists[(node - first) as usize * width..][..width];
                    changed += usize::from(take(list, near));
                }
            }
            changed
        });
        changed.sum()
    }

    /// The farthest neighbour a node has; everything is nearer than none.
    #[inline]
    fn last(&self, node: u32) -> Candidate {
        self.lists[(node as usize + 1) * self.width - 1]
    }
}

/// Puts `near` into a sorted list that is full or ends in [`Candidate::NONE`]; false when it is there or too far.
fn take(list: &mut [Candidate], near: Candidate) -> bool {
    let at = list.partition_point(|&kept| kept < near);
    // The same neighbour with its mark set comes right behind.
    if at == list.len() || list[at].unmarked() == near {
        return false;
    }
    list[at..].rotate_right(1);
    list[at] = near;
    true
}

/// Neighbours that a round joins: `n x SAMPLE` each, as many as the counts say.
struct Samples {
    new: Sampled,
    old: Sampled,
    new_reverse: Sampled,
    old_reverse: Sampled,
}

struct Sampled {
    ids: Vec<u32>,
    counts: Vec<u32>,
}

impl Sampled {
    fn none(n: usize) -> Self {
        Self { ids: vec![0; n * SAMPLE], counts: vec![0; n] }
    }

    fn of(&self, node: usize) -> &[u32] {
        &self.ids[node * SAMPLE..][..self.counts[node] as usize]
    }

    /// The nodes that name each node; where there are too many, a random choice.
    fn reversed(&self, seed: u64) -> Self {
        let n = self.counts.len();
        let mut reverse = Self::none(n);
        let mut met = vec![0u32; n];
        let mut random = SplitMix64::new(seed);
        for node in 0..n {
            for &id in self.of(node) {
                let id = id as usize;
                let slot = if met[id] < SAMPLE as u32 {
                    met[id] as usize
                } else {
                    random.below(met[id] as usize + 1)
                };
                met[id] += 1;
                if slot < SAMPLE {
                    reverse.ids[id * SAMPLE + slot] = node as u32;
                    reverse.counts[id] = met[id].min(SAMPLE as u32);
                }
            }
        }
        reverse
    }
}

impl Samples {
    /// Takes the nearest that were not joined, which they are from now on, and the nearest that were.
    fn draw(neighbours: &mut Neighbours, seed: u64) -> Self {
        let n = neighbours.lists.len() / neighbours.width;
        let (mut new, mut old) = (Sampled::none(n), Sampled::none(n));
        let lists = neighbours.lists.par_chunks_mut(neighbours.width);
        let new_slots = new.ids.par_chunks_mut(SAMPLE).zip(&mut new.counts);
        let old_slots = old.ids.par_chunks_mut(SAMPLE).zip(&mut old.counts);
        lists.zip(new_slots).zip(old_slots).for_each(|((list, (new, news)), (old, olds))| {
            for near in list.iter_mut().take_while(|near| **near != Candidate::NONE) {
                let (slots, count) =
                    if near.is_marked() { (&mut *old, &mut *olds) } else { (&mut *new, &mut *news) };
                if let Some(slot) = slots.get_mut(*count as usize) {
                    *slot = near.id();
                    *count += 1;
                    *near = near.marked();
                }
            }
        });
        let (new_reverse, old_reverse) = rayon::join(|| new.reversed(seed), || old.reversed(!seed));
        Self { new, old, new_reverse, old_reverse }
    }
}

/// The join of one node: its new neighbours against each other and against the joined ones.
#[derive(Default)]
struct Join {
    ids: Vec<u32>,
    rows: Vec<f32>,
    distances: Vec<f32>,
}

impl Join {
    fn node(
        &mut self,
        site: &Site<'_>,
        pools: &Neighbours,
        samples: &Samples,
        node: usize,
        offers: &mut Vec<Offer>,
    ) {
        self.ids.clear();
        merge(&mut self.ids, samples.new.of(node), samples.new_reverse.of(node));
        let new = self.ids.len();
        if new == 0 {
            return;
        }
        merge(&mut self.ids, samples.old.of(node), samples.old_reverse.of(node));
        let (all, stride) = (self.ids.len(), site.vectors.stride());
        self.rows.clear();
        self.ids.iter().for_each(|&id| self.rows.extend_from_slice(site.row(id)));
        self.distances.resize(new * all, 0.0);
        site.distance.tile(&self.rows[..new * stride], &self.rows, stride, &mut self.distances);
        for (i, distances) in self.distances.chunks_exact(all).enumerate() {
            let (a, last) = (self.ids[i], pools.last(self.ids[i]));
            for (&b, &d) in self.ids[i + 1..].iter().zip(&distances[i + 1..]) {
                let seen = Candidate::new(d, b);
                if seen < last {
                    offers.push((a, seen));
                }
                let seen = Candidate::new(d, a);
                if seen < pools.last(b) {
                    offers.push((b, seen));
                }
            }
        }
    }
}

/// Appends both lists without what `ids` holds already.
fn merge(ids: &mut Vec<u32>, some: &[u32], more: &[u32]) {
    for &id in some.iter().chain(more) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
}
