//! The actions on releases, against the API server in memory.

mod definitions;
mod failures;
mod hooks;
mod life;
mod ordering;
mod planning;
mod stage;
mod taking_over;
mod waiting;
