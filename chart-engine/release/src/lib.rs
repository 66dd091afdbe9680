//! Releases: records, history and the actions on them.
//!
//! Start with [`Release`], the record, and [`action`], what is done with it.

pub mod action;
pub mod apply;
mod autoscaled;
mod chunks;
pub mod cluster;
mod codec;
mod declared;
pub mod difference;
pub mod hooks;
pub mod json;
pub mod lease;
mod lookup;
mod managed_fields;
pub mod manifest;
mod name;
pub mod order;
pub mod ownership;
pub mod progress;
pub mod readiness;
mod record;
pub mod render;
pub mod resource;
mod storage;
mod stored_chart;
mod time;
mod transaction;
pub mod values;
pub mod wait;
mod way_back;

pub use chunks::{Chunks, Layout};
pub use codec::{DecodeError, SECRET_TYPE, SYSTEM_LABELS, decode, encode, secret_name, to_json};
pub use name::{NAME_CHARS_MAX, NameError, ReleaseName};
pub use record::{
    ApplyMethod, Hook, HookDeletePolicy, HookEvent, HookLogPolicy, HookPhase, HookRun, Info, Release,
    ReleaseStatus, StoredChart,
};
pub use storage::{Entry, Storage, StorageError, latest};
pub use time::ReleaseTime;

/// Who writes, for field ownership: Helm's own name, so that both tools may take turns on one release.
pub const FIELD_MANAGER: &str = "helm";
