//! Work inside another network namespace.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::sched::{CloneFlags, setns};

/// Runs asynchronous work on a thread of its own that has entered a network namespace.
///
/// A thread cannot leave a namespace safely while others share its runtime, so it is never one of the caller's.
/// The namespace is given by the path of its file, such as `/proc/1234/ns/net`.
pub(crate) async fn inside<T, E, F>(path: &Path, work: F) -> Result<T, E>
where
    T: Send + 'static,
    E: From<io::Error> + Send + 'static,
    F: AsyncFnOnce() -> Result<T, E> + Send + 'static,
{
    let namespace = File::open(path)?;
    let (answer, answered) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("pod-link".into())
        .spawn(move || {
            let run = || {
                setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(work())
            };
            // The receiver is gone only when the caller was dropped: nobody waits for the answer.
            let _ = answer.send(run());
        })?;
    answered
        .await
        .map_err(|_| io::Error::other("the thread in the network namespace panicked"))?
}
