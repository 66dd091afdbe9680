//! The loop that every controller runs: take a key, compare, act, remember what was written.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use cluster_client::{Work, WorkQueue, WorkQueueOptions};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tracing::{debug, warn};

use crate::context::Context;
use crate::step::{self, Outcome, Written};

/// What a controller works on one at a time: mostly the namespace and name of an object of its kind.
pub(crate) trait Key: Clone + Eq + Hash + fmt::Display + Send + Sync + 'static {}

impl<T: Clone + Eq + Hash + fmt::Display + Send + Sync + 'static> Key for T {}

/// A controller: it makes one object of its kind as it should be.
pub(crate) trait Reconcile: Send + Sync + 'static {
    /// What it works on.
    type Key: Key;

    /// Its name in events and logs.
    const NAME: &'static str;

    /// Brings the object of a key, or what is left of it, nearer to what it should be.
    fn sync(&self, key: &Self::Key) -> impl Future<Output = Outcome> + Send;

    /// The keys of all objects of its kind, for a look at everything.
    fn keys(&self) -> Vec<Self::Key>;
}

/// Keys that one controller works on at once.
const AT_ONCE: usize = 16;

/// A queue for a controller.
pub(crate) fn queue<K: Key>(context: &Context) -> WorkQueue<K> {
    WorkQueue::new(WorkQueueOptions {
        jitter: context.jitter.clone(),
        ..WorkQueueOptions::default()
    })
}

/// Runs a controller until its queue is stopped and the work under way is done.
pub(crate) async fn run<R: Reconcile>(controller: Arc<R>, context: Context, queue: WorkQueue<R::Key>) {
    // What was not seen yet is not missing: nothing is decided before every cache shows the cluster as it is.
    context.informers.synced().await;
    let mut unseen = Unseen::<R::Key>::default();
    let mut running = FuturesUnordered::<BoxFuture<'static, (Work<R::Key>, Outcome)>>::new();
    let mut catching_up = FuturesUnordered::<BoxFuture<'static, R::Key>>::new();
    loop {
        tokio::select! {
            Some((work, outcome)) = running.next(), if !running.is_empty() => {
                if !context.shows(&outcome.written) {
                    unseen.keys.insert(work.clone());
                    catching_up.push(catch_up(context.clone(), work.clone(), outcome.written.clone()).boxed());
                }
                settle::<R>(&queue, &work, outcome);
            }
            Some(key) = catching_up.next(), if !catching_up.is_empty() => {
                if unseen.seen(&key) {
                    queue.add(key);
                }
            }
            work = queue.next(), if running.len() < AT_ONCE => {
                let Some(work) = work else { break };
                if queue.take_overflow() {
                    controller.keys().into_iter().for_each(|key| queue.add(key));
                }
                if !unseen.puts_off(&work) {
                    running.push(sync(controller.clone(), work).boxed());
                }
            }
        }
    }
    while running.next().await.is_some() {}
}

/// Keys for which something was written that the caches do not show yet. Until they do, the key is not worked on:
/// the plan would be made for a past state and do the same again.
struct Unseen<K> {
    keys: HashSet<K>,
    /// Keys that came up again meanwhile.
    put_off: HashSet<K>,
}

impl<K: Key> Unseen<K> {
    /// Whether a key must wait; it is remembered then.
    fn puts_off(&mut self, key: &K) -> bool {
        let waits = self.keys.contains(key);
        if waits {
            self.put_off.insert(key.clone());
        }
        waits
    }

    /// The caches show what was written for a key. Says whether the key came up meanwhile.
    fn seen(&mut self, key: &K) -> bool {
        self.keys.remove(key);
        self.put_off.remove(key)
    }
}

impl<K> Default for Unseen<K> {
    fn default() -> Self {
        Self {
            keys: HashSet::new(),
            put_off: HashSet::new(),
        }
    }
}

async fn catch_up<K: Key>(context: Context, key: K, written: Vec<Written>) -> K {
    context.until_shown(&written).await;
    key
}

async fn sync<R: Reconcile>(controller: Arc<R>, work: Work<R::Key>) -> (Work<R::Key>, Outcome) {
    let outcome = controller.sync(&work).await;
    (work, outcome)
}

fn settle<R: Reconcile>(queue: &WorkQueue<R::Key>, key: &R::Key, outcome: Outcome) {
    if let Some(after) = outcome.again {
        queue.add_after(key.clone(), after);
    }
    let Some(status) = outcome.failure else {
        queue.forget(key);
        return;
    };
    let wait = queue.retry(key.clone());
    if status.is_conflict() || step::is_namespace_going(&status) {
        debug!(controller = R::NAME, %key, "{status}; again in {wait:?}");
    } else {
        warn!(controller = R::NAME, %key, "{status}; again in {wait:?}");
    }
}
