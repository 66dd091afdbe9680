//! The actions on releases, against the API server in memory.

mod failures;
mod hooks;
mod life;
mod stage;
mod waiting;
