//! The one place where a request is decided: who may, what it becomes, and what is stored.
//!
//! Start with [`Engine`]. Reads are in `read` and `watch`, writes in `create`, `update` and `delete`; what happens
//! to an object before it is stored is a list of steps in `admission`.

mod accounts;
mod addresses;
mod admission;
mod bootstrap;
mod certain;
mod commit;
mod continuation;
mod create;
mod delete;
mod edit;
mod measure;
mod pods;
mod policy;
mod priority;
mod query;
mod read;
mod review;
mod roles;
mod selection;
mod stage;
mod transaction;
mod update;
mod watch;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use cluster_client::{Collection, Target};
use cluster_objects::registry::{KindRow, Registry};
use cluster_objects::{GroupVersionResource, Object, Status, StatusReason};
use cluster_store::{Key, Revision, Store, StoreError, StoreStatus};

use crate::authorize::{Action, Authorizer, MastersOnly};
use crate::nodes::NodeRegistry;
use crate::sources::{Sources, SystemSources};
use crate::tokens::TokenIssuer;
use crate::user::{Caller, User};

use addresses::Addresses;
pub use addresses::ServiceRanges;
pub use bootstrap::NAMESPACES;
pub use create::Body;
pub(crate) use edit::unsupported_patch;
use measure::Measurements;
pub use query::{ListQuery, VersionMatch, WatchQuery};
pub use read::Page;
pub use watch::{Change, ChangeStream};

/// `gitVersion` of the server.
pub const GIT_VERSION: &str = "v1.37.0+tug.0";

/// How often a write is tried again when others change the same object in between.
const ATTEMPTS_MAX: usize = 24;

/// Decides requests and keeps their outcome in the store. Clones share one engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    registry: RwLock<Arc<Registry>>,
    authorizer: Box<dyn Authorizer>,
    sources: Box<dyn Sources>,
    addresses: Addresses,
    nodes: NodeRegistry,
    tokens: Option<TokenIssuer>,
    measurements: Measurements,
    ready: AtomicBool,
}

/// What an engine is made of besides its store.
pub struct EngineOptions {
    /// The kinds that are served.
    pub registry: Registry,
    /// Who may do what.
    pub authorizer: Box<dyn Authorizer>,
    /// Time and randomness.
    pub sources: Box<dyn Sources>,
    /// Addresses and ports that services are given.
    pub services: ServiceRanges,
    /// The nodes whose containers can be reached.
    pub nodes: NodeRegistry,
    /// Signs the tokens of service accounts; without it there are none, and pods get none.
    pub tokens: Option<TokenIssuer>,
}

/// The outcome of a write.
#[derive(Clone, Debug)]
pub struct Written {
    /// The object as it is now; for subresources such as `scale`, that view of it.
    pub object: Arc<Object>,
    /// Whether the object was made by this request.
    pub created: bool,
    /// What the client should hear besides.
    pub warnings: Vec<String>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            registry: Registry::builtin(),
            authorizer: Box::new(MastersOnly),
            sources: Box::new(SystemSources),
            services: ServiceRanges::default(),
            nodes: NodeRegistry::default(),
            tokens: None,
        }
    }
}

impl Engine {
    /// Makes an engine on an open store. Service addresses in use are read from the stored services.
    pub fn new(store: Arc<dyn Store>, options: EngineOptions) -> Self {
        let addresses = Addresses::new(options.services);
        addresses.rebuild(store.as_ref());
        Self {
            inner: Arc::new(Inner {
                store,
                registry: RwLock::new(Arc::new(options.registry)),
                authorizer: options.authorizer,
                sources: options.sources,
                addresses,
                nodes: options.nodes,
                tokens: options.tokens,
                measurements: Measurements::default(),
                ready: AtomicBool::new(false),
            }),
        }
    }

    /// Forgets what was known of addresses in use: somebody else may have decided meanwhile.
    pub fn take_over(&self) {
        self.inner.addresses.rebuild(self.store());
    }

