//! Whether the disk still takes what it is given.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::error::Fatal;
use tokio::sync::watch;

use crate::StoreError;
use crate::raft::types::Raft;

/// What is known of the disk, seen by all parts of a store.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    dir: Arc<Path>,
    fault: Arc<Mutex<Option<Fault>>>,
    /// Why only a new start helps, once that is so.
    broken: Arc<watch::Sender<Option<String>>>,
}

#[derive(Clone, Debug)]
enum Fault {
    /// The log cannot grow. All that was written is whole, and it goes on when there is room.
    NoRoom(String),
    /// A write failed; what of it is on the disk is not known, and only a new start can tell.
    Broken(String),
}

impl Health {
    /// The health of a data directory, good so far.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir: dir.into(),
            fault: Arc::default(),
            broken: Arc::default(),
        }
    }

    fn fault(&self) -> MutexGuard<'_, Option<Fault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a failure after which nothing is written any more; the first one stays.
    pub(crate) fn fail(&self, reason: &str) {
        let mut fault = self.fault();
        if !matches!(*fault, Some(Fault::Broken(_))) {
            tracing::error!(reason, "the store is read-only from here on");
            *fault = Some(Fault::Broken(reason.to_owned()));
            self.broken.send_replace(Some(reason.to_owned()));
        }
    }

    /// Waits until the disk has failed, and gives the reason.
    pub(crate) async fn failed(&self) -> String {
        let mut broken = self.broken.subscribe();
        // The sender is here.
        let reason = broken.wait_for(Option::is_some).await;
        reason.ok().and_then(|reason| reason.clone()).unwrap_or_default()
    }

    /// Notes that there is no room, with what the disk said, or that there is room again.
    pub(crate) fn set_room(&self, missing: Option<String>) {
        let mut fault = self.fault();
        match (&*fault, missing) {
            (Some(Fault::Broken(_)), _) | (None, None) => {}
            (before, Some(reason)) => {
                if before.is_none() {
                    tracing::error!(reason, dir = %self.dir.display(), "the store is read-only until there is room");
                }
                *fault = Some(Fault::NoRoom(reason));
            }
            (Some(Fault::NoRoom(_)), None) => {
                tracing::info!("there is room, the store takes writes again");
                *fault = None;
            }
        }
    }

    /// Whether room is waited for.
    pub(crate) fn waits_for_room(&self) -> bool {
        matches!(*self.fault(), Some(Fault::NoRoom(_)))
    }

    /// Notes a failure for which the log stopped by itself.
    pub(crate) fn look_at(&self, raft: &Raft) {
        match &raft.metrics().borrow().running_state {
            Ok(()) | Err(Fatal::Stopped) => {}
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// Why nothing can be written, if nothing can.
    pub(crate) fn failure(&self) -> Option<String> {
        self.refusal().map(|error| error.to_string())
    }

    /// The error that a write is refused with, if it is.
    pub(crate) fn refusal(&self) -> Option<StoreError> {
        Some(match self.fault().clone()? {
            Fault::NoRoom(reason) => self.no_room(reason),
            Fault::Broken(reason) => StoreError::Storage { reason },
        })
    }

    /// The error for a write that there is no room for.
    pub(crate) fn no_room(&self, reason: String) -> StoreError {
        StoreError::NoRoom {
            dir: self.dir.to_path_buf(),
            reason,
        }
    }
}
