//! A timer that is set often and goes off rarely.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// Goes off at the time that it was asked for last. Asked for a later one it stays as it is, and is set anew only when it
/// goes off too early: most deadlines move on before they come.
pub(super) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    set_to: Instant,
}

impl Alarm {
    /// One that is set to `at`.
    pub(super) fn new(at: Instant) -> Self {
        Self {
            sleep: Box::pin(sleep_until(at)),
            set_to: at,
        }
    }

    /// Ready once `at` has come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if at < self.set_to {
            self.set(at);
        }
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if self.set_to >= at {
                return Poll::Ready(());
            }
            self.set(at);
        }
    }

    fn set(&mut self, at: Instant) {
        self.sleep.as_mut().reset(at);
        self.set_to = at;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_off_when_it_was_asked_for_last() {
        #[expect(clippy::disallowed_methods, reason = "the paused clock of a test")]
        let now = Instant::now;
        let (start, second) = (now(), Duration::from_secs(1));
        let mut alarm = Alarm::new(start + 5 * second);
        for (asked, at) in [(9, 9), (20, 20), (12, 20), (30, 30), (30, 30)] {
            let asked = start + asked * second;
            poll_fn(|cx| alarm.poll(cx, asked)).await;
            assert_eq!(now(), start + at * second);
        }
        // Asked for something else while it waits.
        let waits = poll_fn(|cx| Poll::Ready(alarm.poll(cx, start + 90 * second))).await;
        assert!(waits.is_pending());
        poll_fn(|cx| alarm.poll(cx, start + 40 * second)).await;
        assert_eq!(now(), start + 40 * second);
    }
}
