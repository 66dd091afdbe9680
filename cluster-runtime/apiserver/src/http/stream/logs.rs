//! Logs of containers.

use axum::body::Body;
use axum::response::Response;
use cluster_objects::{Object, Status};
use futures::StreamExt;
use http::HeaderValue;

use super::super::answer;
use super::super::handle::Call;
use super::{container, container_of, node_of};

/// Answers with the log of a container, as text, as it comes.
pub(super) async fn open(call: &Call<'_>, pod: &Object) -> Result<Response, Status> {
    let request = call.parameters.log()?;
    if request.since_seconds.is_some() && request.since_time.is_some() {
        return Err(Status::bad_request(
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        ));
    }
    let container = container::choose(pod, call.parameters.text("container"))?;
    let text = HeaderValue::from_static("text/plain");
    let Some(node) = node_of(call, pod)? else {
        return Ok(answer::answer(200, text, Body::empty()));
    };
    let lines = node.logs(&container_of(pod, container), &request).await?;
    let lines = lines.take_until(call.server.stop.clone().cancelled_owned());
    Ok(answer::answer(200, text, Body::from_stream(lines)))
}
