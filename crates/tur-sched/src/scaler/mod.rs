//! How many lanes an origin gets: as many as bring more, and no more.
//!
//! ```text
//!            width set               all of them receive            long enough
//!  Settling ───────────▶ (ramp up) ─────────────────▶ Measuring ─────────────▶ judge ─┬─▶ Settling (wider, back)
//!      ▲                                                                               └─▶ Holding ── probe is due ─▶ Settling
//!      └────────────── nothing is received: whatever was measured is void
//! ```
//!
//! Read [`Scaler`]; `ladder.rs` holds the law, `estimator.rs` what is measured. One scaler serves one origin: its sample
//! is the sum over all lanes of all transfers to that origin.

mod estimator;
mod ladder;
#[cfg(test)]
mod tests;
mod word;

use alloc::collections::VecDeque;
use core::time::Duration;

use tur_core::{Rate, Timestamp};

pub use self::word::{Measurements, ScalerAction, ScalerConfig, ScalerEvent, ScalerNote};

use self::estimator::{Estimator, Recent, as_u64, number};
use self::ladder::{Growth, Measured, Thresholds, Verdict, judge, step_up};

/// Shortest window: reports come every 50 ms.
const WINDOW_MIN: Duration = Duration::from_millis(100);
/// A window has so many round trips, so that a few lost packets do not decide.
const WINDOW_TRIPS: u32 = 4;
/// A window has so many of the silences between bursts.
const WINDOW_GAPS: u32 = 3;
/// Longest window.
const WINDOW_MAX: Duration = Duration::from_secs(6);
/// While doubling, no measurement shorter than this stops it.
const CONFIRM: Duration = Duration::from_secs(1);
/// An origin that sends bursts with silence between leaves the path idle: up to so many lanes, there is no need to
/// measure how much.
const EARLY: u16 = 8;
/// Lanes that do not come within this, or so many set-ups, are not waited for.
const SETTLE_MAX: Duration = Duration::from_secs(2);
const SETTLE_SETUPS: u32 = 10;
/// Time between probes: doubled by each one that fails, back to the least by one that succeeds.
const HOLD_MIN: Duration = Duration::from_secs(2);
const HOLD_MAX: Duration = Duration::from_secs(30);
/// While holding, goodput is sampled this often.
const SAMPLE: Duration = Duration::from_secs(1);
/// A limit that an origin has shown is tried again after this, doubled each time that it shows it again.
const LIMIT_MIN: Duration = Duration::from_secs(60);
const LIMIT_MAX: Duration = Duration::from_secs(900);
/// First bytes of a new connection: ten segments (RFC 6928), doubled each round trip.
const INITIAL_WINDOW: u64 = 14_600;
/// Marks of connection reuse, of all requests: below the first it is low, above the second it is good again.
const REUSE_LOW: f64 = 0.6;
const REUSE_GOOD: f64 = 0.8;

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Lanes are being added or have just been; `full` since all of them receive.
    Settling {
        since: Timestamp,
        full: Option<Timestamp>,
    },
    /// What they bring is being measured.
    Measuring,
    /// They stay until then.
    Holding { until: Timestamp },
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    lanes: u16,
    until: Timestamp,
}

/// Decides how many lanes an origin gets.
#[derive(Clone, Debug)]
pub struct Scaler {
    lanes_max: u16,
    lanes_min: u16,
    limit: Option<Limit>,
    limit_hold: Duration,
    /// Lanes refused since the width was set.
    refusals: u16,
    /// Most lanes that have received at once since then.
    peak: u16,
    n: u16,
    stage: Stage,
    growth: Growth,
    /// What the width before the present one brought.
    before: Option<Measured>,
    /// True if a narrower set may be as good: the path was found full.
    shed: bool,
    hold: Duration,
    estimator: Estimator,
    /// When the window of a measurement ends, and that of a sample.
    judged_at: Timestamp,
    /// True while a doubtful measurement is made longer.
    confirming: bool,
    /// True once measurements have been made long enough for the bursts of the origin.
    bursts_known: bool,
    sampled_at: Timestamp,
    recent: Recent,
    streaming: u16,
    useful: u16,
    rtt: Option<Duration>,
    handshake: Option<Duration>,
    lane_rate: Option<Rate>,
    variation: Option<f64>,
    reuse: f64,
    reuse_is_low: bool,
    /// True once a width has been judged against another, or refused.
    searched: bool,
    actions: VecDeque<ScalerAction>,
}

