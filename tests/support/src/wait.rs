//! Waiting for a condition, never for time.

use std::time::{Duration, Instant};

/// Between two looks at a condition that nothing reports.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks again and again until the condition gives a value.
///
/// # Panics
/// After `limit`, with what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "{what}: not within {limit:?}");
        std::thread::sleep(INTERVAL);
    }
}
