//! HNSW: a graph of near neighbours in layers, each a sparse sample of the one below.
//!
//! Notation: `M` links a node makes (`HnswSpec::links`); a node lies on levels `0..=level`; a list
//! holds at most `2 M` links at level 0 and `M` above; ids are rows.
//! Source: Malkov and Yashunin, TPAMI 2020, algorithms 1, 2, 4 and 5.

use super::insert::{Rule, insert_all};
use super::links::{END, Links, Widths};
use super::pool::Candidate;
use super::prune::diverse;
use super::site::Site;
use crate::BuildError;
use crate::array::Array;
use crate::spec::HnswSpec;
use kernels::SplitMix64;

/// No node is higher; with two links a node, one in 65,536 would be.
pub(super) const MAX_LEVEL: u32 = 16;

impl HnswSpec {
    pub(super) fn widths(self) -> Widths {
        Widths { base: self.base_links(), upper: self.links() }
    }
}

impl Rule for HnswSpec {
    const MATES_AFTER: bool = true;

    fn construction(&self) -> usize {
        HnswSpec::construction(*self)
    }

    fn own(&self, site: &Site<'_>, candidates: &[Candidate]) -> Vec<u32> {
        diverse(site, candidates, self.links())
    }

    fn capped(&self, site: &Site<'_>, node: u32, level: usize, list: Vec<u32>) -> Vec<u32> {
        let most = if level == 0 { self.base_links() } else { self.links() };
        if list.len() <= most { list } else { diverse(site, &site.ranked(node, &list), most) }
    }
}

/// Links every row.
pub(super) fn build(site: &Site<'_>, spec: HnswSpec) -> Result<Links, BuildError> {
    let mut links = unlinked(spec, site.len(), |id| draw_level(spec, site.seed, id as u64));
    insert_all(site, &spec, &mut links)?;
    Ok(links)
}

/// Empty lists for `n` nodes, each of which reaches the level that `level` says.
pub(super) fn unlinked(shape: HnswSpec, n: usize, level: impl Fn(usize) -> u32) -> Links {
    let mut starts = Array::filled(n + 1, 0u32);
    let mut lists = 0;
    for (id, start) in starts.as_mut().iter_mut().enumerate() {
        *start = lists;
        if id < n {
            lists += level(id);
        }
    }
    Links {
        widths: shape.widths(),
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

/// The level of a node, drawn from the seed: `l` or more with chance `M^-l`. This is `floor(-ln u / ln M)` by
/// comparisons: a logarithm may differ between machines in its last bit.
pub(super) fn draw_level(shape: HnswSpec, seed: u64, id: u64) -> u32 {
    let u = SplitMix64::named(seed, id).unit();
    let step = 1.0 / shape.links() as f64;
    let (mut level, mut share) = (0, step);
    while u < share && level < MAX_LEVEL {
        level += 1;
        share *= step;
    }
    level
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
