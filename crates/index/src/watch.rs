//! Watching a build, and stopping it.

use crate::BuildError;
use quant::{TrainError, Training};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a build is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It learns centroids or codes.
    Training,
    /// It puts rows into lists.
    Assigning,
    /// It looks for the nearest rows of each.
    Comparing,
    /// It links rows.
    Linking,
    /// It compresses rows.
    Encoding,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Training => "training",
            Self::Assigning => "assigning",
            Self::Comparing => "comparing",
            Self::Linking => "linking",
            Self::Encoding => "encoding",
        })
    }
}

/// How a build is watched and stopped.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Set from elsewhere to stop the build, which then ends with [`BuildError::Cancelled`] within a second at a
    /// million rows; only codes that are sums of entries of books may take longer to hear.
    pub stop: &'a AtomicBool,
    /// Told a phase and how many of its steps are done, of how many; a phase may come more than once. Called on the
    /// calling thread.
    pub progress: &'a (dyn Fn(Phase, usize, usize) + Sync),
}

impl Watch<'static> {
    /// A build that nothing stops and nobody watches.
    #[must_use]
    pub fn none() -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Self { stop: &NEVER, progress: &|_, _, _| {} }
    }
}

impl Watch<'_> {
    /// Whether to stop; cheap enough for every task.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether to go on.
    pub(crate) fn go_on(&self) -> Result<(), BuildError> {
        if self.stopped() { Err(BuildError::Cancelled) } else { Ok(()) }
    }

    /// Tells how far it is, and learns whether to go on.
    pub(crate) fn step(&self, phase: Phase, done: usize, all: usize) -> Result<(), BuildError> {
        (self.progress)(phase, done, all);
        self.go_on()
    }

    /// Learns a code.
    pub(crate) fn train<T>(
        &self,
        seed: u64,
        learn: impl FnOnce(&Training<'_>) -> Result<T, TrainError>,
    ) -> Result<T, BuildError> {
        self.step(Phase::Training, 0, 1)?;
        let progress = |done, all| (self.progress)(Phase::Training, done, all);
        let learnt = learn(&Training { seed, stop: self.stop, progress: &progress })?;
        self.step(Phase::Training, 1, 1)?;
        Ok(learnt)
    }
}
