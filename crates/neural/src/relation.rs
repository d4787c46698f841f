//! Who is alike and who is not: all that a miner or a loss knows of the labels.

use burn::tensor::{Device, Tensor, TensorData};

/// Two masks over `[anchors, refs]`. A pair may be in neither: it then plays no part.
#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    anchors: usize,
    refs: usize,
    alike: Vec<bool>,
    unlike: Vec<bool>,
}

impl Relation {
    /// Alike when the classes are equal, unlike otherwise.
    #[must_use]
    pub fn from_classes(anchors: &[u32], refs: &[u32]) -> Self {
        let pairs = || anchors.iter().flat_map(|a| refs.iter().map(move |r| a == r));
        Self {
            anchors: anchors.len(),
            refs: refs.len(),
            alike: pairs().collect(),
            unlike: pairs().map(|alike| !alike).collect(),
        }
    }

    /// Leaves out each item's pair with itself; anchors and refs are the same items.
    ///
    /// # Panics
    /// When there are not as many refs as anchors.
    #[must_use]
    pub fn without_self(mut self) -> Self {
        assert_eq!(self.anchors, self.refs, "a batch against itself");
        for i in 0..self.anchors {
            self.alike[i * self.refs + i] = false;
            self.unlike[i * self.refs + i] = false;
        }
        self
    }

    /// Leaves out pairs of one group; an item without a group pairs with all. Anchors and refs are the same
    /// items.
    ///
    /// # Panics
    /// When there are not as many groups as anchors and refs.
    #[must_use]
    pub fn across(mut self, groups: &[Option<u32>]) -> Self {
        assert!(self.anchors == groups.len() && self.refs == groups.len(), "a group for each item");
        for (anchor, group) in groups.iter().enumerate() {
            for (item, other) in groups.iter().enumerate() {
                if group.is_some() && group == other {
                    self.alike[anchor * self.refs + item] = false;
                    self.unlike[anchor * self.refs + item] = false;
                }
            }
        }
        self
    }

    /// The same positives with other negatives, `[anchors * refs]`.
    ///
    /// # Panics
    /// When the mask has another size, or names a pair that was not unlike.
    #[must_use]
    pub fn with_unlike(mut self, unlike: Vec<bool>) -> Self {
        assert_eq!(unlike.len(), self.unlike.len(), "a mask over all pairs");
        assert!(unlike.iter().zip(&self.unlike).all(|(&new, &old)| old || !new), "a miner only narrows");
        self.unlike = unlike;
        self
    }

    /// Number of anchors.
    #[must_use]
    pub fn anchors(&self) -> usize {
        self.anchors
    }

    /// Number of refs.
    #[must_use]
    pub fn refs(&self) -> usize {
        self.refs
    }

    /// Row of the alike mask, `refs` values.
    #[must_use]
    pub fn alike(&self, anchor: usize) -> &[bool] {
        &self.alike[anchor * self.refs..(anchor + 1) * self.refs]
    }

    /// Row of the unlike mask, `refs` values.
    #[must_use]
    pub fn unlike(&self, anchor: usize) -> &[bool] {
        &self.unlike[anchor * self.refs..(anchor + 1) * self.refs]
    }

    /// Both masks as 0 and 1, `[anchors, refs]`: alike, unlike.
    #[must_use]
    pub fn tensors(&self, device: &Device) -> (Tensor<2>, Tensor<2>) {
        let tensor = |mask: &[bool]| {
            let values: Vec<f32> = mask.iter().map(|&m| if m { 1.0 } else { 0.0 }).collect();
            Tensor::from_data(TensorData::new(values, [self.anchors, self.refs]), device)
        };
        (tensor(&self.alike), tensor(&self.unlike))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_make_masks() {
        let relation = Relation::from_classes(&[7, 7, 9], &[7, 7, 9]).without_self();
        assert_eq!(relation.alike(0), [false, true, false]);
        assert_eq!(relation.unlike(0), [false, false, true]);
        assert_eq!(relation.unlike(2), [true, true, false]);
        assert_eq!(relation.alike(2), [false, false, false]);
    }

    #[test]
    fn pairs_of_one_group_are_left_out() {
        let classes = [7, 7, 9, 9];
        let groups = [Some(1), Some(1), Some(1), None];
        let relation = Relation::from_classes(&classes, &classes).without_self().across(&groups);
        assert_eq!(relation.alike(0), [false; 4]);
        assert_eq!(relation.unlike(0), [false, false, false, true]);
        assert_eq!(relation.alike(2), [false, false, false, true]);
        assert_eq!(relation.alike(3), [false, false, true, false]);
        assert_eq!(relation.unlike(3), [true, true, false, false]);
    }

    #[test]
    #[should_panic(expected = "a miner only narrows")]
    fn a_miner_cannot_invent_pairs() {
        let relation = Relation::from_classes(&[1, 1], &[1, 1]).without_self();
        let _ = relation.with_unlike(vec![false, true, false, false]);
    }
}
