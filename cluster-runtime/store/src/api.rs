//! What a store offers: reads from memory, transactions with preconditions, and watches.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use cluster_objects::Object;
use futures::Stream;
use serde::{Deserialize, Serialize};

/// The version of the whole store; each changed object makes the next one.
///
/// It is the `resourceVersion` of the API: every object carries the revision of the change that wrote it. No two
/// changes share one, also not in one transaction, so that a watch cut off between them resumes without a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// Where an object is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Table, one for each resource whatever its version: `pods`, `deployments.apps`.
    pub table: Arc<str>,
    /// Namespace, empty for cluster-wide objects.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

/// What must hold of a key for a transaction to go through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precondition {
    /// Nothing is asked.
    None,
    /// No object is there.
    Absent,
    /// An object is there, whatever its revision.
    Present,
    /// The object there was written at this revision.
    At(Revision),
}

/// What happens to one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// The object is stored; its `metadata.resourceVersion` is set to the revision of the change.
    Put(Arc<Object>),
    /// The object is removed.
    Delete,
    /// Nothing: the key is only a precondition.
    Check,
}

/// One key of a transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Write {
    /// The key.
    pub key: Key,
    /// What must hold of it.
    pub precondition: Precondition,
    /// What happens to it.
    pub change: Change,
}

/// Writes that are all done, at consecutive revisions, or none of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transaction {
    /// The writes; a key appears at most once.
    pub writes: Vec<Write>,
}

/// The outcome of a transaction that went through.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The revision of its last change; the newest one where nothing changed, as when all keys are only checked.
    pub revision: Revision,
    /// The stored object of each put, the last state of each deleted one (stamped with the revision of the
    /// deletion, as watchers see it), in the order of the writes; `None` for checks and for deletions of what was
    /// not there.
    pub objects: Vec<Option<Arc<Object>>>,
}

/// Which objects of a table are read or watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selection {
    /// Table, as in [`Key`].
    pub table: Arc<str>,
    /// Only this namespace; `None` for all.
    pub namespace: Option<Arc<str>>,
}

/// The objects of a selection at one revision, ordered by namespace and name.
#[derive(Clone, Debug)]
pub struct ListAnswer {
    /// The revision that is shown.
    pub revision: Revision,
    /// The objects.
    pub objects: Vec<Arc<Object>>,
    /// Whether the limit cut the list short; the next page starts after the last object.
    pub more: bool,
}

/// One change, as watchers see it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The revision of the change.
    pub revision: Revision,
    /// The key that changed.
    pub key: Key,
    /// The object after the change; for a deletion its last state, stamped with the revision of the deletion.
    pub object: Arc<Object>,
    /// The object before the change; `None` for a creation.
    pub previous: Option<Arc<Object>>,
    /// Whether the object was removed.
    pub deleted: bool,
}

/// Changes in the order of their commits. It ends with an error when the watcher is too slow or the store stops.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<Arc<Event>, StoreError>> + Send>>;

