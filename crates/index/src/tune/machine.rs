//! How fast this machine is, measured in a third of a second.

use crate::array::Array;
use crate::distance::Distance;
use data::Metric;
use kernels::SplitMix64;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Seconds that the pieces of builds and searches take on one thread, and how many threads there are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Threads of the pool that measured.
    pub threads: usize,
    /// A multiplication and addition where many queries meet many rows.
    pub multiply: f64,
    /// A value of a row that is compared with one query and lies in the cache.
    pub near: f64,
    /// What a row costs more that lies anywhere in memory.
    pub miss: f64,
    /// A byte of rows that are read in order.
    pub stream: f64,
}

/// Values of a row that is measured.
const DIM: usize = 128;
/// Rows in the cache, and rows that are in none.
const HOT: usize = 128;
const COLD: usize = 1 << 17;
/// Time that each piece is repeated for.
const EACH: Duration = Duration::from_millis(40);

impl Machine {
    /// Measures; takes 64 MiB of memory and a third of a second.
    #[must_use]
    pub fn measure() -> Self {
        let distance = Distance::new(Metric::L2);
        let mut random = SplitMix64::new(1);
        // Pages of its own, which go back to the system at once.
        let mut values = Array::filled(COLD * DIM, 0f32);
        values.as_mut().iter_mut().enumerate().for_each(|(i, value)| *value = (i % 251) as f32);
        let hot: Vec<u32> = (0..HOT as u32).collect();
        let queries = &values[..64 * DIM];
        let mut out = vec![0.0; 64 * 512];
        let tile = per_run(|| distance.tile(queries, &values[..512 * DIM], DIM, &mut out));
        let query = &values[..DIM];
        let mut out = vec![0.0; HOT];
        let near = per_run(|| distance.at(query, &values[..HOT * DIM], &hot, &mut out)) / HOT as f64;
        let mut ids = vec![0; HOT];
        let far = per_run(|| {
            ids.iter_mut().for_each(|id| *id = random.below(COLD) as u32);
            distance.at(query, &values, &ids, &mut out);
        });
        let mut out = vec![0.0; 1024];
        let mut start = 0;
        let stream = per_run(|| {
            distance.tile(query, &values[start * DIM..(start + 1024) * DIM], DIM, &mut out);
            start = (start + 1024) % COLD;
        });
        Self {
            threads: rayon::current_num_threads(),
            multiply: tile / (64 * 512 * DIM) as f64,
            near: near / DIM as f64,
            miss: (far / HOT as f64 - near).max(0.0),
            stream: stream / (1024 * DIM * size_of::<f32>()) as f64,
        }
    }

    /// Seconds of a row of `dim` values that lies anywhere.
    pub(super) fn row(&self, dim: f64) -> f64 {
        self.near * dim + self.miss
    }
}

/// Seconds of a run, the least of a few rounds: others may be at work.
fn per_run(mut run: impl FnMut()) -> f64 {
    /// Rounds.
    const ROUNDS: u32 = 4;
    run();
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let (start, mut runs) = (Instant::now(), 0);
        while start.elapsed() < EACH / ROUNDS {
            run();
            runs += 1;
        }
        least = least.min(start.elapsed().as_secs_f64() / f64::from(runs));
    }
    least
}
