//! Batches of classes that lie near each other: hard negative classes.
//!
//! The mean embedding of every class is remembered from the last batch that it was in. Of `pool` classes
//! drawn at random the first is taken, then again and again the one whose mean has the largest cosine with
//! the mean of any taken before; a class never seen has cosine 0 with all.
//! Source: Sohn, NIPS 2016, section 3.2.2, which embeds a picture of many classes before each batch; the means
//! of past batches cost nothing.

use super::{Draw, Roster, Sampling, Short};
use crate::settings::settings;
use crate::weights::{Array, Weights};
use rand::seq::SliceRandom;

settings! {
    /// Settings of batches of hard classes.
    pub struct HardClassConfig {
        /// Classes a batch.
        pub classes: usize = 32,
        /// Pictures a class.
        pub images: usize = 2,
        /// What happens to classes with fewer pictures.
        pub short: Short = Short::Tile,
        /// Classes drawn at random, among which hard ones are chosen; at least `classes`.
        pub pool: usize = 256,
    }
}

impl Sampling for HardClassConfig {
    fn size(&self) -> usize {
        self.classes.saturating_mul(self.images)
    }

    fn check(&self, roster: &Roster) -> Result<(), String> {
        if self.pool < self.classes {
            return Err(format!(
                "sampler.pool = {} is fewer than sampler.classes = {}",
                self.pool, self.classes
            ));
        }
        roster.check(self.classes, self.images, self.short)
    }

    fn draw(&self, draw: &Draw<'_>) -> Vec<usize> {
        let (roster, mut rng) = (draw.roster, draw.rng());
        let mut pool = roster.classes(self.images, self.short);
        pool.shuffle(&mut rng);
        pool.truncate(self.pool);
        let chosen = match draw.memory.get("means") {
            Some(means) => nearest(means, pool, self.classes),
            None => pool[..self.classes].to_vec(),
        };
        chosen
            .into_iter()
            .flat_map(|class| roster.pictures(class, self.images, self.short, &mut rng))
            .collect()
    }

    fn remember(&self, memory: &mut Weights, roster: &Roster, unit: &[f32], classes: &[u32]) {
        let (dim, known) = (unit.len() / classes.len().max(1), roster.members.len());
        if memory.get("means").is_none() {
            memory.insert("means", Array { shape: vec![known, dim], values: vec![0.0; known * dim] });
        }
        let means = &mut memory.get_mut("means").expect("just made").values;
        for &class in classes {
            means[class as usize * dim..][..dim].fill(0.0);
        }
        for (row, &class) in unit.chunks_exact(dim.max(1)).zip(classes) {
            means[class as usize * dim..][..dim].iter_mut().zip(row).for_each(|(mean, v)| *mean += v);
        }
    }
}

/// The first of the pool, then again and again the one nearest to any taken.
fn nearest(means: &Array, mut pool: Vec<usize>, count: usize) -> Vec<usize> {
    let dim = means.shape[1];
    let mean = |class: usize| &means.values[class * dim..(class + 1) * dim];
    let cosine = |a: usize, b: usize| {
        let dot = |a: usize, b: usize| kernels::dot(mean(a), mean(b));
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)
    };
    let mut chosen = vec![pool.remove(0)];
    let mut nearness = vec![f32::NEG_INFINITY; pool.len()];
    while chosen.len() < count {
        let last = chosen[chosen.len() - 1];
        pool.iter().zip(&mut nearness).for_each(|(&class, near)| *near = near.max(cosine(last, class)));
        // The first of equals, so that classes never seen keep their random order.
        let best = (0..pool.len()).reduce(|best, at| if nearness[at] > nearness[best] { at } else { best });
        let best = best.expect("the pool holds at least as many as are wanted");
        nearness.remove(best);
        chosen.push(pool.remove(best));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::super::tests::{class_of, roster, sampler};
    use super::*;

    #[test]
    fn nearest_classes_by_hand() {
        // Class 2 is nearest to 0; then 3, near 2; class 1 is opposite.
        let values = vec![1.0, 0.0, -1.0, 0.1, 0.9, 0.3, 0.5, 0.8];
        let means = Array { shape: vec![4, 2], values };
        assert_eq!(nearest(&means, vec![0, 1, 2, 3], 3), [0, 2, 3]);
    }

    #[test]
    fn remembers_the_last_means() {
        let sampler = sampler("name = \"hard-class\"\nclasses = 3\nimages = 2\npool = 10");
        let mut memory = Weights::default();
        let before = sampler.batch(4, &memory);
        // Classes 4, 5 and 6 on one point, 0 and 1 elsewhere; twice, so that the first is forgotten.
        for point in [-1.0, 1.0] {
            let unit = [0.0, 1.0, 0.0, 1.0, point, 0.0, point, 0.0, point, 0.0];
            sampler.remember(&mut memory, &unit, &[0, 1, 4, 5, 6]);
        }
        assert_eq!(memory.get("sampler.means").unwrap().values[8..14], [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        let mut together = 0;
        for batch in 0..30 {
            let items = sampler.batch(batch, &memory);
            let classes: Vec<usize> = items.chunks(2).map(|c| class_of(&roster(), c[0])).collect();
            if [4, 5, 6].contains(&classes[0]) {
                together += 1;
                assert!(classes.iter().all(|class| [4, 5, 6].contains(class)), "{classes:?}");
            }
        }
        assert!(together > 0);
        assert_eq!(before.len(), 6);
    }
}
