//! The runtime that openraft is given: tokio's, with a clock that stands still while there is nobody to send
//! heartbeats to.
//!
//! Openraft's ticks are the only thing that runs in an idle store. A group of one needs none, and how many are in a
//! group changes while it runs, while openraft's intervals are fixed. So the sleep between ticks, the only one that
//! names an instant, waits here until there are others.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use openraft::{AsyncRuntime, OptionalSend, TokioRuntime};
use tokio::sync::watch;

thread_local! {
    /// Whether the store of this thread has ticks.
    static TICKING: RefCell<Option<watch::Receiver<bool>>> = const { RefCell::new(None) };
}

/// Makes the ticks of the store that runs in this thread depend on a switch.
pub(crate) fn tick_while(switch: watch::Receiver<bool>) {
    TICKING.set(Some(switch));
}

/// Tokio, with ticks that stop while they are not needed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StoreRuntime;

/// A wait.
pub(crate) enum Sleep {
    Plain(Pin<Box<tokio::time::Sleep>>),
    Tick(Pin<Box<dyn Future<Output = ()> + Send + Sync>>),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.get_mut() {
            Self::Plain(sleep) => sleep.as_mut().poll(context),
            Self::Tick(sleep) => sleep.as_mut().poll(context),
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sleep")
    }
}

impl AsyncRuntime for StoreRuntime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
    type OneshotSender<T: OptionalSend> = <TokioRuntime as AsyncRuntime>::OneshotSender<T>;
    type OneshotReceiverError = <TokioRuntime as AsyncRuntime>::OneshotReceiverError;
    type OneshotReceiver<T: OptionalSend> = <TokioRuntime as AsyncRuntime>::OneshotReceiver<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Sleep {
        Sleep::Plain(Box::pin(tokio::time::sleep(duration)))
    }

    fn sleep_until(deadline: Self::Instant) -> Sleep {
        let switch = TICKING.with_borrow(Clone::clone);
        let Some(mut switch) = switch else {
            return Sleep::Plain(Box::pin(tokio::time::sleep_until(deadline)));
        };
        Sleep::Tick(Box::pin(async move {
            // A switch that is gone goes with its store.
            _ = switch.wait_for(|is_on| *is_on).await;
            tokio::time::sleep_until(deadline).await;
        }))
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    fn oneshot<T>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>)
    where
        T: OptionalSend,
    {
        TokioRuntime::oneshot()
    }
}
