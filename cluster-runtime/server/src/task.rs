//! A task that goes on until it is stopped from outside.

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running task.
pub(crate) struct Task {
    stop: CancellationToken,
    handle: JoinHandle<()>,
}

impl Task {
    /// Starts it on the current tokio runtime; when it is stopped, it ends where it waits next.
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        let stop = CancellationToken::new();
        let running = stop.clone().run_until_cancelled_owned(future);
        let handle = tokio::spawn(async move { _ = running.await });
        Self { stop, handle }
    }

    /// Stops it and waits until it has ended.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // A task that panicked has nothing left to wait for.
        let _ = self.handle.await;
    }
}
