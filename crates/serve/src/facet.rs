//! One grouping of the rows: by designer, or by category.

use serde::Serialize;
use std::collections::BTreeMap;

/// A group and its size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Group {
    pub name: String,
    /// Rows in it.
    pub count: usize,
}

/// Groups in the order of their names, and the group of each row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facet {
    pub groups: Vec<Group>,
    of: Vec<Option<u32>>,
}

impl Facet {
    /// Groups rows by what each is called; rows may be called nothing.
    pub fn new<'a>(names: impl Iterator<Item = Option<&'a str>> + Clone) -> Self {
        let mut counts = BTreeMap::<&str, usize>::new();
        for name in names.clone().flatten() {
            *counts.entry(name).or_default() += 1;
        }
        // At most one group a row, and an index has fewer than 2^32 rows.
        let place: BTreeMap<&str, u32> = counts.keys().copied().zip(0..).collect();
        let of = names.map(|name| name.map(|name| place[name])).collect();
        let groups = counts.into_iter().map(|(name, count)| Group { name: name.to_owned(), count }).collect();
        Self { groups, of }
    }

    /// The group called `name`.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.groups.binary_search_by(|group| group.name.as_str().cmp(name)).ok().map(|place| place as u32)
    }

    /// The group of a row.
    pub fn of(&self, row: usize) -> Option<u32> {
        self.of[row]
    }

    /// Whether a row is in one of `wanted`; an empty list wants every row.
    pub fn passes(&self, row: usize, wanted: &[u32]) -> bool {
        wanted.is_empty() || self.of(row).is_some_and(|group| wanted.contains(&group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_and_found_by_name() {
        let facet = Facet::new([Some("Noto"), None, Some("Fluent"), Some("Noto")].into_iter());
        let group = |name: &str, count| Group { name: name.to_owned(), count };
        assert_eq!(facet.groups, [group("Fluent", 1), group("Noto", 2)]);
        assert_eq!((facet.find("Noto"), facet.find("noto")), (Some(1), None));
        let pass = |wanted: &[u32]| (0..4).filter(|&row| facet.passes(row, wanted)).collect::<Vec<_>>();
        assert_eq!(pass(&[]), [0, 1, 2, 3]);
        assert_eq!(pass(&[1]), [0, 3]);
        assert_eq!(pass(&[0, 1]), [0, 2, 3]);
    }
}
