//! Kubernetes objects as data; this crate decides and never does IO.
//!
//! Start with [`Object`], then [`Status`] for how every refusal is worded.

mod object;
mod resource;
mod status;

pub use object::{Object, ObjectError, OwnerReference};
pub use resource::{GroupVersionKind, GroupVersionResource};
pub use status::{Status, StatusCause, StatusReason};
