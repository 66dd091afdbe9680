//! Any body of any media type is a value that is not nested too deep, or is refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

// The server's own files: the whole server would take long to build and is not needed.
mod engine {
    pub struct Body {
        pub object: cluster_objects::Object,
        pub duplicates: Vec<String>,
    }
}

#[path = "."]
mod http {
    #[path = "../../../../cluster-runtime/apiserver/src/http/decode.rs"]
    pub mod decode;
    #[path = "../../../../cluster-runtime/apiserver/src/http/protobuf/mod.rs"]
    pub mod protobuf;
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or_default(),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else {
        return;
    };
    let content_type = match which % 3 {
        0 => "application/json",
        1 => "application/yaml",
        _ => "application/vnd.kubernetes.protobuf",
    };
    match http::decode::object(content_type, bytes) {
        Ok(body) => {
            let nested = body.object.fields().values().map(depth).max().unwrap_or_default();
            assert!(nested <= 200, "{nested} levels");
            assert!(body.duplicates.len() < bytes.len());
        }
        Err(status) => {
            assert!(matches!(status.code, 400 | 413 | 415), "{status:?}");
            assert!(!status.message.is_empty());
        }
    }
});
