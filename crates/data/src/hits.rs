//! Answers of a batch of queries: ragged lists, never padded.

/// The name of a row in an index: its position in the embedded dataset.
pub type Id = u64;

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Which row.
    pub id: Id,
    /// Its distance; smaller is nearer for every [`Metric`](crate::Metric).
    pub distance: f32,
}

impl Hit {
    /// The one order of answers: by distance, then by id, so that ties never depend on luck.
    #[must_use]
    pub fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.distance.total_cmp(&other.distance).then(self.id.cmp(&other.id))
    }
}

/// Answers of several queries, in query order; a list may be shorter than asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hits {
    flat: Vec<Hit>,
    ends: Vec<usize>,
}

impl Hits {
    /// Appends the answers of the next query, nearest first.
    pub fn push(&mut self, hits: impl IntoIterator<Item = Hit>) {
        self.flat.extend(hits);
        self.ends.push(self.flat.len());
    }

    /// Number of queries answered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether no query was answered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The answers of query `i`, nearest first.
    ///
    /// # Panics
    /// When `i >= self.len()`.
    #[must_use]
    pub fn of(&self, i: usize) -> &[Hit] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.flat[start..self.ends[i]]
    }

    /// The answers of every query in turn.
    pub fn iter(&self) -> impl Iterator<Item = &[Hit]> {
        (0..self.len()).map(|i| self.of(i))
    }

    /// Forgets every answer and keeps the memory.
    pub fn clear(&mut self) {
        self.flat.clear();
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_ragged_and_ties_go_by_id() {
        let mut hits = Hits::default();
        hits.push([Hit { id: 4, distance: 0.5 }]);
        hits.push([]);
        hits.push([Hit { id: 1, distance: 0.0 }, Hit { id: 2, distance: 0.0 }]);
        assert_eq!(hits.len(), 3);
        assert_eq!(hits.of(1), []);
        assert_eq!(hits.of(2).len(), 2);
        let (a, b) = (hits.of(2)[0], hits.of(2)[1]);
        assert_eq!(a.order(&b), std::cmp::Ordering::Less);
    }
}
