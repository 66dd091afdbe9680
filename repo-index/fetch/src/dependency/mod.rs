//! Dependencies of a chart on disk: what is there, what is wanted, and getting it.

mod error;
mod manager;
mod source;
mod status;

pub use error::DependencyError;
pub use manager::{DependencyManager, Updated};
pub use status::{DependencyStatus, dependency_statuses};
