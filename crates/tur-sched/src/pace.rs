//! When to try again, and when to give up: attempts, backoff, minimum speed.

use core::time::Duration;

use tur_core::{Rate, Timestamp};

/// How often and how fast to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Retries after a first try, without progress between.
    pub retries: u32,
    /// First backoff; doubles with each retry.
    pub base: Duration,
    /// Longest backoff.
    pub cap: Duration,
    /// Longest `Retry-After` that is waited for.
    pub wait_max: Duration,
    /// How long to wait in all, without using up retries, for a network that went away.
    pub away_max: Duration,
}

impl Default for RetryPolicy {
    /// Five retries, 0.5 s doubling to 30 s, and a minute for `Retry-After`: what the program promises. An hour for the
    /// network: longer than a router takes to come back, shorter than a night of asking nobody.
    fn default() -> Self {
        Self {
            retries: 5,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            wait_max: Duration::from_secs(60),
            away_max: Duration::from_secs(60 * 60),
        }
    }
}

/// A speed below which the whole download fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpeedFloor {
    /// The speed.
    pub rate: Rate,
    /// For how long it may be below.
    pub over: Duration,
}

/// Counts attempts and draws backoffs.
///
/// Lanes fail together when an origin dies; that is one failure, not eight. A failure counts only if its attempt began
/// after the last one that counted, and progress beyond everything reached so far makes the count zero.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    policy: RetryPolicy,
    seed: u64,
    failures: u32,
    counted_at: Timestamp,
    high_water: u64,
    away: Option<Away>,
}

/// A network that is away.
#[derive(Clone, Copy, Debug, Default)]
struct Away {
    tries: u32,
    /// The waits so far. Pauses and the attempts themselves are not in it.
    waited: Duration,
}

/// First wait for the network, and longest one: whatever the policy says, a machine that is offline is not kept busy.
const AWAY_FIRST: Duration = Duration::from_millis(500);
const AWAY_WAIT_MAX: Duration = Duration::from_secs(30);

impl Pace {
    pub(crate) fn new(policy: RetryPolicy, seed: u64) -> Self {
        Self {
            policy,
            seed,
            failures: 0,
            counted_at: Timestamp::ZERO,
            high_water: 0,
            away: None,
        }
    }

    pub(crate) fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    /// Failures without progress between.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// `landed` bytes are there. True if that ends a row of failures.
    pub(crate) fn progress(&mut self, landed: u64) -> bool {
        if landed <= self.high_water {
            return false;
        }
        self.high_water = landed;
        core::mem::take(&mut self.failures) > 0
    }

    /// Nothing has been reached: another representation begins.
    pub(crate) fn restart(&mut self) {
        self.high_water = 0;
    }

    /// An attempt that began at `started` failed. False if it was the last one allowed.
    pub(crate) fn failed(&mut self, now: Timestamp, started: Timestamp) -> bool {
        if self.failures == 0 || started > self.counted_at {
            self.failures += 1;
            self.counted_at = now;
        }
        self.failures <= self.policy.retries
    }

    /// No packet could leave. Says how long to wait before the next try, which uses up no attempt; `None` if that was
    /// done for long enough, or retries are not wanted at all.
    pub(crate) fn await_network(&mut self) -> Option<Duration> {
        let mut away = self.away.unwrap_or_default();
        if self.policy.retries == 0 || away.waited >= self.policy.away_max {
            return None;
        }
        let wait = AWAY_FIRST
            .saturating_mul(1 << away.tries.min(16))
            .min(AWAY_WAIT_MAX);
        // At least half of it: many machines come back with the network that they share.
        let micros = u64::try_from(wait.as_micros() / 2).unwrap_or(u64::MAX);
        let wait = Duration::from_micros(micros + self.draw() % micros.saturating_add(1));
        away.tries += 1;
        away.waited = away.waited.saturating_add(wait);
        self.away = Some(away);
        Some(wait)
    }

    /// How long the network has been waited for; `None` if it is not away.
    pub(crate) fn away(&self) -> Option<Duration> {
        self.away.map(|away| away.waited)
    }

    /// A connection was made, or bytes came. True if the network had been away.
    pub(crate) fn network_back(&mut self) -> bool {
        self.away.take().is_some()
    }

    /// A wait between zero and the `nth` backoff: "full jitter".
    pub(crate) fn backoff(&mut self, nth: u32) -> Duration {
        let doublings = nth.saturating_sub(1).min(16);
        let top = self
            .policy
            .base
            .saturating_mul(1 << doublings)
            .min(self.policy.cap);
        let micros = u64::try_from(top.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.draw() % micros.saturating_add(1))
    }

