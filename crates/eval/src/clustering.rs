//! Normalised mutual information between classes and clusters.
//!
//! `NMI = 2 I(classes; clusters) / (H(classes) + H(clusters))`: the arithmetic mean of the two
//! entropies, in nats. Results from before 2019 may use the geometric mean and are not comparable.

use std::collections::BTreeMap;

/// Normalised mutual information of two labellings of the same items, 0 (unrelated) to 1 (the same).
///
/// Two labellings without any entropy (each puts everything in one group) agree perfectly: 1.
///
/// # Panics
/// When the labellings have different lengths.
#[must_use]
pub fn nmi(classes: &[u32], clusters: &[u32]) -> f64 {
    assert_eq!(classes.len(), clusters.len(), "one class and one cluster per item");
    // Ordered maps: a hash map's order would change the last digits from run to run.
    let mut joint = BTreeMap::<(u32, u32), usize>::new();
    let (mut of_class, mut of_cluster) = (BTreeMap::<u32, usize>::new(), BTreeMap::<u32, usize>::new());
    for (&class, &cluster) in classes.iter().zip(clusters) {
        *joint.entry((class, cluster)).or_default() += 1;
        *of_class.entry(class).or_default() += 1;
        *of_cluster.entry(cluster).or_default() += 1;
    }
    let n = classes.len() as f64;
    let entropies = entropy(of_class.values(), n) + entropy(of_cluster.values(), n);
    if entropies == 0.0 {
        return 1.0;
    }
    let mutual: f64 = joint
        .iter()
        .map(|((class, cluster), &both)| {
            let expected = of_class[class] as f64 * of_cluster[cluster] as f64 / n;
            both as f64 / n * (both as f64 / expected).ln()
        })
        .sum();
    (2.0 * mutual / entropies).clamp(0.0, 1.0)
}

fn entropy<'a>(counts: impl Iterator<Item = &'a usize>, n: f64) -> f64 {
    counts.map(|&count| count as f64 / n).map(|share| -share * share.ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_classes_in_lopsided_clusters_by_hand() {
        // H(classes) = ln 2; H(clusters) = -(3/4) ln(3/4) - (1/4) ln(1/4) = .562335
        // I = (1/2) ln(4/3) + (1/4) ln(2/3) + (1/4) ln 2 = .215762; 2 I / (.693147 + .562335) = .343711
        assert!((nmi(&[0, 0, 1, 1], &[0, 0, 0, 1]) - 0.343_711).abs() < 1e-6);
    }

    #[test]
    fn names_of_clusters_do_not_matter() {
        assert!((nmi(&[0, 0, 1, 1], &[7, 7, 3, 3]) - 1.0).abs() < 1e-12);
        assert!(nmi(&[0, 0, 1, 1], &[0, 1, 0, 1]).abs() < 1e-12);
    }

    #[test]
    fn one_group_each_is_agreement() {
        assert_eq!(nmi(&[2, 2, 2], &[5, 5, 5]), 1.0);
        assert_eq!(nmi(&[0, 1], &[5, 5]), 0.0);
        assert_eq!(nmi(&[], &[]), 1.0);
    }
}
