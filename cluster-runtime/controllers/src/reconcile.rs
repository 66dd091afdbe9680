//! The loop that every controller runs: take a key, compare, act, remember what was written.

use std::collections::HashMap;
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
use crate::step::{Outcome, Written};

/// What a controller works on one at a time: mostly the namespace and name of an object of its kind.
pub(crate) trait Key: Clone + Eq + Hash + fmt::Display + Send + Sync + 'static {}

impl<T: Clone + Eq + Hash + fmt::Display + Send + Sync + 'static> Key for T {}

/// A controller: it makes one object of its kind as it should be.
pub(crate) trait Reconcile: Send + Sync + 'static {
    /// What it works on.
    type Key: Key;

    /// Its name in events and logs.
    const NAME: &'static str;

    /// Whether a key waits until the caches show what was written for it. Every write must then lead to a change
    /// that puts the key on the queue again.
    const WAITS_FOR_CACHES: bool = true;

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
    // Writes that the caches did not show yet when they were made. Until they do, the object is left alone: the
    // change that brings the cache up to date puts its key on the queue again.
    let mut unseen: HashMap<R::Key, Vec<Written>> = HashMap::new();
    let mut running = FuturesUnordered::<BoxFuture<'static, (Work<R::Key>, Outcome)>>::new();
    loop {
        tokio::select! {
            Some((work, outcome)) = running.next(), if !running.is_empty() => {
                settle::<R>(&queue, &context, &work, outcome, &mut unseen);
            }
            work = queue.next(), if running.len() < AT_ONCE => {
                let Some(work) = work else { break };
                if queue.take_overflow() {
                    controller.keys().into_iter().for_each(|key| queue.add(key));
                }
                if unseen.get(&*work).is_some_and(|written| !context.shows(written)) {
                    continue;
                }
                unseen.remove(&*work);
                running.push(sync(controller.clone(), work).boxed());
            }
        }
    }
    while running.next().await.is_some() {}
}

async fn sync<R: Reconcile>(controller: Arc<R>, work: Work<R::Key>) -> (Work<R::Key>, Outcome) {
    let outcome = controller.sync(&work).await;
    (work, outcome)
}

fn settle<R: Reconcile>(
    queue: &WorkQueue<R::Key>,
    context: &Context,
    key: &R::Key,
    outcome: Outcome,
    unseen: &mut HashMap<R::Key, Vec<Written>>,
) {
    if R::WAITS_FOR_CACHES && !context.shows(&outcome.written) {
        unseen.insert(key.clone(), outcome.written);
    }
    if let Some(after) = outcome.again {
        queue.add_after(key.clone(), after);
    }
    let Some(status) = outcome.failure else {
        queue.forget(key);
        return;
    };
    let wait = queue.retry(key.clone());
    if status.is_conflict() {
        debug!(controller = R::NAME, %key, "{status}; again in {wait:?}");
    } else {
        warn!(controller = R::NAME, %key, "{status}; again in {wait:?}");
    }
}
