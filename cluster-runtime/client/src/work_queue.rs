//! A queue of keys to work on: each key once, never two workers on one key, failed keys later.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::{Backoff, Jitter};

/// The bounds of a [`WorkQueue`].
#[derive(Clone, Debug)]
pub struct WorkQueueOptions {
    /// Most keys that wait, ready and delayed together.
    pub capacity: usize,
    /// Waits of a key that failed, by the number of its failures in a row.
    pub backoff: Backoff,
    /// Randomness of those waits.
    pub jitter: Jitter,
    /// Retries in a second over all keys, on average.
    pub retries_per_second: f64,
    /// Retries that may come at once.
    pub retry_burst: f64,
}

impl Default for WorkQueueOptions {
    fn default() -> Self {
        Self {
            capacity: 1 << 20,
            backoff: Backoff {
                initial: Duration::from_millis(5),
                max: Duration::from_secs(60),
            },
            jitter: Jitter::none(),
            retries_per_second: 100.0,
            retry_burst: 500.0,
        }
    }
}

/// A queue of keys to work on, for controllers that compare what should be with what is.
///
/// A key that waits is not added twice. A key that is worked on may be added again and then waits until its
/// [`Work`] is dropped, so no two workers hold one key. Clones are the same queue.
pub struct WorkQueue<K: Clone + Eq + Hash> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    state: Mutex<State<K>>,
    changed: Notify,
    jitter: Jitter,
}

/// A key to work on. Dropping it tells the queue that the work on it is over.
pub struct Work<K: Clone + Eq + Hash> {
    queue: WorkQueue<K>,
    key: K,
}

impl<K: Clone + Eq + Hash> WorkQueue<K> {
    /// Makes an empty queue.
    pub fn new(options: WorkQueueOptions) -> Self {
        let jitter = options.jitter.clone();
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State::new(options, Instant::now())),
                changed: Notify::new(),
                jitter,
            }),
        }
    }

    /// Adds a key, to be worked on as soon as a worker is free.
    pub fn add(&self, key: K) {
        if self.state().add(key) {
            self.shared.changed.notify_one();
        }
    }

    /// Adds a key when a time has passed. Of several times the earliest counts.
    pub fn add_after(&self, key: K, delay: Duration) {
        let now = Instant::now();
        if self.state().add_at(key, now + delay, now) {
            self.shared.changed.notify_one();
        }
    }

    /// Adds a key whose work failed, after a wait that grows with the failures of this key in a row and with the
    /// retries of all keys. Gives the wait.
    pub fn retry(&self, key: K) -> Duration {
        let now = Instant::now();
        let mut state = self.state();
        let due = state.retry_at(&key, now, self.shared.jitter.next());
        if state.add_at(key, due, now) {
            self.shared.changed.notify_one();
        }
        due - now
    }

    /// Forgets the failures of a key, after its work succeeded.
    pub fn forget(&self, key: &K) {
        self.state().failures.remove(key);
    }

    /// Waits for a key. `None` once the queue is stopped.
    pub async fn next(&self) -> Option<Work<K>> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let due = {
                let mut state = self.state();
                if state.stopped {
                    return None;
                }
                state.take_due(Instant::now());
                if let Some(key) = state.pop() {
                    if !state.ready.is_empty() {
                        self.shared.changed.notify_one();
                    }
                    return Some(Work {
                        queue: self.clone(),
                        key,
                    });
                }
                state.next_due()
            };
            match due {
                Some(due) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => changed.await,
            }
        }
    }

    /// Ends the queue: [`WorkQueue::next`] gives nothing more, what is worked on may end in peace.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        state.ready.clear();
        state.waiting.clear();
        state.delayed.clear();
        state.due.clear();
        drop(state);
        self.shared.changed.notify_waiters();
    }

    /// How many keys wait, ready or delayed.
    pub fn len(&self) -> usize {
        let state = self.state();
        state.waiting.len() + state.delayed.len()
    }

    /// Whether no key waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a key was refused since the last call because the queue was full: then everything must be looked at
    /// again.
    pub fn take_overflow(&self) -> bool {
        std::mem::take(&mut self.state().overflowed)
    }

    fn done(&self, key: &K) {
        if self.state().done(key) {
            self.shared.changed.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<K: Clone + Eq + Hash> fmt::Debug for WorkQueue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkQueue").field("len", &self.len()).finish()
    }
}

