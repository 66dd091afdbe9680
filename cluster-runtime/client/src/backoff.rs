//! How long to wait before trying again, with the randomness given by the caller.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

/// Waits that double from `initial` up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(20),
            max: Duration::from_secs(30),
        }
    }
}

impl Backoff {
    /// The wait before attempt `attempt` (0 is the first repetition), shortened by up to a half by `jitter`, a
    /// number from 0 to 1.
    pub fn delay(&self, attempt: u32, jitter: f64) -> Duration {
        let doubled = self.initial.saturating_mul(1 << attempt.min(30));
        let full = doubled.min(self.max);
        full.mul_f64(1.0 - 0.5 * jitter.clamp(0.0, 1.0))
    }
}

/// A source of numbers from 0 (included) to 1 (excluded), so that many clients do not retry in step.
#[derive(Clone)]
pub struct Jitter(Arc<dyn Fn() -> f64 + Send + Sync>);

impl Jitter {
    /// Takes the numbers from a function.
    pub fn new(source: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// Always 0: every wait has its full length.
    pub fn none() -> Self {
        Self::new(|| 0.0)
    }

    /// Numbers of the SplitMix64 sequence that starts at `seed`; the same seed gives the same numbers.
    pub fn from_seed(seed: u64) -> Self {
        let state = AtomicU64::new(seed);
        Self::new(move || {
            let step = 0x9E37_79B9_7F4A_7C15_u64;
            let mut mixed = state.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^= mixed >> 31;
            (mixed >> 11) as f64 / (1_u64 << 53) as f64
        })
    }

    /// The next number.
    pub fn next(&self) -> f64 {
        (self.0)()
    }
}

impl Default for Jitter {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jitter")
    }
}

/// The wall clock, as objects carry it in their timestamps.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// Takes the time from a function.
    pub fn new(source: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// The clock of the machine.
    pub fn system() -> Self {
        Self::new(Timestamp::now)
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff {
            initial: Duration::from_millis(10),
            max: Duration::from_millis(100),
        };
        let waits: Vec<u128> = (0..6)
            .map(|attempt| backoff.delay(attempt, 0.0).as_millis())
            .collect();
        assert_eq!(waits, [10, 20, 40, 80, 100, 100]);
        assert_eq!(backoff.delay(40, 1.0), Duration::from_millis(50));
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers_between_zero_and_one() {
        let (one, two) = (Jitter::from_seed(7), Jitter::from_seed(7));
        let numbers: Vec<f64> = (0..100).map(|_| one.next()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(numbers.iter().all(|number| *number == two.next()));
        assert_ne!(numbers[0], numbers[1]);
    }
}
