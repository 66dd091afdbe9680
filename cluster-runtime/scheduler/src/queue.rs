//! The pods that wait for a node: those to be tried now, and those that wait for a change that helps.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use cluster_client::{Backoff, ObjectKey};
use tokio::time::Instant;

use crate::Helps;
use crate::pod::PodInfo;
use crate::schedule::Refusals;

/// Tries of a pod that follow a helping change at once; later ones wait, so that a pod that fits nowhere does not
/// keep the scheduler busy in a busy cluster.
const PROMPT_TRIES: u32 = 8;

/// Highest priority first, then in the order of arrival.
type Place = (Reverse<i64>, u64);

enum Waiting {
    Active(Place),
    /// Helped by a change, to be tried at this time.
    Resting(Instant, u64),
    Refused(Refusals),
    /// It has a node in view, for which its volumes are being made.
    ForVolumes,
}

struct Entry {
    pod: Arc<PodInfo>,
    waiting: Waiting,
    tries: u32,
}

/// The pods that wait for a node.
pub(crate) struct PendingPods {
    pods: HashMap<ObjectKey, Entry>,
    active: BTreeMap<Place, ObjectKey>,
    /// Refused pods by the changes that may help them.
    refused: HashMap<Helps, BTreeSet<ObjectKey>>,
    for_volumes: BTreeSet<ObjectKey>,
    resting: BTreeMap<(Instant, u64), ObjectKey>,
    /// Tries so far of pods that are being tried now.
    trying: HashMap<ObjectKey, u32>,
    sequence: u64,
    backoff: Backoff,
}

impl PendingPods {
    /// All that are not placed.
    pub(crate) fn len(&self) -> usize {
        self.pods.len()
    }

    pub(crate) fn new() -> Self {
        Self {
            pods: HashMap::new(),
            active: BTreeMap::new(),
            refused: HashMap::new(),
            for_volumes: BTreeSet::new(),
            resting: BTreeMap::new(),
            trying: HashMap::new(),
            sequence: 0,
            backoff: Backoff {
                initial: Duration::from_millis(100),
                max: Duration::from_secs(10),
            },
        }
    }

    /// Adds a pod to be tried now. One that waits already is tried again only where what it asks for changed.
    pub(crate) fn add(&mut self, pod: Arc<PodInfo>) {
        let tries = match self.pods.get_mut(&pod.key) {
            Some(entry) if entry.pod.object.uid() == pod.object.uid() => {
                let spec = |pod: &'_ PodInfo| pod.object.at(&["spec"]).cloned();
                let same = Arc::ptr_eq(&entry.pod.ask, &pod.ask)
                    || (entry.pod.labels == pod.labels && spec(&entry.pod) == spec(&pod));
                if same {
                    entry.pod = pod;
                    return;
                }
                entry.tries
            }
            _ => 0,
        };
        self.remove(&pod.key);
        self.activate(pod, tries);
    }

    fn activate(&mut self, pod: Arc<PodInfo>, tries: u32) {
        self.sequence += 1;
        let place = (Reverse(pod.priority), self.sequence);
        self.active.insert(place, pod.key.clone());
        let waiting = Waiting::Active(place);
        self.pods.insert(pod.key.clone(), Entry { pod, waiting, tries });
    }

    pub(crate) fn remove(&mut self, key: &ObjectKey) {
        self.trying.remove(key);
        match self.pods.remove(key).map(|entry| entry.waiting) {
            Some(Waiting::Active(place)) => {
                self.active.remove(&place);
            }
            Some(Waiting::Resting(due, sequence)) => {
                self.resting.remove(&(due, sequence));
            }
            Some(Waiting::Refused(_)) => {
                for keys in self.refused.values_mut() {
                    keys.remove(key);
                }
            }
            Some(Waiting::ForVolumes) => {
                self.for_volumes.remove(key);
            }
            None => {}
        }
    }

