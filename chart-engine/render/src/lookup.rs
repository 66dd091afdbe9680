//! Asking the cluster from a template.

use std::fmt;

use chart_values::Value;

/// Answers the function `lookup`.
pub trait Lookup: fmt::Debug + Send + Sync {
    /// Gives the object, or with an empty `name` the list of objects, as the API has them; an empty table where there
    /// is none.
    fn lookup(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, LookupError>;
}

/// Answers the function `getHostByName`.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// The address of a host, if it has one.
    fn address(&self, host: &str) -> Option<String>;
}

/// Why the cluster could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LookupError {
    /// What happened.
    pub message: String,
}
