//! Kubernetes objects as data; this crate decides and never does IO.
//!
//! Start with [`Object`], then [`Status`] for how every refusal is worded, then [`registry`] for the kinds.

pub mod apply;
mod defaults;
pub mod names;
pub mod nesting;
mod object;
pub mod openapi;
pub mod patch;
pub mod quantity;
pub mod registry;
mod resource;
pub mod schema;
pub mod selector;
mod status;
pub mod table;
pub mod validate;

pub use object::{Object, ObjectError, OwnerReference};
pub use resource::{GroupVersionKind, GroupVersionResource};
pub use status::{Status, StatusCause, StatusReason};
