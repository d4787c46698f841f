//! Who is alike and who is not: all that a miner or a loss knows of the labels.

use burn::tensor::{Bool, Device, Tensor, TensorData};

/// Two masks over `[anchors, refs]`. A pair may be in neither: it then plays no part.
#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    anchors: usize,
    refs: usize,
    alike: Vec<bool>,
    unlike: Vec<bool>,
    /// Anchor, alike and unlike ref, where a miner chose triplets; all that the masks allow otherwise.
    triplets: Option<Vec<[usize; 3]>>,
    /// How relevant each ref is to each anchor, where it is more than alike or not.
    relevance: Option<Vec<f32>>,
}

impl Relation {
    /// Alike when the classes are equal, unlike otherwise.
    #[must_use]
    pub fn from_classes(anchors: &[u32], refs: &[u32]) -> Self {
        let alike = anchors.iter().flat_map(|a| refs.iter().map(move |r| a == r)).collect();
        Self::from_alike(anchors.len(), refs.len(), alike)
    }

    /// Alike when they share a tag, unlike otherwise, and as relevant as the share of all their tags that they
    /// have in common. Tags of an item are sorted and without repeats.
    #[must_use]
    pub fn from_tags(anchors: &[&[u32]], refs: &[&[u32]]) -> Self {
        let shared = |a: &[u32], r: &[u32]| a.iter().filter(|tag| r.binary_search(tag).is_ok()).count();
        let overlap = |a: &[u32], r: &[u32]| {
            let both = shared(a, r);
            if both == 0 { 0.0 } else { both as f32 / (a.len() + r.len() - both) as f32 }
        };
        let relevance: Vec<f32> =
            anchors.iter().flat_map(|a| refs.iter().map(move |r| overlap(a, r))).collect();
        let alike = relevance.iter().map(|&r| r > 0.0).collect();
        Self { relevance: Some(relevance), ..Self::from_alike(anchors.len(), refs.len(), alike) }
    }

    /// Alike as the pairs `(anchor, ref)` say, unlike otherwise: captions and their pictures, two views of one
    /// scene.
    ///
    /// # Panics
    /// When a pair names an item that is not there.
    #[must_use]
    pub fn from_pairs(anchors: usize, refs: usize, pairs: &[(usize, usize)]) -> Self {
        let mut alike = vec![false; anchors * refs];
        for &(anchor, item) in pairs {
            assert!(anchor < anchors && item < refs, "a pair of known items");
            alike[anchor * refs + item] = true;
        }
        Self::from_alike(anchors, refs, alike)
    }

