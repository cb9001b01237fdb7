//! Measures what the network brings to this process, over all fetches together.
//!
//! Read [`Bandwidth`]. There is one for the process, whoever plays: a sample is what *all* fetches brought in a stretch
//! of wall-clock time in which at least one of them was under way. Eight parallel fetches do not look eight times slower
//! than the link, and neither do two downloads that share it.
//!
//! ```text
//!  fetches    ┌──────────────┐                 ┌────────────────┐
//!  under way  │      ┌───────┴──────┐          │                │
//!  ───────────┴──────┴──────────────┴──────────┴────────────────┴──▶ time
//!             ◀───── counts ────────▶◀─ does ──▶◀─── counts ────▶
//!                                       not
//! ```
//!
//! The wait for the first byte counts: who plays pays it for each segment, and a rate that leaves it out promises what
//! short segments never reach. Parallel fetches hide each other's waits, here as in fact. But a silence counts for at
//! most [`SILENCE_MAX`](Bandwidth::SILENCE_MAX): what brings nothing for longer is not slow, it does not deliver, and
//! that is answered elsewhere. So neither a segment that is withheld for ever, nor an outage, nor a lid that was closed
//! for a night wipes out what was measured, and a fetch whose end was never told does no harm.

use core::time::Duration;

use tur_core::{Rate, Timestamp};

/// Half-lives of the two averages, in seconds: the fast one sees a fall soon, the slow one does not trust a burst.
const FAST: f64 = 2.0;
const SLOW: f64 = 10.0;
/// Reports come in batches of up to 50 ms: a sample covers at least two of them.
const WINDOW: Duration = Duration::from_millis(100);
/// The least evidence: the first window of a connection and some round trips' worth, and more time than a timer's jitter.
/// It is short because a fast link brings a whole song in a tenth of a second.
const EVIDENCE_BYTES: u64 = 32 * 1024;
const EVIDENCE_TIME: Duration = Duration::from_millis(10);

/// What the network brings, as two averages over the time in which something was under way.
///
/// Bytes that come from a cache are not told. Those that wait for a rate limit of ours are: what a limit lets through is
/// all that a player gets. A fetch that waits for its reader or for a disk is not under way: the network does not owe that
/// time.
#[derive(Clone, Debug, Default)]
pub struct Bandwidth {
    /// Fetches under way.
    fetches: u32,
    /// Up to when time was counted.
    counted: Timestamp,
    /// Time counted since the last byte.
    silent: Duration,
    /// The window that is being filled.
    window: Window,
    averages: Averages,
    /// All bytes and all time that were counted, up to where they are evidence enough.
    seen: Window,
}

impl Bandwidth {
    /// What a silence counts for at most.
    pub const SILENCE_MAX: Duration = Duration::from_secs(2);

    /// Nothing measured yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A fetch is under way from now on: its request is being sent.
    pub fn begin(&mut self, now: Timestamp) {
        self.count(now);
        self.fetches = self.fetches.saturating_add(1);
    }

    /// `bytes` came, by whichever fetch. With nothing under way they are not the network's, and ignored: the last bytes
    /// of a fetch are told before its end.
    pub fn landed(&mut self, now: Timestamp, bytes: u64) {
        self.count(now);
        if self.fetches == 0 || bytes == 0 {
            return;
        }
        self.silent = Duration::ZERO;
        self.window.add(bytes, Duration::ZERO);
        self.seen.add(bytes, Duration::ZERO);
    }

    /// A fetch is no longer under way, however it ended.
    pub fn end(&mut self, now: Timestamp) {
        self.count(now);
        self.fetches = self.fetches.saturating_sub(1);
    }

    /// What the network brings: the lower of the two averages, a silence that lasts until now included. `None` before
    /// 32 KiB have come in at least 10 ms.
    #[must_use]
    pub fn estimate(&self, now: Timestamp) -> Option<Rate> {
        let mut then = self.clone();
        then.count(now);
        then.averages.add(then.window);
        let enough = then.seen.bytes >= EVIDENCE_BYTES && then.seen.busy >= EVIDENCE_TIME;
        enough.then(|| then.averages.lower())
    }

    /// Counts the time up to `now`, if something was under way in it. A window is closed only here, when time goes on:
    /// what several fetches tell at one instant belongs together. One without bytes goes on, because they may be told
    /// later than they came; a silence is bounded, and so is the window.
    fn count(&mut self, now: Timestamp) {
        let more = self.uncounted(now);
        if !more.is_zero() && self.window.bytes > 0 && self.window.busy >= WINDOW {
            self.averages.add(self.window);
            self.window = Window::default();
        }
        self.silent = self.silent.saturating_add(more);
        self.window.add(0, more);
        self.seen.add(0, more);
        self.counted = self.counted.max(now);
    }

    /// Time since the last call that counts.
    fn uncounted(&self, now: Timestamp) -> Duration {
        if self.fetches == 0 {
            return Duration::ZERO;
        }
        let left = Self::SILENCE_MAX.saturating_sub(self.silent);
        now.since(self.counted).min(left)
    }
}

/// Bytes, and the time in which they came.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    bytes: u64,
    busy: Duration,
}

impl Window {
    fn add(&mut self, bytes: u64, busy: Duration) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.busy = self.busy.saturating_add(busy);
    }
}

/// Two averages of the rate, weighted by time: bytes per second, before the correction for having begun at zero.
#[derive(Clone, Copy, Debug, Default)]
struct Averages {
    fast: f64,
    slow: f64,
    /// Seconds that went in.
    weight: f64,
}

impl Averages {
    /// Takes a window. One without any time is nothing.
    fn add(&mut self, window: Window) {
        let seconds = window.busy.as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let rate = as_f64(window.bytes) / seconds;
        for (average, half_life) in [(&mut self.fast, FAST), (&mut self.slow, SLOW)] {
            *average += replaced(seconds, half_life) * (rate - *average);
        }
        self.weight += seconds;
    }

    /// The lower one, corrected: an average that began at zero a moment ago is too low by what it has not seen.
    fn lower(self) -> Rate {
        let corrected = [(self.fast, FAST), (self.slow, SLOW)].map(|(average, half_life)| {
            average / replaced(self.weight, half_life).max(f64::MIN_POSITIVE)
        });
        let [fast, slow] = corrected;
        Rate::per_second(as_u64(if fast.total_cmp(&slow).is_lt() {
            fast
        } else {
            slow
        }))
    }
}

/// The share of an average that `seconds` replace: a half in one half-life.
fn replaced(seconds: f64, half_life: f64) -> f64 {
    -libm::expm1(-core::f64::consts::LN_2 * seconds / half_life)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "rates are compared to a few per cent"
)]
fn as_f64(n: u64) -> f64 {
    n as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and a rate is not negative"
)]
fn as_u64(x: f64) -> u64 {
    libm::round(x) as u64
}
