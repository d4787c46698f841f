//! Wall seconds and CPU seconds of the same work.

use cpu_time::ProcessTime;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// What some work took. On a shared machine wall seconds are mostly other people's.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Took {
    /// Pictures.
    pub images: usize,
    /// Seconds by the clock.
    pub wall: f64,
    /// Seconds of all threads of the process together.
    pub cpu: f64,
}

impl Took {
    /// Pictures a wall second.
    pub fn per_wall(&self) -> f64 {
        self.images as f64 / self.wall
    }

    /// Pictures a CPU second.
    pub fn per_cpu(&self) -> f64 {
        self.images as f64 / self.cpu
    }
}

/// Both clocks, running.
pub struct Clocks(Instant, ProcessTime);

impl Clocks {
    /// Starts both.
    pub fn start() -> Self {
        Self(Instant::now(), ProcessTime::now())
    }

    /// Reads both.
    pub fn took(&self, images: usize) -> Took {
        Took { images, wall: self.0.elapsed().as_secs_f64(), cpu: self.1.elapsed().as_secs_f64() }
    }
}
