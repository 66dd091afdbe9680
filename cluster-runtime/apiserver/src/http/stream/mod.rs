//! Streams to and from the containers of pods: logs, commands, ports.

mod container;
mod exec;
mod logs;
mod portforward;
mod spdy;

use std::sync::Arc;

use axum::response::Response;
use cluster_client::{NodeStreams, PodContainer, Target};
use cluster_objects::registry::KindRow;
use cluster_objects::{Object, Status};
use http::Method;

use super::handle::Call;

/// Which stream a subresource of a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Log,
    Exec,
    Attach,
    PortForward,
}

impl Kind {
    /// The stream that a target names, if it names one.
    pub(super) fn of(target: &Target) -> Option<Self> {
        if target.resource.resource != "pods" || !target.resource.group.is_empty() {
            return None;
        }
        match target.subresource? {
            "log" => Some(Self::Log),
            "exec" => Some(Self::Exec),
            "attach" => Some(Self::Attach),
            "portforward" => Some(Self::PortForward),
            _ => None,
        }
    }
}

/// Opens a stream of a pod.
pub(super) async fn open(
    call: &mut Call<'_>,
    row: &Arc<KindRow>,
    target: &Target,
    kind: Kind,
) -> Result<Response, Status> {
    let verb = if call.parts.method == Method::POST {
        "create"
    } else {
        "get"
    };
    let engine = &call.server.engine;
    let pod = engine.entered(&call.caller, verb, row, target)?;
    match kind {
        Kind::Log => logs::open(call, &pod).await,
        Kind::Exec => exec::open(call, &pod, false).await,
        Kind::Attach => exec::open(call, &pod, true).await,
        Kind::PortForward => portforward::open(call, &pod).await,
    }
}

/// The way to the node of a pod; `None` before the pod has one.
fn node_of(call: &Call<'_>, pod: &Object) -> Result<Option<Arc<dyn NodeStreams>>, Status> {
    match pod.text(&["spec", "nodeName"]).unwrap_or_default() {
        "" => Ok(None),
        node => call.server.engine.nodes().get(node).map(Some),
    }
}

fn container_of(pod: &Object, container: String) -> PodContainer {
    PodContainer {
        namespace: pod.namespace().unwrap_or_default().to_owned(),
        pod: pod.name().to_owned(),
        uid: pod.uid().to_owned(),
        container,
    }
}
