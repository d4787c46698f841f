//! Building in rounds over a graph that stands still, so that any number of threads makes the same one.
//!
//! A round takes some nodes: each walks the graph as it stood before the round, towards itself, and selects its
//! neighbours among the nodes opened on the way; then its neighbours learn of it. The first pass inserts the nodes
//! in random order, in rounds that double until they are a small share of the graph; the second pass lets every
//! node select again in the whole graph. Walks use the signs as searches do, so they are as cheap.
//!
//! A list holds links that point in different directions, nearest first, then spare ones, marked, that another
//! link makes less useful: they cost nothing, since a block is compared as a whole, and a list is always full.

use super::rotation::Rotation;
use super::rows::{Edge, Shape};
use super::walk::{Graph, Rest, Walk, walk_all};
use super::words::Words;
use crate::candidate::Candidate;
use crate::spec::SymqgSpec;
use crate::{BuildError, Phase, Watch};
use data::{Metric, Rows};
use kernels::{Isa, SplitMix64};
use rayon::prelude::*;

/// Nodes of a round: one for so many in the graph, at first and in the second pass.
const FIRST_SHARE: usize = 50;
const SECOND_SHARE: usize = 10;
/// Most nodes of a round; what they bring waits in memory.
const ROUND: usize = 1 << 17;
/// Nodes whose walks one thread runs at a time.
const GROUP: usize = 64;
/// A link hides candidates that it is nearer to, by this factor of squared distances, than their node is.
const ALPHA: f32 = 1.1;

/// A graph under construction; distances are squared Euclidean ones.
pub(super) struct Builder<'a> {
    pub(super) shape: Shape,
    isa: Isa,
    pub(super) words: Words,
    /// `n x rotated` values.
    rotated: &'a [f32],
    /// `n x degree`: see the head of this file; [`NONE`] where there is no link.
    links: Vec<Candidate>,
    pub(super) entry: u32,
    rest: Rest,
}

/// The node nearest to the mean, the first on a tie.
pub(super) fn central(rows: Rows<'_, f32>, mean: &[f32]) -> u32 {
    let isa = Isa::current();
    let nearest = (0..rows.len())
        .into_par_iter()
        .map(|i| Candidate::new(isa.l2(rows.row(i), mean), i as u32))
        .min()
        .expect("there are rows");
    nearest.id()
}

