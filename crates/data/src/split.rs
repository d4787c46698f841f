//! Class-disjoint splits: no class is in two of them.

use crate::dataset::{Dataset, Split};
use crate::dataset_error::DatasetError;
use std::collections::HashMap;

/// Gives every class a split, in class order: the shares are of classes, and the same seed and names give the
/// same answer whatever the order of rows.
///
/// Classes named in one list of `together` (positions in `classes`) get the same split; it is what keeps a
/// picture that belongs to two classes out of two splits.
///
/// # Errors
/// When the shares (train, validation, test) are negative, not finite, or do not sum to 1.
///
/// # Panics
/// When `together` names a position outside `classes`.
pub fn split_classes(
    classes: &[String],
    together: &[Vec<u32>],
    seed: u64,
    shares: [f64; 3],
) -> Result<Vec<Split>, DatasetError> {
    let sum: f64 = shares.iter().sum();
    if shares.iter().any(|share| !share.is_finite() || *share < 0.0) || (sum - 1.0).abs() > 1e-6 {
        return Err(DatasetError::Shares { shares });
    }
    let mut groups: HashMap<usize, Vec<usize>> = HashMap::new();
    for (class, root) in roots(classes.len(), together).into_iter().enumerate() {
        groups.entry(root).or_default().push(class);
    }
    // Hashes of names make the order: adding a class never reshuffles the others.
    let mut order: Vec<(blake3::Hash, Vec<usize>)> = groups
        .into_values()
        .map(|group| (rank(seed, group.iter().map(|&class| classes[class].as_str()).min()), group))
        .collect();
    order.sort_unstable_by(|(a, first), (b, second)| {
        a.as_bytes().cmp(b.as_bytes()).then_with(|| first.cmp(second))
    });
    let count = classes.len() as f64;
    let bounds = [(shares[0] * count).round() as usize, ((shares[0] + shares[1]) * count).round() as usize];
    let mut splits = vec![Split::Test; classes.len()];
    let mut placed = 0;
    for (_, group) in order {
        let split = match placed {
            n if n < bounds[0] => Split::Train,
            n if n < bounds[1] => Split::Validation,
            _ => Split::Test,
        };
        placed += group.len();
        for class in group {
            splits[class] = split;
        }
    }
    Ok(splits)
}

fn rank(seed: u64, name: Option<&str>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"deepembed split 1\n").update(&seed.to_le_bytes());
    hasher.update(name.unwrap_or_default().as_bytes());
    hasher.finalize()
}

/// The smallest class reachable from each class through `together`.
fn roots(classes: usize, together: &[Vec<u32>]) -> Vec<usize> {
    fn root(parent: &mut [usize], mut class: usize) -> usize {
        while parent[class] != class {
            parent[class] = parent[parent[class]];
            class = parent[class];
        }
        class
    }
    let mut parent: Vec<usize> = (0..classes).collect();
    for list in together {
        for pair in list.windows(2) {
            let (a, b) = (root(&mut parent, pair[0] as usize), root(&mut parent, pair[1] as usize));
            parent[a.max(b)] = a.min(b);
        }
    }
    (0..classes).map(|class| root(&mut parent, class)).collect()
}

impl Dataset {
    /// Replaces the splits by class-disjoint ones; see [`split_classes`]. Classes that share a byte-identical
    /// picture stay together, for which every picture is read and hashed once.
    ///
    /// # Errors
    /// When a picture cannot be read or the shares do not sum to 1.
    pub fn split_by_class(&mut self, seed: u64, shares: [f64; 3]) -> Result<(), DatasetError> {
        self.hash_contents()?;
        let mut sharing: HashMap<&str, Vec<u32>> = HashMap::new();
        for item in &self.items {
            sharing.entry(item.hash.as_deref().unwrap_or_default()).or_default().push(item.label);
        }
        let together: Vec<Vec<u32>> = sharing.into_values().filter(|labels| labels.len() > 1).collect();
        let splits = split_classes(&self.classes, &together, seed, shares)?;
        for item in &mut self.items {
            item.split = splits[item.label as usize];
        }
        self.has_splits = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("class {i:04}")).collect()
    }

    fn count(splits: &[Split], split: Split) -> usize {
        splits.iter().filter(|&&s| s == split).count()
    }

    #[test]
    fn shares_are_of_classes_and_the_seed_decides() {
        let classes = names(1561);
        let splits = split_classes(&classes, &[], 7, [0.6, 0.1, 0.3]).unwrap();
        // 0.6 x 1561 = 936.6, 0.7 x 1561 = 1092.7
        assert_eq!(Split::ALL.map(|s| count(&splits, s)), [937, 156, 468]);
        assert_eq!(splits, split_classes(&classes, &[], 7, [0.6, 0.1, 0.3]).unwrap());
        assert_ne!(splits, split_classes(&classes, &[], 8, [0.6, 0.1, 0.3]).unwrap());
    }

    #[test]
    fn classes_that_share_a_picture_stay_together() {
        let together = vec![vec![0, 50], vec![50, 99], vec![98, 97, 97]];
        for seed in 0..20 {
            let splits = split_classes(&names(100), &together, seed, [0.5, 0.0, 0.5]).unwrap();
            assert!(splits[0] == splits[50] && splits[50] == splits[99] && splits[98] == splits[97]);
            assert_eq!(count(&splits, Split::Validation), 0);
        }
    }

    #[test]
    fn shares_must_sum_to_one() {
        for shares in [[0.5, 0.1, 0.1], [1.5, -0.5, 0.0], [f64::NAN, 0.5, 0.5]] {
            assert!(matches!(split_classes(&names(3), &[], 0, shares), Err(DatasetError::Shares { .. })));
        }
    }
}
