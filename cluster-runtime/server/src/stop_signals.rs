//! The signals that end a server.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::control::StopPods;

/// Listens from the beginning: a signal that comes while a machine becomes something else is kept until it is asked for.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    stop_pods: Signal,
}

impl StopSignals {
    /// From now on, the signals no longer end the process by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            stop_pods: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for one that has not been given yet.
    pub(crate) async fn next(&mut self) -> StopPods {
        tokio::select! {
            _ = self.terminate.recv() => StopPods::Keep,
            _ = self.interrupt.recv() => StopPods::Keep,
            _ = self.stop_pods.recv() => StopPods::Stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::signal::{Signal, raise};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_signal_that_came_while_nobody_waited_is_kept() {
        let mut signals = StopSignals::listen().unwrap();
        // As when something else is selected.
        assert!(timeout(Duration::ZERO, signals.next()).await.is_err());
        raise(Signal::SIGUSR1).unwrap();
        let pods = timeout(Duration::from_secs(10), signals.next()).await;
        assert_eq!(pods.ok(), Some(StopPods::Stop));
    }
}
