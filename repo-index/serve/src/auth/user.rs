//! Who asks.

use super::token::Grant;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum User {
    /// There are no accounts: everybody may do everything.
    Everybody,
    /// Somebody who did not say.
    Anonymous,
    /// Somebody whose password was right.
    Named(String),
    /// Somebody with a token.
    Bearer(Grant),
}

impl User {
    /// The name, for the log.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Everybody | Self::Anonymous => None,
            Self::Named(name) => Some(name),
            Self::Bearer(grant) => grant.user.as_deref(),
        }
    }
}