    fn from_alike(anchors: usize, refs: usize, alike: Vec<bool>) -> Self {
        let unlike = alike.iter().map(|alike| !alike).collect();
        Self { anchors, refs, alike, unlike, triplets: None, relevance: None }
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

    /// Leaves out pairs of one and the same item.
    ///
    /// # Panics
    /// When there is not an item for each anchor and each ref.
    #[must_use]
    pub fn without_same(mut self, anchors: &[usize], refs: &[usize]) -> Self {
        assert!(self.anchors == anchors.len() && self.refs == refs.len(), "an item for each");
        for (place, (alike, unlike)) in self.alike.iter_mut().zip(&mut self.unlike).enumerate() {
            if anchors[place / self.refs] == refs[place % self.refs] {
                (*alike, *unlike) = (false, false);
            }
        }
        self
    }

    /// Leaves out pairs of one group; an item without a group pairs with all.
    ///
    /// # Panics
    /// When there is not a group for each anchor and each ref.
    #[must_use]
    pub fn across(mut self, anchors: &[Option<u32>], refs: &[Option<u32>]) -> Self {
        for place in self.of_one_group(anchors, refs) {
            self.alike[place] = false;
            self.unlike[place] = false;
        }
        self
    }

    /// Leaves out alike pairs of one group, such as pictures of one camera: they are alike for another reason.
    ///
    /// # Panics
    /// As [`Relation::across`].
    #[must_use]
    pub fn alike_across(mut self, anchors: &[Option<u32>], refs: &[Option<u32>]) -> Self {
        self.of_one_group(anchors, refs).into_iter().for_each(|place| self.alike[place] = false);
        self
    }

    fn of_one_group(&self, anchors: &[Option<u32>], refs: &[Option<u32>]) -> Vec<usize> {
        assert!(self.anchors == anchors.len() && self.refs == refs.len(), "a group for each item");
        let same = |place: &usize| {
            let (anchor, item) = (anchors[place / self.refs], refs[place % self.refs]);
            anchor.is_some() && anchor == item
        };
        (0..self.anchors * self.refs).filter(same).collect()
    }

    /// Adds how relevant each ref is to each anchor, `[anchors * refs]`.
    ///
    /// # Panics
    /// When there is not a value for each pair.
    #[must_use]
    pub fn with_relevance(mut self, relevance: Vec<f32>) -> Self {
        assert_eq!(relevance.len(), self.alike.len(), "a relevance for each pair");
        self.relevance = Some(relevance);
        self
    }

    /// Keeps the pairs of both masks, `[anchors * refs]`.
    ///
    /// # Panics
    /// When a mask has another size.
    #[must_use]
    pub fn narrowed(mut self, alike: &[bool], unlike: &[bool]) -> Self {
        assert!(alike.len() == self.alike.len() && unlike.len() == self.unlike.len(), "masks over all pairs");
        self.alike.iter_mut().zip(alike).for_each(|(kept, &keep)| *kept &= keep);
        self.unlike.iter_mut().zip(unlike).for_each(|(kept, &keep)| *kept &= keep);
        self
    }

    /// Keeps these triplets alone: anchor, alike and unlike ref.
    ///
    /// # Panics
    /// When one of them is not a triplet of the relation.
    #[must_use]
    pub fn with_triplets(mut self, triplets: Vec<[usize; 3]>) -> Self {
        let known = |&[a, p, n]: &[usize; 3]| self.alike(a)[p] && self.unlike(a)[n];
        assert!(triplets.iter().all(known), "a miner only narrows");
        self.triplets = Some(triplets);
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

    /// How relevant a ref is to an anchor: without more knowledge 1 when alike, 0 otherwise.
    #[must_use]
    pub fn relevance(&self, anchor: usize, item: usize) -> f32 {
        match &self.relevance {
            Some(relevance) => relevance[anchor * self.refs + item],
            None => f32::from(u8::from(self.alike(anchor)[item])),
        }
    }

    /// Alike pairs, anchor by anchor.
    pub fn alike_pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let refs = self.refs;
        self.alike.iter().enumerate().filter(|(_, alike)| **alike).map(move |(at, _)| (at / refs, at % refs))
    }

    /// Number of alike pairs.
    #[must_use]
    pub fn alike_count(&self) -> usize {
        self.alike.iter().filter(|&&alike| alike).count()
    }

    /// Number of unlike pairs.
    #[must_use]
    pub fn unlike_count(&self) -> usize {
        self.unlike.iter().filter(|&&unlike| unlike).count()
    }

    /// The triplets that a miner chose; none when none did.
    #[must_use]
    pub fn triplets(&self) -> Option<&[[usize; 3]]> {
        self.triplets.as_deref()
    }

    /// Places in the masks of each triplet's alike and unlike pair: the miner's triplets, or all.
    #[must_use]
    pub fn triplet_places(&self) -> (Vec<usize>, Vec<usize>) {
        let refs = self.refs;
        match &self.triplets {
            Some(chosen) => chosen.iter().map(|[a, p, n]| (a * refs + p, a * refs + n)).unzip(),
            None => {
                let unlike = |a: usize| (0..refs).filter(move |&n| self.unlike(a)[n]);
                let all = |(a, p)| unlike(a).map(move |n| (a * refs + p, a * refs + n));
                self.alike_pairs().flat_map(all).unzip()
            }
        }
    }

    /// Both masks, `[anchors, refs]`: alike, unlike.
    #[must_use]
    pub fn masks(&self, device: &Device) -> (Tensor<2, Bool>, Tensor<2, Bool>) {
        let tensor = |mask: &[bool]| {
            Tensor::from_data(TensorData::new(mask.to_vec(), [self.anchors, self.refs]), device)
        };
        (tensor(&self.alike), tensor(&self.unlike))
    }

    /// Both masks as 0 and 1, `[anchors, refs]`: alike, unlike.
    #[must_use]
    pub fn tensors(&self, device: &Device) -> (Tensor<2>, Tensor<2>) {
        let (alike, unlike) = self.masks(device);
        (alike.float(), unlike.float())
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
        let relation = Relation::from_classes(&classes, &classes).without_self().across(&groups, &groups);
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

    #[test]
    fn alike_pairs_of_one_camera_are_left_out() {
        let cameras = [Some(1), Some(1), Some(2), None];
        let relation = Relation::from_classes(&[7; 4], &[7; 4]).without_self();
        let relation = relation.alike_across(&cameras, &cameras);
        assert_eq!(relation.alike(0), [false, false, true, true]);
        assert_eq!(relation.alike(3), [true, true, true, false]);
        let relation = Relation::from_classes(&[1, 2], &[1, 2]).without_self();
        assert_eq!(relation.alike_across(&[Some(1); 2], &[Some(1); 2]).unlike(0), [false, true]);
    }

    #[test]
    fn tags_and_pairs_make_masks() {
        let tags: [&[u32]; 3] = [&[1, 2], &[2, 3, 4], &[9]];
        let relation = Relation::from_tags(&tags, &tags).without_self();
        assert_eq!(
            (relation.alike(0), relation.unlike(0)),
            (&[false, true, false][..], &[false, false, true][..])
        );
        // One tag of four in common.
        assert!((relation.relevance(0, 1) - 0.25).abs() < 1e-6 && relation.relevance(0, 2) == 0.0);
        let relation = Relation::from_pairs(2, 3, &[(0, 2), (1, 0)]);
        assert_eq!(
            (relation.alike(0), relation.unlike(1)),
            (&[false, false, true][..], &[false, true, true][..])
        );
        assert_eq!(relation.alike_pairs().collect::<Vec<_>>(), [(0, 2), (1, 0)]);
        assert_eq!((relation.alike_count(), relation.unlike_count()), (2, 4));
        assert!(relation.relevance(0, 2) == 1.0 && relation.relevance(0, 1) == 0.0);
    }

    #[test]
    fn triplets_are_all_or_those_chosen() {
        let relation = Relation::from_classes(&[0], &[0, 0, 1, 2]);
        let (near, far) = relation.triplet_places();
        assert_eq!((near, far), (vec![0, 0, 1, 1], vec![2, 3, 2, 3]));
        let relation = relation.with_triplets(vec![[0, 1, 2]]);
        assert_eq!(relation.triplet_places(), (vec![1], vec![2]));
    }

    #[test]
    #[should_panic(expected = "a miner only narrows")]
    fn a_miner_cannot_invent_triplets() {
        let _ = Relation::from_classes(&[0], &[0, 0, 1]).with_triplets(vec![[0, 2, 1]]);
    }
}
