//! Network inputs for training: augmented views, run through the frozen blocks, kept or made anew.

use crate::augment::AugmentConfig;
use crate::model::run_blocks;
use crate::network::{Network, average_pool, floats};
use crate::weights::Bound;
use data::{Dataset, DatasetError, Image, Preprocess};
use half::f16;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Views that go through the frozen blocks together.
const TOGETHER: usize = 4;

/// Makes views of the training pictures and what the frozen blocks turn them into.
pub(crate) struct Views<'a> {
    pub dataset: &'a Dataset,
    /// Positions of the training pictures in the dataset.
    pub items: &'a [usize],
    pub augment: &'a AugmentConfig,
    pub preprocess: &'a Preprocess,
    pub network: &'a Network,
    /// Folded weights of the frozen blocks.
    pub bound: &'a Bound,
    /// Blocks, from the first, that are run here.
    pub frozen: usize,
    pub seed: u64,
}

/// Activations after the frozen blocks.
pub(crate) struct Activations {
    /// Height, width, channels of one.
    pub shape: [usize; 3],
    pub values: Vec<f32>,
}

impl Activations {
    /// One batch after another; `shape` is that of no batch at all.
    fn joined(groups: Vec<Self>, shape: [usize; 3]) -> Self {
        let shape = groups.first().map_or(shape, |group| group.shape);
        Self { shape, values: groups.into_iter().flat_map(|group| group.values).collect() }
    }
}

/// Runs the first `frozen` blocks, by their folded weights, over prepared inputs of `size x size x 3` values.
pub(crate) fn through_frozen(
    network: &Network,
    folded: &Bound,
    frozen: usize,
    size: usize,
    inputs: &[f32],
) -> Activations {
    let groups: Vec<_> = inputs
        .par_chunks(TOGETHER * size * size * 3)
        .map(|group| few_through_frozen(network, folded, frozen, size, group.to_vec()))
        .collect();
    Activations::joined(groups, [size, size, 3])
}

fn few_through_frozen(
    network: &Network,
    folded: &Bound,
    frozen: usize,
    size: usize,
    inputs: Vec<f32>,
) -> Activations {
    if frozen == 0 {
        return Activations { shape: [size, size, 3], values: inputs };
    }
    let mut map = run_blocks(network, folded, inputs, size, 0..frozen);
    if frozen == network.blocks.len() {
        // Only the head follows, and it sees the mean: a map of one pixel.
        map = average_pool(map).unsqueeze_dims(&[1, 1]);
    }
    let [_, height, width, channels] = map.dims();
    Activations { shape: [height, width, channels], values: floats(map) }
}

impl Views<'_> {
    fn input(&self, item: usize, number: u64) -> Result<Vec<f32>, DatasetError> {
        let image: Image = self.dataset.image_over(self.items[item], self.preprocess.background)?;
        let mut rng =
            ChaCha8Rng::seed_from_u64(self.seed ^ (item as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        rng.set_stream(number);
        Ok(self.augment.view(&self.preprocess.square(&image), self.preprocess, &mut rng))
    }

    /// View `number` of each given training picture.
    pub fn make(&self, wanted: &[(usize, u64)]) -> Result<Activations, DatasetError> {
        let size = self.preprocess.size as usize;
        let groups: Vec<Activations> = wanted
            .par_chunks(TOGETHER)
            .map(|group| {
                let inputs: Result<Vec<_>, _> =
                    group.iter().map(|&(item, number)| self.input(item, number)).collect();
                Ok(few_through_frozen(self.network, self.bound, self.frozen, size, inputs?.concat()))
            })
            .collect::<Result<_, DatasetError>>()?;
        Ok(Activations::joined(groups, [size, size, 3]))
    }
}

/// Activations of a few views of every training picture, as f16.
pub(crate) struct Cache {
    shape: [usize; 3],
    views: usize,
    values: Vec<f16>,
}

impl Cache {
    /// Runs `views` views of every training picture through the frozen blocks; calls `progress(done, all)`
    /// now and then and stops early, with `None`, when it returns false.
    pub fn fill(
        maker: &Views<'_>,
        views: usize,
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Option<Self>, DatasetError> {
        let wanted: Vec<(usize, u64)> =
            (0..maker.items.len()).flat_map(|item| (0..views as u64).map(move |view| (item, view))).collect();
        let mut cache = Self { shape: [0; 3], views, values: Vec::new() };
        for (done, block) in wanted.chunks(256).enumerate() {
            if !progress(done * 256, wanted.len()) {
                return Ok(None);
            }
            let made = maker.make(block)?;
            cache.shape = made.shape;
            cache.values.reserve_exact(if done == 0 {
                wanted.len() * made.shape.iter().product::<usize>()
            } else {
                0
            });
            cache.values.extend(made.values.into_iter().map(f16::from_f32));
        }
        progress(wanted.len(), wanted.len());
        Ok(Some(cache))
    }

    /// One of the kept views of each given picture.
    pub fn take(&self, wanted: &[(usize, u64)]) -> Activations {
        let length: usize = self.shape.iter().product();
        let mut values = Vec::with_capacity(wanted.len() * length);
        for &(item, number) in wanted {
            let at = (item * self.views + (number % self.views as u64) as usize) * length;
            values.extend(self.values[at..at + length].iter().map(|v| v.to_f32()));
        }
        Activations { shape: self.shape, values }
    }
}
