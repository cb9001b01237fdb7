//! When bytes may leave: an exact schedule without free bursts, for one body or shared by all of them.

use std::time::Duration;

use tokio::time::Instant;
use tur_core::Rate;

/// How far a schedule that fell behind may catch up: covers the granularity of timers, and no more.
pub(crate) const SLACK: Duration = Duration::from_millis(20);

/// What a world can do: how fine its slices are, and how late its timers may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grain {
    /// Bytes of the largest slice.
    pub(crate) slice_max: u64,
    /// How far a body that fell behind its own pace may catch up.
    pub(crate) slack: Duration,
}

/// A schedule: each slice is released when all of its bytes are due, counted from the first reservation.
#[derive(Debug)]
pub(crate) struct Pacer {
    rate: Rate,
    slack: Duration,
    next: Option<Instant>,
}

impl Pacer {
    /// Begins with the first reservation; what was missed is made up for as far as `slack`.
    pub(crate) fn new(rate: Rate, slack: Duration) -> Self {
        Self {
            rate,
            slack,
            next: None,
        }
    }

    /// About ten milliseconds' worth, at most `max`: small, so that bytes come steadily even at low rates.
    pub(crate) fn slice(&self, max: u64) -> u64 {
        slice(self.rate, max)
    }

    /// Takes the schedule's next `bytes` and says when they may leave; `None` is never (rate zero).
    pub(crate) fn reserve(&mut self, now: Instant, bytes: u64) -> Option<Instant> {
        let from = self.next.map_or(now, |next| {
            next.max(now.checked_sub(self.slack).unwrap_or(now))
        });
        let due = from.checked_add(self.rate.time_for(bytes))?;
        self.next = Some(due);
        Some(due)
    }
}

/// About ten milliseconds' worth of a rate, at most `max` bytes.
pub(crate) fn slice(rate: Rate, max: u64) -> u64 {
    (rate.bytes_per_second() / 100).clamp(1, max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_due_by_the_rate_and_idle_time_is_not_saved_up() {
        let start = crate::clock::now();
        let mut pacer = Pacer::new(Rate::per_second(1_000), SLACK);
        assert_eq!((pacer.slice(64), pacer.slice(4)), (10, 4));
        for tenth in 1..=10 {
            let due = start + Duration::from_millis(100 * tenth);
            assert_eq!(pacer.reserve(start, 100), Some(due));
        }
        let late = start + Duration::from_secs(60);
        let due = pacer.reserve(late, 100).expect("a rate above zero");
        assert_eq!(due, late + Duration::from_millis(80));
    }

    #[test]
    fn rate_zero_never_releases() {
        let now = crate::clock::now();
        assert_eq!(Pacer::new(Rate::per_second(0), SLACK).reserve(now, 1), None);
    }
}