    fn draw(&mut self) -> u64 {
        draw(&mut self.seed)
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
pub(crate) fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Measures the download against a [`SpeedFloor`]. Its clock runs only while bodies are being received: not while
/// waiting for a backoff, a connection, a `Retry-After`, a rate limit or a pause.
#[derive(Clone, Debug)]
pub(crate) struct SpeedWatch {
    floor: SpeedFloor,
    bytes: u64,
    active: Duration,
    running_since: Option<Timestamp>,
}

impl SpeedWatch {
    pub(crate) fn new(floor: SpeedFloor) -> Self {
        // A window of no time would end at every instant.
        let over = floor.over.max(Duration::from_millis(1));
        Self {
            floor: SpeedFloor { over, ..floor },
            bytes: 0,
            active: Duration::ZERO,
            running_since: None,
        }
    }

    pub(crate) fn landed(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Bodies are (not) being received from now on.
    pub(crate) fn run(&mut self, now: Timestamp, receiving: bool) {
        match (self.running_since, receiving) {
            (Some(since), false) => {
                self.active += now.since(since);
                self.running_since = None;
            }
            (None, true) => self.running_since = Some(now),
            _ => {}
        }
    }

    /// When the window that runs now ends.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        Some(self.running_since? + self.floor.over.saturating_sub(self.active))
    }

    /// Judges a window that has ended. False if the download was below its floor.
    pub(crate) fn judge(&mut self, now: Timestamp) -> bool {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return true;
        }
        let good = self.bytes >= self.floor.rate.bytes_in(self.floor.over);
        *self = Self {
            running_since: Some(now),
            ..Self::new(self.floor)
        };
        good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_micros(secs * 1_000_000)
    }

    #[test]
    fn lanes_that_fail_together_count_once_and_progress_forgives() {
        let mut pace = Pace::new(
            RetryPolicy {
                retries: 1,
                ..RetryPolicy::default()
            },
            7,
        );
        assert!(pace.failed(at(10), at(1)));
        assert!(
            pace.failed(at(10), at(2)),
            "began before the failure that counted"
        );
        assert_eq!(pace.failures(), 1);
        assert!(!pace.failed(at(12), at(11)), "the second try was the last");
        assert!(pace.progress(100));
        assert!(!pace.progress(100), "the same bytes again are no progress");
        assert!(pace.failed(at(13), at(12)));
    }

    #[test]
    fn backoff_stays_within_its_bound_and_varies() {
        let mut pace = Pace::new(RetryPolicy::default(), 1);
        let draws: std::vec::Vec<_> = (0..100).map(|_| pace.backoff(3)).collect();
        assert!(draws.iter().all(|d| *d <= 2 * SEC));
        assert!(draws.iter().any(|d| *d > SEC) && draws.iter().any(|d| *d < SEC));
        assert!((0..100).all(|_| pace.backoff(60) <= 30 * SEC));
    }

    #[test]
    fn the_network_is_waited_for_in_growing_steps_and_not_for_ever() {
        let mut pace = Pace::new(RetryPolicy::default(), 3);
        let waits: std::vec::Vec<_> = core::iter::from_fn(|| pace.await_network()).collect();
        assert!(waits[0] >= SEC / 4 && waits[0] <= SEC / 2);
        assert!(waits.iter().all(|wait| *wait <= 30 * SEC));
        assert!(waits[10..].iter().all(|wait| *wait >= 15 * SEC));
        let whole: Duration = waits.iter().sum();
        assert!(whole >= 3_600 * SEC && whole < 3_630 * SEC, "{whole:?}");
        assert_eq!(pace.failures(), 0, "no attempt is used up");
        assert!(pace.network_back() && !pace.network_back());
        assert!(pace.await_network().is_some_and(|wait| wait <= SEC / 2));
        let none = RetryPolicy {
            retries: 0,
            ..RetryPolicy::default()
        };
        assert_eq!(Pace::new(none, 3).await_network(), None);
    }

    #[test]
    fn the_speed_clock_stands_while_nothing_is_received() {
        let mut watch = SpeedWatch::new(SpeedFloor {
            rate: Rate::per_second(100),
            over: 4 * SEC,
        });
        watch.run(at(0), true);
        watch.landed(150);
        watch.run(at(2), false);
        assert_eq!(watch.deadline(), None);
        watch.run(at(100), true);
        assert_eq!(watch.deadline(), Some(at(102)));
        assert!(watch.judge(at(101)));
        assert!(!watch.judge(at(102)), "150 bytes in 4 s");
        watch.landed(400);
        assert!(watch.judge(at(106)));
    }
}
