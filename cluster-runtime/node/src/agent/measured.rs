//! What an agent counts of its own work.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Signs of life of a node since its agent was started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BeatCounts {
    /// How many the API took.
    pub taken: u64,
    /// How many it did not take.
    pub failed: u64,
    /// How long those took that were taken, all together.
    pub took: Duration,
}

/// The counts, while they grow.
#[derive(Debug, Default)]
pub(crate) struct Beats(Mutex<BeatCounts>);

impl Beats {
    /// Notes a sign of life: how long it took, or nothing where it was not taken.
    pub(super) fn note(&self, took: Option<Duration>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match took {
            Some(took) => {
                counts.taken += 1;
                counts.took += took;
            }
            None => counts.failed += 1,
        }
    }

    pub(super) fn counts(&self) -> BeatCounts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
