//! A future that can be dropped from outside, at once, while a set of futures polls it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Ends a [`Running`] future: what it owns is dropped before [`stop`](Slot::stop) returns.
pub(super) struct Slot<T>(Arc<Mutex<Cell<T>>>);

/// The future: `None` if it was stopped.
pub(super) struct Running<T>(Arc<Mutex<Cell<T>>>);

struct Cell<T> {
    future: Option<Boxed<T>>,
    waker: Option<Waker>,
}

/// A future, and what stops it.
pub(super) fn stoppable<T>(
    future: impl Future<Output = T> + Send + 'static,
) -> (Slot<T>, Running<T>) {
    let cell = Arc::new(Mutex::new(Cell {
        future: Some(Box::pin(future)),
        waker: None,
    }));
    (Slot(Arc::clone(&cell)), Running(cell))
}

impl<T> Slot<T> {
    pub(super) fn stop(&self) {
        let (future, waker) = {
            let mut cell = lock(&self.0);
            (cell.future.take(), cell.waker.take())
        };
        drop(future);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Running<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut cell = lock(&self.0);
        let Some(future) = &mut cell.future else {
            return Poll::Ready(None);
        };
        match future.as_mut().poll(cx) {
            Poll::Ready(value) => {
                cell.future = None;
                Poll::Ready(Some(value))
            }
            Poll::Pending => {
                if !cell
                    .waker
                    .as_ref()
                    .is_some_and(|waker| waker.will_wake(cx.waker()))
                {
                    cell.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

/// The driver polls and stops in turn, so the lock is never waited for.
fn lock<T>(cell: &Mutex<Cell<T>>) -> MutexGuard<'_, Cell<T>> {
    cell.lock().unwrap_or_else(PoisonError::into_inner)
}
