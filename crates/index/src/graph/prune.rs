//! Which candidates become links: those that point in different directions.
//!
//! A link `o` of node `p` hides a candidate `i` when `alpha d(o, i) <= d(p, i)`. Distances are squared ones, so that
//! an `alpha` of 1.2 asks for a path that is shorter by `sqrt(1.2)` = 1.095 in the plain distance. Inner products
//! have no triangles; there `o` hides `i` when `<o, i> >= alpha <p, i>`, and `alpha` counts as 1 where `<p, i>` is
//! not positive.
//! Sources: Malkov and Yashunin, TPAMI 2020, algorithm 4; Fu et al., VLDB 2019, definition 5; Subramanya et al.,
//! NeurIPS 2019, algorithm 2.

use super::links::Links;
use super::pool::{Candidate, Scratch};
use super::site::Site;
use crate::search::Stats;
use data::Metric;

impl Links {
    /// Candidates for the links of `node`, in no order and some of them twice: those that it has, and all that a walk
    /// of `width` from the entry towards it follows.
    pub(super) fn met(
        &self,
        site: &Site<'_>,
        node: u32,
        width: usize,
        scratch: &mut Scratch,
    ) -> Vec<Candidate> {
        let (mut query, mut stats) = (site.near(node), Stats::default());
        let start = self.descend(&mut query, 0, scratch, &mut stats);
        self.explore(&mut query, &[start], 0, width, scratch, &mut stats);
        let own: Vec<u32> = self.list(node, 0).collect();
        let mut met = site.ranked(node, &own);
        met.extend(scratch.trail.iter().filter(|candidate| candidate.id() != node));
        met
    }
}

/// Keeps a candidate, nearest first, unless one kept before it is at least as near to it as the node is: no link
/// hides another with an `alpha` of 1. At most `most`.
///
/// Equal distances are those of duplicates: a list full of them would lead nowhere else. One link to
/// them is enough, since the repair hangs the others below it.
pub(super) fn diverse(site: &Site<'_>, candidates: &[Candidate], most: usize) -> Vec<u32> {
    let mut kept: Vec<u32> = Vec::with_capacity(most);
    for candidate in candidates {
        if kept.len() == most {
            break;
        }
        let (row, d) = (site.row(candidate.id()), candidate.distance());
        if kept.iter().all(|&other| site.distance.pair(row, site.row(other)) > d) {
            kept.push(candidate.id());
        }
    }
    kept
}

/// As [`diverse`], then, where links are left, again with `alpha` for the candidates that were hidden.
pub(super) fn robust(site: &Site<'_>, candidates: &[Candidate], alpha: f32, most: usize) -> Vec<u32> {
    let mut kept = diverse(site, candidates, most);
    if alpha == 1.0 || kept.len() == most {
        return kept;
    }
    for candidate in candidates {
        if kept.len() == most {
            break;
        }
        let id = candidate.id();
        if !kept.contains(&id) && !kept.iter().any(|&link| hides(site, alpha, link, *candidate)) {
            kept.push(id);
        }
    }
    kept
}

/// Whether `link` hides `candidate`, which is `candidate.distance()` away from their node.
fn hides(site: &Site<'_>, alpha: f32, link: u32, candidate: Candidate) -> bool {
    let (between, d) = (site.pair(link, candidate.id()), candidate.distance());
    match site.metric {
        Metric::L2 => alpha * between <= d,
        // Both are negated products.
        Metric::Dot if d < 0.0 => between <= alpha * d,
        Metric::Dot => between <= d,
    }
}
