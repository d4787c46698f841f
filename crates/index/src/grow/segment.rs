//! One segment: an index, the ids of its rows, and which of them live.

use crate::array::Array;
use crate::build::MAX_ROWS;
use crate::file::{OpenError, Part, PartKind, Sections, open_index};
use crate::search::Filter;
use crate::{BuildError, Index, Spec, Watch, build};
use data::{Id, Metric, Rows};
use std::borrow::Cow;

/// Rows below which a segment of any spec is scanned.
pub(crate) const SCANNED: usize = 1024;

/// An index whose rows have ids of their own and may be removed.
pub(crate) struct Segment {
    pub(super) index: Box<dyn Index>,
    /// The id of each row; none where ids are positions.
    ids: Option<Array<u64>>,
    /// The rows by id; none where ids ascend.
    order: Option<Array<u32>>,
    /// A bit a row, set while it lives; none where all do.
    live: Option<Array<u64>>,
    /// Rows that live.
    alive: usize,
    /// The rows, where the index holds their codes alone.
    kept: Option<Array<f32>>,
}

/// How an index is made of rows.
pub(super) struct Maker<'a> {
    pub(super) spec: &'a Spec,
    pub(super) metric: Metric,
    pub(super) seed: u64,
    pub(super) watch: &'a Watch<'a>,
}

/// Whether bit `at` is set.
pub(super) fn bit(words: &[u64], at: usize) -> bool {
    words.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
}

impl Segment {
    /// A segment of `rows` with `ids`, ascending: of the spec where there are enough rows for it, else a scan.
    pub(super) fn make(maker: &Maker<'_>, ids: &[Id], rows: Rows<'_, f32>) -> Result<Self, BuildError> {
        let own = (rows.len() >= SCANNED).then(|| maker.build(maker.spec, rows));
        let index = match own {
            // Too few rows to learn from.
            None | Some(Err(BuildError::TooFew { .. } | BuildError::Train(_))) => {
                maker.build(&Spec::FLAT, rows)?
            }
            Some(made) => made?,
        };
        Ok(Self::of(index, ids, rows))
    }

    /// An index of `rows` and their `ids` as a segment.
    fn of(index: Box<dyn Index>, ids: &[Id], rows: Rows<'_, f32>) -> Self {
        let kept = (!index.keeps_vectors()).then(|| Array::copied(rows.as_slice()));
        Self { kept, ..Self::named(index, ids) }
    }

    /// An index that holds its rows, and their ids, as a segment.
    fn named(index: Box<dyn Index>, ids: &[Id]) -> Self {
        let positions = ids.iter().zip(0..).all(|(&id, position)| id == position);
        let order = (!ids.is_sorted()).then(|| {
            let mut order: Vec<u32> = (0..ids.len() as u32).collect();
            order.sort_unstable_by_key(|&row| ids[row as usize]);
            Array::copied(&order)
        });
        Self {
            alive: ids.len(),
            index,
            ids: (!positions).then(|| Array::copied(ids)),
            order,
            live: None,
            kept: None,
        }
    }

    /// The segment without all rows but `kept`, ascending, and with `more` rows of the ids `added`; none where it has to
    /// be made anew.
    pub(super) fn regrown(
        &self,
        maker: &Maker<'_>,
        kept: &[u32],
        added: &[Id],
        more: Rows<'_, f32>,
    ) -> Result<Option<Self>, BuildError> {
        if kept.len() + added.len() < SCANNED || self.index.spec() != *maker.spec {
            return Ok(None);
        }
        let Some(index) = self.index.regrown(kept, more, maker.seed, maker.watch)? else { return Ok(None) };
        let mut ids: Vec<Id> = kept.iter().filter_map(|&row| self.id(row.into())).collect();
        ids.extend(added);
        Ok(Some(Self::named(index, &ids)))
    }

    /// A whole index, whose ids are positions, as a segment.
    pub(super) fn whole(index: Box<dyn Index>) -> Self {
        Self { alive: index.len(), index, ids: None, order: None, live: None, kept: None }
    }

    /// Finds the segment whose sections are given; only sizes are checked.
    pub(super) fn open(spec: &Spec, alive: usize, sections: &Sections<'_>) -> Result<Self, OpenError> {
        let (rows, dim) = sections.sizes();
        if !(1..=MAX_ROWS).contains(&rows) || alive > rows {
            return Err(sections.damaged("a segment has sizes that cannot be"));
        }
        let words = |kind, len| sections.has(kind).then(|| sections.array(kind, len)).transpose();
        let order = sections.has(PartKind::IdOrder);
        let order = order.then(|| sections.array(PartKind::IdOrder, Some(rows))).transpose()?;
        let kept = sections.has(PartKind::KeptRows);
        let kept = kept.then(|| sections.array(PartKind::KeptRows, rows.checked_mul(dim))).transpose()?;
        Ok(Self {
            index: open_index(spec, sections)?,
            ids: words(PartKind::Ids, Some(rows))?,
            order,
            live: words(PartKind::Live, Some(rows.div_ceil(64)))?,
            alive,
            kept,
        })
    }

    /// Rows, living or not.
    pub(super) fn rows(&self) -> usize {
        self.index.len()
    }

    pub(super) fn alive(&self) -> usize {
        self.alive
    }

    pub(super) fn live(&self) -> Option<&[u64]> {
        self.live.as_deref()
    }

    /// Whether ids are positions and all rows live.
    pub(super) fn is_whole(&self) -> bool {
        self.ids.is_none() && self.live.is_none() && self.kept.is_none()
    }

