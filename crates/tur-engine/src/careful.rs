//! Calling and dropping what users gave, on a thread that moves everybody's bytes: a panic in it costs nobody else anything.
//!
//! Read [`Careful`].

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use futures_util::FutureExt as _;
use tur_core::Kind;

use crate::Error;

/// Something of a user's, whose drop may panic.
pub(crate) struct Careful<T>(Option<T>);

impl<T> Careful<T> {
    pub(crate) fn new(thing: T) -> Self {
        Self(Some(thing))
    }
}

impl<T> Deref for Careful<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is there until the drop")
    }
}

impl<T> Drop for Careful<T> {
    fn drop(&mut self) {
        quietly(self.0.take());
    }
}

impl<T> fmt::Debug for Careful<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Careful").finish_non_exhaustive()
    }
}

/// What `how` returns; what its panic said, if it panics. What it touches is its user's own, and may be half done.
pub(crate) fn caught<R>(how: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(how)).map_err(text)
}

/// Drops something of a user's. A panic in that costs nobody anything: there is nothing left to fail.
pub(crate) fn quietly<T>(thing: T) {
    if let Err(panic) = caught(|| drop(thing)) {
        tracing::error!(panic, "something panicked while it was dropped");
    }
}

/// Wakes somebody of a user's: what the waker does is the user's.
pub(crate) fn wake(waker: Waker) {
    if let Err(panic) = caught(|| waker.wake()) {
        tracing::error!(panic, "a waker panicked");
    }
}

/// What `work` comes to. A panic in it, which is a bug here, is a failure like others: whoever waits for the end is told one.
pub(crate) fn unharmed<R>(work: impl Future<Output = R>) -> impl Future<Output = Result<R, Error>> {
    // Not an `async fn`: that would hold the driver twice, as it was given and as it is polled.
    // Each step of a driver gives back what it had, whatever another one has left half done.
    let ended = AssertUnwindSafe(work).catch_unwind();
    ended.map(|ended| {
        ended.map_err(|panic| {
            let panic = text(panic);
            tracing::error!(panic, "a driver panicked");
            let message = format!("a part of the engine panicked, which is a bug: {panic}");
            Error::new(Kind::Other, message)
        })
    })
}

/// What a panic said. Its payload is not dropped: that may panic too.
fn text(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    std::mem::forget(panic);
    text.unwrap_or_else(|| "no message".to_owned())
}
