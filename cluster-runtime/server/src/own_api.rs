//! The API as the parts of a machine use it: on a server read here, and written where writes are taken.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use cluster_apiserver::LocalApi;
use cluster_client::http::{ConnectError, HttpApi, HttpConfig};
use cluster_client::{Api, Route, RoutedApi, Verb, WriteOptions};
use cluster_objects::Status;
use cluster_store::RaftStore;
use tokio::sync::Mutex;

/// The API for the parts of this machine's process.
///
/// On a server, reads and watches are answered in the process, and writes as well while it leads; else they go over HTTPS
/// to its own port, which sends them on. On an agent everything goes over HTTPS.
pub(crate) struct OwnApi {
    /// What is answered in the process; absent on an agent.
    here: Option<Here>,
    remote: Arc<RemoteApi>,
}

/// The API of the server of this process.
struct Here {
    store: Arc<RaftStore>,
    api: Arc<dyn Api>,
    /// Owner of the fields that it writes.
    agent: String,
}

/// The API over HTTPS, entered as the file of this machine says, when that is first needed: a server alone never does.
pub(crate) struct RemoteApi {
    kubeconfig: PathBuf,
    connected: Mutex<Option<Arc<dyn Api>>>,
}

impl RemoteApi {
    pub(crate) fn new(kubeconfig: PathBuf) -> Self {
        Self {
            kubeconfig,
            connected: Mutex::new(None),
        }
    }

    /// The client, made now if need be.
    pub(crate) async fn connect(&self) -> Result<Arc<dyn Api>, ConnectError> {
        let mut connected = self.connected.lock().await;
        if let Some(api) = &*connected {
            return Ok(api.clone());
        }
        let config = HttpConfig {
            kubeconfigs: vec![self.kubeconfig.clone()],
            ..HttpConfig::default()
        };
        let api: Arc<dyn Api> = Arc::new(HttpApi::connect(&config).await?);
        *connected = Some(api.clone());
        Ok(api)
    }

    /// Has requests from now on made as the file says now; what is under way goes on.
    pub(crate) async fn reconnect(&self) {
        *self.connected.lock().await = None;
    }

    async fn api(&self) -> Result<Arc<dyn Api>, Status> {
        let connected = self.connect().await;
        connected.map_err(|error| Status::unavailable(crate::serve::describe(&error)))
    }
}

impl OwnApi {
    /// For a part of a server; `agent` is its name and the owner of its fields.
    pub(crate) fn of_server(
        store: Arc<RaftStore>,
        local: LocalApi,
        agent: &str,
        remote: Arc<RemoteApi>,
    ) -> Arc<dyn Api> {
        let here = Here {
            store,
            api: Arc::new(local),
            agent: agent.to_owned(),
        };
        Arc::new(RoutedApi(Self {
            here: Some(here),
            remote,
        }))
    }

    /// For the parts of an agent.
    pub(crate) fn of_agent(remote: Arc<RemoteApi>) -> Arc<dyn Api> {
        Arc::new(RoutedApi(Self { here: None, remote }))
    }
}

#[async_trait]
impl Route for OwnApi {
    async fn route(&self, verb: Verb) -> Result<Arc<dyn Api>, Status> {
        let here = self.here.as_ref();
        match here.filter(|here| !verb.is_write() || here.store.leadership().borrow().is_self) {
            Some(here) => Ok(here.api.clone()),
            None => self.remote.api().await,
        }
    }

    /// Over HTTPS the server would take the program's name for the owner of fields.
    fn options(&self, options: &WriteOptions) -> WriteOptions {
        let mut options = options.clone();
        if let Some(here) = self.here.as_ref().filter(|_| options.field_manager.is_empty()) {
            options.field_manager.clone_from(&here.agent);
        }
        options
    }
}
