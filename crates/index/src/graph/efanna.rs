//! EFANNA: the graph of nearest rows, begun from trees; searches start in the leaves that the query falls into.
//!
//! A row's first neighbours are the nearest of its leaf in each tree and of the leaves across the lowest splits;
//! descent does the rest.
//! Source: Fu and Cai, arXiv 1609.07228 (there leaves are merged up to a depth).

use super::descent::Neighbours;
use super::knng::linked;
use super::links::Links;
use super::site::Site;
use super::trees::Trees;
use crate::BuildError;

/// Splits above a leaf across which neighbours are looked for.
const UP: u32 = 4;
/// Neighbours kept beside those wanted while the graph is made.
const SPARE: usize = 8;

/// The trees, and links of every row to its `degree` nearest.
pub(super) fn build(site: &Site<'_>, degree: usize, trees: usize) -> Result<(Links, Trees), BuildError> {
    let trees = Trees::build(site, trees)?;
    let neighbours = neighbours(site, &trees, degree + SPARE)?;
    Ok((linked(site, &neighbours, degree), trees))
}

/// The nearest neighbours of each row, `width` at most.
pub(super) fn neighbours(site: &Site<'_>, trees: &Trees, width: usize) -> Result<Neighbours, BuildError> {
    let places = trees.places();
    let mut neighbours =
        Neighbours::gathered(site, width, |row| trees.around(row, site.row(row), &places, UP));
    neighbours.descend(site)?;
    Ok(neighbours)
}
