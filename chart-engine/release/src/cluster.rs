//! The cluster as actions need it: who is asked, who is told, and what time it is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cluster_client::{
    Api, ApiResource, Clock, Collection, DeleteOptions, Deleted, Discovery, List, ListOptions, Patch, Target,
    WatchOptions, WatchStream, WriteOptions,
};
use cluster_objects::{GroupVersionResource, Object, Status};
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;

use crate::lease::{self, Presence};
use crate::progress::{Observer, Silent};
use crate::storage::Storage;
use crate::time::ReleaseTime;

/// What every action is given.
#[derive(Clone)]
pub struct Cluster {
    /// The API.
    pub api: Arc<dyn Api>,
    /// Namespace of the releases.
    pub namespace: String,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
    /// The time.
    pub clock: Clock,
    /// The zone in which times are written down.
    pub zone: jiff::tz::TimeZone,
    /// Ends an action early; the release is left as failed.
    pub cancel: CancellationToken,
    /// Who is at work, for leases.
    pub presence: Arc<dyn Presence>,
    /// Commit a revision as one transaction where the cluster offers it.
    pub use_transactions: bool,
    discovery: Arc<RwLock<Option<Arc<Discovery>>>>,
}

impl Cluster {
    /// A cluster with nobody to tell, the clock of the machine and times in UTC; the fields are public.
    pub fn new(api: Arc<dyn Api>, namespace: &str) -> Self {
        Self {
            api,
            namespace: namespace.to_owned(),
            observer: Arc::new(Silent),
            clock: Clock::system(),
            zone: jiff::tz::TimeZone::UTC,
            cancel: CancellationToken::new(),
            presence: lease::nobody(),
            use_transactions: true,
            discovery: Arc::default(),
        }
    }

    /// No cluster: every question is refused. For what is done without one.
    pub fn offline(namespace: &str, zone: jiff::tz::TimeZone) -> Self {
        Self {
            zone,
            ..Self::new(Arc::new(Offline), namespace)
        }
    }

    /// The time now, as records carry it.
    pub fn now(&self) -> ReleaseTime {
        ReleaseTime::utc(self.clock.now()).in_zone(&self.zone)
    }

    /// The same cluster for what must be done although the action was ended.
    #[must_use]
    pub fn uncancelled(&self) -> Self {
        Self {
            cancel: CancellationToken::new(),
            ..self.clone()
        }
    }

    /// The records of the namespace.
    pub fn storage(&self) -> Storage {
        Storage::new(self.api.clone(), &self.namespace, self.clock.clone())
    }

    /// What the cluster serves, asked once.
    pub async fn discovery(&self) -> Result<Arc<Discovery>, Status> {
        if let Some(known) = self.discovery.read().await.clone() {
            return Ok(known);
        }
        let found = self.api.discovery().await?;
        *self.discovery.write().await = Some(found.clone());
        Ok(found)
    }

    /// The same cluster as it will be once it serves these kinds too.
    pub(crate) async fn foreseeing(&self, kinds: Vec<ApiResource>) -> Result<Self, Status> {
        let mut discovery = Discovery::clone(&*self.discovery().await?);
        for kind in kinds {
            let GroupVersionResource { group, version, .. } = &kind.resource;
            if discovery.resource_of(group, version, &kind.kind).is_none() {
                discovery.resources.push(kind);
            }
        }
        Ok(Self {
            discovery: Arc::new(RwLock::new(Some(Arc::new(discovery)))),
            ..self.clone()
        })
    }

    /// Asks anew next time, after new kinds were defined.
    pub async fn forget_discovery(&self) {
        *self.discovery.write().await = None;
    }
}

/// Helm's default of `--timeout`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// Answers nothing.
struct Offline;

impl Offline {
    fn refuse<T>() -> Result<T, Status> {
        Err(Status::unavailable("no cluster is used"))
    }
}

#[async_trait]
impl Api for Offline {
    async fn get(&self, _: &Target) -> Result<Arc<Object>, Status> {
        Self::refuse()
    }

    async fn list(&self, _: &Collection, _: &ListOptions) -> Result<List, Status> {
        Self::refuse()
    }

    async fn watch(&self, _: &Collection, _: &WatchOptions) -> Result<WatchStream, Status> {
        Self::refuse()
    }

    async fn create(&self, _: &Collection, _: Object, _: &WriteOptions) -> Result<Arc<Object>, Status> {
        Self::refuse()
    }

    async fn post(&self, _: &Target, _: Object, _: &WriteOptions) -> Result<Arc<Object>, Status> {
        Self::refuse()
    }

    async fn update(&self, _: &Target, _: Object, _: &WriteOptions) -> Result<Arc<Object>, Status> {
        Self::refuse()
    }

    async fn patch(&self, _: &Target, _: Patch, _: &WriteOptions) -> Result<Arc<Object>, Status> {
        Self::refuse()
    }

    async fn delete(&self, _: &Target, _: &DeleteOptions) -> Result<Deleted, Status> {
        Self::refuse()
    }

    async fn discovery(&self) -> Result<Arc<Discovery>, Status> {
        Self::refuse()
    }

    async fn raw(&self, _: &str) -> Result<Vec<u8>, Status> {
        Self::refuse()
    }
}
