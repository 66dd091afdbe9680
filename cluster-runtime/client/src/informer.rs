//! A local copy of a collection that follows the cluster by list and watch.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use cluster_objects::{Object, Status};
use futures::StreamExt;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

use crate::cache::Cache;
use crate::{
    Api, Backoff, Change, Collection, Jitter, List, ListOptions, ObjectKey, WatchEvent, WatchOptions,
};

/// Which objects an [`Informer`] follows, and how it retries.
#[derive(Clone, Debug, Default)]
pub struct InformerOptions {
    /// Label selector as in the API; empty follows all.
    pub label_selector: String,
    /// Field selector as in the API; empty follows all.
    pub field_selector: String,
    /// Objects asked for in one page of a list; 0 asks for all at once.
    pub page_size: u32,
    /// Waits between failed requests.
    pub backoff: Backoff,
    /// Randomness of those waits.
    pub jitter: Jitter,
}

/// A shared, read-only copy of a collection, kept up to date by list and watch.
///
/// The objects are shared with whoever made them, never copied. A broken watch is resumed from the last seen
/// revision; where the server no longer keeps that revision (410) the collection is listed anew and handlers see
/// the difference. Clones are the same informer; it stops when the last clone is dropped.
#[derive(Clone)]
pub struct Informer {
    shared: Arc<Shared>,
    _stop: Arc<DropGuard>,
}

type Handler = Box<dyn Fn(&Change) + Send + Sync>;

struct Shared {
    collection: Collection,
    cache: RwLock<Cache>,
    /// Held while changes are handed out, so that every handler sees every change once and in order.
    handlers: Mutex<Vec<Handler>>,
    seen: AtomicU64,
    synced: watch::Sender<bool>,
    version: watch::Sender<u64>,
}

impl Informer {
    /// Starts to follow a collection, in a task of the current tokio runtime.
    pub fn start(api: Arc<dyn Api>, collection: Collection, options: InformerOptions) -> Self {
        let shared = Arc::new(Shared {
            collection,
            cache: RwLock::default(),
            handlers: Mutex::default(),
            seen: AtomicU64::new(0),
            synced: watch::Sender::new(false),
            version: watch::Sender::new(0),
        });
        let stop = CancellationToken::new();
        let follower = Follower {
            api,
            options,
            shared: shared.clone(),
        };
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = follower.follow() => {}
            }
        });
        Self {
            shared,
            _stop: Arc::new(stop.drop_guard()),
        }
    }

    /// The collection that is followed.
    pub fn collection(&self) -> &Collection {
        &self.shared.collection
    }

    /// Whether the first list is in the cache and every handler has seen it.
    pub fn has_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    /// Waits until [`Informer::has_synced`].
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// One object; the namespace is empty for cluster-wide objects.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.cache().get(namespace, name).cloned()
    }

    /// One object by its key.
    pub fn get_key(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.get(&key.namespace, &key.name)
    }

    /// All objects, ordered by namespace and name.
    pub fn list(&self) -> Vec<Arc<Object>> {
        self.cache().list().cloned().collect()
    }

    /// The objects of a namespace, ordered by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<Object>> {
        self.cache().in_namespace(namespace).cloned().collect()
    }

    /// The objects that the object of this UID controls.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<Object>> {
        self.cache().owned_by(uid).cloned().collect()
    }

    /// The objects under a key of an index of [`Informer::add_index`].
    pub fn indexed(&self, index: &str, key: &str) -> Vec<Arc<Object>> {
        self.cache().indexed(index, key).cloned().collect()
    }

    /// How many objects are cached.
    pub fn len(&self) -> usize {
        self.cache().len()
    }

    /// Whether no object is cached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an index: each object is found under each key that the function gives for it.
    ///
    /// The function must give the same keys for the same object. An index of that name that is there stays.
    pub fn add_index(
        &self,
        name: &'static str,
        keys_of: impl Fn(&Object) -> Vec<String> + Send + Sync + 'static,
    ) {
        let mut cache = self.shared.cache.write().unwrap_or_else(PoisonError::into_inner);
        cache.add_index(name, Box::new(keys_of));
    }

    /// Adds a handler, which sees what is cached as additions and then every change, in order.
    ///
    /// It runs on the task that reads the watch, after the cache shows the change. It must be quick and must not
    /// add handlers to the same informer: put a key on a [`WorkQueue`](crate::WorkQueue) and return.
    pub fn add_handler(&self, handler: impl Fn(&Change) + Send + Sync + 'static) {
        let mut handlers = self
            .shared
            .handlers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for object in self.list() {
            handler(&Change::Added(object));
        }
        handlers.push(Box::new(handler));
    }

    /// A number that grows with every change: wait for it where only "something changed" matters, then read.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// Waits until the condition holds of the cache, looking again after every change.
    pub async fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
        let mut changes = self.changes();
        while !condition(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether the cache shows everything up to this `resourceVersion`.
    ///
    /// Versions are compared as numbers, as Kubernetes 1.35 and later allow; any other text reads as seen.
    pub fn has_seen(&self, resource_version: &str) -> bool {
        resource_version.parse().map_or(true, |version: u64| {
            version <= self.shared.seen.load(Ordering::Acquire)
        })
    }

    fn cache(&self) -> RwLockReadGuard<'_, Cache> {
        self.shared.cache.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Informer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Informer")
            .field("resource", &self.shared.collection.resource)
            .field("objects", &self.len())
            .field("synced", &self.has_synced())
            .finish()
    }
}

