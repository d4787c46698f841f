//! Batches of pictures in random order, each once a round: for losses that compare pictures with parameters of
//! their own instead of each other.

use super::{Draw, MOST_PICTURES, Roster, Sampling};
use crate::settings::settings;

settings! {
    /// Settings of plain batches.
    pub struct PlainConfig {
        /// Pictures a batch.
        pub size: usize = 128,
    }
}

impl Sampling for PlainConfig {
    fn size(&self) -> usize {
        self.size
    }

    fn check(&self, roster: &Roster) -> Result<(), String> {
        let there = roster.cameras.len();
        if !(2..=MOST_PICTURES).contains(&self.size) || self.size > there {
            return Err(format!(
                "sampler.size = {} must be at least 2, at most {MOST_PICTURES} and at most the {there} pictures of the training split",
                self.size
            ));
        }
        Ok(())
    }

    fn draw(&self, draw: &Draw<'_>) -> Vec<usize> {
        draw.of_the_round((0..draw.roster.cameras.len()).collect(), self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sampler;
    use crate::weights::Weights;

    #[test]
    fn a_round_shows_each_picture_once() {
        // 23 pictures in five batches of four; three wait for the next round.
        let sampler = sampler("name = \"plain\"\nsize = 4");
        let mut seen: Vec<usize> =
            (5..10).flat_map(|batch| sampler.batch(batch, &Weights::default())).collect();
        seen.sort_unstable();
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
    }
}