    /// The id of a row; none where a damaged file names one that does not exist.
    #[inline]
    pub(super) fn id(&self, row: u64) -> Option<Id> {
        match &self.ids {
            Some(ids) => ids.get(row as usize).copied(),
            None => Some(row),
        }
    }

    pub(super) fn lives(&self, row: usize) -> bool {
        self.live.as_ref().is_none_or(|live| bit(live, row))
    }

    /// Where the row of an id is, living or not.
    fn find(&self, id: Id) -> Option<usize> {
        match (&self.ids, &self.order) {
            (Some(ids), None) => ids.binary_search(&id).ok(),
            (Some(ids), Some(order)) => {
                let at = order.partition_point(|&row| ids.get(row as usize).is_some_and(|&other| other < id));
                order.get(at).map(|&row| row as usize).filter(|&row| ids.get(row) == Some(&id))
            }
            (None, _) => usize::try_from(id).ok().filter(|&row| row < self.rows()),
        }
    }

    /// Where the living row of an id is.
    pub(super) fn find_living(&self, id: Id) -> Option<usize> {
        self.find(id).filter(|&row| self.lives(row))
    }

    /// One more than the highest id.
    pub(super) fn id_bound(&self) -> Id {
        let Some(ids) = &self.ids else { return self.rows() as u64 };
        let last = match &self.order {
            Some(order) => order.last().and_then(|&row| ids.get(row as usize)),
            None => ids.last(),
        };
        last.map_or(0, |id| id.saturating_add(1))
    }

    /// Whether its rows can be made into another segment.
    pub(super) fn has_vectors(&self) -> bool {
        self.kept.is_some() || self.index.keeps_vectors()
    }

    /// The rows as they were given, `rows x dim`.
    pub(super) fn vectors(&self) -> Option<Cow<'_, [f32]>> {
        match &self.kept {
            Some(kept) => Some(Cow::Borrowed(&kept[..])),
            None => self.index.vectors().map(Cow::Owned),
        }
    }

    /// The ids of the living rows and where these are, by row.
    pub(super) fn living(&self) -> impl Iterator<Item = (Id, usize)> + '_ {
        (0..self.rows()).filter(|&row| self.lives(row)).filter_map(|row| Some((self.id(row as u64)?, row)))
    }

    pub(super) fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = self.index.parts();
        parts.extend(self.ids.as_ref().map(|ids| Part::new(PartKind::Ids, &ids[..])));
        parts.extend(self.order.as_ref().map(|order| Part::new(PartKind::IdOrder, &order[..])));
        parts.extend(self.live.as_ref().map(|live| Part::new(PartKind::Live, &live[..])));
        parts.extend(self.kept.as_ref().map(|kept| Part::new(PartKind::KeptRows, &kept[..])));
        parts
    }

    /// Reads ids and bits and says what contradicts what.
    pub(super) fn check(&self) -> Result<(), String> {
        let by_row: Option<Vec<Id>> = (0..self.rows() as u64).map(|row| self.id(row)).collect();
        let by_row = by_row.ok_or("a row of a segment has no id")?;
        let by_order =
            self.order.as_ref().map(|order| order.iter().map(|&row| by_row.get(row as usize)).collect());
        let ids: Option<Vec<&Id>> = by_order.unwrap_or_else(|| Some(by_row.iter().collect()));
        if ids.is_none_or(|ids| ids.windows(2).any(|pair| pair[0] >= pair[1])) {
            return Err("the ids of a segment are not in order".into());
        }
        if (0..self.rows()).filter(|&row| self.lives(row)).count() != self.alive {
            return Err("another number of rows lives than was written".into());
        }
        Ok(())
    }

    /// The rows that live and pass, said to the index.
    pub(super) fn passing<'a>(&'a self, filter: Filter<'a>) -> Passing<'a> {
        match (filter, &self.ids, &self.live) {
            (filter, None, None) | (filter @ Filter::All, _, None) => Passing::Filter(filter),
            (Filter::All, _, Some(live)) => Passing::Filter(Filter::Bitmap(live)),
            (Filter::Ids(ids), ..) => {
                let rows = ids.iter().filter_map(|&id| self.find_living(id.into()));
                let mut rows: Vec<u32> = rows.map(|row| row as u32).collect();
                rows.sort_unstable();
                rows.dedup();
                Passing::Ids(rows)
            }
            (Filter::Bitmap(words), None, Some(live)) => {
                Passing::Bitmap(live.iter().zip(words).map(|(live, word)| live & word).collect())
            }
            (filter, ..) => Passing::When(Box::new(move |row| {
                self.lives(row as usize) && self.id(row).is_some_and(|id| filter.passes(id))
            })),
        }
    }
}

/// A filter of rows by position, and what it is made of.
pub(super) enum Passing<'a> {
    Filter(Filter<'a>),
    Ids(Vec<u32>),
    Bitmap(Vec<u64>),
    When(Box<dyn Fn(Id) -> bool + Sync + 'a>),
}

impl Passing<'_> {
    pub(super) fn filter(&self) -> Filter<'_> {
        match self {
            Self::Filter(filter) => *filter,
            Self::Ids(ids) => Filter::Ids(ids),
            Self::Bitmap(words) => Filter::Bitmap(words),
            Self::When(keep) => Filter::When(keep),
        }
    }
}

impl Maker<'_> {
    fn build(&self, spec: &Spec, rows: Rows<'_, f32>) -> Result<Box<dyn Index>, BuildError> {
        build(spec, rows, self.metric, self.seed, self.watch)
    }
}
