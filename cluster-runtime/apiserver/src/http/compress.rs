//! Gzip of big answers, for clients that ask for it.

use std::io::Write;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{Stream, StreamExt, stream};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue};

/// Smallest answer that is worth the work, as Kubernetes has it.
pub(crate) const BYTES_MIN: usize = 128 * 1024;

/// Whether a client takes gzip.
pub(crate) fn is_asked(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|encoding| encoding.split(';').next().unwrap_or_default().trim() == "gzip")
}

/// A whole body, compressed.
pub(crate) fn whole(mut response: Response, body: &[u8]) -> Response {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    // Writing into memory does not fail.
    let compressed = encoder.write_all(body).and_then(|()| encoder.finish());
    *response.body_mut() = compressed.unwrap_or_default().into();
    mark(&mut response);
    response
}

/// A body of pieces, compressed piece by piece.
pub(crate) fn pieces(mut response: Response, pieces: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let state = (Box::pin(pieces), Some(encoder));
    let compressed = stream::unfold(state, |(mut pieces, encoder)| async {
        let mut encoder = encoder?;
        loop {
            let Some(piece) = pieces.next().await else {
                return Some((encoder.finish().map(Bytes::from), (pieces, None)));
            };
            if let Err(error) = encoder.write_all(&piece) {
                return Some((Err(error), (pieces, None)));
            }
            let ready = std::mem::take(encoder.get_mut());
            if !ready.is_empty() {
                return Some((Ok(Bytes::from(ready)), (pieces, Some(encoder))));
            }
        }
    });
    *response.body_mut() = Body::from_stream(compressed);
    mark(&mut response);
    response
}

fn mark(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
}