/// Why the store refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// A precondition did not hold; nothing was written.
    #[error("precondition failed on `{key}`")]
    PreconditionFailed {
        /// The first key whose precondition failed.
        key: Key,
        /// The object that is there now.
        current: Option<Arc<Object>>,
    },
    /// The revision is older than what is kept.
    #[error("revision {asked} is compacted, the oldest kept is {oldest}")]
    Compacted {
        /// The revision asked for.
        asked: Revision,
        /// The oldest revision that can be read or watched from.
        oldest: Revision,
    },
    /// The revision was not reached yet.
    #[error("revision {asked} is in the future, the newest is {newest}")]
    Future {
        /// The revision asked for.
        asked: Revision,
        /// The newest revision.
        newest: Revision,
    },
    /// The watcher did not keep up and was cut off.
    #[error("the watcher was too slow and was cut off")]
    SlowWatcher,
    /// Another member leads, or none that this one knows of; the write was not done.
    #[error("not the leader: {}", told_leader(*.leader))]
    NotLeader {
        /// Who leads.
        leader: Option<u64>,
        /// Where that member is reached.
        address: Option<String>,
    },
    /// Too few members answer, or the store was stopped; the write was not done.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// What is known of it.
        reason: String,
    },
    /// The write was under way when another member began to lead, the quorum was lost or the store was stopped: it
    /// may have been done or not, and may still be.
    #[error("it is not known whether the write was done: {reason}")]
    OutcomeUnknown {
        /// What happened.
        reason: String,
    },
    /// The transaction contradicts itself, as by naming a key twice; nothing was written.
    #[error("malformed transaction: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The transaction is bigger than one may be; nothing was written.
    #[error("a transaction of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// How big it is.
        bytes: usize,
        /// How big it may be.
        bytes_max: usize,
    },
    /// The store holds as much as it may; deletions still go through.
    #[error("the store is full: it holds {bytes} bytes and its limit is {bytes_max}")]
    Full {
        /// How much it holds.
        bytes: usize,
        /// How much it may hold.
        bytes_max: usize,
    },
    /// The disk has no room for a write; nothing was written, and the store goes on when there is room.
    #[error("no room for the store in `{}`: {reason}", .dir.display())]
    NoRoom {
        /// The data directory.
        dir: PathBuf,
        /// What the disk said.
        reason: String,
    },
    /// The disk refused; the store is read-only until it is started again, and only then it shows whether a write that
    /// was refused so is on the disk after all.
    #[error("storage failed: {reason}")]
    Storage {
        /// What the disk said.
        reason: String,
    },
}

/// Whether a store takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreStatus {
    /// Reads and writes are served.
    Ready,
    /// Reads are served; another member takes writes.
    Following,
    /// Reads are served; no member takes writes, as far as this one knows.
    NoLeader,
    /// Reads are served, writes are refused: until there is room on the disk, or, where a write failed, until the
    /// store is started again.
    ReadOnly {
        /// What happened, and what the disk said.
        reason: String,
    },
    /// The store was stopped.
    Stopped,
}

/// A multi-version store of objects.
///
/// Reads are answered from memory and never wait. Objects are shared, never copied. In a group a member may show less
/// than another; who must not read the past calls [`Store::ensure_newest`] first.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The newest committed revision; it never goes back, also not when the store is started again.
    fn revision(&self) -> Revision;

    /// Whether writes are taken.
    fn status(&self) -> StoreStatus;

    /// The object at a key, now.
    fn get(&self, key: &Key) -> Option<Arc<Object>>;

    /// The objects of a selection, at a revision (`None` for now), after a namespace and name (for paging), at
    /// most `limit` of those that `keep` accepts (0 for no limit).
    fn list(
        &self,
        selection: &Selection,
        at: Option<Revision>,
        after: Option<(&str, &str)>,
        limit: usize,
        keep: &(dyn Fn(&Object) -> bool + Sync),
    ) -> Result<ListAnswer, StoreError>;

    /// Commits a transaction; it is durable and visible to reads when this returns.
    ///
    /// A transaction once begun is carried through even when the caller stops waiting. One that is too big for one
    /// entry of the log is begun when all of it is staged; until then nothing of it is seen, and nothing remains.
    async fn commit(&self, transaction: Transaction) -> Result<Committed, StoreError>;

    /// Waits until reads show every commit that was acknowledged anywhere in the group before the call.
    ///
    /// It costs nothing where there is nobody else. Elsewhere the leader asks a majority, and others ask the leader;
    /// calls that come together share the question. Fails with [`StoreError::Unavailable`] within seconds when there
    /// is no leader or no quorum.
    async fn ensure_newest(&self) -> Result<(), StoreError>;

    /// The changes of a selection after a revision, without a gap.
    ///
    /// A revision that is no longer kept is refused with [`StoreError::Compacted`], one that is not reached yet
    /// with [`StoreError::Future`].
    fn watch(&self, selection: &Selection, after: Revision) -> Result<EventStream, StoreError>;
}

impl Key {
    /// Makes a key; the namespace is empty for cluster-wide objects.
    pub fn new(table: &str, namespace: &str, name: &str) -> Self {
        Self {
            table: table.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

fn told_leader(leader: Option<u64>) -> String {
    leader.map_or("no member leads".to_owned(), |leader| {
        format!("member {leader} leads")
    })
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.table, self.name)
        } else {
            write!(f, "{}/{}/{}", self.table, self.namespace, self.name)
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
