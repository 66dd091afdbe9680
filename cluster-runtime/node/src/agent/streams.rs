//! What the API server asks of the node: logs, commands, and connections of its pods.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use async_trait::async_trait;
use cluster_client::{
    ByteStream, Connection, ExecRequest, ExecSession, LogRequest, NodeStreams, NodeUsage, PodContainer,
};
use cluster_objects::{GroupVersionResource, Status};

use super::node::NodeHandle;
use super::{logs, netns, usage};
use crate::runtime::{Container, RuntimeError};

#[async_trait]
impl NodeStreams for NodeHandle {
    async fn logs(&self, container: &PodContainer, request: &LogRequest) -> Result<ByteStream, Status> {
        let shared = self.shared();
        let PodContainer {
            namespace,
            pod,
            uid,
            container: name,
        } = container;
        let folder = shared
            .config
            .logs
            .join(format!("{namespace}_{pod}_{uid}"))
            .join(name);
        let mut attempts = logs::attempts(&folder);
        if request.previous {
            attempts.pop();
        }
        let Some(attempt) = attempts.pop() else {
            return Err(Status::bad_request(if request.previous {
                format!("previous terminated container {name:?} in pod {pod:?} not found")
            } else {
                format!("container {name:?} in pod {pod:?} is waiting to start: ContainerCreating")
            }));
        };
        let current = self
            .container(container)
            .await
            .filter(|found| found.attempt == attempt);
        let runtime = shared.runtime.clone();
        let ended = async move {
            if let Some(found) = current.filter(Container::is_running) {
                // One that is removed has ended as well.
                let _ = runtime.wait(&found.id).await;
            }
        };
        Ok(logs::read(
            folder.join(format!("{attempt}.log")),
            request,
            shared.clock.now(),
            ended,
        ))
    }

    async fn exec(&self, container: &PodContainer, request: &ExecRequest) -> Result<ExecSession, Status> {
        let found = self.running(container).await?;
        self.shared()
            .runtime
            .exec(&found.id, request)
            .await
            .map_err(|error| refused(&error))
    }

    async fn attach(&self, container: &PodContainer, request: &ExecRequest) -> Result<ExecSession, Status> {
        let found = self.running(container).await?;
        self.shared()
            .runtime
            .attach(&found.id, request)
            .await
            .map_err(|error| refused(&error))
    }

    async fn usage(&self) -> Result<NodeUsage, Status> {
        usage::measure(&*self.shared().runtime)
            .await
            .map_err(|error| refused(&error))
    }

    async fn connect(&self, container: &PodContainer, port: u16) -> Result<Box<dyn Connection>, Status> {
        let sandboxes = self
            .shared()
            .runtime
            .list()
            .await
            .map_err(|error| refused(&error))?;
        let sandbox = sandboxes
            .into_iter()
            .find(|sandbox| sandbox.spec.id == container.uid);
        let sandbox = sandbox.ok_or_else(|| not_found(&container.pod))?;
        let netns = sandbox.netns.as_deref();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let connected = match netns::connect(netns, address).await {
            Ok(connection) => Ok(connection),
            Err(error) => {
                let other = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
                netns::connect(netns, other).await.map_err(|_| error)
            }
        };
        match connected {
            Ok(connection) => Ok(Box::new(connection)),
            Err(error) => {
                let pod = &container.pod;
                Err(Status::internal(format!(
                    "cannot connect to port {port} of pod {pod:?}: {error}"
                )))
            }
        }
    }
}

impl NodeHandle {
    /// The newest container of a name.
    async fn container(&self, wanted: &PodContainer) -> Option<Container> {
        let sandboxes = self.shared().runtime.list().await.ok()?;
        let sandbox = sandboxes
            .into_iter()
            .find(|sandbox| sandbox.spec.id == wanted.uid)?;
        let named = sandbox
            .containers
            .into_iter()
            .filter(|one| one.name == wanted.container);
        named.max_by_key(|one| one.attempt)
    }

    async fn running(&self, wanted: &PodContainer) -> Result<Container, Status> {
        let found = self.container(wanted).await;
        let found = found.filter(Container::is_running);
        found.ok_or_else(|| {
            let message = format!("container not found ({:?})", wanted.container);
            Status::internal(format!("unable to upgrade connection: {message}"))
        })
    }
}

fn not_found(pod: &str) -> Status {
    Status::not_found(&GroupVersionResource::new("v1", "pods"), pod)
}

fn refused(error: &RuntimeError) -> Status {
    Status::internal(error)
}