/// The mean of rows.
pub(super) fn mean(rows: Rows<'_, f32>) -> Vec<f32> {
    let mut sums = vec![0f64; rows.dim()];
    for row in rows.iter() {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    sums.into_iter().map(|sum| (sum / rows.len() as f64) as f32).collect()
}

/// All rows rotated: `n x rotated` values.
pub(super) fn rotate_all(rotation: &Rotation, rows: Rows<'_, f32>, shape: Shape) -> Vec<f32> {
    let mut rotated = vec![0.0; rows.len() * shape.rotated()];
    let both =
        rotated.par_chunks_exact_mut(shape.rotated()).zip(rows.as_slice().par_chunks_exact(rows.dim()));
    both.for_each(|(out, row)| rotation.apply(row, out));
    rotated
}

/// Rows with their vectors and no neighbour.
pub(super) fn unlinked(rows: Rows<'_, f32>, shape: Shape) -> Result<Words, BuildError> {
    let stride = shape.stride();
    let memory = |_| BuildError::Memory { bytes: 4 * rows.len() as u64 * stride as u64 };
    let mut words = Words::zeros(rows.len() * stride).map_err(memory)?;
    words.as_mut().par_chunks_exact_mut(stride).enumerate().for_each(|(node, row)| {
        shape.set_vector(row, rows.row(node));
        (0..shape.degree).for_each(|slot| shape.set_empty(row, node as u32, slot));
    });
    Ok(words)
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        rows: Rows<'_, f32>,
        shape: Shape,
        rotated: &'a [f32],
        entry: u32,
    ) -> Result<Self, BuildError> {
        Ok(Self {
            shape,
            isa: Isa::current(),
            words: unlinked(rows, shape)?,
            rotated,
            links: vec![Candidate::NONE; rows.len() * shape.degree],
            entry,
            rest: Rest::default(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.links.len() / self.shape.degree
    }

    pub(super) fn graph(&self) -> Graph<'_> {
        Graph {
            shape: self.shape,
            isa: self.isa,
            metric: Metric::L2,
            words: &self.words,
            n: self.len(),
            entry: self.entry,
        }
    }

    /// Links all nodes.
    pub(super) fn link(&mut self, spec: SymqgSpec, seed: u64, watch: &Watch<'_>) -> Result<(), BuildError> {
        let n = self.len();
        let order = self.order(seed);
        let mut done = 1;
        while done < n {
            let round = (done / FIRST_SHARE).clamp(done.min(GROUP), ROUND).min(n - done);
            self.round(&order[done..done + round], spec.construction() / 2, watch)?;
            done += round;
            watch.step(Phase::Linking, done / 2, n)?;
        }
        for (i, nodes) in order.chunks((n / SECOND_SHARE).clamp(GROUP, ROUND)).enumerate() {
            self.round(nodes, spec.construction(), watch)?;
            let done = (i * (n / SECOND_SHARE).clamp(GROUP, ROUND) + nodes.len()).min(n);
            watch.step(Phase::Linking, n / 2 + done / 2, n)?;
        }
        Ok(())
    }

    /// All nodes in random order, the entry first.
    fn order(&self, seed: u64) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.swap(0, self.entry as usize);
        let mut random = SplitMix64::named(seed, 0x6f72_6465);
        for i in (2..order.len()).rev() {
            order.swap(i, 1 + random.below(i));
        }
        order
    }

    /// Lets `nodes` select their links, then tells the nodes they link to.
    fn round(&mut self, nodes: &[u32], beam: usize, watch: &Watch<'_>) -> Result<(), BuildError> {
        let selections = |group| if watch.stopped() { Vec::new() } else { self.selections(group, beam) };
        let mut own: Vec<(u32, Vec<Candidate>)> = nodes.par_chunks(GROUP).flat_map_iter(selections).collect();
        watch.go_on()?;
        let mut backs: Vec<(u32, Candidate)> = Vec::with_capacity(own.len() * self.shape.degree);
        for (node, list) in &own {
            let kept = list.iter().filter(|link| !link.is_marked());
            backs.extend(kept.map(|link| (link.id(), Candidate::new(link.distance(), *node))));
        }
        own.sort_unstable_by_key(|(node, _)| *node);
        self.replace(&own);
        backs.par_sort_unstable();
        let groups: Vec<&[(u32, Candidate)]> = backs.chunk_by(|a, b| a.0 == b.0).collect();
        let answered = |group| if watch.stopped() { Vec::new() } else { self.answered(group) };
        let lists: Vec<(u32, Vec<Candidate>)> =
            groups.par_iter().map(|group| (group[0].0, answered(group))).collect();
        watch.go_on()?;
        self.replace(&lists);
        Ok(())
    }

    /// The links that each node of a group selects.
    fn selections(&self, group: &[u32], beam: usize) -> Vec<(u32, Vec<Candidate>)> {
        let graph = self.graph();
        let mut walks = self.rest.take();
        let mut lists = vec![Vec::new(); group.len()];
        walk_all(
            &graph,
            &mut walks,
            group.len(),
            None,
            |i, walk| self.begin(walk, group[i], beam),
            |i, walk| lists[i] = self.select(group[i], &mut walk.found),
        );
        self.rest.give(walks);
        group.iter().copied().zip(lists).collect()
    }

    /// Begins a walk towards a node.
    pub(super) fn begin(&self, walk: &mut Walk, node: u32, beam: usize) {
        let graph = self.graph();
        self.shape.set_own(graph.row(node), &mut walk.query);
        walk.table.set(self.isa, self.rotated_row(node));
        walk.begin(&graph, beam);
    }

    fn rotated_row(&self, node: u32) -> &'a [f32] {
        &self.rotated[node as usize * self.shape.rotated()..][..self.shape.rotated()]
    }

    /// The links of a node, without the empty slots.
    pub(super) fn list(&self, node: u32) -> &[Candidate] {
        let list = &self.links[node as usize * self.shape.degree..][..self.shape.degree];
        &list[..list.partition_point(|&link| link != Candidate::NONE)]
    }

    /// Whether `link` hides `candidate`, which is `candidate.distance()` away from their node. Duplicates hide each
    /// other: a list full of them would lead nowhere else.
    #[inline]
    fn hides(&self, link: Candidate, candidate: Candidate) -> bool {
        ALPHA * self.between(link.id(), candidate.id()) <= candidate.distance()
    }

    /// The squared distance of two nodes.
    pub(super) fn between(&self, a: u32, b: u32) -> f32 {
        let graph = self.graph();
        self.shape.between(self.isa, graph.row(a), graph.row(b))
    }

    /// The links that a node takes from what a walk found and from those it has.
    fn select(&self, node: u32, found: &mut Vec<Candidate>) -> Vec<Candidate> {
        let degree = self.shape.degree;
        found.retain(|candidate| candidate.id() != node);
        found.extend(self.list(node).iter().map(|link| link.unmarked()));
        found.sort_unstable();
        found.dedup();
        let (mut kept, mut spare) = (Vec::with_capacity(degree), Vec::new());
        for &candidate in found.iter() {
            if kept.len() == degree {
                break;
            }
            if kept.iter().any(|&link| self.hides(link, candidate)) {
                spare.push(candidate);
            } else {
                kept.push(candidate);
            }
        }
        filled(kept, &spare, degree)
    }

    /// The list of a target to which others link: `group` holds it and its distance to each of them, nearest first.
    fn answered(&self, group: &[(u32, Candidate)]) -> Vec<Candidate> {
        let (target, degree) = (group[0].0, self.shape.degree);
        let list = self.list(target);
        let links = list.partition_point(|link| !link.is_marked());
        let mut kept = list[..links].to_vec();
        let mut spare: Vec<Candidate> = list[links..].iter().map(|link| link.unmarked()).collect();
        for &(_, source) in group {
            if kept.contains(&source) || spare.contains(&source) {
                continue;
            }
            let at = kept.partition_point(|&link| link < source);
            if kept[..at].iter().any(|&link| self.hides(link, source)) {
                spare.push(source);
                continue;
            }
            let farther = kept.split_off(at);
            kept.push(source);
            for link in farther {
                if self.hides(source, link) { spare.push(link) } else { kept.push(link) }
            }
            kept.truncate(degree);
        }
        spare.sort_unstable();
        filled(kept, &spare, degree)
    }

    /// Writes lists, sorted by node, and the rows that follow from them.
    pub(super) fn replace(&mut self, lists: &[(u32, Vec<Candidate>)]) {
        let (shape, isa) = (self.shape, self.isa);
        for (node, list) in lists {
            let slots = &mut self.links[*node as usize * shape.degree..][..shape.degree];
            slots[..list.len()].copy_from_slice(list);
            slots[list.len()..].fill(Candidate::NONE);
        }
        let rotated = |node: u32| &self.rotated[node as usize * shape.rotated()..][..shape.rotated()];
        let (stride, mut rest, mut first) = (shape.stride(), self.words.as_mut(), 0);
        let mut rows = Vec::with_capacity(lists.len());
        for (node, list) in lists {
            let (_, from) = rest.split_at_mut((*node as usize - first) * stride);
            let (row, after) = from.split_at_mut(stride);
            rows.push((*node, row, list));
            (rest, first) = (after, *node as usize + 1);
        }
        rows.into_par_iter().with_min_len(16).for_each(|(node, row, list)| {
            let edge = |id| Edge { isa, p: rotated(node), v: rotated(id), lean: 0.0 };
            shape.set_list(row, node, Metric::L2, list.iter().map(|link| link.id()), edge);
        });
    }
}

/// The links kept, then spare ones until the list is full.
fn filled(mut kept: Vec<Candidate>, spare: &[Candidate], degree: usize) -> Vec<Candidate> {
    let room = degree - kept.len();
    kept.extend(spare.iter().take(room).map(|link| link.marked()));
    kept
}
