//! What goes wrong inside a function, before anyone knows where it was called.

use std::fmt;

/// Why a function refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    message: String,
    sort: Sort,
}

/// What a fault means for the error that it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// The function could not do its work.
    Failed,
    /// The chart said so, by `fail` or `required`: its message is all that a reader should see.
    Raised,
    /// The template asked for more than the limits allow.
    Limit,
}

impl Fault {
    /// A function that cannot do its work.
    pub fn new(message: impl Into<String>) -> Self {
        Fault {
            message: message.into(),
            sort: Sort::Failed,
        }
    }

    /// What a chart says about its own values, by `fail` or `required`.
    pub fn raised(message: impl Into<String>) -> Self {
        Fault {
            message: message.into(),
            sort: Sort::Raised,
        }
    }

    /// A limit that was reached.
    pub fn limit(message: impl Into<String>) -> Self {
        Fault {
            message: message.into(),
            sort: Sort::Limit,
        }
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn sort(&self) -> Sort {
        self.sort
    }

    pub(crate) fn is_limit(&self) -> bool {
        self.sort == Sort::Limit
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}
