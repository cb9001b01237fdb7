//! When bytes may leave: an exact schedule without free bursts, for one body or shared by all of them.

use std::time::Duration;

use tokio::time::Instant;
use tur_core::Rate;

/// Bytes of the largest slice of a paced body, and of each simulated one.
pub(crate) const SLICE_MAX: u64 = 16 * 1024;

/// How far a schedule that fell behind may catch up: covers the granularity of timers, and no more.
const SLACK: Duration = Duration::from_millis(20);

/// A schedule: each slice is released when all of its bytes are due, counted from the first reservation.
#[derive(Debug)]
pub(crate) struct Pacer {
    rate: Rate,
    next: Option<Instant>,
}

impl Pacer {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, next: None }
    }

    /// About ten milliseconds' worth: small, so that bytes come steadily even at low rates.
    pub(crate) fn slice(&self) -> u64 {
        (self.rate.bytes_per_second() / 100).clamp(1, SLICE_MAX)
    }

    /// Takes the schedule's next `bytes` and says when they may leave; `None` is never (rate zero).
    pub(crate) fn reserve(&mut self, now: Instant, bytes: u64) -> Option<Instant> {
        let from = self
            .next
            .map_or(now, |next| next.max(now.checked_sub(SLACK).unwrap_or(now)));
        let due = from.checked_add(self.rate.time_for(bytes))?;
        self.next = Some(due);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_due_by_the_rate_and_idle_time_is_not_saved_up() {
        let start = crate::clock::now();
        let mut pacer = Pacer::new(Rate::per_second(1_000));
        assert_eq!(pacer.slice(), 10);
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
        assert_eq!(Pacer::new(Rate::per_second(0)).reserve(now, 1), None);
    }
}
