//! What the server counts of its requests, as Prometheus reads it.
//!
//! Names are those of Kubernetes where it has the same number. Labels are verbs, resources that are served and status
//! codes, so that no client can make them many.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::engine::{Engine, GIT_VERSION};

/// Upper bounds of the classes of durations, in seconds.
const BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

/// A request by what it asks for: verb, group, resource, subresource.
pub(super) type Asked = (&'static str, String, String, &'static str);

/// A number of some part of the server, or several of a kind that their labels tell apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// Its name.
    pub name: &'static str,
    /// `counter`, which only grows, or `gauge`.
    pub kind: &'static str,
    /// What it is, in a sentence.
    pub help: &'static str,
    /// Names and values of labels, and the number.
    pub values: Vec<(Vec<(&'static str, String)>, f64)>,
}

/// What else a server tells of itself, besides what it counts of requests.
#[async_trait]
pub trait Measured: Send + Sync + 'static {
    /// The numbers as of now.
    async fn measure(&self) -> Vec<Measurement>;
}

/// What a part of a machine that is no API server tells Prometheus: its numbers, and what the kernel knows of its process.
pub fn measurements_text(measurements: &[Measurement]) -> String {
    let mut text = String::new();
    add(&mut text, measurements);
    process(&mut text);
    text
}

/// Adds measurements to a text for Prometheus.
pub(super) fn add(text: &mut String, measurements: &[Measurement]) {
    for measurement in measurements {
        head(text, measurement.name, measurement.kind, measurement.help);
        for (labels, value) in &measurement.values {
            let labels: Vec<(&str, &str)> = labels
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            line(text, measurement.name, &labels, *value);
        }
    }
}

/// Counts of the requests that were answered.
#[derive(Debug, Default)]
pub(super) struct RequestCounts {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_code: BTreeMap<(Asked, u16), u64>,
    durations: BTreeMap<Asked, Durations>,
}

#[derive(Debug, Default)]
struct Durations {
    classes: [u64; BUCKETS.len()],
    count: u64,
    seconds: f64,
}

impl RequestCounts {
    /// Counts an answered request; watches and streams, which last as long as the client likes, have no duration.
    pub(super) fn count(&self, asked: Asked, code: u16, took: Option<Duration>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(took) = took {
            let durations = counts.durations.entry(asked.clone()).or_default();
            let seconds = took.as_secs_f64();
            for (class, most) in durations.classes.iter_mut().zip(BUCKETS) {
                *class += u64::from(seconds <= most);
            }
            durations.count += 1;
            durations.seconds += seconds;
        }
        *counts.by_code.entry((asked, code)).or_default() += 1;
    }

    /// Everything as text. `reads` and `writes` are the requests under way.
    pub(super) fn text(&self, engine: &Engine, reads: usize, writes: usize) -> String {
        let mut text = String::new();
        self.requests(&mut text);
        head(
            &mut text,
            "apiserver_current_inflight_requests",
            "gauge",
            "Requests that are being answered.",
        );
        for (kind, count) in [("readOnly", reads), ("mutating", writes)] {
            line(
                &mut text,
                "apiserver_current_inflight_requests",
                &[("request_kind", kind)],
                count as f64,
            );
        }
        head(
            &mut text,
            "apiserver_storage_objects",
            "gauge",
            "Objects in the store, by resource.",
        );
        for (table, count) in engine.object_counts() {
            line(
                &mut text,
                "apiserver_storage_objects",
                &[("resource", &table)],
                count as f64,
            );
        }
        head(
            &mut text,
            "tug_store_revision",
            "counter",
            "Newest revision of the store.",
        );
        line(&mut text, "tug_store_revision", &[], engine.revision().0 as f64);
        head(
            &mut text,
            "kubernetes_build_info",
            "gauge",
            "Always 1, labelled by version.",
        );
        line(
            &mut text,
            "kubernetes_build_info",
            &[("git_version", GIT_VERSION)],
            1.0,
        );
        process(&mut text);
        text
    }

