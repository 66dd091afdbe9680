//! Whether the disk still takes what it is given.

use std::sync::{Arc, Mutex, PoisonError};

use openraft::error::Fatal;

use crate::StoreError;
use crate::raft::types::Raft;

/// The first failure of the disk, seen by all parts of a store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    failure: Arc<Mutex<Option<String>>>,
}

impl Health {
    /// Notes a failure; the first one stays.
    pub(crate) fn fail(&self, reason: &str) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none() {
            tracing::error!(reason, "the store is read-only from here on");
            *failure = Some(reason.to_owned());
        }
    }

    /// Notes a failure for which the log stopped by itself.
    pub(crate) fn look_at(&self, raft: &Raft) {
        match &raft.metrics().borrow().running_state {
            Ok(()) | Err(Fatal::Stopped) => {}
            Err(error) => self.fail(&error.to_string()),
        }
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The error that a write is refused with, if it is.
    pub(crate) fn refusal(&self) -> Option<StoreError> {
        self.failure().map(|reason| StoreError::Storage { reason })
    }
}
