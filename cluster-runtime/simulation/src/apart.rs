//! A part of the simulation in a thread and runtime of its own, as if it were another process: however busy the cluster
//! is, the kernel gives it its turn.

use std::io;
use std::thread;

use tokio_util::sync::{CancellationToken, DropGuard};

/// A part that runs until it is stopped; where this is dropped it ends by itself.
pub(crate) struct Apart {
    stop: DropGuard,
    thread: thread::JoinHandle<()>,
}

impl Apart {
    /// Starts a part, which must end when its token is cancelled.
    pub(crate) fn start<F: Future<Output = ()>>(
        name: &str,
        part: impl FnOnce(CancellationToken) -> F + Send + 'static,
    ) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || runtime.block_on(part(stopped)))?;
        Ok(Self {
            stop: stop.drop_guard(),
            thread,
        })
    }

    /// Stops the part and waits for its end.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        // One that panicked has ended as well.
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}
