//! The only place of this crate that reads a clock, waits for it, or starts a background future; `distance` has threads of its own.
//!
//! Time is tokio's: real on the loopback origin's own runtime, virtual in a simulated world under a paused clock.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// Now, on the clock of the current runtime.
#[expect(
    clippy::disallowed_methods,
    reason = "an origin paces its bodies by the runtime's clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits until `at`; at once if that is past.
pub(crate) async fn wait_until(at: Instant) {
    if at > now() {
        tokio::time::sleep_until(at).await;
    }
}

/// Lets `time` pass; for ever, if it ends after all time.
pub(crate) async fn pass(time: Duration) {
    if time.is_zero() {
        return;
    }
    match now().checked_add(time) {
        Some(at) => wait_until(at).await,
        None => std::future::pending().await,
    }
}

/// Runs a connection in the background until it ends or its runtime goes.
#[expect(
    clippy::disallowed_methods,
    reason = "test servers run on their own runtime"
)]
pub(crate) fn launch(connection: impl Future<Output = ()> + Send + 'static) {
    // The handle is dropped: a connection ends by itself, or with the runtime.
    drop(tokio::spawn(connection));
}
