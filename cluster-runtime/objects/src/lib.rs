//! Kubernetes objects as data; this crate decides and never does IO.
//!
//! Start with [`Object`], then [`Status`] for how every refusal is worded, then [`registry`] for the kinds. A write
//! goes through `Schema::check`, [`patch`] or [`mod@apply`], `KindRow::apply_defaults`, `KindRow::prepare_for_create` or
//! its like, `KindRow::validate_create` or its like, and [`apply::track`]; a read through [`selector`] and
//! [`mod@table`]. Everything takes objects of any shape and size without panic.

pub mod amounts;
pub mod apply;
mod defaults;
mod json_text;
pub mod names;
pub mod nesting;
mod object;
pub mod openapi;
pub mod patch;
pub mod quantity;
pub mod quota;
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
