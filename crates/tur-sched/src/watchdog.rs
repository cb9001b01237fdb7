//! Whether anything moves: what is under way and has brought nothing for too long is said aloud, with what it waits for.
//!
//! Read [`Watchdog`]. Whoever drives things hands it an [`Observation`] now and then, at least whenever something moved
//! and when [`next_wakeup`](Watchdog::next_wakeup) says so; it answers with a [`Pulse`]. It stops nothing: time-outs
//! are decided elsewhere, and a stall that outlives them is a fault of this program, of a file system, or of a reader.
//!
//! ```text
//!            moved                        still, for `hang`: told; for twice, four times as long: told again
//!  Advanced ◀───────── anything ─────────▶ Stalled
//!                         │ nothing in flight, nothing queued
//!                         ▼
//!                       Idle (never a stall, and the end of one)
//! ```
//!
//! Work that is queued while nothing is in flight is a stall like any other: there is nothing that would move it on.

use core::fmt;
use core::time::Duration;

use tur_core::Timestamp;

/// How long nothing may move by default: longer than a connection may take with its retries and an answer its first
/// byte, so that a slow origin has been dealt with before.
pub const HANG: Duration = Duration::from_secs(60);

/// A shorter time would tell of stalls more often than anybody looks.
const HANG_MIN: Duration = Duration::from_millis(1);

/// What keeps something from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WaitsFor {
    /// A permit of the dispatch.
    Permit,
    /// A connection that is set up, or one that comes back.
    Session,
    /// The head of an answer.
    Answer,
    /// Bytes of a body.
    Body,
    /// A rate limit.
    Limiter,
    /// A write, or the end of a sync.
    Disk,
    /// Somebody who is to take bytes.
    Reader,
    /// The time of the next attempt.
    Backoff,
}

impl WaitsFor {
    /// The stable word: `permit`, `session`, `answer`, `body`, `limiter`, `disk`, `reader`, `backoff`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            WaitsFor::Permit => "permit",
            WaitsFor::Session => "session",
            WaitsFor::Answer => "answer",
            WaitsFor::Body => "body",
            WaitsFor::Limiter => "limiter",
            WaitsFor::Disk => "disk",
            WaitsFor::Reader => "reader",
            WaitsFor::Backoff => "backoff",
        }
    }
}

/// For people, to stand behind "waiting for".
impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WaitsFor::Permit => "its turn",
            WaitsFor::Session => "a connection",
            WaitsFor::Answer => "an answer",
            WaitsFor::Body => "bytes",
            WaitsFor::Limiter => "the rate limit",
            WaitsFor::Disk => "the disk",
            WaitsFor::Reader => "the reader",
            WaitsFor::Backoff => "the next attempt",
        })
    }
}

/// What there is to see at one moment. What is paused is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Things that are under way.
    pub in_flight: usize,
    /// Things that wait to begin.
    pub queued: usize,
    /// Whether anything began, brought bytes or ended since the last observation.
    pub moved: bool,
    /// What is waited for, by the one that has waited longest; `None` if it is not known.
    pub waits_for: Option<WaitsFor>,
}

/// What an observation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Something moved.
    Advanced,
    /// There is nothing to do.
    Idle,
    /// There is something to do, and nothing moved.
    Stalled {
        /// The last motion, or when there was something to do again.
        since: Timestamp,
        /// How long that is ago.
        lasted: Duration,
    },
}

/// A stall that is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The last motion.
    pub since: Timestamp,
    /// How long that is ago; at least `hang`.
    pub lasted: Duration,
    /// What was seen last.
    pub seen: Observation,
}

/// Watches for stalls.
#[derive(Clone, Debug)]
pub struct Watchdog {
    hang: Duration,
    /// The last motion while there was something to do.
    since: Option<Timestamp>,
    /// After how long a stall is told next.
    patience: Duration,
    told: Option<Stall>,
}

impl Watchdog {
    /// Tells of a stall after `hang` (at least a millisecond), and again after twice, four times and so on as long.
    #[must_use]
    pub fn new(hang: Duration) -> Self {
        let hang = hang.max(HANG_MIN);
        Self {
            hang,
            since: None,
            patience: hang,
            told: None,
        }
    }

    /// Takes what there is to see. A stall that has lasted too long is then [`poll_stall`](Watchdog::poll_stall)'s.
    pub fn observe(&mut self, now: Timestamp, seen: Observation) -> Pulse {
        if seen.in_flight == 0 && seen.queued == 0 {
            *self = Self::new(self.hang);
            return if seen.moved {
                Pulse::Advanced
            } else {
                Pulse::Idle
            };
        }
        if seen.moved {
            *self = Self::new(self.hang);
            self.since = Some(now);
            return Pulse::Advanced;
        }
        let since = *self.since.get_or_insert(now);
        let lasted = now.since(since);
        if lasted >= self.patience {
            self.told = Some(Stall {
                since,
                lasted,
                seen,
            });
            while self.patience <= lasted {
                self.patience = self.patience.saturating_mul(2);
            }
        }
        Pulse::Stalled { since, lasted }
    }