impl<K: Clone + Eq + Hash> Deref for Work<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.key
    }
}

impl<K: Clone + Eq + Hash> Drop for Work<K> {
    fn drop(&mut self) {
        self.queue.done(&self.key);
    }
}

/// The queue without its waiting: every method says whether a waiting worker should look again.
struct State<K> {
    options: WorkQueueOptions,
    /// Keys in the order in which they are worked on.
    ready: VecDeque<K>,
    /// Keys that are in `ready`, or that go there when the work on them is over.
    waiting: HashSet<K>,
    working: HashSet<K>,
    delayed: BTreeMap<(Instant, u64), K>,
    due: HashMap<K, (Instant, u64)>,
    sequence: u64,
    failures: HashMap<K, u32>,
    tokens: f64,
    tokens_at: Instant,
    stopped: bool,
    overflowed: bool,
}

impl<K: Clone + Eq + Hash> State<K> {
    fn new(options: WorkQueueOptions, now: Instant) -> Self {
        Self {
            tokens: options.retry_burst,
            tokens_at: now,
            options,
            ready: VecDeque::new(),
            waiting: HashSet::new(),
            working: HashSet::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            sequence: 0,
            failures: HashMap::new(),
            stopped: false,
            overflowed: false,
        }
    }

    fn add(&mut self, key: K) -> bool {
        if self.stopped || self.waiting.contains(&key) {
            return false;
        }
        if !self.due.contains_key(&key) && self.is_full() {
            self.overflowed = true;
            return false;
        }
        if let Some(at) = self.due.remove(&key) {
            self.delayed.remove(&at);
        }
        self.waiting.insert(key.clone());
        if self.working.contains(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }

    fn add_at(&mut self, key: K, at: Instant, now: Instant) -> bool {
        if at <= now {
            return self.add(key);
        }
        if self.stopped || self.waiting.contains(&key) {
            return false;
        }
        match self.due.get(&key) {
            Some((earlier, _)) if *earlier <= at => return false,
            Some(later) => {
                self.delayed.remove(later);
            }
            None if self.is_full() => {
                self.overflowed = true;
                return false;
            }
            None => {}
        }
        self.sequence += 1;
        self.due.insert(key.clone(), (at, self.sequence));
        self.delayed.insert((at, self.sequence), key);
        true
    }

    fn retry_at(&mut self, key: &K, now: Instant, jitter: f64) -> Instant {
        let failures = self.failures.entry(key.clone()).or_insert(0);
        let own = self.options.backoff.delay(*failures, jitter);
        *failures = failures.saturating_add(1);
        // A token bucket over all keys; tokens below zero are retries that were promised for later.
        let elapsed = (now - self.tokens_at).as_secs_f64();
        let refilled = self.tokens + elapsed * self.options.retries_per_second;
        self.tokens = refilled.min(self.options.retry_burst) - 1.0;
        self.tokens_at = now;
        let shared = (-self.tokens / self.options.retries_per_second).max(0.0);
        now + own.max(Duration::from_secs_f64(shared))
    }

    fn take_due(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.due.remove(&key);
            if self.waiting.insert(key.clone()) && !self.working.contains(&key) {
                self.ready.push_back(key);
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.delayed.first_key_value().map(|((at, _), _)| *at)
    }

    fn pop(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.waiting.remove(&key);
        self.working.insert(key.clone());
        Some(key)
    }

    fn done(&mut self, key: &K) -> bool {
        self.working.remove(key);
        if self.stopped || !self.waiting.contains(key) {
            return false;
        }
        self.ready.push_back(key.clone());
        true
    }

    fn is_full(&self) -> bool {
        self.waiting.len() + self.delayed.len() >= self.options.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(options: WorkQueueOptions) -> WorkQueue<&'static str> {
        WorkQueue::new(options)
    }

    async fn next(queue: &WorkQueue<&'static str>) -> Option<&'static str> {
        let work = tokio::time::timeout(Duration::from_secs(3600), queue.next()).await;
        work.expect("a key in an hour of paused time").map(|work| *work)
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_keys_keep_their_order() {
        let queue = queue(WorkQueueOptions::default());
        for key in ["a", "b", "a"] {
            queue.add(key);
        }
        assert_eq!(queue.len(), 2);
        assert_eq!(next(&queue).await, Some("a"));
        assert_eq!(next(&queue).await, Some("b"));
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_worked_on_waits_for_the_end_of_the_work() {
        let queue = queue(WorkQueueOptions::default());
        queue.add("a");
        let work = queue.next().await.expect("a key");
        queue.add("a");
        queue.add("b");
        assert_eq!(next(&queue).await, Some("b"));
        let early = tokio::time::timeout(Duration::from_secs(1), queue.next()).await;
        assert!(early.is_err(), "`a` is worked on");
        drop(work);
        assert_eq!(next(&queue).await, Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_of_several_times_counts() {
        let queue = queue(WorkQueueOptions::default());
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(9));
        queue.add_after("a", Duration::from_secs(2));
        queue.add_after("a", Duration::from_secs(5));
        queue.add_after("b", Duration::from_secs(3));
        assert_eq!(next(&queue).await, Some("a"));
        assert_eq!(start.elapsed().as_secs(), 2);
        assert_eq!(next(&queue).await, Some("b"));
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_wait_longer_until_a_success() {
        let queue = queue(WorkQueueOptions {
            backoff: Backoff {
                initial: Duration::from_secs(1),
                max: Duration::from_secs(4),
            },
            ..WorkQueueOptions::default()
        });
        let mut waits = Vec::new();
        for _ in 0..4 {
            waits.push(queue.retry("a").as_secs());
            assert_eq!(next(&queue).await, Some("a"));
        }
        queue.forget(&"a");
        waits.push(queue.retry("a").as_secs());
        assert_eq!(waits, [1, 2, 4, 4, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn retries_of_all_keys_share_a_rate() {
        let queue = queue(WorkQueueOptions {
            retries_per_second: 1.0,
            retry_burst: 2.0,
            ..WorkQueueOptions::default()
        });
        let waits: Vec<u64> = ["a", "b", "c", "d"]
            .into_iter()
            .map(|key| queue.retry(key).as_secs())
            .collect();
        assert_eq!(waits, [0, 0, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_queue_gives_nothing_more() {
        let queue = queue(WorkQueueOptions::default());
        queue.add("a");
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move {
                let first = queue.next().await.map(|work| *work);
                (first, queue.next().await.map(|work| *work))
            }
        });
        while !queue.is_empty() {
            tokio::task::yield_now().await;
        }
        queue.stop();
        queue.add("b");
        assert_eq!(waiting.await.expect("no panic"), (Some("a"), None));
    }

    #[tokio::test(start_paused = true)]
    async fn err_a_full_queue_says_that_a_key_was_lost() {
        let queue = queue(WorkQueueOptions {
            capacity: 1,
            ..WorkQueueOptions::default()
        });
        queue.add("a");
        queue.add("a");
        assert!(!queue.take_overflow());
        queue.add_after("b", Duration::from_secs(1));
        assert!(queue.take_overflow());
        assert!(!queue.take_overflow());
        assert_eq!(queue.len(), 1);
    }
}
