//! Ending one reader's wait from another thread: [`Interrupt`]; and waiting on a thread without a runtime.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::ReadError;

/// Ends what one reader waits for, at once and from any thread: its reads fail with [`ReadError::Interrupted`] from then on.
/// The download and other readers go on.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    interrupted: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Interrupt {
    /// Ends the wait of its reader, and every later one.
    pub fn interrupt(&self) {
        self.0.interrupted.store(true, Ordering::SeqCst);
        let waker = self.waiting().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// An error once it was interrupted; otherwise `cx` is woken by that.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Result<(), ReadError> {
        *self.waiting() = Some(cx.waker().clone());
        self.check()
    }

    pub(crate) fn check(&self) -> Result<(), ReadError> {
        match self.0.interrupted.load(Ordering::SeqCst) {
            true => Err(ReadError::Interrupted),
            false => Ok(()),
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        // A waker is whole or gone after any panic.
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes a thread that waits in [`on_this_thread`].
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future to its end on this thread, which sleeps while it waits.
pub(crate) fn on_this_thread<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