    /// A stall that is to be told now: once when it has lasted for `hang`, and once at each doubling.
    pub fn poll_stall(&mut self) -> Option<Stall> {
        self.told.take()
    }

    /// When to observe again, if nothing moves before.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        let since = self.since.filter(|_| self.told.is_none())?;
        Some(since + self.patience)
    }
}

impl Default for Watchdog {
    fn default() -> Self {
        Self::new(HANG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const NOTHING: Observation = Observation {
        in_flight: 0,
        queued: 0,
        moved: false,
        waits_for: None,
    };
    const RUNS: Observation = Observation {
        in_flight: 1,
        waits_for: Some(WaitsFor::Body),
        ..NOTHING
    };
    const WAITS: Observation = Observation {
        queued: 1,
        waits_for: Some(WaitsFor::Permit),
        ..NOTHING
    };

    fn moved(seen: Observation) -> Observation {
        Observation {
            moved: true,
            ..seen
        }
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(secs)
    }

    fn stalled(since: u64, lasted: u64) -> Pulse {
        Pulse::Stalled {
            since: at(since),
            lasted: Duration::from_secs(lasted),
        }
    }

    #[test]
    fn each_observation_has_its_pulse() {
        let table = [
            // Second, what is seen, what that is, and whether it is told.
            (0, NOTHING, Pulse::Idle, false),
            (500, NOTHING, Pulse::Idle, false),
            (501, RUNS, stalled(501, 0), false),
            (560, RUNS, stalled(501, 59), false),
            (561, RUNS, stalled(501, 60), true),
            (562, RUNS, stalled(501, 61), false),
            (620, WAITS, stalled(501, 119), false),
            (621, WAITS, stalled(501, 120), true),
            (740, RUNS, stalled(501, 239), false),
            (741, RUNS, stalled(501, 240), true),
            (742, moved(RUNS), Pulse::Advanced, false),
            (801, RUNS, stalled(742, 59), false),
            (802, RUNS, stalled(742, 60), true),
            // What ends is motion, also the last of it.
            (803, moved(NOTHING), Pulse::Advanced, false),
            (900, NOTHING, Pulse::Idle, false),
            // Queued work that nothing moves on.
            (901, WAITS, stalled(901, 0), false),
            (961, WAITS, stalled(901, 60), true),
            (962, NOTHING, Pulse::Idle, false),
            (963, WAITS, stalled(963, 0), false),
            // Nobody looked for long: that is told once.
            (963 + 7_000, WAITS, stalled(963, 7_000), true),
            (963 + 7_001, WAITS, stalled(963, 7_001), false),
            (963 + 7_680, WAITS, stalled(963, 7_680), true),
        ];
        let mut dog = Watchdog::default();
        for (second, seen, pulse, tells) in table {
            assert_eq!(dog.observe(at(second), seen), pulse, "at {second}");
            let told = dog.poll_stall();
            assert_eq!(told.is_some(), tells, "at {second}");
            assert!(told.is_none_or(|stall| stall.seen == seen));
            assert_eq!(dog.poll_stall(), None);
        }
    }

    #[test]
    fn who_looks_only_when_asked_to_is_told_at_each_doubling() {
        let mut dog = Watchdog::new(Duration::from_secs(10));
        assert_eq!(dog.next_wakeup(), None);
        dog.observe(at(5), moved(RUNS));
        let mut told = Vec::new();
        while told.len() < 4 {
            let now = dog.next_wakeup().expect("something is under way");
            dog.observe(now, RUNS);
            let stall = dog.poll_stall().expect("a wake-up is never in vain");
            assert_eq!(stall.seen.waits_for, Some(WaitsFor::Body));
            told.push(stall.lasted.as_secs());
        }
        assert_eq!(told, [10, 20, 40, 80]);
        dog.observe(at(100), NOTHING);
        assert_eq!(dog.next_wakeup(), None);
    }

    #[test]
    fn the_ends_of_time_do_no_harm() {
        let mut dog = Watchdog::new(Duration::ZERO);
        assert_eq!(dog.observe(at(5), RUNS), stalled(5, 0));
        assert_eq!(dog.observe(at(4), RUNS), stalled(5, 0), "backwards");
        assert_eq!(dog.poll_stall(), None);
        dog.observe(Timestamp::NEVER, RUNS);
        assert!(dog.poll_stall().is_some());
        let mut dog = Watchdog::new(Duration::MAX);
        dog.observe(at(0), RUNS);
        assert_eq!(dog.next_wakeup(), Some(Timestamp::NEVER));
        dog.observe(Timestamp::NEVER, RUNS);
        assert_eq!(dog.poll_stall(), None);
    }
}
