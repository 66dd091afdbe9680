//! Measurements, as Prometheus reads them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets of answer times, in seconds.
const BUCKETS: [f64; 10] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// What a server counts.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, &'static str, u16), u64>>,
    times: Mutex<BTreeMap<&'static str, Times>>,
    under_way: AtomicU64,
}

#[derive(Debug, Default)]
struct Times {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// What is counted elsewhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gauges {
    pub(crate) charts: usize,
    pub(crate) versions: usize,
    pub(crate) uploads: usize,
}

impl Metrics {
    pub(crate) fn begin(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answered request. Methods and routes are of few kinds.
    pub(crate) fn end(&self, method: &'static str, route: &'static str, status: u16, took: Duration) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((method, route, status)).or_default() += 1;
        drop(requests);
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let times = times.entry(route).or_default();
        let seconds = took.as_secs_f64();
        for (bucket, bound) in times.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= bound);
        }
        times.count += 1;
        times.sum += seconds;
    }

    /// The text that Prometheus reads.
    pub(crate) fn text(&self, gauges: Gauges) -> String {
        let mut out = String::new();
        // Writing into a text does not fail.
        let _ = self.write(&mut out, gauges);
        out
    }

    fn write(&self, out: &mut String, gauges: Gauges) -> std::fmt::Result {
        out.push_str(
            "# HELP tug_repo_requests_total Answered requests.\n# TYPE tug_repo_requests_total counter\n",
        );
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for ((method, route, code), count) in requests.iter() {
            writeln!(
                out,
                "tug_repo_requests_total{{method=\"{method}\",route=\"{route}\",code=\"{code}\"}} {count}"
            )?;
        }
        drop(requests);
        out.push_str("# HELP tug_repo_request_seconds Time until the answer began.\n# TYPE tug_repo_request_seconds histogram\n");
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        for (route, times) in times.iter() {
            for (bucket, bound) in times.buckets.iter().zip(BUCKETS) {
                writeln!(
                    out,
                    "tug_repo_request_seconds_bucket{{route=\"{route}\",le=\"{bound}\"}} {bucket}"
                )?;
            }
            let Times { count, sum, .. } = times;
            writeln!(
                out,
                "tug_repo_request_seconds_bucket{{route=\"{route}\",le=\"+Inf\"}} {count}"
            )?;
            writeln!(out, "tug_repo_request_seconds_sum{{route=\"{route}\"}} {sum}")?;
            writeln!(out, "tug_repo_request_seconds_count{{route=\"{route}\"}} {count}")?;
        }
        for (name, help, value) in [
            (
                "requests_under_way",
                "Requests that are worked on.",
                self.under_way.load(Ordering::Relaxed),
            ),
            ("charts", "Charts in all tenants.", gauges.charts as u64),
            (
                "chart_versions",
                "Versions of charts in all tenants.",
                gauges.versions as u64,
            ),
            (
                "uploads_open",
                "Uploads of blobs that are open.",
                gauges.uploads as u64,
            ),
        ] {
            writeln!(
                out,
                "# HELP tug_repo_{name} {help}\n# TYPE tug_repo_{name} gauge\ntug_repo_{name} {value}"
            )?;
        }
        Ok(())
    }
}
