//! The one clock: everything below takes `now` as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use tur_core::{Timestamp, Wall};

/// Monotonic time since the clock was made; stands still with tokio's paused clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the engine reads a clock"
    )]
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let micros = self.start.elapsed().as_micros();
        Timestamp::ZERO
            + std::time::Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The instant of a timestamp, for a timer.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        self.start + at.since(Timestamp::ZERO)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "dates in messages are wall-clock dates"
    )]
    pub(crate) fn wall() -> Wall {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let secs = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        #[cfg(test)]
        let secs = secs.saturating_add(jumps::next());
        Wall::from_unix_secs(secs)
    }
}

/// A wall clock that jumps: that of one thread of a test.
#[cfg(test)]
pub(crate) mod jumps {
    use std::cell::Cell;

    thread_local! {
        static BY: Cell<i64> = const { Cell::new(0) };
    }

    /// From now on each look finds it so many seconds wrong: ahead and behind in turn.
    pub(crate) fn by(secs: i64) {
        BY.set(secs);
    }

    pub(super) fn next() -> i64 {
        BY.replace(-BY.get())
    }
}
