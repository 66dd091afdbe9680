//! Any bytes are a form or are refused; its parts lie in it, one after the other.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

// The server's own file: the whole server would take long to build and is not needed.
#[path = "../../../../repo-index/serve/src/charts/multipart.rs"]
mod multipart;

fuzz_target!(|input: (&str, &[u8])| {
    let (content_type, body) = input;
    let body = Bytes::copy_from_slice(body);
    for boundary in [multipart::boundary(content_type), Some("x".to_owned())] {
        let Some(boundary) = boundary else { continue };
        if let Ok(parts) = multipart::parts(&body, &boundary) {
            let bytes: usize = parts.iter().map(|part| part.name.len() + part.data.len()).sum();
            assert!(bytes <= body.len());
        }
    }
});
