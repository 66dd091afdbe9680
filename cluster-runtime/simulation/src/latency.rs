//! How long things took.

use std::time::Duration;

use serde::Serialize;

/// How long things of one kind took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latencies {
    /// How many there were.
    pub count: usize,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// Nine of ten took no longer.
    pub p90_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Latencies {
    /// Sorts the times and reads them off.
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |part: f64| {
            let place = (times.len() as f64 * part).ceil() as usize;
            times
                .get(place.saturating_sub(1))
                .map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        Self {
            count: times.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            max_ms: at(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_off_the_sorted_times() {
        let times = (1..=1000).rev().map(Duration::from_millis).collect();
        let latencies = Latencies::of(times);
        let found = [
            latencies.p50_ms,
            latencies.p90_ms,
            latencies.p99_ms,
            latencies.max_ms,
        ];
        assert_eq!(found, [500.0, 900.0, 990.0, 1000.0]);
        assert_eq!(Latencies::of(Vec::new()), Latencies::default());
    }
}