impl Scaler {
    /// A scaler that begins at `now`.
    #[must_use]
    pub fn new(config: ScalerConfig, now: Timestamp) -> Self {
        let lanes_max = config.lanes_max.max(1);
        let limit = config.limit.map(|lanes| Limit {
            lanes: lanes.max(1),
            until: now + LIMIT_MIN,
        });
        let cap = limit.map_or(lanes_max, |limit| limit.lanes.min(lanes_max));
        let n = config.lanes_start.clamp(1, cap);
        Self {
            lanes_max,
            lanes_min: 1,
            limit,
            limit_hold: LIMIT_MIN,
            refusals: 0,
            peak: 0,
            n,
            stage: Stage::Settling {
                since: now,
                full: None,
            },
            // A width that was learned is not doubled any more.
            growth: if n > 1 {
                Growth::Probing
            } else {
                Growth::Doubling
            },
            before: None,
            shed: false,
            hold: HOLD_MIN,
            estimator: Estimator::new(now),
            judged_at: now,
            confirming: false,
            bursts_known: false,
            sampled_at: now,
            recent: Recent::default(),
            streaming: 0,
            useful: 0,
            rtt: None,
            handshake: None,
            lane_rate: None,
            variation: None,
            reuse: 1.0,
            reuse_is_low: false,
            searched: false,
            actions: VecDeque::from([ScalerAction::Width(n)]),
        }
    }

