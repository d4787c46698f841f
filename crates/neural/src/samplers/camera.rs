//! P x K batches whose pictures of a class come from as many cameras as it has: alike pictures of one camera are
//! alike for the wrong reasons.
//!
//! Cameras take turns, in random order, each giving one of its pictures at a time; a picture without a camera
//! is one of its own.
//! Source: the sampling of identities over cameras in re-identification (Luo et al., "Bag of Tricks", CVPR
//! Workshops 2019, draws P x K; the turns are ours).

use super::{Draw, Roster, Sampling, Short};
use crate::settings::settings;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

settings! {
    /// Settings of batches over cameras.
    pub struct CameraConfig {
        /// Classes a batch.
        pub classes: usize = 16,
        /// Pictures a class.
        pub images: usize = 4,
        /// What happens to classes with fewer pictures.
        pub short: Short = Short::Tile,
    }
}

impl Sampling for CameraConfig {
    fn size(&self) -> usize {
        self.classes.saturating_mul(self.images)
    }

    fn check(&self, roster: &Roster) -> Result<(), String> {
        roster.check(self.classes, self.images, self.short)
    }

    fn draw(&self, draw: &Draw<'_>) -> Vec<usize> {
        let mut rng = draw.rng();
        let chosen = draw.of_the_round(draw.roster.classes(self.images, self.short), self.classes);
        chosen.into_iter().flat_map(|class| self.pictures(draw.roster, class, &mut rng)).collect()
    }
}

impl CameraConfig {
    fn pictures(&self, roster: &Roster, class: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let turns = in_turn(&roster.members[class], &roster.cameras, rng);
        if self.short == Short::Replace && turns.len() < self.images {
            let more = (turns.len()..self.images).map(|_| turns[rng.random_range(0..turns.len())]);
            return turns.iter().copied().chain(more.collect::<Vec<_>>()).collect();
        }
        turns.iter().cycle().take(self.images).copied().collect()
    }
}

/// The pictures of a class, one camera after the other.
fn in_turn(members: &[usize], cameras: &[Option<u32>], rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut shuffled = members.to_vec();
    shuffled.shuffle(rng);
    let mut groups: Vec<(Option<u32>, Vec<usize>)> = Vec::new();
    for item in shuffled {
        let camera = cameras[item];
        match groups.iter_mut().find(|(known, _)| known.is_some() && *known == camera) {
            Some((_, items)) => items.push(item),
            None => groups.push((camera, vec![item])),
        }
    }
    let longest = groups.iter().map(|(_, items)| items.len()).max().unwrap_or(0);
    (0..longest)
        .flat_map(|turn| groups.iter().filter_map(move |(_, items)| items.get(turn).copied()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samplers::Sampler;
    use crate::weights::Weights;

    #[test]
    fn cameras_take_turns() {
        // Two classes of six pictures; camera 1 has four of each, 2 and 3 one each.
        let classes: Vec<u32> = (0..12).map(|item| item / 6).collect();
        let cameras: Vec<Option<u32>> = (0..12).map(|item| Some([1, 1, 1, 1, 2, 3][item % 6])).collect();
        let roster = Roster::new(&classes, &[None; 12], &cameras);
        let config = toml::from_str("name = \"camera\"\nclasses = 2\nimages = 3").unwrap();
        let sampler = Sampler::new(&config, roster, 5).unwrap();
        for batch in 0..20 {
            for chunk in sampler.batch(batch, &Weights::default()).chunks(3) {
                let mut seen: Vec<u32> = chunk.iter().map(|&item| cameras[item].unwrap()).collect();
                seen.sort_unstable();
                assert_eq!(seen, [1, 2, 3]);
            }
        }
    }

    #[test]
    fn pictures_without_a_camera_stand_alone() {
        let mut rng = rand::SeedableRng::seed_from_u64(1);
        let cameras = [None, None, Some(1), Some(1)];
        let turns = in_turn(&[0, 1, 2, 3], &cameras, &mut rng);
        assert!(turns[3] > 1, "the second of camera 1 comes last: {turns:?}");
    }
}
