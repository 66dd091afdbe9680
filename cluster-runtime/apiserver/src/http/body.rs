//! The body of a request as it comes in: bounded in size and in time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use cluster_objects::{Status, StatusReason};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

/// Most bytes of a request's body, as Kubernetes has it.
pub(crate) const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Time for a client to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Most bytes of a transaction's body: a whole release with its record.
pub(crate) const TRANSACTION_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Reads a whole body; 413 when it is too big, 408 when it does not come.
pub(crate) async fn read(body: Body) -> Result<Bytes, Status> {
    read_up_to(body, BODY_BYTES_MAX).await
}

/// As [`read`], with a limit of one's own.
pub(crate) async fn read_up_to(body: Body, bytes_max: usize) -> Result<Bytes, Status> {
    let collected = timeout(BODY_TIMEOUT, Limited::new(body, bytes_max).collect()).await;
    let Ok(collected) = collected else {
        let message = "the body of the request did not come in time";
        return Err(Status::new(408, StatusReason::Timeout, message));
    };
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Status::new(
            413,
            StatusReason::RequestEntityTooLarge,
            format!("Request entity too large: limit is {bytes_max}"),
        )),
        Err(error) => Err(Status::bad_request(format!(
            "the body of the request broke off: {error}"
        ))),
    }
}
