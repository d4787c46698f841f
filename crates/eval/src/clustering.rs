//! How well clusters agree with classes: mutual information, normalised or adjusted, and F1 of pairs.
//!
//! `NMI = 2 I(classes; clusters) / (H(classes) + H(clusters))`: the arithmetic mean of the two
//! entropies, in nats. Results from before 2019 may use the geometric mean and are not comparable.

use std::collections::BTreeMap;

/// How the items of two labellings fall together.
///
/// Ordered maps: a hash map's order would change the last digits from run to run.
struct Contingency {
    joint: BTreeMap<(u32, u32), usize>,
    of_class: BTreeMap<u32, usize>,
    of_cluster: BTreeMap<u32, usize>,
    items: usize,
}

impl Contingency {
    fn new(classes: &[u32], clusters: &[u32]) -> Self {
        assert_eq!(classes.len(), clusters.len(), "one class and one cluster per item");
        let mut joint = BTreeMap::<(u32, u32), usize>::new();
        let (mut of_class, mut of_cluster) = (BTreeMap::<u32, usize>::new(), BTreeMap::<u32, usize>::new());
        for (&class, &cluster) in classes.iter().zip(clusters) {
            *joint.entry((class, cluster)).or_default() += 1;
            *of_class.entry(class).or_default() += 1;
            *of_cluster.entry(cluster).or_default() += 1;
        }
        Self { joint, of_class, of_cluster, items: classes.len() }
    }

    /// `I(classes; clusters)`, nats.
    fn mutual(&self) -> f64 {
        let n = self.items as f64;
        let part = |((class, cluster), &both): (&(u32, u32), &usize)| {
            let expected = self.of_class[class] as f64 * self.of_cluster[cluster] as f64 / n;
            both as f64 / n * (both as f64 / expected).ln()
        };
        self.joint.iter().map(part).sum()
    }

    /// `H(classes) + H(clusters)`, nats.
    fn entropies(&self) -> f64 {
        let n = self.items as f64;
        entropy(self.of_class.values(), n) + entropy(self.of_cluster.values(), n)
    }

    /// Whether the two put the items into the same groups.
    fn same_groups(&self) -> bool {
        self.joint.len() == self.of_class.len() && self.joint.len() == self.of_cluster.len()
    }

    /// The mutual information to expect when the clusters keep their sizes and their members are drawn
    /// by chance (hypergeometric), nats; Vinh et al., equation 24a.
    fn expected_mutual(&self) -> f64 {
        let factorials = ln_factorials(self.items);
        let mut sum = 0.0;
        // Groups of one size contribute alike, and there are few sizes: 11,000 classes need not meet
        // 11,000 clusters.
        for (&a, &of_a) in &sizes(self.of_class.values()) {
            for (&b, &of_b) in &sizes(self.of_cluster.values()) {
                sum += (of_a * of_b) as f64 * expected_part(a, b, self.items, &factorials);
            }
        }
        sum
    }
}

/// How many groups there are of each size.
fn sizes<'a>(counts: impl Iterator<Item = &'a usize>) -> BTreeMap<usize, usize> {
    let mut sizes = BTreeMap::new();
    counts.for_each(|&count| *sizes.entry(count).or_default() += 1);
    sizes
}

/// `ln 0!` to `ln n!`, summed with compensation so that 60,000 terms lose no digits.
fn ln_factorials(n: usize) -> Vec<f64> {
    let (mut sum, mut lost) = (0.0f64, 0.0f64);
    let mut all = Vec::with_capacity(n + 1);
    all.push(0.0);
    for i in 1..=n {
        let term = (i as f64).ln() - lost;
        let next = sum + term;
        lost = (next - sum) - term;
        sum = next;
        all.push(sum);
    }
    all
}

/// What a class of `a` and a cluster of `b` of `n` items are expected to share, nats.
fn expected_part(a: usize, b: usize, n: usize, ln_factorials: &[f64]) -> f64 {
    let f = |i: usize| ln_factorials[i];
    let fixed = f(a) + f(b) + f(n - a) + f(n - b) - f(n);
    let total = n as f64;
    ((a + b).saturating_sub(n).max(1)..=a.min(b))
        .map(|both| {
            let chance = fixed - f(both) - f(a - both) - f(b - both) - f(n + both - a - b);
            let shared = both as f64;
            shared / total * (total * shared / (a as f64 * b as f64)).ln() * chance.exp()
        })
        .sum()
}

