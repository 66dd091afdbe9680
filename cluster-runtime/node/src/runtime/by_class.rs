//! Several runtimes on one node: a pod's runtime class says which.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cluster_client::{ExecRequest, ExecSession};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::api::{
    Container, ContainerExit, ContainerId, ContainerSpec, DiskUsage, Runtime, RuntimeError, Sandbox,
    SandboxSpec, Usage,
};
use super::docker::{DockerConfig, DockerRuntime, ENGINE_SOCKETS};
use super::embedded::{EmbeddedConfig, EmbeddedRuntime};
use crate::image::ImageStore;

/// What makes the containers of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RuntimeChoice {
    /// tug itself.
    #[default]
    Embedded,
    /// An engine: Docker or Podman.
    Docker,
}

impl RuntimeChoice {
    /// Its name, which is also the handler of runtime classes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Docker => "docker",
        }
    }
}

impl fmt::Display for RuntimeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RuntimeChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Embedded, Self::Docker]
            .into_iter()
            .find(|choice| choice.as_str() == text)
            .ok_or_else(|| format!("no container runtime `{text}`; there are `embedded` and `docker`"))
    }
}

/// The runtimes of a node, each opened when it is first needed.
pub struct RuntimeByClass {
    usual: RuntimeChoice,
    embedded_config: EmbeddedConfig,
    engine: Engine,
    embedded: OnceCell<Arc<dyn Runtime>>,
    docker: OnceCell<Arc<dyn Runtime>>,
    /// Who has a sandbox or a container, by its id.
    owners: Mutex<HashMap<String, RuntimeChoice>>,
    version: String,
}

/// Where an engine is found.
struct Engine {
    root: PathBuf,
    socket: Option<PathBuf>,
    images: ImageStore,
}

impl RuntimeByClass {
    /// Opens the usual runtime, and those that had containers before. The state of the engine's part is below `root`;
    /// without a socket the places are tried where engines listen.
    pub async fn open(
        usual: RuntimeChoice,
        embedded: EmbeddedConfig,
        root: PathBuf,
        socket: Option<PathBuf>,
        images: ImageStore,
    ) -> Result<Self, RuntimeError> {
        let had_engine = root.exists();
        let had_embedded = embedded.root.exists();
        let mut runtimes = Self {
            usual,
            embedded_config: embedded,
            engine: Engine { root, socket, images },
            embedded: OnceCell::new(),
            docker: OnceCell::new(),
            owners: Mutex::default(),
            version: String::new(),
        };
        runtimes.version = runtimes.runtime(usual).await?.version();
        for (choice, had) in [
            (RuntimeChoice::Embedded, had_embedded),
            (RuntimeChoice::Docker, had_engine),
        ] {
            if had && let Err(error) = runtimes.runtime(choice).await {
                tracing::warn!(runtime = choice.as_str(), %error, "what it ran before is not looked after");
            }
        }
        runtimes.list().await?;
        Ok(runtimes)
    }

    async fn runtime(&self, choice: RuntimeChoice) -> Result<&Arc<dyn Runtime>, RuntimeError> {
        match choice {
            RuntimeChoice::Embedded => {
                let opened = self.embedded.get_or_try_init(|| async {
                    let runtime = EmbeddedRuntime::open(self.embedded_config.clone()).await?;
                    Ok(Arc::new(runtime) as Arc<dyn Runtime>)
                });
                opened.await
            }
            RuntimeChoice::Docker => self.docker.get_or_try_init(|| self.engine.open()).await,
        }
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<String, RuntimeChoice>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owner(&self, id: &str) -> Option<RuntimeChoice> {
        self.owners().get(id).copied()
    }

    async fn of_container(&self, id: &ContainerId) -> Result<&Arc<dyn Runtime>, RuntimeError> {
        let owner = self
            .owner(id.as_str())
            .ok_or_else(|| RuntimeError::no_container(id))?;
        self.runtime(owner).await
    }
}

impl Engine {
    async fn open(&self) -> Result<Arc<dyn Runtime>, RuntimeError> {
        let socket = match &self.socket {
            Some(socket) => socket.clone(),
            None => {
                let found = ENGINE_SOCKETS
                    .iter()
                    .map(PathBuf::from)
                    .find(|path| path.exists());
                found.ok_or_else(|| {
                    let places = ENGINE_SOCKETS.join("`, `");
                    RuntimeError::machine(
                        "find a container engine",
                        format!("nothing listens at `{places}`"),
                    )
                })?
            }
        };
        let config = DockerConfig {
            root: self.root.clone(),
            socket,
            images: self.images.clone(),
        };
        Ok(Arc::new(DockerRuntime::open(config).await?))
    }
}

#[async_trait]
impl Runtime for RuntimeByClass {
    fn version(&self) -> String {
        self.version.clone()
    }

    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        let choice = if spec.runtime.is_empty() {
            self.usual
        } else {
            spec.runtime
                .parse()
                .map_err(|reason| RuntimeError::machine("choose a runtime", reason))?
        };
        let runtime = self.runtime(choice).await?;
        // Before it is there: a caller that gives up meanwhile must find it again to remove it.
        let before = self.owners().insert(spec.id.clone(), choice);
        let id = spec.id.clone();
        let made = runtime.create_sandbox(spec).await;
        if made.is_err()
            && let Some(before) = before
        {
            self.owners().insert(id, before);
        }
        made
    }

