//! The links of all nodes in flat arrays, and where searches enter them.

use crate::array::Array;
use crate::file::{OpenError, Part, PartKind, Sections};

/// Ends a list that is not full: no row has this number.
pub(super) const END: u32 = u32::MAX;

/// Most links of a list, at level 0 and above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Widths {
    pub(super) base: usize,
    /// Zero where all nodes lie at level 0 alone.
    pub(super) upper: usize,
}

/// The links of all nodes.
pub(super) struct Links {
    pub(super) widths: Widths,
    /// `n x widths.base`: the list of each node at level 0, ended by [`END`] where it is not full.
    pub(super) base: Array<u32>,
    /// `lists x widths.upper`: the lists above level 0, those of a node together, from level 1 up.
    pub(super) upper: Array<u32>,
    /// `n + 1`: the first upper list of each node, so a node's level is the difference to the next. Empty where
    /// there are no upper levels.
    pub(super) starts: Array<u32>,
    /// The node where searches start, then its level.
    pub(super) entry: Array<u32>,
}

impl Links {
    /// Empty lists of at most `width` links at level 0 for `n` nodes.
    pub(super) fn flat(n: usize, width: usize, entry: u32) -> Self {
        let mut enter = Array::filled(2, 0);
        enter.as_mut()[0] = entry;
        Self {
            widths: Widths { base: width, upper: 0 },
            base: Array::filled(n * width, END),
            upper: Array::filled(0, END),
            starts: Array::filled(0, 0),
            entry: enter,
        }
    }

    /// Finds the arrays in a file; only their sizes are checked, so that opening reads nothing else.
    /// Walks stop at links that lead nowhere.
    pub(super) fn open(widths: Widths, n: usize, sections: &Sections<'_>) -> Result<Self, OpenError> {
        let base = sections.array(PartKind::BaseLinks, n.checked_mul(widths.base))?;
        let entry: Array<u32> = sections.array(PartKind::Entry, Some(2))?;
        sections.check(PartKind::Entry)?;
        let (upper, starts) = if widths.upper == 0 {
            (Array::filled(0, END), Array::filled(0, 0))
        } else {
            let upper: Array<u32> = sections.list(PartKind::UpperLinks)?;
            (upper, sections.array(PartKind::UpperStarts, n.checked_add(1))?)
        };
        let whole = widths.upper == 0 || upper.len().is_multiple_of(widths.upper);
        if !whole || entry[0] as usize >= n || (widths.upper == 0 && entry[1] > 0) {
            return Err(sections.damaged("the graph's entry or its upper lists do not fit its rows"));
        }
        Ok(Self { widths, base, upper, starts, entry })
    }

    pub(super) fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = vec![Part::new(PartKind::BaseLinks, &self.base[..])];
        if self.widths.upper > 0 {
            parts.push(Part::new(PartKind::UpperLinks, &self.upper[..]));
            parts.push(Part::new(PartKind::UpperStarts, &self.starts[..]));
        }
        parts.push(Part::new(PartKind::Entry, &self.entry[..]));
        parts
    }

    /// Number of nodes.
    pub(super) fn len(&self) -> usize {
        self.base.len() / self.widths.base
    }

    /// Writes the list of a node at a level that it reaches; what does not fit is a mistake.
    pub(super) fn write(&mut self, node: u32, level: usize, list: &[u32]) {
        let slots = if level == 0 {
            let width = self.widths.base;
            &mut self.base.as_mut()[node as usize * width..][..width]
        } else {
            let (first, width) = (self.starts[node as usize] as usize + level - 1, self.widths.upper);
            &mut self.upper.as_mut()[first * width..][..width]
        };
        slots[..list.len()].copy_from_slice(list);
        slots[list.len()..].fill(END);
    }

    /// The highest level that a node reaches.
    pub(super) fn level(&self, node: u32) -> usize {
        let node = node as usize;
        self.starts.get(node..node + 2).map_or(0, |pair| pair[1].saturating_sub(pair[0]) as usize)
    }

    /// The node where searches start.
    pub(super) fn entry(&self) -> u32 {
        self.entry[0]
    }

    /// The level of the entry, the highest of all.
    pub(super) fn top(&self) -> usize {
        self.entry[1] as usize
    }

    /// The slots of a node's list at a level; empty where the node does not reach it.
    #[inline]
    pub(super) fn slots(&self, node: u32, level: usize) -> &[u32] {
        if level == 0 {
            let width = self.widths.base;
            return self.base.get(node as usize * width..(node as usize + 1) * width).unwrap_or(&[]);
        }
        if level > self.level(node) {
            return &[];
        }
        let (at, width) = (self.starts[node as usize] as usize + level - 1, self.widths.upper);
        self.upper.get(at * width..(at + 1) * width).unwrap_or(&[])
    }

    /// The links of a node at a level. Ends at [`END`], as at any number that is no row: a damaged
    /// file then gives a wrong answer at worst, until it is verified.
    #[inline]
    pub(super) fn list(&self, node: u32, level: usize) -> impl Iterator<Item = u32> + '_ {
        let n = self.len();
        self.slots(node, level).iter().copied().take_while(move |&id| (id as usize) < n)
    }
}
