//! When each pod was made, placed and running, as a watcher of the API sees it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cluster_client::ObjectKey;
use tokio::sync::watch;

/// Pods that single reads are tried on.
const SAMPLE: usize = 4096;

/// How far the pods are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) made: u32,
    pub(crate) placed: u32,
    pub(crate) running: u32,
}

/// When each pod was made, placed and running.
pub(crate) struct Timeline {
    inner: Mutex<Inner>,
    counts: watch::Sender<Counts>,
}

struct Inner {
    start: Instant,
    /// When pods were seen that have no node yet.
    waiting: HashMap<ObjectKey, Instant>,
    /// From being seen to having a node, for those that the watch showed without one.
    placing: Vec<Duration>,
    first_made: Option<Instant>,
    last_placed: Option<Instant>,
    last_running: Option<Instant>,
    /// Placements in each second since the start.
    by_second: Vec<u32>,
    counts: Counts,
    sample: Vec<ObjectKey>,
}

/// What became of the pods.
pub(crate) struct Times {
    pub(crate) placing: Vec<Duration>,
    pub(crate) first_made: Option<Instant>,
    pub(crate) last_placed: Option<Instant>,
    pub(crate) last_running: Option<Instant>,
    pub(crate) best_second: u32,
}

impl Timeline {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                start: Instant::now(),
                waiting: HashMap::new(),
                placing: Vec::new(),
                first_made: None,
                last_placed: None,
                last_running: None,
                by_second: Vec::new(),
                counts: Counts::default(),
                sample: Vec::new(),
            }),
            counts: watch::Sender::new(Counts::default()),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn made(&self, key: &ObjectKey) {
        let now = Instant::now();
        let mut inner = self.inner();
        inner.first_made.get_or_insert(now);
        inner.waiting.insert(key.clone(), now);
        inner.counts.made += 1;
        let place = inner.counts.made as usize % SAMPLE;
        match inner.sample.get_mut(place) {
            Some(old) => *old = key.clone(),
            None => inner.sample.push(key.clone()),
        }
        self.counts.send_replace(inner.counts);
    }

    pub(crate) fn placed(&self, key: &ObjectKey) {
        let now = Instant::now();
        let mut inner = self.inner();
        if let Some(seen) = inner.waiting.remove(key) {
            inner.placing.push(now - seen);
        }
        inner.last_placed = Some(now);
        let second = (now - inner.start).as_secs() as usize;
        if inner.by_second.len() <= second {
            inner.by_second.resize(second + 1, 0);
        }
        inner.by_second[second] += 1;
        inner.counts.placed += 1;
        self.counts.send_replace(inner.counts);
    }

    pub(crate) fn running(&self) {
        let mut inner = self.inner();
        inner.last_running = Some(Instant::now());
        inner.counts.running += 1;
        self.counts.send_replace(inner.counts);
    }

    /// One of the pods that are known, by a number.
    pub(crate) fn some_pod(&self, number: usize) -> Option<ObjectKey> {
        let inner = self.inner();
        let count = inner.sample.len();
        (count > 0).then(|| inner.sample[number % count].clone())
    }

    pub(crate) fn counts(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }

    /// What came of it; pods that wait now are in none of the times.
    pub(crate) fn take(&self) -> Times {
        let mut inner = self.inner();
        Times {
            placing: std::mem::take(&mut inner.placing),
            first_made: inner.first_made,
            last_placed: inner.last_placed,
            last_running: inner.last_running,
            best_second: inner.by_second.iter().max().copied().unwrap_or_default(),
        }
    }

    /// Lets the pods that wait have come now.
    pub(crate) fn restart(&self) {
        let now = Instant::now();
        let mut inner = self.inner();
        inner.start = now;
        inner.first_made = Some(now);
        inner.by_second.clear();
        inner.waiting.values_mut().for_each(|seen| *seen = now);
    }
}
