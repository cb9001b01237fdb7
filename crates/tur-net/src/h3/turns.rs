//! Lets an endpoint read all that is there before its connections look at it.
//!
//! Read [`Turns`]. quinn's endpoint hands on what one system call brought, then lets others run. Connections that look at once find
//! a few packets each: they acknowledge those, and lanes write those, again and again. Here a connection waits while the
//! endpoint goes on reading, for a bounded number of turns and no time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

/// What quinn wants to be run.
type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Counts the turns of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Drivers so far: the first one is the endpoint's.
    drivers: AtomicU64,
    endpoint: Arc<AtomicU64>,
}

impl Turns {
    /// The same driver, which takes its turns with the others.
    pub(super) fn of(&self, driver: Driver) -> Driver {
        let counted = Arc::clone(&self.endpoint);
        match self.drivers.fetch_add(1, Ordering::Relaxed) {
            0 => Box::pin(Reader {
                driver,
                turns: counted,
            }),
            _ => Box::pin(Patient {
                driver,
                endpoint: counted,
                waited: None,
            }),
        }
    }
}

/// Drives an endpoint.
struct Reader {
    driver: Driver,
    turns: Arc<AtomicU64>,
}

impl Future for Reader {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.driver.as_mut().poll(cx)
    }
}

/// Drives a connection, after the endpoint has read what is there.
struct Patient {
    driver: Driver,
    endpoint: Arc<AtomicU64>,
    /// How often it let others go first since it last ran, and how many turns the endpoint had had then.
    waited: Option<(u32, u64)>,
}

impl Future for Patient {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let turns = self.endpoint.load(Ordering::Relaxed);
        let (count, before) = self.waited.unwrap_or((0, turns.wrapping_sub(1)));
        if count < WAITS_MAX && turns != before {
            self.waited = Some((count + 1, turns));
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.waited = None;
        self.driver.as_mut().poll(cx)
    }
}

/// One turn of the endpoint brings up to 32 packets: as many as 16 KiB for each of a few connections, with these.
const WAITS_MAX: u32 = 4;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Counts how often it is polled, and never ends.
    fn counting(polls: &Arc<AtomicU64>) -> Driver {
        let polls = Arc::clone(polls);
        Box::pin(std::future::poll_fn(move |_cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            Poll::Pending
        }))
    }

    fn poll(driver: &mut Driver) {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(driver.as_mut().poll(&mut cx).is_pending());
    }

    #[test]
    fn a_connection_runs_when_the_endpoint_rests_or_has_had_its_turns() {
        let (turns, read, driven) = (Turns::default(), Arc::default(), Arc::default());
        let mut endpoint = turns.of(counting(&read));
        let mut connection = turns.of(counting(&driven));
        let ran = || driven.load(Ordering::Relaxed);
        // The endpoint has read, and rests: it is looked for once.
        poll(&mut endpoint);
        poll(&mut connection);
        assert_eq!(ran(), 0);
        poll(&mut connection);
        assert_eq!(ran(), 1);
        // It goes on reading.
        for n in 0..=WAITS_MAX {
            assert_eq!(ran(), 1, "{n}");
            poll(&mut endpoint);
            poll(&mut connection);
        }
        assert_eq!(ran(), 2);
        assert_eq!(read.load(Ordering::Relaxed), 2 + u64::from(WAITS_MAX));
    }
}
