//! The API as the parts of a server use it: read here, written where writes are taken.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use cluster_apiserver::LocalApi;
use cluster_client::http::{ConnectError, HttpApi, HttpConfig};
use cluster_client::{
    Api, Collection, DeleteOptions, Deleted, Discovery, List, ListOptions, Patch, Target, WatchOptions,
    WatchStream, WriteOptions,
};
use cluster_objects::{Object, Status};
use cluster_store::RaftStore;
use tokio::sync::Mutex;

/// The API for the parts of a server's process.
///
/// Reads and watches are answered in the process. Writes are as well while this server leads; else they go over HTTPS
/// to its own port, which sends them on.
pub(crate) struct OwnApi {
    store: Arc<RaftStore>,
    local: LocalApi,
    /// Owner of the fields that it writes.
    agent: String,
    remote: Arc<RemoteApi>,
}

/// The API over HTTPS, entered as the file of this machine says, when that is first needed: a server alone never does.
pub(crate) struct RemoteApi {
    kubeconfig: PathBuf,
    connected: Mutex<Option<HttpApi>>,
}

impl RemoteApi {
    pub(crate) fn new(kubeconfig: PathBuf) -> Self {
        Self {
            kubeconfig,
            connected: Mutex::new(None),
        }
    }

    /// The client, made now if need be.
    pub(crate) async fn connect(&self) -> Result<HttpApi, ConnectError> {
        let mut connected = self.connected.lock().await;
        if let Some(api) = &*connected {
            return Ok(api.clone());
        }
        let config = HttpConfig {
            kubeconfigs: vec![self.kubeconfig.clone()],
            ..HttpConfig::default()
        };
        let api = HttpApi::connect(&config).await?;
        *connected = Some(api.clone());
        Ok(api)
    }

    /// Has requests from now on made as the file says now; what is under way goes on.
    pub(crate) async fn reconnect(&self) {
        *self.connected.lock().await = None;
    }

    async fn api(&self) -> Result<HttpApi, Status> {
        let connected = self.connect().await;
        connected.map_err(|error| Status::unavailable(crate::serve::describe(&error)))
    }
}

#[async_trait]
impl Api for RemoteApi {
    async fn get(&self, target: &Target) -> Result<Arc<Object>, Status> {
        self.api().await?.get(target).await
    }

    async fn list(&self, collection: &Collection, options: &ListOptions) -> Result<List, Status> {
        self.api().await?.list(collection, options).await
    }

    async fn watch(&self, collection: &Collection, options: &WatchOptions) -> Result<WatchStream, Status> {
        self.api().await?.watch(collection, options).await
    }

    async fn create(
        &self,
        collection: &Collection,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.api().await?.create(collection, object, options).await
    }

    async fn post(
        &self,
        target: &Target,
        body: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.api().await?.post(target, body, options).await
    }

    async fn update(
        &self,
        target: &Target,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.api().await?.update(target, object, options).await
    }

    async fn patch(
        &self,
        target: &Target,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        self.api().await?.patch(target, patch, options).await
    }

    async fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<Deleted, Status> {
        self.api().await?.delete(target, options).await
    }

    async fn discovery(&self) -> Result<Arc<Discovery>, Status> {
        self.api().await?.discovery().await
    }

    async fn raw(&self, path: &str) -> Result<Vec<u8>, Status> {
        self.api().await?.raw(path).await
    }
}

impl OwnApi {
    pub(crate) fn new(store: Arc<RaftStore>, local: LocalApi, agent: &str, remote: Arc<RemoteApi>) -> Self {
        Self {
            store,
            local,
            agent: agent.to_owned(),
            remote,
        }
    }

    /// Where writes are taken.
    fn writer(&self) -> &dyn Api {
        if self.store.leadership().borrow().is_self {
            return &self.local;
        }
        &*self.remote
    }

    /// Over HTTPS the server would take the program's name for the owner of fields.
    fn named(&self, options: &WriteOptions) -> WriteOptions {
        let mut options = options.clone();
        if options.field_manager.is_empty() {
            options.field_manager.clone_from(&self.agent);
        }
        options
    }
}

#[async_trait]
impl Api for OwnApi {
    async fn get(&self, target: &Target) -> Result<Arc<Object>, Status> {
        self.local.get(target).await
    }

    async fn list(&self, collection: &Collection, options: &ListOptions) -> Result<List, Status> {
        self.local.list(collection, options).await
    }

    async fn watch(&self, collection: &Collection, options: &WatchOptions) -> Result<WatchStream, Status> {
        self.local.watch(collection, options).await
    }

    async fn create(
        &self,
        collection: &Collection,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let writer = self.writer();
        writer.create(collection, object, &self.named(options)).await
    }

    async fn post(
        &self,
        target: &Target,
        body: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let writer = self.writer();
        writer.post(target, body, &self.named(options)).await
    }

    async fn update(
        &self,
        target: &Target,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let writer = self.writer();
        writer.update(target, object, &self.named(options)).await
    }

    async fn patch(
        &self,
        target: &Target,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let writer = self.writer();
        writer.patch(target, patch, &self.named(options)).await
    }

    async fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<Deleted, Status> {
        self.writer().delete(target, options).await
    }

    async fn discovery(&self) -> Result<Arc<Discovery>, Status> {
        self.local.discovery().await
    }

    async fn raw(&self, path: &str) -> Result<Vec<u8>, Status> {
        self.local.raw(path).await
    }
}
