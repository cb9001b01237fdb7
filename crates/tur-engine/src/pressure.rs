//! How much memory and how many descriptors are left: what the budget of sessions goes by.
//!
//! Read [`Watch`]. It looks every few seconds while downloads run, on a thread of the pool for digests, because files
//! under `/proc` are not always quick. Elsewhere than on Linux there is nothing to look at: then only connections that
//! cannot be made shrink the budget.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep_until};
use tur_sched::Sign;

use crate::clock::Clock;
use crate::compute::Compute;

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// Looks now and then.
pub(crate) struct Watch {
    compute: Compute,
    clock: Clock,
    next: Pin<Box<Sleep>>,
    running: Option<oneshot::Receiver<Vec<Sign>>>,
}

impl Watch {
    /// The first look is due at once.
    pub(crate) fn new(compute: Compute, clock: Clock) -> Self {
        Self {
            compute,
            clock,
            next: Box::pin(sleep_until(clock.instant(clock.now()))),
            running: None,
        }
    }

    /// Ready with what was seen. Not to be polled while nothing runs.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Vec<Sign>> {
        if self.running.is_none() && self.next.as_mut().poll(cx).is_ready() {
            self.running = Some(self.compute.run(signs));
        }
        let Some(running) = &mut self.running else {
            return Poll::Pending;
        };
        Pin::new(running).poll(cx).map(|seen| {
            self.running = None;
            let next = self.clock.now() + EVERY;
            self.next.as_mut().reset(self.clock.instant(next));
            // Without a thread to look nothing is seen.
            seen.unwrap_or_default()
        })
    }
}

/// What is left now.
fn signs() -> Vec<Sign> {
    #[cfg(target_os = "linux")]
    return linux::signs();
    #[cfg(not(target_os = "linux"))]
    return Vec::new();
}

#[cfg(target_os = "linux")]
mod linux;
