//! Pictures a second through the starter backbone, from pixels to embedding.

use crate::timing::Clocks;
use data::{Dataset, Embed};
use neural::Model;

/// Embed pictures of the built-in set with the starter.
#[derive(clap::Args)]
pub struct Args {
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Side of the input, pixels.
    #[arg(long, default_value_t = 224)]
    size: u32,
    /// Pictures a round.
    #[arg(long, default_value_t = 128)]
    images: usize,
    /// Rounds, after one that is not counted.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

impl Args {
    /// Prints a line a round.
    #[allow(clippy::print_stdout)]
    pub fn run(&self) -> anyhow::Result<()> {
        let dataset = Dataset::emoji()?;
        let images: Vec<_> =
            (0..self.images).map(|i| dataset.image(i % dataset.len())).collect::<Result<_, _>>()?;
        let model = Model::starter_at(self.size);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build()?;
        pool.install(|| model.embed(&images))?;
        for _ in 0..self.rounds {
            let clocks = Clocks::start();
            pool.install(|| model.embed(&images))?;
            let took = clocks.took(images.len());
            println!(
                "{} px: {:.1} images/s, {:.1} images per CPU second ({:.2} ms CPU an image)",
                self.size,
                took.per_wall(),
                took.per_cpu(),
                1000.0 / took.per_cpu()
            );
        }
        Ok(())
    }
}