    /// The kinds that are served now.
    pub fn registry(&self) -> Arc<Registry> {
        let registry = self.inner.registry.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&registry)
    }

    /// Changes which kinds are served.
    pub fn set_registry(&self, registry: Registry) {
        let mut current = self
            .inner
            .registry
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(registry);
    }

    /// The nodes whose containers can be reached.
    pub fn nodes(&self) -> &NodeRegistry {
        &self.inner.nodes
    }

    /// Whether the bootstrap objects are there, so that clients may come.
    pub fn is_ready(&self) -> bool {
        self.inner.ready.load(Ordering::Acquire)
    }

    /// Says that what bootstrap makes is there: another server of the cluster has made it.
    pub fn set_ready(&self) {
        self.inner.ready.store(true, Ordering::Release);
    }

    /// The newest revision of the store.
    pub fn revision(&self) -> Revision {
        self.inner.store.revision()
    }

    /// Why the store takes no writes, if it takes none.
    pub fn store_fault(&self) -> Option<String> {
        match self.store().status() {
            StoreStatus::Ready | StoreStatus::Following => None,
            StoreStatus::NoLeader => Some("no member of the group leads".to_owned()),
            StoreStatus::ReadOnly { reason } => Some(format!("read-only: {reason}")),
            StoreStatus::Stopped => Some("stopped".to_owned()),
        }
    }

    /// The present time, from the engine's sources.
    pub fn now(&self) -> jiff::Timestamp {
        self.inner.sources.now()
    }

    /// Checks that a user may do something.
    pub fn authorize(&self, user: &User, action: &Action<'_>) -> Result<(), Status> {
        self.inner.authorizer.authorize(user, action)
    }

    /// The row of a served resource.
    pub fn row(&self, resource: &GroupVersionResource) -> Result<Arc<KindRow>, Status> {
        let registry = self.registry();
        registry
            .by_resource(resource)
            .map(Arc::clone)
            .ok_or_else(no_such_resource)
    }

    fn store(&self) -> &dyn Store {
        self.inner.store.as_ref()
    }

    fn sources(&self) -> &dyn Sources {
        self.inner.sources.as_ref()
    }

    /// Checks verb and user of a request about one object, and gives the row.
    fn enter(&self, caller: &Caller, verb: &str, target: &Target) -> Result<Arc<KindRow>, Status> {
        let row = self.row(&target.resource)?;
        let verbs = match target.subresource {
            None => row.verbs,
            Some(name) => row.subresource_named(name).ok_or_else(no_such_resource)?.verbs,
        };
        if !verbs.contains(&verb) {
            return Err(method_not_allowed());
        }
        if row.namespaced != target.namespace.is_some() {
            return Err(no_such_resource());
        }
        let action = Action::Resource {
            verb,
            resource: &target.resource,
            subresource: target.subresource,
            namespace: target.namespace.as_deref(),
            name: Some(&target.name),
        };
        self.authorize(&caller.user, &action)?;
        Ok(row)
    }

    /// The object whose subresource a request is about, once it is sure that the caller may.
    pub(crate) fn entered(
        &self,
        caller: &Caller,
        verb: &str,
        row: &KindRow,
        target: &Target,
    ) -> Result<Arc<Object>, Status> {
        self.enter(caller, verb, target)?;
        self.stored(row, target)
    }

    /// Checks verb and user of a request about a collection, and gives the row.
    fn enter_collection(
        &self,
        caller: &Caller,
        verb: &str,
        collection: &Collection,
        field_selector: &str,
    ) -> Result<Arc<KindRow>, Status> {
        let row = self.row(&collection.resource)?;
        if !row.verbs.contains(&verb) {
            return Err(method_not_allowed());
        }
        if !row.namespaced && collection.namespace.is_some() {
            return Err(no_such_resource());
        }
        let action = Action::Resource {
            verb,
            resource: &collection.resource,
            subresource: None,
            namespace: collection.namespace.as_deref(),
            name: only_name(field_selector),
        };
        self.authorize(&caller.user, &action)?;
        Ok(row)
    }
}

/// The one name that a field selector lets pass: who may read an object may list and watch it alone, as in Kubernetes.
pub(crate) fn only_name(field_selector: &str) -> Option<&str> {
    let name = field_selector.trim().strip_prefix("metadata.name=")?;
    let name = name.strip_prefix('=').unwrap_or(name);
    (!name.is_empty() && !name.contains([',', '=', '!'])).then_some(name)
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}

/// 404 for resources and paths that are not served.
pub(crate) fn no_such_resource() -> Status {
    Status::new(
        404,
        StatusReason::NotFound,
        "the server could not find the requested resource",
    )
}

/// 405 for verbs that a resource does not answer to.
pub(crate) fn method_not_allowed() -> Status {
    Status::new(
        405,
        StatusReason::MethodNotAllowed,
        "the server does not allow this method on the requested resource",
    )
}

/// Where an object of a row is stored.
fn key_of(row: &KindRow, namespace: Option<&str>, name: &str) -> Key {
    Key {
        table: Arc::clone(&row.table),
        namespace: namespace.unwrap_or_default().into(),
        name: name.into(),
    }
}

/// The revision that wrote an object.
fn revision_of(object: &Object) -> Revision {
    Revision(object.resource_version().parse().unwrap_or_default())
}

/// A stored object in the version of a row, without a copy where it is stored in that version.
fn in_version(row: &KindRow, stored: Arc<Object>) -> Arc<Object> {
    if stored.api_version() == row.storage_version && row.is_storage_version() {
        return stored;
    }
    let mut object = Arc::unwrap_or_clone(stored);
    row.from_stored(&mut object);
    Arc::new(object)
}

/// A refusal of the store other than a failed precondition, as the API answers it.
fn store_failure(error: StoreError) -> Status {
    match error {
        StoreError::Compacted { .. } => {
            Status::expired("The resourceVersion for the provided list is too old.")
        }
        // Without a word on when to try again: clients take that for leave to send the same once more, and what was done
        // already would be refused them as a conflict.
        StoreError::OutcomeUnknown { .. } => Status::new(504, StatusReason::Timeout, error.to_string()),
        StoreError::Unavailable { .. } | StoreError::NotLeader { .. } => {
            let mut status = Status::unavailable(format!(
                "the server is currently unable to handle the request: {error}"
            ));
            status.retry_after_seconds = Some(1);
            status
        }
        StoreError::TooLarge { .. } => {
            Status::new(413, StatusReason::RequestEntityTooLarge, error.to_string())
        }
        StoreError::Full { .. } | StoreError::NoRoom { .. } => {
            Status::new(507, StatusReason::Unknown, error.to_string())
        }
        StoreError::SlowWatcher
        | StoreError::Storage { .. }
        | StoreError::Invalid { .. }
        | StoreError::PreconditionFailed { .. } => Status::internal(error),
        StoreError::Future { asked, newest } => too_large_version(asked, newest),
    }
}

/// 504: the client has seen a revision that this server has not.
fn too_large_version(asked: Revision, newest: Revision) -> Status {
    let mut status = Status::new(
        504,
        StatusReason::Timeout,
        format!("Too large resource version: {asked}, current: {newest}"),
    );
    status.causes.push(cluster_objects::StatusCause {
        reason: "ResourceVersionTooLarge".to_owned(),
        message: "Too large resource version".to_owned(),
        field: String::new(),
    });
    status.retry_after_seconds = Some(1);
    status
}
