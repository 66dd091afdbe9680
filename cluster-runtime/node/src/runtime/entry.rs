//! A container as a runtime keeps it in mind, and waiting for its end.

use tokio::sync::watch;

use super::api::{Container, ContainerExit, RuntimeError};

/// A container that is known. Its exit comes through the channel.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) container: Container,
    pub(super) exit: watch::Receiver<Option<ContainerExit>>,
}

impl Entry {
    /// Whether it has not ended, as far as is known.
    pub(super) fn is_running(&self) -> bool {
        self.exit.borrow().is_none()
    }

    /// The same, or the refusal that it takes to run.
    pub(super) fn must_run(self) -> Result<Self, RuntimeError> {
        if self.is_running() {
            return Ok(self);
        }
        let id = self.container.id.to_string();
        Err(RuntimeError::NotRunning { id })
    }

    /// It as it is now.
    pub(super) fn now(&self) -> Container {
        let mut container = self.container.clone();
        container.exit = self.exit.borrow().clone();
        if container.exit.is_some() {
            container.pid = 0;
        }
        container
    }

    /// Waits until it has ended, and tells how; that there is no such container where it is removed meanwhile.
    pub(super) async fn ended(&mut self) -> Result<ContainerExit, RuntimeError> {
        let exit = self
            .exit
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|exit| exit.clone());
        exit.ok_or_else(|| RuntimeError::no_container(&self.container.id))
    }
}