impl Shared {
    /// Changes the cache and hands the changes out. `revision` is what the cache shows afterwards.
    fn apply(&self, revision: &str, change: impl FnOnce(&mut Cache) -> Vec<Change>) {
        let handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = {
            let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
            let changes = change(&mut cache);
            if let Ok(revision) = revision.parse() {
                self.seen.fetch_max(revision, Ordering::AcqRel);
            }
            changes
        };
        for change in &changes {
            for handler in handlers.iter() {
                handler(change);
            }
        }
        self.version.send_modify(|version| *version += 1);
    }
}

/// Why a watch is over.
enum Ended {
    /// Watch again from the last seen revision.
    Resume,
    /// The revision is no longer kept: list again.
    Expired,
    /// Something failed: wait, then watch again.
    Failed(Status),
}

struct Follower {
    api: Arc<dyn Api>,
    options: InformerOptions,
    shared: Arc<Shared>,
}

impl Follower {
    async fn follow(self) {
        // Counts failures since the last sign of life, over lists and watches alike.
        let mut failures = 0;
        loop {
            match self.list().await {
                Ok(list) => {
                    let revision = list.resource_version.clone();
                    self.shared.apply(&revision, |cache| cache.replace(list.items));
                    self.shared.synced.send_replace(true);
                    self.watch(revision, &mut failures).await;
                }
                Err(status) => self.wait(&mut failures, "list", &status).await,
            }
        }
    }

    /// Watches until the collection must be listed again.
    async fn watch(&self, mut revision: String, failures: &mut u32) {
        loop {
            match self.watch_once(&mut revision, failures).await {
                Ended::Resume => {}
                Ended::Expired => {
                    debug!(resource = %self.shared.collection.resource, "revision {revision} is gone, listing again");
                    *failures += 1;
                    if *failures > 1 {
                        let delay = self.options.backoff.delay(*failures, self.options.jitter.next());
                        tokio::time::sleep(delay).await;
                    }
                    return;
                }
                Ended::Failed(status) => self.wait(failures, "watch", &status).await,
            }
        }
    }

    async fn watch_once(&self, revision: &mut String, failures: &mut u32) -> Ended {
        let options = WatchOptions {
            label_selector: self.options.label_selector.clone(),
            field_selector: self.options.field_selector.clone(),
            resource_version: revision.clone(),
        };
        let mut stream = match self.api.watch(&self.shared.collection, &options).await {
            Ok(stream) => stream,
            Err(status) if status.code == 410 => return Ended::Expired,
            Err(status) => return Ended::Failed(status),
        };
        let mut heard = false;
        while let Some(event) = stream.next().await {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    revision.clear();
                    revision.push_str(object.resource_version());
                    self.shared.apply(revision, |cache| cache.put(object));
                }
                WatchEvent::Deleted(object) => {
                    revision.clear();
                    revision.push_str(object.resource_version());
                    self.shared.apply(revision, |cache| cache.remove(object));
                }
                WatchEvent::Bookmark(at) => {
                    self.shared.apply(&at, |_| Vec::new());
                    *revision = at;
                }
                WatchEvent::Error(status) if status.code == 410 => return Ended::Expired,
                WatchEvent::Error(status) => return Ended::Failed(status),
            }
            heard = true;
            *failures = 0;
        }
        if heard {
            Ended::Resume
        } else {
            Ended::Failed(Status::unavailable("the watch ended before it reported anything"))
        }
    }

    async fn list(&self) -> Result<List, Status> {
        let mut options = ListOptions {
            label_selector: self.options.label_selector.clone(),
            field_selector: self.options.field_selector.clone(),
            limit: self.options.page_size,
            ..ListOptions::default()
        };
        let mut whole = self.api.list(&self.shared.collection, &options).await?;
        while !whole.continue_token.is_empty() {
            options.continue_token = std::mem::take(&mut whole.continue_token);
            // An API in this process never waits, and others want to go on too.
            tokio::task::yield_now().await;
            match self.api.list(&self.shared.collection, &options).await {
                Ok(page) => {
                    whole.items.extend(page.items);
                    whole.continue_token = page.continue_token;
                }
                // The pages are of one revision; when it is gone, one answer without pages still works.
                Err(status) if status.code == 410 && options.limit > 0 => {
                    options.limit = 0;
                    options.continue_token.clear();
                    whole = self.api.list(&self.shared.collection, &options).await?;
                }
                Err(status) => return Err(status),
            }
        }
        Ok(whole)
    }

    async fn wait(&self, failures: &mut u32, what: &str, status: &Status) {
        let resource = &self.shared.collection.resource;
        let mut delay = self.options.backoff.delay(*failures, self.options.jitter.next());
        if let Some(seconds) = status.retry_after_seconds {
            delay = delay.max(std::time::Duration::from_secs(seconds.into()));
        }
        if *failures < 3 {
            debug!(%resource, "cannot {what}: {status}; trying again in {delay:?}");
        } else {
            warn!(%resource, "cannot {what}: {status}; trying again in {delay:?}");
        }
        *failures = failures.saturating_add(1);
        tokio::time::sleep(delay).await;
    }
}
