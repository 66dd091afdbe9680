//! Releases: records, history and the actions on them.
//!
//! Start with [`Release`], the record.

mod codec;
mod record;
mod time;

pub use codec::{DecodeError, SECRET_TYPE, SYSTEM_LABELS, decode, encode, secret_name, to_json};
pub use record::{
    ApplyMethod, Hook, HookDeletePolicy, HookEvent, HookLogPolicy, HookPhase, HookRun, Info, Release,
    ReleaseStatus, StoredChart,
};
pub use time::ReleaseTime;