    async fn remove_sandbox(&self, sandbox: &str) -> Result<(), RuntimeError> {
        let Some(owner) = self.owner(sandbox) else {
            return Ok(());
        };
        let runtime = self.runtime(owner).await?;
        let listed = runtime.list().await?;
        let held = listed.iter().find(|one| one.spec.id == sandbox);
        let containers = held.into_iter().flat_map(|one| &one.containers);
        let ids: Vec<String> = containers.map(|container| container.id.to_string()).collect();
        runtime.remove_sandbox(sandbox).await?;
        let mut owners = self.owners();
        owners.remove(sandbox);
        for id in ids {
            owners.remove(&id);
        }
        Ok(())
    }

    async fn start_container(&self, spec: ContainerSpec) -> Result<Container, RuntimeError> {
        let owner = self
            .owner(&spec.sandbox)
            .ok_or_else(|| RuntimeError::no_sandbox(&spec.sandbox))?;
        let container = self.runtime(owner).await?.start_container(spec).await?;
        self.owners().insert(container.id.to_string(), owner);
        Ok(container)
    }

    async fn stop_container(
        &self,
        id: &ContainerId,
        signal: &str,
        grace: Duration,
    ) -> Result<ContainerExit, RuntimeError> {
        self.of_container(id)
            .await?
            .stop_container(id, signal, grace)
            .await
    }

    async fn wait(&self, id: &ContainerId) -> Result<ContainerExit, RuntimeError> {
        self.of_container(id).await?.wait(id).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        let Some(owner) = self.owner(id.as_str()) else {
            return Ok(());
        };
        self.runtime(owner).await?.remove_container(id).await?;
        self.owners().remove(id.as_str());
        Ok(())
    }

    async fn exec(&self, id: &ContainerId, request: &ExecRequest) -> Result<ExecSession, RuntimeError> {
        self.of_container(id).await?.exec(id, request).await
    }

    async fn attach(&self, id: &ContainerId, request: &ExecRequest) -> Result<ExecSession, RuntimeError> {
        self.of_container(id).await?.attach(id, request).await
    }

    async fn list(&self) -> Result<Vec<Sandbox>, RuntimeError> {
        let mut all = Vec::new();
        for (choice, opened) in [
            (RuntimeChoice::Embedded, self.embedded.get()),
            (RuntimeChoice::Docker, self.docker.get()),
        ] {
            let Some(runtime) = opened else { continue };
            let listed = runtime.list().await?;
            let mut owners = self.owners();
            for sandbox in &listed {
                owners.insert(sandbox.spec.id.clone(), choice);
                owners.extend(sandbox.containers.iter().map(|one| (one.id.to_string(), choice)));
            }
            all.extend(listed);
        }
        Ok(all)
    }

    async fn usage(&self, id: &ContainerId) -> Result<Usage, RuntimeError> {
        self.of_container(id).await?.usage(id).await
    }

    async fn disk_usage(&self, id: &ContainerId) -> Result<DiskUsage, RuntimeError> {
        self.of_container(id).await?.disk_usage(id).await
    }
}