    /// Takes what happened. Actions must have been drained before.
    pub fn handle(&mut self, now: Timestamp, event: ScalerEvent) {
        match event {
            ScalerEvent::Landed { lane, bytes, busy } => {
                self.estimator.landed(now, lane, bytes, busy);
            }
            ScalerEvent::Opened { handshake } => {
                self.handshake = Some(self.handshake.map_or(handshake, |old| old.min(handshake)));
            }
            ScalerEvent::Answered { rtt, reused } => self.answered(rtt, reused),
            ScalerEvent::Lanes { streaming, useful } => self.lanes(now, streaming, useful),
            ScalerEvent::Refused => self.refused(now),
            ScalerEvent::AtLeast(lanes) => {
                self.lanes_min = lanes.clamp(1, self.lanes_max);
                self.start(now, lanes);
            }
            ScalerEvent::Start(lanes) => self.start(now, lanes),
            ScalerEvent::AtMost(lanes) => {
                self.lanes_max = lanes.max(1);
                self.lanes_min = self.lanes_min.min(self.lanes_max);
                if self.n > self.lanes_max {
                    self.before = None;
                    self.set(now, self.lanes_max);
                }
            }
            ScalerEvent::Gone { transfer } => self.estimator.forget(transfer),
            ScalerEvent::Tick => {}
        }
        self.advance(now);
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<ScalerAction> {
        self.actions.pop_front()
    }

    /// When the scaler wants a [`Tick`](ScalerEvent::Tick); `None` while nothing is received.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        if self.streaming == 0 {
            return None;
        }
        if self.is_short_of_work() && !matches!(self.stage, Stage::Settling { .. }) {
            // Nothing is judged now; what changes that is an event.
            return None;
        }
        Some(match self.stage {
            Stage::Settling { since, full } => {
                let late = since + self.settle_max();
                full.map_or(late, |full| late.min(full + self.ramp()))
            }
            Stage::Measuring => self.judged_at,
            Stage::Holding { until } => until.min(self.sampled_at),
        })
    }

    /// Lanes that may work now.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.n
    }

    /// What has been measured so far.
    #[must_use]
    pub fn measurements(&self) -> Measurements {
        Measurements {
            lanes: self.settled(),
            searched: self.searched,
            limit: self.limit.map(|limit| limit.lanes),
            lane_rate: self.lane_rate,
            rtt: self.rtt,
            handshake: self.handshake,
            variation: self.variation,
        }
    }

    /// The width to remember: not one that is only being tried.
    fn settled(&self) -> u16 {
        match (self.stage, self.before) {
            (Stage::Holding { .. }, _) | (_, None) => self.n,
            (_, Some(before)) if self.growth == Growth::Probing => before.lanes,
            _ => self.n,
        }
    }

    fn start(&mut self, now: Timestamp, lanes: u16) {
        let limit = self.limit.map_or(u16::MAX, |limit| limit.lanes);
        let lanes = lanes.min(self.lanes_max).min(limit);
        if self.n < lanes {
            self.growth = Growth::Probing;
            self.before = None;
            self.set(now, lanes);
        }
    }

    fn answered(&mut self, rtt: Duration, reused: bool) {
        self.rtt = Some(self.rtt.map_or(rtt, |old| old.min(rtt)));
        let sample = if reused { 1.0 } else { 0.0 };
        self.reuse += (sample - self.reuse) / 16.0;
        if !self.reuse_is_low && self.reuse < REUSE_LOW {
            self.reuse_is_low = true;
            self.note(ScalerNote::ReuseDegraded);
        } else if self.reuse_is_low && self.reuse > REUSE_GOOD {
            self.reuse_is_low = false;
            self.note(ScalerNote::ReuseRecovered);
        }
    }

    fn lanes(&mut self, now: Timestamp, streaming: u16, useful: u16) {
        if streaming == 0 || self.streaming == 0 {
            // A pause, an outage or another file: nothing measured across it holds.
            self.estimator.restart(now);
            self.sampled_at = now + SAMPLE;
            self.stage = match self.stage {
                Stage::Holding { until } => Stage::Holding {
                    until: until.max(now + SAMPLE),
                },
                _ => Stage::Settling {
                    since: now,
                    full: None,
                },
            };
        }
        self.streaming = streaming;
        self.useful = useful;
        self.peak = self.peak.max(streaming);
        if streaming >= self.n {
            self.refusals = 0;
        }
    }

    /// The origin allows as many as are receiving. If none is, it is out of order, and not at a limit. While lanes are
    /// being added, the others are waited for first: some of them may still be let in.
    fn refused(&mut self, now: Timestamp) {
        self.refusals = self.refusals.saturating_add(1);
        // A lane that comes back may meet its own old connection, which the origin has not yet seen closing: one refusal
        // of each missing lane is not a limit.
        let missing = self.n.saturating_sub(self.streaming);
        if !matches!(self.stage, Stage::Settling { .. }) && self.refusals > 2 * missing {
            self.limited(now);
        }
    }

    fn limited(&mut self, now: Timestamp) {
        self.refusals = 0;
        if self.streaming == 0 {
            return;
        }
        let lanes = match self.stage {
            Stage::Settling { .. } => self.peak,
            _ => self.streaming,
        };
        if self.limit.is_some_and(|limit| limit.lanes <= lanes) {
            self.limit_hold = (2 * self.limit_hold).min(LIMIT_MAX);
        }
        self.limit = Some(Limit {
            lanes,
            until: now + self.limit_hold,
        });
        self.growth = Growth::Probing;
        self.searched = true;
        self.note(ScalerNote::Limited { lanes });
        if self.n > lanes {
            self.before = None;
            self.set(now, lanes);
        }
    }

    /// Goes on as far as time and measurements allow.
    fn advance(&mut self, now: Timestamp) {
        if self.streaming == 0 {
            return;
        }
        match self.stage {
            Stage::Settling { since, full } => self.settle(now, since, full),
            // At the end there is not work for all: what is measured then says nothing about lanes.
            Stage::Measuring if self.is_short_of_work() => {}
            Stage::Measuring => {
                // Silence makes the window longer while it lasts.
                let window =
                    self.window(now)
                        .max(if self.confirming { CONFIRM } else { WINDOW_MIN });
                self.judged_at = self.estimator.since() + window;
                if now >= self.judged_at {
                    self.judge(now);
                }
            }
            Stage::Holding { until } => self.keep(now, until),
        }
    }

    fn settle(&mut self, now: Timestamp, since: Timestamp, full: Option<Timestamp>) {
        let answered = self.peak.saturating_add(self.refusals) >= self.n;
        if self.refusals > 0 && (answered || now >= since + self.settle_max()) {
            return self.limited(now);
        }
        let full = if self.streaming >= self.n.min(self.useful.max(1)) {
            full.or(Some(now))
        } else {
            full
        };
        self.stage = Stage::Settling { since, full };
        let ready = full.is_some_and(|full| now >= full + self.ramp());
        if ready || now >= since + self.settle_max() {
            self.estimator.restart(now);
            self.stage = Stage::Measuring;
            self.judged_at = now + self.window(now);
        }
    }

    fn judge(&mut self, now: Timestamp) {
        if self.is_early() && !self.estimator.gap(now).is_zero() {
            // What came in so short a time says nothing, but silence says that there is room.
            self.before = None;
            self.confirming = false;
            return self.climb(now, None);
        }
        let bursts = WINDOW_GAPS * self.estimator.gap(now);
        if self.growth == Growth::Doubling && bursts > CONFIRM {
            // What was measured before silence was heard of was measured in a burst.
            self.before = self.before.filter(|_| self.bursts_known);
            self.bursts_known = true;
        }
        let rate = self.estimator.goodput(now);
        let measured = Measured {
            lanes: self.n,
            rate: number(rate.bytes_per_second()),
        };
        self.learn(now);
        self.recent.restart(measured.rate);
        let patient = now.since(self.estimator.since()) >= CONFIRM;
        let verdict = self.before.map(|before| {
            let thresholds = Thresholds::http1(self.reuse_is_low);
            judge(before, measured, self.growth, thresholds)
        });
        let doubtful = !matches!(verdict, None | Some(Verdict::Worth | Verdict::Enough));
        if doubtful && self.growth == Growth::Doubling && !patient {
            // A first burst, or a slow start, may have made the narrower set look better than it is.
            self.judged_at = self.estimator.since() + CONFIRM;
            self.confirming = true;
            return;
        }
        self.confirming = false;
        self.searched |= verdict.is_some();
        match verdict {
            None | Some(Verdict::Worth) if self.growth == Growth::Doubling => {
                self.climb(now, Some(measured));
            }
            None => self.hold(now, self.n, rate),
            Some(Verdict::Worth) => {
                self.hold = HOLD_MIN;
                self.hold(now, self.n, rate);
            }
            Some(Verdict::Settle(lanes)) => {
                self.growth = Growth::Probing;
                self.hold(now, lanes, rate);
            }
            Some(Verdict::Full(lanes)) => {
                self.shed = self.growth == Growth::Doubling && lanes > 1;
                if self.growth == Growth::Probing {
                    self.hold = (2 * self.hold).min(HOLD_MAX);
                }
                self.growth = Growth::Probing;
                self.hold(now, lanes, rate);
            }
            Some(Verdict::Enough) => {
                self.shed = self.n > 1;
                self.hold(now, self.n, rate);
            }
            Some(Verdict::Short(lanes)) => {
                self.shed = false;
                self.hold(now, lanes, rate);
            }
        }
    }

    /// Goes on doubling, if there is room.
    fn climb(&mut self, now: Timestamp, measured: Option<Measured>) {
        let to = step_up(self.n, Growth::Doubling).min(self.cap(now));
        if to > self.n {
            self.try_width(now, measured, to);
        } else {
            if self.n >= self.lanes_max {
                self.growth = Growth::Probing;
            }
            let rate = measured.map_or(0, |measured| as_u64(measured.rate));
            self.hold(now, self.n, Rate::per_second(rate));
        }
    }

    fn try_width(&mut self, now: Timestamp, measured: Option<Measured>, to: u16) {
        self.note(ScalerNote::Trying { from: self.n, to });
        self.before = measured;
        self.set(now, to);
    }

    fn hold(&mut self, now: Timestamp, lanes: u16, rate: Rate) {
        self.before = None;
        let limit = self.limit.map_or(u16::MAX, |limit| limit.lanes);
        let lanes = lanes.max(self.lanes_min.min(limit));
        self.note(ScalerNote::Holding { lanes, rate });
        if lanes != self.n {
            self.set(now, lanes);
        }
        // Growth that stopped for want of work goes on as soon as there is some.
        let wait = if self.growth == Growth::Doubling || self.shed {
            SAMPLE
        } else {
            self.hold
        };
        self.estimator.restart(now);
        self.sampled_at = now + self.window(now).max(SAMPLE);
        self.stage = Stage::Holding { until: now + wait };
    }

    /// Samples while holding, and tries something when it is due.
    fn keep(&mut self, now: Timestamp, until: Timestamp) {
        if now >= self.sampled_at {
            let rate = number(self.estimator.goodput(now).bytes_per_second());
            if !self.is_short_of_work() {
                self.learn(now);
                if self.recent.add(rate) {
                    self.hold = HOLD_MIN;
                    self.stage = Stage::Holding {
                        until: until.min(now + HOLD_MIN),
                    };
                }
            }
            self.estimator.restart(now);
            // A sample holds several bursts.
            self.sampled_at = now + self.window(now).max(SAMPLE);
        }
        if now < until || self.is_short_of_work() {
            return;
        }
        let measured = Measured {
            lanes: self.n,
            rate: self.recent.rate,
        };
        if self.shed && self.n > self.lanes_min {
            let to = self.n.div_ceil(2).max(self.lanes_min);
            return self.try_width(now, Some(measured), to);
        }
        let to = step_up(self.n, self.growth).min(self.cap(now));
        if to > self.n {
            self.try_width(now, Some(measured), to);
        } else {
            self.stage = Stage::Holding {
                until: now + self.hold,
            };
        }
    }

    /// Remembers what the lanes bring now.
    fn learn(&mut self, now: Timestamp) {
        if self.estimator.lanes() * 2 >= usize::from(self.n) {
            self.lane_rate = self.estimator.typical(now).or(self.lane_rate);
            self.variation = self.estimator.variation(now).or(self.variation);
        }
    }

    fn set(&mut self, now: Timestamp, lanes: u16) {
        self.n = lanes.clamp(1, self.lanes_max);
        self.refusals = 0;
        self.peak = self.streaming.min(self.n);
        self.stage = Stage::Settling {
            since: now,
            full: None,
        };
        self.estimator.restart(now);
        self.actions.push_back(ScalerAction::Width(self.n));
    }

    /// The most that may be tried at `now`.
    fn cap(&self, now: Timestamp) -> u16 {
        let limit = match self.limit {
            // Once it is old, one more than the limit may be tried.
            Some(limit) if now >= limit.until => limit.lanes.saturating_add(1),
            Some(limit) => limit.lanes,
            None => u16::MAX,
        };
        self.lanes_max.min(limit).min(self.useful)
    }

    fn is_short_of_work(&self) -> bool {
        self.useful < self.n
    }

    fn note(&mut self, note: ScalerNote) {
        self.actions.push_back(ScalerAction::Note(note));
    }

    fn setup(&self) -> Duration {
        self.rtt.unwrap_or_default() + self.handshake.unwrap_or_default()
    }

    fn settle_max(&self) -> Duration {
        SETTLE_MAX.max(SETTLE_SETUPS * self.setup())
    }

    /// Time that new lanes need to leave slow start.
    fn ramp(&self) -> Duration {
        let rtt = self.rtt.unwrap_or_default();
        let window = self.lane_rate.map_or(0, |rate| rate.bytes_in(rtt));
        (window / INITIAL_WINDOW).checked_ilog2().unwrap_or(0) * rtt
    }

    /// How long is measured: over several round trips, and over several of the bursts that an origin sends.
    fn window(&self, now: Timestamp) -> Duration {
        let trips = WINDOW_TRIPS * self.rtt.unwrap_or_default();
        let bursts = if self.is_early() {
            Duration::ZERO
        } else {
            WINDOW_GAPS * self.estimator.gap(now)
        };
        trips.max(bursts).clamp(WINDOW_MIN, WINDOW_MAX)
    }

    /// True for the first steps, which are taken without knowing what bursts amount to.
    fn is_early(&self) -> bool {
        self.growth == Growth::Doubling && self.n < EARLY
    }
}
