//! Cross-batch memory: the embeddings of past batches stay for a while, and any loss over pairs compares the
//! batch with them too.
//!
//! The batch is put in first, so memory always holds it; entries leave in the order in which they came. They
//! carry no gradient. A picture is never compared with itself, in this or an earlier view. The value is the
//! batch's own plus `weight` times that against the memory, each reduced on its own.
//! Source: Wang et al., "Cross-Batch Memory for Embedding Learning", CVPR 2020, section 3.2.

use crate::settings::settings;
use crate::weights::{Array, Weights};

/// Most entries: an entry's place must be exact in an f32.
pub(crate) const MOST_ENTRIES: usize = 1 << 22;

settings! {
    /// Settings of the memory.
    pub struct CrossBatchConfig {
        /// Embeddings kept.
        pub size: usize = 4096,
        /// Step from which on it is filled and used: at first embeddings move too fast to be kept.
        pub start: usize = 1000,
        /// Weight of the part against the memory.
        pub weight: f32 = 1.0,
    }
}

/// Embeddings of past batches.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CrossBatch {
    /// Row-major, `dim` values an entry.
    pub rows: Vec<f32>,
    /// Which training picture each is of.
    pub items: Vec<usize>,
    /// Slot that the next one takes.
    next: usize,
}

impl CrossBatch {
    /// What [`CrossBatch::to_weights`] gave; nothing remembered when there is nothing.
    pub fn from_weights(weights: &Weights) -> Self {
        let (Some(rows), Some(items), Some(next)) =
            (weights.get("rows"), weights.get("items"), weights.get("next"))
        else {
            return Self::default();
        };
        // Halves of sixteen bits: an f32 holds integers up to 2^24 only.
        let item = |halves: &[f32]| (halves[0] as usize) << 16 | halves[1] as usize;
        Self {
            rows: rows.values.clone(),
            items: items.values.chunks_exact(2).map(item).collect(),
            next: next.values.first().map_or(0, |&next| next as usize),
        }
    }

    /// The memory as arrays, for a checkpoint.
    pub fn to_weights(&self) -> Weights {
        let mut weights = Weights::default();
        let entries = self.items.len();
        let dim = self.rows.len() / entries.max(1);
        let halves = self.items.iter().flat_map(|&item| [(item >> 16) as f32, (item & 0xFFFF) as f32]);
        weights.insert("rows", Array { shape: vec![entries, dim], values: self.rows.clone() });
        weights.insert("items", Array { shape: vec![entries, 2], values: halves.collect() });
        weights.insert("next", Array::flat(vec![self.next as f32]));
        weights
    }

    /// Puts a batch in, `items.len() x dim` values, over the oldest entries once `size` are there.
    pub fn push(&mut self, size: usize, rows: &[f32], items: &[usize]) {
        let dim = rows.len() / items.len().max(1);
        for (row, &item) in rows.chunks_exact(dim.max(1)).zip(items) {
            if self.items.len() < size {
                self.rows.extend_from_slice(row);
                self.items.push(item);
            } else {
                self.rows[self.next * dim..(self.next + 1) * dim].copy_from_slice(row);
                self.items[self.next] = item;
            }
            self.next = (self.next + 1) % size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leave_first() {
        // Capacity 4, two batches of 3: slots 0, 1, 2, then 3, 0, 1.
        let mut memory = CrossBatch::default();
        memory.push(4, &[1.0, 2.0, 3.0], &[11, 12, 13]);
        assert_eq!((memory.items.as_slice(), memory.next), (&[11, 12, 13][..], 3));
        memory.push(4, &[4.0, 5.0, 6.0], &[14, 15, 70_016]);
        assert_eq!(memory.items, [15, 70_016, 13, 14]);
        assert_eq!(memory.rows, [5.0, 6.0, 3.0, 4.0]);
        assert_eq!(CrossBatch::from_weights(&memory.to_weights()), memory);
        assert_eq!(CrossBatch::from_weights(&Weights::default()), CrossBatch::default());
    }

    #[test]
    fn a_batch_beyond_the_capacity_leaves_its_end() {
        let mut memory = CrossBatch::default();
        memory.push(2, &[1.0, 2.0, 3.0], &[1, 2, 3]);
        assert_eq!(memory.items, [3, 2]);
    }
}