/// Normalised mutual information of two labellings of the same items, 0 (unrelated) to 1 (the same).
///
/// Two labellings without any entropy (each puts everything in one group) agree perfectly: 1.
///
/// # Panics
/// When the labellings have different lengths.
#[must_use]
pub fn nmi(classes: &[u32], clusters: &[u32]) -> f64 {
    let table = Contingency::new(classes, clusters);
    let entropies = table.entropies();
    if entropies == 0.0 {
        return 1.0;
    }
    (2.0 * table.mutual() / entropies).clamp(0.0, 1.0)
}

/// Adjusted mutual information, `(I - E) / (mean of the entropies - E)`: 0 is what clusters of these
/// sizes share with the classes by chance (it may be a little less), 1 is the same groups.
///
/// Uses `8 x items` bytes. Source: Vinh, Epps and Bailey, JMLR 2010; scikit-learn with
/// `average_method="arithmetic"`.
///
/// # Panics
/// When the labellings have different lengths.
#[must_use]
pub fn ami(classes: &[u32], clusters: &[u32]) -> f64 {
    let table = Contingency::new(classes, clusters);
    if table.same_groups() {
        return 1.0;
    }
    let expected = table.expected_mutual();
    // A denominator of nothing but rounding is kept from zero, with its sign, as scikit-learn does.
    let spare = table.entropies() / 2.0 - expected;
    let spare = if spare < 0.0 { spare.min(-f64::EPSILON) } else { spare.max(f64::EPSILON) };
    (table.mutual() - expected) / spare
}

/// F1 of pairs: of the pairs in one cluster, the share in one class (precision), and of the pairs in one
/// class, the share in one cluster (recall); their harmonic mean, 0 to 1. Without any pair at all the
/// two agree: 1.
///
/// Source: Manning, Raghavan and Schütze, "Introduction to Information Retrieval", 2008, section 16.3.
///
/// # Panics
/// When the labellings have different lengths.
#[must_use]
pub fn pair_f1(classes: &[u32], clusters: &[u32]) -> f64 {
    let table = Contingency::new(classes, clusters);
    let pairs = |counts: &mut dyn Iterator<Item = &usize>| -> f64 {
        counts.map(|&count| count as f64 * (count as f64 - 1.0) / 2.0).sum()
    };
    let both = pairs(&mut table.joint.values());
    let either = pairs(&mut table.of_class.values()) + pairs(&mut table.of_cluster.values());
    if either == 0.0 { 1.0 } else { 2.0 * both / either }
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
    fn chance_is_taken_off_by_hand() {
        // AABB in clusters 0001: every placing of the single item is alike, so the
        // information expected is the information found and the adjusted value is 0.
        assert!(ami(&[0, 0, 1, 1], &[0, 0, 0, 1]).abs() < 1e-12);
        // AABB in clusters 0011: E = (1/3) ln 2, since 2 of 6 placings agree and the others share nothing.
        assert!((ami(&[0, 0, 1, 1], &[5, 5, 2, 2]) - 1.0).abs() < 1e-12);
        // AABB in clusters 0101: I = 0, so (0 - ln 2 / 3) / (ln 2 - ln 2 / 3) = -1/2
        assert!((ami(&[0, 0, 1, 1], &[0, 1, 0, 1]) + 0.5).abs() < 1e-12);
        assert_eq!(ami(&[2, 2, 2], &[5, 5, 5]), 1.0);
        assert_eq!(ami(&[], &[]), 1.0);
    }

    #[test]
    fn pairs_by_hand() {
        // Clusters 000 and 1 of AABB: 3 pairs in a cluster, 2 in a class, 1 in both; 2 * 1 / (3 + 2)
        assert!((pair_f1(&[0, 0, 1, 1], &[0, 0, 0, 1]) - 0.4).abs() < 1e-12);
        assert_eq!(pair_f1(&[0, 0, 1, 1], &[7, 7, 3, 3]), 1.0);
        assert_eq!(pair_f1(&[0, 0, 1, 1], &[0, 1, 0, 1]), 0.0);
        assert_eq!(pair_f1(&[0, 1, 2], &[2, 1, 0]), 1.0);
    }

    #[test]
    fn one_group_each_is_agreement() {
        assert_eq!(nmi(&[2, 2, 2], &[5, 5, 5]), 1.0);
        assert_eq!(nmi(&[0, 1], &[5, 5]), 0.0);
        assert_eq!(nmi(&[], &[]), 1.0);
    }
}