    fn requests(&self, text: &mut String) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let name = "apiserver_request_total";
        head(
            text,
            name,
            "counter",
            "Requests that were answered, by what they asked and the status code.",
        );
        for ((asked, code), count) in &counts.by_code {
            let code = code.to_string();
            let labels = [&labels(asked)[..], &[("code", code.as_str())]].concat();
            line(text, name, &labels, *count as f64);
        }
        let name = "apiserver_request_duration_seconds";
        head(text, name, "histogram", "Time until requests were answered.");
        for (asked, durations) in &counts.durations {
            let labels = labels(asked);
            let bucket = format!("{name}_bucket");
            for (count, most) in durations.classes.iter().zip(BUCKETS) {
                let most = most.to_string();
                line(
                    text,
                    &bucket,
                    &[&labels[..], &[("le", most.as_str())]].concat(),
                    *count as f64,
                );
            }
            line(
                text,
                &bucket,
                &[&labels[..], &[("le", "+Inf")]].concat(),
                durations.count as f64,
            );
            line(text, &format!("{name}_sum"), &labels, durations.seconds);
            line(text, &format!("{name}_count"), &labels, durations.count as f64);
        }
    }
}

fn labels(asked: &Asked) -> [(&'static str, &str); 4] {
    let (verb, group, resource, subresource) = asked;
    [
        ("verb", verb),
        ("group", group),
        ("resource", resource),
        ("subresource", subresource),
    ]
}

/// What the kernel knows of this process.
fn process(text: &mut String) {
    let read = |file: &str| fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    // After the name in brackets, which may hold anything: state is field 3 (proc_pid_stat(5)).
    let stat = read("stat");
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<f64>().ok());
    if let (Some(user), Some(system)) = (number(14), number(15)) {
        head(
            text,
            "process_cpu_seconds_total",
            "counter",
            "Processor time of this process.",
        );
        line(text, "process_cpu_seconds_total", &[], (user + system) / 100.0);
    }
    let status = read("status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    if let Some(kib) = resident {
        head(
            text,
            "process_resident_memory_bytes",
            "gauge",
            "Memory of this process.",
        );
        line(text, "process_resident_memory_bytes", &[], kib * 1024.0);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        head(text, "process_open_fds", "gauge", "Open files of this process.");
        line(text, "process_open_fds", &[], files.count() as f64);
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a text does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    text.push_str(name);
    if !labels.is_empty() {
        let escaped = |value: &str| {
            value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n")
        };
        let pairs: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{}\"", escaped(value)))
            .collect();
        let _ = write!(text, "{{{}}}", pairs.join(","));
    }
    let _ = writeln!(text, " {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_what_they_ask() {
        let counts = RequestCounts::default();
        let asked = || ("GET", "apps".to_owned(), "deployments".to_owned(), "");
        counts.count(asked(), 200, Some(Duration::from_millis(3)));
        counts.count(asked(), 404, Some(Duration::from_secs(90)));
        counts.count(("WATCH", String::new(), "pods".to_owned(), ""), 200, None);
        let mut text = String::new();
        counts.requests(&mut text);
        let of = "verb=\"GET\",group=\"apps\",resource=\"deployments\",subresource=\"\"";
        for wanted in [
            format!("apiserver_request_total{{{of},code=\"404\"}} 1\n"),
            format!("apiserver_request_duration_seconds_bucket{{{of},le=\"0.001\"}} 0\n"),
            format!("apiserver_request_duration_seconds_bucket{{{of},le=\"0.005\"}} 1\n"),
            format!("apiserver_request_duration_seconds_bucket{{{of},le=\"+Inf\"}} 2\n"),
            format!("apiserver_request_duration_seconds_count{{{of}}} 2\n"),
            "# TYPE apiserver_request_duration_seconds histogram\n".to_owned(),
        ] {
            assert!(text.contains(&wanted), "no {wanted} in\n{text}");
        }
        assert!(!text.contains("_bucket{verb=\"WATCH\""));
    }
}
