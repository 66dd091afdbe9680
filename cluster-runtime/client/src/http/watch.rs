//! The events of a watch, line by line.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use cluster_objects::{Object, Status};
use futures::{Stream, StreamExt, stream};
use serde_json::Value;

use super::answer;
use crate::{WatchEvent, WatchStream};

/// Splits the body of a watch into events. It ends where the server ends it, or after the first failure.
pub(super) fn events<S, E>(body: S) -> WatchStream
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    let state = Some((Box::pin(body), BytesMut::new()));
    let stream = stream::unfold(state, |state| async {
        let (mut body, mut buffer) = state?;
        loop {
            if let Some(line) = take_line(&mut buffer) {
                return match event(&line) {
                    Ok(event) => Some((event, Some((body, buffer)))),
                    Err(status) => Some((WatchEvent::Error(status), None)),
                };
            }
            match body.next().await {
                Some(Ok(chunk)) => buffer.extend_from_slice(&chunk),
                // A connection that breaks ends the watch as a server does; the reader lists again.
                Some(Err(error)) => {
                    tracing::debug!(%error, "watch broke off");
                    return None;
                }
                None => return None,
            }
        }
    });
    Box::pin(stream)
}

fn take_line(buffer: &mut BytesMut) -> Option<BytesMut> {
    loop {
        let end = buffer.iter().position(|byte| *byte == b'\n')?;
        let line = buffer.split_to(end);
        buffer.advance(1);
        if !line.iter().all(u8::is_ascii_whitespace) {
            return Some(line);
        }
    }
}

fn event(line: &[u8]) -> Result<WatchEvent, Status> {
    let mut value = answer::json(line)?;
    let payload = value.get_mut("object").map(Value::take).unwrap_or_default();
    let kind = value["type"].as_str().unwrap_or_default();
    if kind == "ERROR" {
        return Ok(WatchEvent::Error(Status::from_value(&payload)));
    }
    let object = Object::from_value(payload).map_err(|error| answer::not_understood(&error))?;
    Ok(match kind {
        "ADDED" => WatchEvent::Added(Arc::new(object)),
        "MODIFIED" => WatchEvent::Modified(Arc::new(object)),
        "DELETED" => WatchEvent::Deleted(Arc::new(object)),
        _ => WatchEvent::Bookmark(object.resource_version().to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_may_be_split_anywhere() {
        let text = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}\n\n\
            {\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"9\"}}}\n\
            {\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}}\n";
        let chunks: Vec<Result<Bytes, std::io::Error>> = text
            .as_bytes()
            .chunks(7)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect();
        let events: Vec<WatchEvent> = events(stream::iter(chunks)).collect().await;
        let [
            WatchEvent::Added(added),
            WatchEvent::Bookmark(mark),
            WatchEvent::Error(status),
        ] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!((added.name(), mark.as_str(), status.code), ("a", "9", 410));
    }
}
