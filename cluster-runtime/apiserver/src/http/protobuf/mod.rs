//! Objects in protobuf, as the typed clients of Kubernetes send them.
//!
//! The fields of each message are data, in `messages.txt`; `generate/` writes it. Answers are always JSON, which
//! those clients accept too.

mod decode;
mod messages;
mod wire;

pub(super) use decode::{DecodeError, object};

/// The media type.
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
