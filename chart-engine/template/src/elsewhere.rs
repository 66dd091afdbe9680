//! Threads that begin at once, beside who starts them.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

/// A thread on another processor.
#[derive(Debug)]
pub(crate) struct Elsewhere<T> {
    thread: JoinHandle<T>,
    has_begun: Arc<AtomicBool>,
}

impl<T> Elsewhere<T> {
    /// What it gives, once it is done; nothing, at once, if it has not begun: then what it was to do is left to the caller.
    pub(crate) fn end(self) -> Option<T> {
        let has_begun = self.has_begun.load(Ordering::Relaxed);
        has_begun.then(|| self.thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

/// Starts a thread on another processor than the caller's; gives nothing where there is none, or no thread can be made.
///
/// Linux often begins a thread on the processor of who made it, where it then waits for a tick, 2 to 4 ms as observed on
/// two processors: longer than a chart takes. It may run anywhere but there.
///
/// The process may end before the thread does.
pub(crate) fn start<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<Elsewhere<T>> {
    let others = others::find()?;
    let has_begun = Arc::new(AtomicBool::new(false));
    let begun = Arc::clone(&has_begun);
    let thread = Builder::new().spawn(move || {
        begun.store(true, Ordering::Relaxed);
        work()
    });
    let thread = thread.ok()?;
    others::send(&thread, &others);
    Some(Elsewhere { thread, has_begun })
}

#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "which processors a thread may run on is asked and told by functions of C that fill or read a set of fixed size"
)]
mod others {
    use std::mem;
    use std::os::unix::thread::JoinHandleExt as _;
    use std::thread::JoinHandle;

    use libc::{CPU_CLR, CPU_COUNT, cpu_set_t, pthread_setaffinity_np, sched_getaffinity, sched_getcpu};

    /// The processors that this thread may run on, without the one that it is on.
    pub(super) fn find() -> Option<cpu_set_t> {
        // SAFETY: a set is numbers only, the size is that of the set, and `CPU_CLR` checks the number against it.
        unsafe {
            let mut set: cpu_set_t = mem::zeroed();
            if sched_getaffinity(0, mem::size_of::<cpu_set_t>(), &raw mut set) != 0 {
                return None;
            }
            let here = usize::try_from(sched_getcpu()).ok()?;
            CPU_CLR(here, &mut set);
            (CPU_COUNT(&set) > 0).then_some(set)
        }
    }

    pub(super) fn send<T>(thread: &JoinHandle<T>, set: &cpu_set_t) {
        // SAFETY: the thread is not joined before its handle is given away. Where it fails the thread is where it was.
        unsafe { pthread_setaffinity_np(thread.as_pthread_t(), mem::size_of::<cpu_set_t>(), set) };
    }
}

#[cfg(not(target_os = "linux"))]
mod others {
    use std::num::NonZero;
    use std::thread::{JoinHandle, available_parallelism};

    pub(super) fn find() -> Option<()> {
        (available_parallelism().map_or(1, NonZero::get) > 1).then_some(())
    }

    pub(super) fn send<T>(_: &JoinHandle<T>, _: &()) {}
}