    /// The next pod to try. It is no longer in the queue.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Arc<PodInfo>> {
        while let Some(entry) = self.resting.first_entry().filter(|entry| entry.key().0 <= now) {
            let key = entry.remove();
            if let Some(entry) = self.pods.remove(&key) {
                self.activate(entry.pod, entry.tries);
            }
        }
        let (_, key) = self.active.pop_first()?;
        let entry = self.pods.remove(&key)?;
        self.trying.insert(key, entry.tries);
        Some(entry.pod)
    }

    /// When the next resting pod is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.resting.first_key_value().map(|((due, _), _)| *due)
    }

    /// Keeps a pod that fits nowhere until a change helps.
    pub(crate) fn refuse(&mut self, pod: Arc<PodInfo>, refusals: Refusals) {
        let tries = self.trying.remove(&pod.key).unwrap_or_default() + 1;
        for change in Helps::ALL {
            if refusals.are_helped_by(change) {
                self.refused.entry(change).or_default().insert(pod.key.clone());
            }
        }
        let waiting = Waiting::Refused(refusals);
        self.pods.insert(pod.key.clone(), Entry { pod, waiting, tries });
    }

    /// Keeps a pod until its volumes are there.
    pub(crate) fn wait_for_volumes(&mut self, pod: Arc<PodInfo>) {
        let tries = self.trying.remove(&pod.key).unwrap_or_default();
        self.for_volumes.insert(pod.key.clone());
        let waiting = Waiting::ForVolumes;
        self.pods.insert(pod.key.clone(), Entry { pod, waiting, tries });
    }

    /// Claims changed: pods whose claims are `settled` are tried again. Says whether any is.
    pub(crate) fn volumes_came(&mut self, settled: impl Fn(&PodInfo) -> bool) -> bool {
        let ready = |entry: &&Entry| settled(&entry.pod);
        let waiting = self.for_volumes.iter().filter_map(|key| self.pods.get(key));
        let ready: Vec<ObjectKey> = waiting.filter(ready).map(|entry| entry.pod.key.clone()).collect();
        for key in &ready {
            if let Some((pod, tries)) = self.take(key) {
                self.activate(pod, tries);
            }
        }
        !ready.is_empty()
    }

    /// Takes a pod out, wherever it waits.
    fn take(&mut self, key: &ObjectKey) -> Option<(Arc<PodInfo>, u32)> {
        let entry = self.pods.get(key)?;
        let taken = (entry.pod.clone(), entry.tries);
        self.remove(key);
        Some(taken)
    }

    /// Tries a pod again after a while: its binding failed.
    pub(crate) fn retry(&mut self, pod: Arc<PodInfo>, now: Instant, jitter: f64) {
        let tries = self.trying.remove(&pod.key).unwrap_or_default() + 1;
        let due = now + self.backoff.delay(tries - 1, jitter);
        self.rest(pod, due, tries);
    }

    /// Whether this very pod waits for a change.
    pub(crate) fn is_refused(&self, pod: &PodInfo) -> bool {
        let entry = self.pods.get(&pod.key);
        entry.is_some_and(|entry| {
            matches!(entry.waiting, Waiting::Refused(_)) && entry.pod.object.uid() == pod.object.uid()
        })
    }

    /// The pod has its node.
    pub(crate) fn placed(&mut self, key: &ObjectKey) {
        self.trying.remove(key);
    }

    fn rest(&mut self, pod: Arc<PodInfo>, due: Instant, tries: u32) {
        self.sequence += 1;
        self.resting.insert((due, self.sequence), pod.key.clone());
        let waiting = Waiting::Resting(due, self.sequence);
        self.pods.insert(pod.key.clone(), Entry { pod, waiting, tries });
    }

    /// Something changed: pods that were refused for what it may help are tried again. A pod that was refused only
    /// for what its nodes are like, and not for what is elsewhere, must pass `may_fit` as well. Says whether any pod
    /// is tried again.
    pub(crate) fn helped(&mut self, change: Helps, now: Instant, may_fit: impl Fn(&PodInfo) -> bool) -> bool {
        let helped = |entry: &&Entry| {
            let Waiting::Refused(refusals) = &entry.waiting else {
                return false;
            };
            refusals.are_helped_elsewhere_by(change)
                || (refusals.are_helped_by(change) && may_fit(&entry.pod))
        };
        // In the order of their names, so that the same changes give the same placements.
        let waiting = self.refused.get(&change).into_iter().flatten();
        let waiting = waiting.filter_map(|key| self.pods.get(key));
        let keys: Vec<ObjectKey> = waiting
            .filter(helped)
            .map(|entry| entry.pod.key.clone())
            .collect();
        for key in &keys {
            let Some((pod, tries)) = self.take(key) else {
                continue;
            };
            if tries <= PROMPT_TRIES {
                self.activate(pod, tries);
            } else {
                let due = now + self.backoff.delay(tries - PROMPT_TRIES - 1, 0.0);
                self.rest(pod, due, tries);
            }
        }
        !keys.is_empty()
    }
}
